import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Scope, TestClock } from "effect"
import { CircuitBreaker, LlmError, Pacer, RetryBudget } from "effect-steadfast"
import { Telemetry } from "effect-steadfast/observability"
import * as Prometheus from "./prometheus.js"

const scraped = Effect.map(Telemetry.prometheus, Prometheus.parse)

let names = 0
/** A name that no other test has: the registry of metrics is one for the process. */
const fresh = () => `state-${process.pid}-${names++}`

describe("the states of policies", () => {
  const down = Effect.fail(
    new LlmError.ServerError({ provider: "openai", message: "internal error", delivery: "unknown" })
  )

  it.effect("are sampled, and transitions are counted as they happen", () =>
    Effect.gen(function* () {
      const key = fresh()
      const breaker = yield* CircuitBreaker.make({ maxWait: 0 })
      const pacer = yield* Pacer.make({ requests: { limit: 1, window: "1 minute" } })
      const scope = yield* Scope.make()
      const before = yield* scraped
      const read = Effect.map(scraped, (after) => Prometheus.since(before, after))
      yield* Layer.buildWithScope(Telemetry.layerStates({ breaker, pacer, interval: "1 second" }), scope)

      yield* Effect.exit(breaker.execute(down, { key })).pipe(Effect.repeatN(3))
      yield* Effect.fork(pacer.pace(Effect.sleep("10 seconds"), { key }))
      yield* Effect.fork(pacer.pace(Effect.void, { key }))
      yield* TestClock.adjust("1 second")
      const circuit = { steadfast_circuit_key: key }
      const queue = { steadfast_pacer_key: key }
      const open = yield* read
      assert.strictEqual(open.sum("steadfast_circuit_state", circuit), 2)
      assert.strictEqual(
        open.sum("steadfast_circuit_transitions_total", {
          ...circuit,
          steadfast_circuit_to: "Open",
          steadfast_circuit_reason: "Unhealthy"
        }),
        1
      )
      assert.strictEqual(open.sum("steadfast_pacer_waiting", queue), 1)
      assert.strictEqual(open.sum("steadfast_pacer_in_flight", queue), 1)
      assert.strictEqual(open.sum("steadfast_pacer_pause_seconds", queue), 0)

      yield* breaker.reset(key)
      yield* TestClock.adjust("1 minute")
      const closed = yield* read
      assert.strictEqual(closed.sum("steadfast_circuit_state", circuit), 0)
      assert.strictEqual(closed.sum("steadfast_pacer_waiting", queue), 0)

      yield* Scope.close(scope, Exit.void)
      yield* breaker.open(key)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* read).sum("steadfast_circuit_state", circuit), 0)
    })
  )

  it.effect("show the pause of a queue and the level of a budget", () =>
    Effect.gen(function* () {
      const [key, group] = [fresh(), fresh()]
      const pacer = yield* Pacer.make()
      const limited = Effect.fail(
        new LlmError.RateLimited({
          provider: "openai",
          message: "slow down",
          delivery: "rejected",
          hint: Duration.seconds(30)
        })
      )
      yield* Effect.exit(pacer.pace(limited, { key }))
      const budgets = yield* RetryBudget.RetryBudgets
      const clock = yield* Effect.clock
      const now = Number(clock.unsafeCurrentTimeNanos()) / 1e6
      budgets.of(group, clock).draw(now)
      yield* Effect.scoped(Layer.build(Telemetry.layerStates({ pacer })))
      const seen = Prometheus.since(new Map(), yield* scraped)
      assert.isAtLeast(seen.sum("steadfast_pacer_pause_seconds", { steadfast_pacer_key: key }), 30)
      assert.strictEqual(seen.sum("steadfast_retry_budget_level", { steadfast_retry_budget_group: group }), 9)
    })
  )

  it.effect("of what is forgotten are 0", () =>
    Effect.gen(function* () {
      const key = fresh()
      const state: Pacer.State = { waiting: 3, inFlight: 2, pausedUntil: undefined, limits: {} }
      let states: ReadonlyMap<string, Pacer.State> = new Map([[key, state]])
      const pacer = { ...(yield* Pacer.make()), states: Effect.sync(() => states) }
      const waiting = Effect.map(scraped, (after) =>
        Prometheus.since(new Map(), after).sum("steadfast_pacer_waiting", { steadfast_pacer_key: key })
      )
      const sampled = Effect.gen(function* () {
        yield* Layer.build(Telemetry.layerStates({ pacer, interval: "1 second" }))
        assert.strictEqual(yield* waiting, 3)
        states = new Map()
        yield* TestClock.adjust("1 second")
        assert.strictEqual(yield* waiting, 0)
      })
      yield* Effect.scoped(sampled)
    })
  )

  it("refuse an interval that is none", () => {
    assert.throws(() => Telemetry.layerStates({ interval: 0 }), RangeError, "Telemetry: interval")
  })
})
