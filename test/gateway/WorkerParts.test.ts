import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Effect, Exit, FastCheck, Fiber, Logger, LogLevel, Schema } from "effect"
import { CircuitBreaker, LlmError, type Pacer, Prices, RetryBudget, type Spend, Store } from "effect-steadfast"
import type { ClientKey } from "../../src/gateway/config/Resolved.js"
import type { Refusal } from "../../src/gateway/Refusal.js"
import type { Place } from "../../src/gateway/Shared.js"
import * as Budgets from "../../src/gateway/workers/Budgets.js"
import * as Places from "../../src/gateway/workers/Places.js"
import * as Port from "../../src/gateway/workers/Port.js"
import * as Queues from "../../src/gateway/workers/Queues.js"
import * as RemotePacer from "../../src/gateway/workers/RemotePacer.js"
import * as Reports from "../../src/gateway/workers/Reports.js"
import * as Restarts from "../../src/gateway/workers/Restarts.js"
import * as Seats from "../../src/gateway/workers/Seats.js"
import * as States from "../../src/gateway/workers/States.js"
import { cases } from "../support/cases.js"

/** A line in this process: what is sent is copied, as between processes. */
const line = () => {
  const primary: Port.Port = Port.make((message) => worker.receive(structuredClone(message)))
  const worker: Port.Port = Port.make((message) => primary.receive(structuredClone(message)))
  return { primary, worker }
}

const times = (size: number): ReadonlyArray<number> => Array.from({ length: size }, (_, index) => index)

const rateLimited = new LlmError.RateLimited({ provider: "p", message: "slow down", delivery: "rejected" })

describe("a line", () => {
  it.live("drops what it cannot read, and goes on", () =>
    Effect.gen(function* () {
      const { primary, worker } = line()
      primary.on("double", Schema.Number, (n, reply) => reply(n * 2))
      const strange = [
        null,
        1,
        "x",
        {},
        { steadfast: 1 },
        { steadfast: [null, [], ["ask"], ["shout", "double", 1, 1]] }
      ]
      for (const message of [
        ...strange,
        {
          steadfast: [
            ["answer", "double", 99, 1],
            ["note", "double", 0, "x"]
          ]
        }
      ]) {
        primary.receive(message)
      }
      assert.strictEqual(yield* worker.ask("double", 21, Schema.Number), 42)
      const lost = yield* Effect.flip(worker.ask("double", "many", Schema.Number))
      assert.strictEqual(lost.message, "double: no answer")
      assert.include((yield* Effect.flip(worker.ask("double", 1, Schema.String))).message, "of another kind")
      assert.strictEqual((yield* Effect.flip(worker.ask("unheard", 1, Schema.Number))).message, "unheard: no answer")
    })
  )

  it.live("answers with nothing when it is closed", () =>
    Effect.gen(function* () {
      const { worker } = line()
      const asked = yield* Effect.fork(Effect.flip(worker.ask("x", 1, Schema.Number)))
      yield* Effect.yieldNow()
      worker.close()
      assert.strictEqual((yield* Fiber.join(asked))._tag, "Lost")
    })
  )
})

interface Counted extends Store.Entry {
  readonly count: number
}

const increment = (state: Counted | undefined): readonly [number, Counted] => {
  const count = state?.count ?? 0
  return [count, { count: count + 1, keepUntil: null }]
}

describe("states in the primary", () => {
  it.live("lose no change, whoever makes it: each sees another number", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(FastCheck.array(FastCheck.constantFrom("a", "b"), { maxLength: 12 }), { maxLength: 4 }),
          (workers) =>
            Effect.gen(function* () {
              const table = States.table()
              const stores = workers.map(() => {
                const { primary, worker } = line()
                table.serve(primary)
                return States.store(worker)
              })
              const seen = yield* Effect.forEach(
                workers.flatMap((keys, at) => keys.map((key) => ({ key, store: stores[at] as Store.KeyedStore }))),
                ({ key, store }) =>
                  Effect.map(store.modify<Counted, number>(key, increment), (count) => `${key}${count}`),
                { concurrency: "unbounded" }
              )
              assert.strictEqual(new Set(seen).size, workers.flat().length)
            }).pipe(Effect.runPromise)
        ),
        { numRuns: cases(1000) }
      )
    )
  )

  it.live("are dropped when their time is over", () =>
    Effect.gen(function* () {
      const { primary, worker } = line()
      States.table().serve(primary)
      const store = States.store(worker)
      const put = (keepUntil: number) =>
        store.modify<Counted, number>("k", (state) => [
          state?.count ?? 0,
          { count: (state?.count ?? 0) + 1, keepUntil }
        ])
      assert.strictEqual(yield* put(Date.now() - 1), 0)
      assert.strictEqual(yield* put(Date.now() + 60_000), 0)
      assert.strictEqual(yield* put(Date.now() + 60_000), 1)
    })
  )

  it.live("of a primary that does not answer stop no call", () =>
    Effect.gen(function* () {
      const deaf = Port.make(() => {})
      const breaker = yield* Effect.provideService(CircuitBreaker.make(), Store.KeyedStore, States.store(deaf))
      const begun = performance.now()
      assert.strictEqual(yield* Effect.succeed("done").pipe(breaker.execute({ key: "k" })), "done")
      assert.isBelow(performance.now() - begun, 4000)
    }).pipe(Logger.withMinimumLogLevel(LogLevel.None))
  )

  it.live("end the change that throws, and no other", () =>
    Effect.gen(function* () {
      const { primary, worker } = line()
      States.table().serve(primary)
      const store = States.store(worker)
      const bad = store.modify<Counted, number>("k", () => {
        throw new Error("oops")
      })
      const [first, second, third] = yield* Effect.all(
        [store.modify("k", increment), bad, store.modify("k", increment)].map(Effect.exit),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual([first, third], [Exit.succeed(0), Exit.succeed(1)])
      assert.isTrue(second !== undefined && Exit.isFailure(second) && Cause.isDie(second.cause))
    })
  )
})

describe("money of a key", () => {
  const entering = { name: "k", requestsPerMinute: undefined, tokensPerMinute: undefined, maxConcurrent: undefined }
  const Lease = Schema.Struct({ lease: Schema.Number })

  it.live("is never lent twice, and what is not spent comes back", () =>
    Effect.promise(() =>
      FastCheck.assert(
        FastCheck.asyncProperty(
          FastCheck.array(
            FastCheck.record({
              worker: FastCheck.nat(2),
              need: FastCheck.nat(400),
              share: FastCheck.double({ min: 0, max: 1, noNaN: true }),
              ends: FastCheck.boolean()
            }),
            { maxLength: 30 }
          ),
          FastCheck.nat(2),
          (calls, victim) =>
            Effect.gen(function* () {
              const perDay = 1000
              const seats = Seats.make()
              const workers = times(3).map(() => {
                const { primary, worker } = line()
                return { worker, end: seats.serve(primary) }
              })
              let spent = 0
              let lent = 0
              const open: Array<() => void> = []
              for (const { ends, need, share, worker: at } of calls) {
                const { worker } = workers[at] as (typeof workers)[number]
                let place = 0
                const { lease } = yield* Effect.async<typeof Lease.Type>((resume) => {
                  place = worker.post("enter", { ...entering, perDay, tokens: 0, need }, (value) =>
                    resume(Effect.succeed(Schema.decodeUnknownSync(Lease)(value)))
                  )
                })
                const cost = Math.floor(lease * share)
                assert.isAtMost(spent + lent + lease, perDay)
                // What is held when a worker dies counts.
                worker.note("spent", { place, spent: 0, held: cost })
                const leave = () => worker.note("leave", { place, spent: cost, held: 0 })
                spent += cost
                if (ends) leave()
                else {
                  lent += lease - cost
                  if (at !== victim) open.push(leave)
                }
              }
              for (const { worker } of workers) worker.flush()
              workers[victim]?.end()
              for (const leave of open) leave()
              const survivor = workers[(victim + 1) % 3] as (typeof workers)[number]
              for (const { worker } of workers) worker.flush()
              const left = yield* survivor.worker.ask("enter", { ...entering, perDay, tokens: 0, need: 1e9 }, Lease)
              assert.strictEqual(left.lease, perDay - spent)
              assert.strictEqual(seats.used().k?.running, 1)
            }).pipe(Effect.runPromise)
        ),
        { numRuns: cases(2000) }
      )
    )
  )
})

describe("the account of a call", () => {
  const client: ClientKey = {
    name: "k",
    hash: "",
    models: undefined,
    requestsPerMinute: undefined,
    tokensPerMinute: undefined,
    maxConcurrent: undefined,
    usdPerDay: 0.0035,
    labels: {}
  }
  const prices = Prices.table({ "p/m": { input: 0, output: 100 } })
  const ask = { provider: "p", model: "m", prompt: 0, maxTokens: 10 }

  it.live("grows after an attempt that may have been billed, until the day's money is gone", () =>
    Effect.gen(function* () {
      const { primary, worker } = line()
      const seats = Seats.make()
      seats.serve(primary)
      const place = yield* Effect.async<Place>((resume) =>
        Places.make(worker).enter(client, { tokens: 0, usd: 0.001 }, (answer) =>
          resume("status" in answer ? Effect.die(answer.message) : Effect.succeed(answer))
        )
      )
      const scope = place.spend as Spend.Scope
      for (const _ of times(3)) {
        const hold = scope.hold(scope, ask, prices, 0)
        assert.strictEqual(hold._tag, "Hold")
        // The next one needs money that is not there before this one has ended.
        assert.strictEqual(scope.hold(scope, ask, prices, 0)._tag, "BudgetExceeded")
        if (hold._tag === "Hold") hold.settle({ delivery: "unknown" })
        yield* Effect.sleep("10 millis")
      }
      const refused = scope.hold(scope, ask, prices, 0)
      assert.strictEqual(
        refused._tag === "BudgetExceeded" && refused.message,
        "k: too little is left of the day's limit"
      )
      place.leave()
      yield* Effect.sleep("10 millis")
      assert.deepStrictEqual(seats.used(), { k: { running: 0, usdToday: 0.003 } })
    })
  )

  it.live("is not given, nor the place, where the primary does not answer", () =>
    Effect.gen(function* () {
      const answer = yield* Effect.async<Place | Refusal>((resume) =>
        Places.make(Port.make(() => {})).enter(client, { tokens: 0, usd: 0.001 }, (answer) =>
          resume(Effect.succeed(answer))
        )
      )
      assert.strictEqual("status" in answer && answer.status, 503)
    })
  )
})

describe("a retry budget", () => {
  it.live("has its ten retries once", () =>
    Effect.gen(function* () {
      const primary = Budgets.make()
      const budgets = times(3).map(() => {
        const { primary: port, worker } = line()
        primary.serve(port)
        return Budgets.budgets(worker)
      })
      const taken = yield* Effect.forEach(
        times(30),
        (index) =>
          RetryBudget.draw(() => "group")
            .take(rateLimited, 0, undefined, 0)
            .pipe(Effect.provideService(RetryBudget.RetryBudgets, budgets[index % 3] as RetryBudget.Budgets)),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(
        taken.filter((wait) => wait !== undefined),
        10
      )
    })
  )

  it.live("lets a hedge go only with a retry that it has drawn before", () =>
    Effect.gen(function* () {
      const { primary, worker } = line()
      Budgets.make().serve(primary)
      const clock = yield* Effect.clock
      const budget = Budgets.budgets(worker).of("group", clock)
      assert.isFalse(budget.draw(0))
      yield* Effect.sleep("20 millis")
      const drawn: Array<boolean> = []
      for (const _ of times(14)) {
        drawn.push(budget.draw(0))
        yield* Effect.sleep("5 millis")
      }
      assert.lengthOf(
        drawn.filter((is) => is),
        10
      )
    })
  )
})

describe("queues of all workers", () => {
  const stage = (limits?: Pacer.Options) =>
    Effect.gen(function* () {
      const queues = Queues.make((ready) => {
        for (const { primary } of lines) primary.note("ready-at", ready)
      })
      const lines = times(2).map(line)
      const ends = lines.map(({ primary }) => queues.serve(primary))
      const pacers = yield* Effect.forEach(lines, ({ worker }) => RemotePacer.make(worker)("p", limits))
      return { pacers: pacers as [Pacer.Pacer, Pacer.Pacer], ends: ends as [() => void, () => void] }
    })

  const key = { key: "k" }
  const two: Pacer.Options = { requests: { limit: 2, window: "1 second" } }

  it.live("give the places of a worker that is gone to others", () =>
    Effect.gen(function* () {
      const { ends, pacers } = yield* stage({ ...two, maxQueue: 2 })
      const [dead, alive] = pacers
      yield* Effect.all([dead.acquire(key), dead.acquire(key)])
      yield* Effect.fork(dead.acquire(key))
      const waiting = yield* Effect.fork(alive.acquire(key))
      yield* Effect.sleep("20 millis")
      const busy = yield* alive.state("k")
      assert.deepStrictEqual([busy.inFlight, busy.waiting], [2, 2])
      assert.isAbove(dead.readyAt("k"), 0)
      ends[0]()
      const left = yield* alive.state("k")
      assert.deepStrictEqual([left.inFlight, left.waiting], [0, 1])
      const permit = yield* Fiber.join(waiting)
      assert.isAbove(permit.queuedMillis, 100)
      permit.settle({}, 0, 0)
      yield* Effect.sleep("20 millis")
      assert.strictEqual((yield* alive.state("k")).inFlight, 0)
    })
  )

  it.live("are left by a call that is interrupted", () =>
    Effect.gen(function* () {
      const { pacers } = yield* stage(two)
      const [one, other] = pacers
      yield* Effect.all([one.acquire(key), one.acquire(key)])
      const waiting = yield* Effect.fork(one.acquire(key))
      yield* Effect.sleep("20 millis")
      assert.strictEqual((yield* other.state("k")).waiting, 1)
      yield* Fiber.interrupt(waiting)
      yield* Effect.sleep("20 millis")
      assert.strictEqual((yield* other.state("k")).waiting, 0)
    })
  )

  it.live("refuse with the errors of a pacer", () =>
    Effect.gen(function* () {
      const { pacers } = yield* stage({ ...two, tokens: { limit: 100 }, maxWait: 0 })
      const [pacer] = pacers
      const large = yield* Effect.flip(pacer.acquire({ ...key, provider: "openai", inputTokens: 1000 }))
      assert.instanceOf(large, LlmError.ContextLengthExceeded)
      assert.strictEqual(large.provider, "openai")
      const small = { ...key, outputTokens: 1 }
      yield* Effect.all([pacer.acquire(small), pacer.acquire(small)])
      const late = yield* Effect.flip(pacer.acquire(small))
      assert.instanceOf(late, LlmError.RateLimited)
      assert.isAbove(Duration.toMillis(late.hint ?? 0), 0)
      assert.strictEqual(late.delivery, "not-sent")
    })
  )

  it.live("pause for all when one is refused, and tell how long", () =>
    Effect.gen(function* () {
      const { pacers } = yield* stage()
      const [one, other] = pacers
      const refused = yield* Effect.flip(one.pace(Effect.fail(rateLimited), key))
      assert.isAbove(Duration.toMillis(refused.hint ?? 0), 100)
      yield* Effect.sleep("20 millis")
      assert.isAbove(other.readyAt("k"), 0)
      assert.isAbove((yield* other.state("k")).pausedUntil ?? 0, Date.now())
    })
  )
})

describe("sums", () => {
  const family = (type: string, values: ReadonlyArray<readonly [string, number]>) => ({
    type,
    help: "",
    shape: "",
    values
  })

  it("add what has one name and one type", () => {
    const all = [
      [["calls", family("counter", [["calls", 1]])]],
      [
        [
          "calls",
          family("counter", [
            ["calls", 2],
            ["calls{a}", 5]
          ])
        ],
        ["open", family("gauge", [["open", 3]])]
      ],
      [["calls", family("gauge", [["calls", 100]])]]
    ] as const
    assert.deepStrictEqual(Reports.sum(all), [
      [
        "calls",
        family("counter", [
          ["calls", 3],
          ["calls{a}", 5]
        ])
      ],
      ["open", family("gauge", [["open", 3]])]
    ])
  })

  it.live("keep the counts of a worker that is gone", () =>
    Effect.gen(function* () {
      const ports = new Set<Port.Port>()
      const reports = Reports.make(
        () => ports,
        () => ({})
      )
      const [one, two] = [line(), line()]
      const ends = [one, two].map(({ primary }) => {
        ports.add(primary)
        return reports.serve(primary)
      })
      for (const { worker } of [one, two]) {
        worker.on("metrics", Schema.Undefined, (_, reply) =>
          reply([
            ["calls", family("counter", [["calls", 2]])],
            ["open", family("gauge", [["open", 1]])]
          ])
        )
      }
      const ask = one.worker.ask("all-metrics", undefined, Schema.Array(Schema.Tuple(Schema.String, Schema.Any)))
      const count = Effect.map(ask, (all) => all.map(([name, { values }]) => [name, values[0][1]]))
      assert.deepStrictEqual(yield* count, [
        ["calls", 4],
        ["open", 2]
      ])
      ports.delete(two.primary)
      ends[1]?.()
      assert.deepStrictEqual(yield* count, [
        ["calls", 4],
        ["open", 1]
      ])
    })
  )
})

describe("restarts", () => {
  it("come later each time, and end where none serves", () => {
    let deaths = Restarts.none
    const waits: Array<number> = []
    for (const at of times(9)) {
      deaths = Restarts.died(deaths, at)
      waits.push(Restarts.waitOf(deaths))
    }
    assert.deepStrictEqual(waits, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000])
    assert.isFalse(Restarts.isHopeless(deaths, 2, 0))
    deaths = Restarts.died(deaths, 10)
    assert.isTrue(Restarts.isHopeless(deaths, 2, 0))
    assert.isFalse(Restarts.isHopeless(deaths, 2, 1))
    assert.lengthOf(Restarts.died(deaths, 100_000), 1)
  })
})
