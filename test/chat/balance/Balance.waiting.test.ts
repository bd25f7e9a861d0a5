import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Exit, FastCheck as fc, Logger, LogLevel, Random } from "effect"
import { Chat, ChatModel, CircuitBreaker, Resilience, RetryPolicy } from "effect-steadfast"
import { earliest } from "../../../src/calls/balance/Members.js"
import * as Balance from "../../../src/chat/balance/Balance.js"
import * as Members from "../../../src/chat/balance/Members.js"
import * as Balancer from "../../../src/policies/balance/Balancer.js"
import { breathe, cases } from "../../support/cases.js"
import { errorOf, hinted } from "../../support/errors.js"
import { collectLogs } from "../../support/evidence.js"
import { simulate } from "../../support/simulate.js"
import { errorIn } from "../../support/time.js"
import { errorTag, ledger, memberOf, pooledOf, ways } from "./Balance.support.js"

const prompt = Chat.prompt("Hello")
const fine = () => undefined

const quiet = <A, E>(effect: Effect.Effect<A, E>) =>
  simulate(
    Effect.withTracerEnabled(Logger.withMinimumLogLevel(LogLevel.None)(effect), false).pipe(
      Effect.withRandom(Random.make("waiting"))
    )
  )

/** A member that takes traffic from a time on, in milliseconds, one request in each so many. */
interface Door {
  readonly opensAt: number
  readonly every: number
}

interface Call {
  readonly start: number
  readonly way: keyof typeof ways
  readonly unable?: ReadonlyArray<number> | undefined
  readonly deadline?: number | undefined
  readonly cancelled?: number | undefined
  /** The time from which its fallback takes it. */
  readonly elsewhere?: number | undefined
}

/** Runs calls over members with doors: which call reached which member when, and how and when each ended. */
const run = (doors: ReadonlyArray<Door>, calls: ReadonlyArray<Call>, maxWait = 60_000) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const passed: Array<{ readonly call: number; readonly member: number; readonly at: number }> = []
    const models = doors.map((_, member) =>
      memberOf(ledger(), `m${member}`, (_, { maxTokens = -1 }) => {
        passed.push({ call: maxTokens, member, at: clock.unsafeCurrentTimeMillis() })
        return { millis: 100 }
      })
    )
    const balancer = Balancer.make(doors.map((_, index) => ({ name: `m${index}` })))
    const readyAt = (index: number): number => {
      const { every, opensAt } = doors[index] as Door
      const last = passed.findLast(({ member }) => member === index)?.at
      const at = Math.max(opensAt, last === undefined ? 0 : last + every)
      return at <= clock.unsafeCurrentTimeMillis() ? 0 : at
    }
    const model = Members.make(
      {
        members: models.map((model) => model[ChatModel.TypeId]),
        balancer,
        maxWait,
        affinity: undefined,
        unable: ({ maxTokens = -1 }) => calls[maxTokens]?.unable ?? [],
        isOnce: undefined,
        readyAt,
        outlook: (_, notBefore) => {
          const at = earliest(models, (index) => Math.max(readyAt(index), notBefore(index)))
          return { readyAt: at, worthAt: at, why: "shut" }
        },
        keys: undefined
      },
      models,
      "doors"
    )
    const one = ({ cancelled, deadline, elsewhere, start, way }: Call, call: number) =>
      Effect.gen(function* () {
        yield* Effect.sleep(start)
        const asked = ways[way](model, { ...prompt, maxTokens: call })
        const limited = deadline === undefined ? asked : Resilience.deadline(asked, Duration.millis(deadline))
        const now = clock.unsafeCurrentTimeMillis
        const beside =
          elsewhere === undefined ? limited : Resilience.besides(limited, () => (elsewhere <= now() ? 0 : elsewhere))
        const exit = yield* Effect.exit(
          cancelled === undefined
            ? beside
            : Effect.timeoutFail(beside, { duration: cancelled, onTimeout: () => "left" })
        )
        return { exit, ended: yield* Clock.currentTimeMillis }
      })
    const ends = yield* Effect.forEach(calls, one, { concurrency: "unbounded" })
    const inFlight = balancer.members.reduce((sum, { inFlight }) => sum + inFlight, 0)
    return { ends, passed, left: balancer.waiting.size + inFlight }
  })

const plain = (count: number, way: keyof typeof ways, more: Partial<Call> = {}): ReadonlyArray<Call> =>
  Array.from({ length: count }, (_, start) => ({ start, way, ...more }))

for (const way of ["generate", "stream"] as const) {
  describe(`attempts that wait for a member, asked to ${way}`, () => {
    it("come in their order, spread over some time", () => {
      const { ends, left, passed } = quiet(run([{ opensAt: 10_000, every: 0 }], plain(200, way)))
      assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
      assert.strictEqual(left, 0)
      assert.deepStrictEqual(
        passed.map(({ call }) => call),
        ends.map((_, call) => call)
      )
      const last = passed.at(-1)?.at ?? 0
      assert.isAtLeast(last, 10_100)
      assert.isAtMost(last, 10_201)
      for (let at = 10_000; at < 10_400; at++) assert.isAtMost(passed.filter((one) => one.at === at).length, 20)
    })

    it("come before those who came later, also while they return", () => {
      const calls = [...plain(20, way), ...plain(10, way).map((call) => ({ ...call, start: 10_001 + 10 * call.start }))]
      const { passed } = quiet(run([{ opensAt: 10_000, every: 0 }], calls))
      assert.deepStrictEqual(
        passed.map(({ call }) => call),
        calls.map((_, call) => call)
      )
    })

    it("are as fast as a member that sets the pace itself", () => {
      const { passed } = quiet(run([{ opensAt: 1000, every: 20 }], plain(100, way)))
      assert.strictEqual(passed.at(-1)?.at, 1000 + 99 * 20)
    })

    it("do not wait behind one that waits for another member", () => {
      const doors = [
        { opensAt: 40_000, every: 0 },
        { opensAt: 5000, every: 0 }
      ]
      const { ends, passed } = quiet(
        run(doors, [
          { start: 0, way, unable: [1] },
          { start: 1, way },
          { start: 2, way }
        ])
      )
      assert.isTrue(ends.every(({ exit }) => Exit.isSuccess(exit)))
      assert.deepStrictEqual(
        passed.map(({ call, member }) => [call, member]),
        [
          [1, 1],
          [2, 1],
          [0, 0]
        ]
      )
    })

    it("leave for a fallback that takes traffic, now or later", () => {
      const { ends } = quiet(
        run(
          [{ opensAt: 30_000, every: 0 }],
          [
            { start: 0, way },
            { start: 10, way, elsewhere: 0 },
            { start: 20, way, elsewhere: 4000 }
          ]
        )
      )
      assert.deepStrictEqual(
        ends.map(({ exit }) => errorTag(exit as Exit.Exit<string, never>)),
        ["answered", "CircuitOpen", "CircuitOpen"]
      )
      assert.strictEqual(ends[1]?.ended, 10)
      assert.isAtLeast(ends[2]?.ended ?? 0, 4000)
      assert.isAtMost(ends[2]?.ended ?? 0, 5000)
    })

    it("go to the fallback of a model at once", () => {
      const program = Effect.gen(function* () {
        const { model } = yield* pooledOf(["a", "b"], () => ({ error: hinted("30 seconds") }))
        const last = memberOf(ledger(), "last", fine, { provider: "anthropic", model: "claude" })
        const both = ChatModel.orElse(model, last)
        const answers = yield* Effect.replicateEffect(ways[way](both, prompt), 5)
        return [answers, yield* Clock.currentTimeMillis] as const
      })
      assert.deepStrictEqual(quiet(program), [["last", "last", "last", "last", "last"], 0])
    })

    it("come as soon as a probe has ended, and not with the next look", () => {
      const asked: Array<number> = []
      const program = Effect.gen(function* () {
        const clock = yield* Effect.clock
        const breaker = yield* CircuitBreaker.make({
          tripPolicy: CircuitBreaker.consecutive(1),
          openDuration: "5 seconds"
        })
        const member = memberOf(ledger(), "a", (nth) => {
          asked.push(clock.unsafeCurrentTimeMillis())
          return { millis: 130, error: nth === 1 ? errorOf("ServerError") : undefined }
        })
        const model = Balance.balance([ChatModel.breaker(member, breaker)])
        yield* Effect.exit(ways[way](model, prompt))
        return yield* Effect.forEach([1, 2, 3], () => ways[way](model, prompt), { concurrency: "unbounded" })
      })
      quiet(program)
      const [, probe = Number.NaN, second = Number.NaN, third = Number.NaN] = asked
      assert.isAtLeast(probe, 4000)
      assert.strictEqual(second, probe + 130)
      assert.isAtMost(third, second + 201)
    })

    it("say once that they wait, and for what", () => {
      const { layer, lines } = collectLogs()
      const program = Effect.gen(function* () {
        const { model } = yield* pooledOf(["a", "b"], (_, nth) =>
          nth > 1 ? undefined : { error: hinted("9 seconds") }
        )
        yield* Effect.exit(ways[way](ChatModel.deadline(model, "1 second"), prompt))
        yield* Effect.forEach([1, 2, 3], () => ways[way](model, prompt), { concurrency: "unbounded" })
      })
      simulate(Effect.provide(program, layer))
      const waiting = lines.filter(({ message }) => message.startsWith("waiting for"))
      assert.strictEqual(waiting.length, 3)
      assert.strictEqual(waiting[0]?.message, "waiting for openai/gpt: all 2 keys are out: RateLimited")
      assert.strictEqual(waiting[0]?.level, "INFO")
    })

    it("let others pass whom a member may not refuse", () => {
      const program = Effect.gen(function* () {
        const refusal = errorOf("CircuitOpen", { delivery: "not-sent", hint: Duration.seconds(50) })
        // Nobody can see from outside that this member refuses, nor for whom.
        const model = Balance.balance([memberOf(ledger(), "a", (nth) => (nth === 1 ? { error: refusal } : undefined))])
        const first = yield* Effect.fork(ways[way](model, prompt))
        yield* Effect.sleep("1 second")
        yield* ways[way](model, prompt)
        const others = yield* Clock.currentTimeMillis
        yield* first
        return [others, yield* Clock.currentTimeMillis] as const
      })
      const [others, first] = quiet(program)
      assert.strictEqual(others, 1000)
      assert.isAtLeast(first, 50_000)
      assert.isAtMost(first, 50_200)
    })
  })
}

describe("an outage of a pool's only provider", () => {
  it("loses no call that has time", () => {
    const program = Effect.gen(function* () {
      const clock = yield* Effect.clock
      const { model } = yield* pooledOf(["a", "b", "c"], () => {
        const now = clock.unsafeCurrentTimeMillis()
        return now > 2000 && now < 20_000 ? { error: hinted("7 seconds") } : { millis: 300 }
      })
      const held = model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.deadline("2 minutes"))
      const asks = Array.from({ length: 300 }, (_, index) =>
        Effect.delay(Effect.exit(ways.generate(held, prompt)), Duration.millis(100 * index))
      )
      return yield* Effect.all(asks, { concurrency: "unbounded" })
    })
    const tags = quiet(program).map((exit) => errorIn(exit)?._tag ?? "answered")
    assert.deepStrictEqual(new Set(tags), new Set(["answered"]))
  })
})

describe("laws of attempts that wait for a member", () => {
  const optional = (max: number) => fc.option(fc.integer({ min: 1, max }), { nil: undefined })
  const call = fc.record({
    // Some come just after a member is back, while those who waited return.
    start: fc.oneof(fc.integer({ min: 0, max: 1500 }), fc.integer({ min: 500, max: 510 })),
    way: fc.constantFrom<keyof typeof ways>("generate", "stream"),
    unable: fc.constantFrom<ReadonlyArray<number> | undefined>(undefined, [0], [1], [0, 2]),
    deadline: optional(40_000),
    cancelled: optional(20_000),
    elsewhere: optional(40_000)
  })
  const door = fc.record({
    opensAt: fc.oneof(fc.integer({ min: 0, max: 30_000 }), fc.constant(10_000)),
    every: fc.constantFrom(0, 0, 50, 500)
  })

  it("hold for members, arrivals, limits, cancellations and fallbacks of any kind", async () => {
    const seen = { served: 0, waited: 0, refused: 0, left: 0 }
    await fc.assert(
      fc
        .asyncProperty(
          fc.array(door, { minLength: 3, maxLength: 3 }),
          fc.array(call, { minLength: 1, maxLength: 20 }),
          fc.constantFrom(60_000, 60_000, 10_000, 0),
          async (doors, given, maxWait) => {
            // A millisecond of its own for each, so that the order of arrival is plain.
            const calls = given.map((one, index) => ({ ...one, start: one.start * 20 + index }))
            const { ends, left, passed } = quiet(run(doors, calls, maxWait))
            assert.strictEqual(left, 0, "nothing is left behind")
            for (const set of new Set(calls.map(({ unable }) => unable?.join()))) {
              const arrivals = passed
                .filter(({ call }) => calls[call]?.unable?.join() === set)
                .map(({ call }) => calls[call]?.start ?? 0)
              assert.deepStrictEqual(
                arrivals,
                [...arrivals].sort((a, b) => a - b),
                "first in, first out"
              )
            }
            ends.forEach(({ ended, exit }, index) => {
              const { cancelled = Number.POSITIVE_INFINITY, deadline, elsewhere, start, unable } = calls[index] as Call
              const placed = passed.find(({ call }) => call === index)?.at
              const over = placed ?? ended
              const limit = Math.min(cancelled, deadline ?? Number.POSITIVE_INFINITY, maxWait)
              assert.isAtMost(over - start, limit, "no wait outlives its limit")
              if (elsewhere !== undefined && elsewhere <= start) {
                assert.strictEqual(over, start, "nobody waits whose fallback takes traffic")
              }
              if (Exit.isSuccess(exit)) seen.served += 1
              else if (over - start === cancelled) seen.left += 1
              else seen.refused += 1
              if (over > start) seen.waited += 1
              if (elsewhere !== undefined && placed === undefined) {
                assert.isAtMost(ended, Math.max(start, elsewhere) + 1000, "nor for long when it comes back")
              }
              // Whoever has the time is served when a member of its own takes any number.
              const free = doors.flatMap(({ every, opensAt }, member) =>
                every === 0 && unable?.includes(member) !== true ? opensAt : []
              )
              const opens = Math.max(start, Math.min(...free))
              if (elsewhere === undefined && opens + 1000 < start + limit) {
                assert.isDefined(placed, "served in time")
                assert.isAtMost(placed ?? 0, opens + 1000)
              }
            })
          }
        )
        .beforeEach(breathe),
      { numRuns: cases(10_000) }
    )
    for (const count of Object.values(seen)) assert.isAbove(count, 0)
  })
})
