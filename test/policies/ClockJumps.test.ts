/**
 * The wall time is set back or forward in the middle of a wait, while timers and the monotonic clock go on: whatever a
 * policy does, it does at the same moment as without.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Fiber, FastCheck as fc, Logger, LogLevel, Random, Redacted, Stream } from "effect"
import {
  Chat,
  ChatModel,
  CircuitBreaker,
  Deadline,
  KeyPool,
  LlmError,
  Pacer,
  Resilience,
  RetryBudget,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import { Fault, Reply, type Step } from "effect-steadfast/testing"
import { KeyedStore } from "../../src/policies/Store.js"
import { content, finish, recorded, scripted } from "../chat/support.js"
import { modelOver, reaching, serving } from "../streams/Life.support.js"
import { cases } from "../support/cases.js"
import { errorOf, hinted } from "../support/errors.js"
import { manualClock } from "../support/manualClock.js"
import { simulate } from "../support/simulate.js"

type Trace = ReadonlyArray<string | number | undefined>

/** The milliseconds since the start, by the clock that does not jump. */
const elapsed = Effect.map(Clock.currentTimeNanos, (nanos) => Number(nanos) / 1e6)

const times = () => {
  const seen: Array<string | number | undefined> = []
  const see = (what: string) => Effect.map(elapsed, (at) => void seen.push(what, at))
  return { seen, see }
}

const ending = (exit: Exit.Exit<unknown, unknown>): string =>
  Exit.isSuccess(exit)
    ? "success"
    : exit.cause._tag === "Fail" && LlmError.isLlmError(exit.cause.error)
      ? exit.cause.error._tag
      : exit.cause._tag

/** What is asked each so many milliseconds, so often; each may end when it likes. */
const each = <A, E, R>(millis: number, many: number, one: (nth: number) => Effect.Effect<A, E, R>) =>
  Effect.forEach(
    Array.from({ length: many }, (_, nth) => nth),
    (nth) => Effect.zipRight(Effect.sleep(nth * millis), one(nth)),
    { concurrency: "unbounded", discard: true }
  )

/** The endings of some effects, each with its time. */
const endings = <A, E, R>(many: number, millis: number, one: (nth: number) => Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const { see, seen } = times()
    yield* each(millis, many, (nth) => Effect.flatMap(Effect.exit(one(nth)), (exit) => see(`${nth} ${ending(exit)}`)))
    return seen
  })

const server = errorOf("ServerError")
const prompt = Chat.prompt("hi")

const answer: Chat.Response = {
  provider: "openai",
  model: "gpt",
  text: "ok",
  reasoning: "",
  toolCalls: [],
  finishReason: "stop",
  usage: { inputTokens: 1, outputTokens: 1 },
  id: undefined
} as never

/** A model that answers as it is told, each time after so many milliseconds, and notes when it was asked. */
const modelOf = (
  note: (what: string) => Effect.Effect<void>,
  key: string,
  ends: (nth: number) => readonly [millis: number, error?: LlmError.LlmError | undefined]
) => {
  let asked = 0
  const generate = Effect.suspend(() => {
    const [millis, error] = ends(asked++)
    return note(key).pipe(
      Effect.zipRight(Effect.sleep(millis)),
      Effect.zipRight(error === undefined ? Effect.succeed(answer) : Effect.fail(error))
    )
  })
  return ChatModel.make({
    provider: "openai",
    model: "gpt",
    key,
    generate: () => generate,
    stream: () =>
      Stream.fromIterableEffect(
        Effect.as(generate, [
          { _tag: "TextDelta", text: "ok" },
          { _tag: "Finish", reason: "stop" }
        ] satisfies Array<Chat.Event>)
      )
  })
}

/** The events of a stream over a faulty provider, each with its time, and its end. */
const streaming = (step: Step.Step, around: (model: ChatModel.ChatModel) => ChatModel.ChatModel) =>
  Effect.gen(function* () {
    const { see, seen } = times()
    const { model } = yield* scripted(step)
    yield* Effect.sleep(500)
    const exit = yield* Effect.exit(Stream.runForEach(around(model).stream(prompt), ({ _tag }) => see(_tag)))
    yield* see(ending(exit))
    return seen
  })

const storeIn = (rows: Map<string, string>): KeyedStore => ({
  modify: (key, f) =>
    Effect.sync(() => {
      const read = rows.get(key)
      const [answer, next] = f(read === undefined ? undefined : JSON.parse(read))
      if (next === undefined) rows.delete(key)
      else rows.set(key, JSON.stringify(next))
      return answer
    })
})

const bucket = { requests: { limit: 6, window: "1 minute" } } as const

const breaking = (breaker: CircuitBreaker.CircuitBreaker, options: { readonly downFor: number }) =>
  endings(12, 700, () =>
    Effect.flatMap(elapsed, (at) => (at < options.downFor ? Effect.fail(server) : Effect.sleep(100))).pipe(
      breaker.execute({ key: "k" })
    )
  )

const scenarios: Record<string, Effect.Effect<Trace, unknown>> = {
  "a retry waits, for itself and for a hint": Effect.gen(function* () {
    const { see, seen } = times()
    const failing: Array<LlmError.LlmError> = [server, hinted("9 seconds"), server]
    const policy = RetryPolicy.make({ maxAttempts: 4, initialDelay: "2 seconds", jitter: "none" })
    const attempt = Effect.zipRight(
      see("attempt"),
      Effect.suspend((): Effect.Effect<void, LlmError.LlmError> => failing.shift() ?? Effect.void)
    )
    yield* Resilience.deadline(Effect.retry(attempt, policy), "22 seconds")
    return seen
  }),
  "a retry budget is drawn on": Effect.gen(function* () {
    const { see, seen } = times()
    const draw = RetryBudget.draw(() => "group")
    yield* each(500, 90, (nth) =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(draw.take(server, 0, undefined, 20_000))
        const waited = yield* Fiber.join(fiber)
        if (waited !== undefined) yield* see(`${nth} ${waited}`)
      })
    )
    return seen
  }),
  "a circuit opens, and calls wait for it": Effect.flatMap(CircuitBreaker.make(), (breaker) =>
    breaking(breaker, { downFor: 12_000 })
  ),
  "a circuit opens, and calls are refused": Effect.flatMap(CircuitBreaker.make({ maxWait: 0 }), (breaker) =>
    Effect.gen(function* () {
      const { see, seen } = times()
      yield* each(250, 120, (nth) =>
        Effect.gen(function* () {
          const at = yield* elapsed
          const call = at < 9000 ? Effect.fail(server) : Effect.sleep(100)
          const exit = yield* Effect.exit(breaker.execute(call, { key: "k" }))
          yield* see(`${nth} ${ending(exit)} ${(breaker.readyAt("k") > at) as boolean}`)
        })
      )
      return seen
    })
  ),
  "the keys of a pool pause and are taken out": Effect.gen(function* () {
    const { see, seen } = times()
    const pool = yield* KeyPool.make({ keys: ["a", "b", "c"].map((key) => Redacted.make(key)) })
    const ends: Record<string, LlmError.LlmError> = { a: errorOf("AuthError"), b: errorOf("RateLimited") }
    const model = yield* ChatModel.pooled(pool, (key) => {
      const name = Redacted.value(key)
      return Effect.succeed(modelOf(see, name, (nth) => [300, nth % 3 === 0 ? (ends[name] ?? server) : undefined]))
    })
    const ended = yield* endings(60, 1500, () => model.generate(prompt))
    return [...seen, ...ended]
  }),
  "members that all are shut": Effect.gen(function* () {
    const { see, seen } = times()
    const breaker = yield* CircuitBreaker.make()
    const member = (key: string) =>
      modelOf(see, key, (nth) => [100, nth < 5 ? server : undefined]).pipe(ChatModel.breaker(breaker))
    const model = ChatModel.balance([member("a"), member("b")], { strategy: "fastest" })
    const ended = yield* endings(40, 400, () => model.generate(prompt))
    return [...seen, ...ended]
  }),
  "a deadline, from before a wait begins": endings(1, 0, () =>
    Effect.sleep("4 seconds").pipe(
      Effect.zipRight(Effect.flatMap(Deadline.remaining, (millis) => Effect.sleep(millis - 1500))),
      Effect.zipRight(Resilience.timeout(Effect.never, "1 second")),
      Resilience.deadline("10 seconds")
    )
  ),
  "a timeout of an attempt, and the deadline of all": Effect.gen(function* () {
    const { see, seen } = times()
    const model = modelOf(see, "a", () => [60_000]).pipe(
      ChatModel.timeout({ attempt: "3 seconds" }),
      ChatModel.retry(RetryPolicy.make({ initialDelay: "2 seconds", maxAttempts: 9, jitter: "none" })),
      ChatModel.deadline("20 seconds")
    )
    const ended = yield* endings(1, 0, () => model.generate(prompt))
    return [...seen, ...ended]
  }),
  "a first token that is late": streaming(
    Reply.text("a", { delay: "4 seconds", firstTokenDelay: "1 minute" }),
    ChatModel.timeout({ firstToken: "7 seconds" })
  ),
  "a stream that is idle": streaming(
    Fault.stall({ tokens: 3, pings: "1 second" }),
    ChatModel.timeout({ firstToken: "9 seconds", idle: "6 seconds" })
  ),
  "a slow stream in time, and then too long": streaming(
    Fault.slowTokens("2 seconds"),
    ChatModel.timeout({ attempt: "9 seconds", firstToken: "3 seconds", idle: "3 seconds" })
  ),
  "a reader that is slow": Effect.gen(function* () {
    const { see, seen } = times()
    const { model } = yield* scripted(Reply.text("word ".repeat(60)))
    const slowly = Stream.runForEach(ChatModel.deadline(model, "8 seconds").stream(prompt), ({ _tag }) =>
      Effect.zipRight(Effect.sleep("300 millis"), see(_tag))
    )
    const exit = yield* Effect.exit(slowly)
    yield* see(ending(exit))
    return seen
  }),
  "a hedge, once the times are known": Effect.gen(function* () {
    const { see, seen } = times()
    const first = modelOf(see, "first", (nth) => [nth % 12 === 11 ? 20_000 : 600 + (nth % 5) * 20])
    const model = ChatModel.hedge(
      first,
      modelOf(see, "second", () => [700]),
      { ratio: 0.2 }
    )
    const ended = yield* endings(48, 1000, () => Stream.runDrain(model.stream(prompt)))
    return [...seen, ...ended]
  }),
  "the time of a spend": endings(3, 1000, () =>
    Spend.within(
      Effect.zipRight(
        Effect.sleep("2 seconds"),
        Effect.flatMap(Spend.remaining, ({ millis }) => Effect.sleep(millis * 2))
      ),
      { time: "9 seconds" }
    )
  )
}

/** Those with timers outside of the fibers of the test. */
const timed: Record<string, Effect.Effect<Trace, unknown>> = {
  "a bucket gives its places": Effect.gen(function* () {
    const pacer = yield* Pacer.make(bucket)
    return yield* endings(12, 100, () => Effect.sleep(10).pipe(pacer.pace({ key: "k" })))
  }),
  "a bucket that is asked now and then": Effect.gen(function* () {
    const pacer = yield* Pacer.make({ ...bucket, maxWait: 0 })
    return yield* endings(200, 500, () => Effect.sleep(10).pipe(pacer.pace({ key: "k" })))
  }),
  "a key pauses after a rate limit, learns a rate and starts slowly": Effect.gen(function* () {
    const pacer = yield* Pacer.make({})
    let asked = 0
    return yield* endings(20, 300, () =>
      Effect.suspend(() => (++asked % 6 === 3 ? Effect.fail(hinted("7 seconds")) : Effect.sleep(200))).pipe(
        pacer.pace({ key: "k" })
      )
    )
  }),
  "an answer that is over while its connection stays open": Effect.gen(function* () {
    const { see, seen } = times()
    const { fetch } = serving(yield* Effect.clock, [
      [1000, content("hi")],
      [1000, finish("stop")]
    ])
    const model = yield* modelOver("openai-chat", "a plain client")
    const reading = Stream.runForEach(model.stream(prompt), ({ _tag }) => see(_tag))
    yield* see(ending(yield* Effect.exit(reaching(fetch)(reading))))
    return seen
  })
}

/** A wall time that is far from the monotonic one, and jumps. */
const wallOf =
  ({ at, by }: { readonly at: number; readonly by: number }) =>
  (now: number): number =>
    1_800_000_000_000 + now + (now < at ? 0 : by)

const still = wallOf({ at: 0, by: 0 })

const jump = fc.constantFrom(-3_600_000, -5000, 5000, 3_600_000)
const share = fc.nat(1000).map((nth) => nth / 1000)

const quietly = <A, E>(effect: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  effect.pipe(
    Effect.withRandom(Random.make("the same each time")),
    Effect.provide(RetryBudget.layer()),
    Logger.withMinimumLogLevel(LogLevel.None)
  )

const last = (trace: Trace): number => Math.max(...trace.filter((one) => typeof one === "number"))

const play = async (scenario: Effect.Effect<Trace, unknown>, wall: (now: number) => number): Promise<Trace> => {
  const { adjust, clock } = manualClock(wall)
  const running = Effect.runPromise(Effect.withClock(quietly(scenario), clock))
  await adjust(200_000)
  return await running
}

describe("a clock that jumps changes nothing", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    it(name, () => {
      const should = simulate(quietly(scenario), still)
      assert.isAbove(last(should), 4000)
      fc.assert(
        fc.property(jump, share, (by, share) => {
          const at = Math.round(share * last(should))
          assert.deepStrictEqual(simulate(quietly(scenario), wallOf({ at, by })), should)
        }),
        { numRuns: cases(100) }
      )
    })
  }

  for (const [name, scenario] of Object.entries(timed)) {
    it(name, async () => {
      const should = await play(scenario, still)
      assert.isAbove(last(should), 4000)
      await fc.assert(
        fc.asyncProperty(jump, share, async (by, share) => {
          const at = Math.round(share * last(should))
          assert.deepStrictEqual(await play(scenario, wallOf({ at, by })), should)
        }),
        { numRuns: cases(100) }
      )
    })
  }
})

describe("a record", () => {
  it("has the lengths of its call and attempts, and is stamped with the wall time", () => {
    fc.assert(
      fc.property(jump, fc.integer({ min: 1, max: 6000 }), (by, at) => {
        const wall = wallOf({ at, by })
        const policy = RetryPolicy.make({ initialDelay: "2 seconds", maxAttempts: 2, jitter: "none" })
        const model = modelOf(
          () => Effect.void,
          "a",
          (nth) => [2000, nth === 0 ? server : undefined]
        )
        const { records } = simulate(quietly(recorded(ChatModel.retry(model, policy).generate(prompt))), wall)
        const [record] = records
        assert.deepStrictEqual([record?.startedAt, record?.durationMillis], [wall(0), 6000])
        assert.deepStrictEqual(
          record?.attempts.map(({ durationMillis, startedAt }) => [startedAt, durationMillis]),
          [
            [wall(0), 2000],
            [wall(4000), 2000]
          ]
        )
      }),
      { numRuns: cases(100) }
    )
  })
})

describe("a circuit in a store that processes share", () => {
  it("does not stay open for as long as the clock was set back, and takes traffic when it said", () => {
    fc.assert(
      fc.property(fc.constantFrom(-3_600_000, -5000), fc.integer({ min: 1, max: 900 }), (by, at) => {
        const program = Effect.gen(function* () {
          const store = storeIn(new Map())
          const breaker = yield* Effect.provideService(CircuitBreaker.make({ maxWait: 0 }), KeyedStore, store)
          const attempt = Effect.flatMap(elapsed, (at) => (at === 0 ? Effect.fail(server) : Effect.void))
          const asked = Effect.exit(breaker.execute(attempt, { key: "k" }))
          yield* Effect.repeatN(asked, 2)
          const ready = breaker.readyAt("k")
          assert.isAtMost(ready, 1000)
          yield* Effect.sleep(at)
          // A look at it does not make the jump a part of it.
          yield* breaker.state("k")
          assert.strictEqual(breaker.readyAt("k"), ready)
          // The longest open time could be true; an hour could not.
          yield* Effect.sleep(1000 - at + (by === -5000 ? 5000 : 0))
          return ending(yield* asked)
        })
        assert.strictEqual(simulate(quietly(program), wallOf({ at, by })), "success")
      }),
      { numRuns: cases(100) }
    )
  })

  it("has the same times for all of them", () => {
    const rows = new Map<string, string>()
    const ask = (run: Effect.Effect<unknown, unknown>) =>
      Effect.flatMap(Effect.provideService(CircuitBreaker.make({ maxWait: 0 }), KeyedStore, storeIn(rows)), (breaker) =>
        Effect.map(Effect.repeatN(Effect.exit(breaker.execute(run, { key: "k" })), 2), (exit) => [
          ending(exit),
          breaker.readyAt("k")
        ])
      )
    // The monotonic clocks of both begin at 0, and their wall times half a second apart.
    const [, one] = simulate(quietly(ask(Effect.fail(server))), still)
    const [end, two] = simulate(quietly(ask(Effect.void)), (now) => still(now) + 500)
    assert.deepStrictEqual([end, two], ["CircuitOpen", Number(one) - 500])
  })
})
