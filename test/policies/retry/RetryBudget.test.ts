import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, FastCheck as fc, Logger, LogLevel, Random, Schedule, TestClock } from "effect"
import { Chat, ChatModel, LlmError, Pacer, Resilience, RetryBudget, RetryPolicy } from "effect-steadfast"
import { breathe, cases } from "../../support/cases.js"
import { errorOf, hinted } from "../../support/errors.js"
import { collect, collectRecords } from "../../support/evidence.js"
import { simulate } from "../../support/simulate.js"
import { errorIn, failing, under } from "../../support/time.js"

describe("a budget", () => {
  it("has its cap at the start, and no more", () => {
    const budget = RetryBudget.make({ cap: 3 })
    assert.deepStrictEqual(
      [1, 2, 3, 4].map(() => budget.draw(0)),
      [true, true, true, false]
    )
  })

  it("earns a tenth with each first attempt", () => {
    const budget = RetryBudget.make({ cap: 1 })
    budget.draw(0)
    for (let i = 0; i < 9; i++) budget.deposit(0)
    assert.isFalse(budget.draw(0))
    budget.deposit(0)
    assert.isTrue(budget.draw(0))
  })

  it("earns one in ten seconds, for those that call seldom", () => {
    const budget = RetryBudget.make({ cap: 1 })
    budget.draw(0)
    assert.isFalse(budget.draw(9999))
    assert.isTrue(budget.draw(10_000))
  })

  it("never saves up more than its cap", () => {
    const budget = RetryBudget.make({ cap: 2 })
    for (let i = 0; i < 100; i++) budget.deposit(i)
    budget.refund(100)
    assert.strictEqual(budget.available(1e9), 2)
  })

  it("gives back what was drawn for an attempt that was answered", () => {
    const budget = RetryBudget.make({ cap: 1 })
    budget.draw(0)
    budget.refund(0)
    assert.isTrue(budget.draw(0))
  })

  it("earns nothing from a clock that goes back", () => {
    const budget = RetryBudget.make({ cap: 1 })
    budget.draw(50_000)
    assert.isFalse(budget.draw(0))
  })

  it("refuses options that mean nothing", () => {
    assert.throws(() => RetryBudget.make({ ratio: 2 }), "RetryBudget: ratio: found 2, expected a number from 0 to 1")
    assert.throws(() => RetryBudget.make({ ratio: Number.NaN }), RangeError)
    assert.throws(() => RetryBudget.make({ cap: 0 }), "RetryBudget: cap: found 0")
    assert.throws(() => RetryBudget.make({ reserve: 0 }), "RetryBudget: reserve: found 0, expected a duration above 0")
  })

  const charges: ReadonlyArray<readonly [string, boolean, LlmError.LlmError, number]> = [
    // what, is charged, error, wait
    ["a retry that waits for the second that a rate limit asks for", false, hinted("1 second"), 1000],
    ["one that waits for longer", false, hinted("1 second"), 1250],
    ["one that does not wait so long", true, hinted("1 second"), 999],
    ["another key at once", true, hinted("20 seconds"), 0],
    ["a hint of nothing", true, hinted(0), 0],
    ["a hint of nothing, after a backoff", true, hinted(0), 30_000],
    ["a hint of a millisecond", true, hinted("1 millis"), 500],
    ["a hint of just less than a second", true, hinted("999 millis"), 5000],
    ["a rate limit without a hint", true, errorOf("RateLimited"), 30_000],
    ["another error with a hint", true, errorOf("ServerError", { hint: Duration.seconds(1) }), 2000],
    ["the pause of a pacer, however short", false, Pacer.hinted(errorOf("RateLimited"), 500), 500]
  ]
  for (const [what, charged, error, wait] of charges) {
    it(`charges ${charged ? "" : "nothing for "}${what}`, () => {
      assert.strictEqual(RetryBudget.isCharged(error, wait), charged)
    })
  }
})

describe("the theorem", () => {
  /** One thing that happens to calls that share a budget; `pick` says to which. */
  const event = fc.record({
    what: fc.constantFrom("call", "fail", "answer", "cancel", "wait"),
    pick: fc.nat({ max: 1000 }),
    millis: fc.nat({ max: 20_000 })
  })

  it("attempts that were not answered retries ≤ N · (1 + ratio) + cap + reserve · T, at every moment", () => {
    fc.assert(
      fc.property(
        fc.record({
          ratio: fc.double({ min: 0, max: 1, noNaN: true }),
          cap: fc.integer({ min: 1, max: 12 }),
          reserve: fc.integer({ min: 1, max: 30_000 })
        }),
        fc.array(event, { maxLength: 120 }),
        (options, events) => {
          const budget = RetryBudget.make(options)
          let now = 0
          let firsts = 0
          let retries = 0
          let answeredRetries = 0
          const running: Array<{ retried: boolean }> = []
          for (const { millis, pick, what } of events) {
            const at = running.length === 0 ? -1 : pick % running.length
            const one = running[at]
            if (what === "wait") now += millis
            else if (what === "call") {
              budget.deposit(now)
              firsts += 1
              running.push({ retried: false })
            } else if (one !== undefined) {
              running.splice(at, 1)
              if (what === "answer" && one.retried) {
                budget.refund(now)
                answeredRetries += 1
              } else if (what === "fail" && budget.draw(now)) {
                retries += 1
                running.push({ retried: true })
              }
            }
            const bound = firsts * (1 + options.ratio) + options.cap + now / options.reserve
            assert.isAtMost(firsts + retries - answeredRetries, bound + 1e-6)
          }
        }
      ),
      { numRuns: cases(10_000) }
    )
  })
})

const target = { provider: "openai", model: "gpt-4o-mini" }

/** A model whose attempts end as `answer` says, one after the other, and how many there were. */
const modelOf = (answer: (attempt: number) => LlmError.LlmError | undefined, more: Partial<ChatModel.Leaf> = {}) => {
  let attempts = 0
  const generate = () =>
    Effect.suspend(() => {
      attempts += 1
      const error = answer(attempts)
      return error === undefined
        ? Effect.succeed({ ...target, text: "hi", toolCalls: [], finishReason: "stop" as const })
        : Effect.fail(error)
    })
  const model = ChatModel.fromLeaf({
    ...target,
    generate,
    open: () =>
      Effect.succeed(
        Effect.mapError(Effect.zipRight(generate(), Effect.never), (e) => ({ _tag: "Some", value: e }) as never)
      ),
    ...more
  })
  return { model, attempts: () => attempts }
}

const policy = RetryPolicy.make({ initialDelay: 0, maxAttempts: 4 })
/** A call without time to wait for its budget. */
const ask = (model: ChatModel.ChatModel) =>
  Effect.exit(Resilience.deadline(model.generate(Chat.prompt("Hello")), "1 millis"))

describe("ChatModel.retry", () => {
  it.effect("retries no more than the budget allows where everything fails", () =>
    Effect.gen(function* () {
      const { attempts, model } = modelOf(() => errorOf("ServerError"))
      const held = model.pipe(ChatModel.retry(policy))
      yield* under(Effect.replicateEffect(ask(held), 100))
      // 100 first attempts, 10 that were saved up, 9.9 that all but the first of them earned: there was no room for its own.
      assert.strictEqual(attempts(), 119)
    })
  )

  it.effect("retries all it needs to where retries are answered", () =>
    Effect.gen(function* () {
      const { attempts, model } = modelOf((attempt) => (attempt % 2 === 1 ? errorOf("ServerError") : undefined))
      const held = model.pipe(ChatModel.retry(policy))
      const { exit } = yield* under(Effect.replicateEffect(ask(held), 100))
      assert.strictEqual(attempts(), 200)
      assert.isTrue(exit._tag === "Success" && exit.value.every((one) => one._tag === "Success"))
    })
  )

  it.effect("says so, and fails with the last error", () =>
    Effect.gen(function* () {
      const evidence = collect()
      const { model } = modelOf(() => errorOf("ServerError"))
      const held = model.pipe(ChatModel.retry(policy))
      yield* under(Effect.provide(Effect.replicateEffect(ask(held), 20), evidence.layer))
      const last = evidence.lines.at(-1)
      assert.include(last?.message, "no budget left")
      assert.strictEqual(evidence.records.at(-1)?.error?._tag, "ServerError")
    })
  )

  it.effect("still falls back to another provider then", () =>
    Effect.gen(function* () {
      const { model } = modelOf(() => errorOf("ServerError"))
      const other = modelOf(() => undefined, { provider: "anthropic", model: "claude" })
      const held = model.pipe(ChatModel.retry(policy), ChatModel.orElse(other.model))
      const { exit } = yield* under(Effect.replicateEffect(ask(held), 50))
      assert.isTrue(exit._tag === "Success" && exit.value.every((one) => one._tag === "Success"))
    })
  )

  it.effect("draws nothing for a rate limit with a hint", () =>
    Effect.gen(function* () {
      const { attempts, model } = modelOf(() => hinted("1 second"))
      yield* under(
        Effect.replicateEffect(Effect.exit(model.pipe(ChatModel.retry(policy)).generate(Chat.prompt("Hello"))), 30)
      )
      assert.strictEqual(attempts(), 120)
    })
  )

  for (const hint of [0, 1, 999]) {
    it.effect(`draws for a rate limit with a hint of ${hint} ms`, () =>
      Effect.gen(function* () {
        const { attempts, model } = modelOf(() => hinted(Duration.millis(hint)))
        yield* under(Effect.replicateEffect(ask(model.pipe(ChatModel.retry(policy))), 300), "0 millis")
        // 300 first attempts, 10 that were saved up, and what was earned.
        assert.isAtMost(attempts(), 300 * 1.1 + 10)
      })
    )
  }

  it.effect("draws for a retry by a schedule that does not wait for the hint", () =>
    Effect.gen(function* () {
      const { attempts, model } = modelOf(() => hinted("10 seconds"))
      yield* under(Effect.replicateEffect(ask(model.pipe(ChatModel.retry(Schedule.recurs(50)))), 100), "0 millis")
      assert.isAtMost(attempts(), 100 * 1.1 + 10)
    })
  )

  it.effect("counts in a policy within another that is announced, and says why it ended", () =>
    Effect.gen(function* () {
      const reasons: Array<string> = []
      const { effect, times } = failing([errorOf("ServerError"), errorOf("ServerError"), errorOf("ServerError")])
      const drawing = RetryPolicy.announced(
        policy,
        RetryBudget.draw(() => "openai")
      )
      const retried = Effect.retry(effect, RetryPolicy.announced(drawing)).pipe(
        Effect.provideService(RetryPolicy.Listener, ({ verdict }) => Effect.sync(() => reasons.push(verdict.reason)))
      )
      yield* under(Effect.provide(Resilience.deadline(retried, "1 millis"), RetryBudget.layer({ ratio: 0, cap: 1 })))
      assert.strictEqual(times.length, 2)
      assert.deepStrictEqual(reasons, ["backoff", "budget"])
    })
  )

  it.effect("shares the budget of the provider and key group, and no other", () =>
    Effect.gen(function* () {
      const fails = () => errorOf("ServerError")
      const one = modelOf(fails)
      yield* under(Effect.replicateEffect(ask(one.model.pipe(ChatModel.retry(policy))), 50), "0 millis")
      const same = modelOf(() => errorOf("ServerError", { model: "gpt-4o" }), { model: "gpt-4o" })
      yield* ask(same.model.pipe(ChatModel.retry(policy)))
      assert.isAtMost(same.attempts(), 2)
      const other = modelOf(fails, { group: "openai, the other key" })
      yield* ask(other.model.pipe(ChatModel.retry(policy)))
      assert.strictEqual(other.attempts(), 4)
    })
  )

  it.effect("counts streams alike", () =>
    Effect.gen(function* () {
      const { attempts, model } = modelOf(() => errorOf("ServerError"))
      const held = model.pipe(ChatModel.retry(policy))
      const read = Effect.exit(
        Effect.scoped(Effect.flatten(ChatModel.deadline(held, "1 millis")[ChatModel.TypeId].open(Chat.prompt("Hello"))))
      )
      yield* under(Effect.replicateEffect(read, 100))
      assert.strictEqual(attempts(), 119)
    })
  )

  it.effect("has other numbers under a layer, or none", () =>
    Effect.gen(function* () {
      const count = (layer: typeof RetryBudget.layerUnlimited) =>
        Effect.gen(function* () {
          const { attempts, model } = modelOf(() => errorOf("ServerError"))
          yield* under(Effect.provide(Effect.replicateEffect(ask(model.pipe(ChatModel.retry(policy))), 50), layer))
          return attempts()
        })
      assert.strictEqual(yield* count(RetryBudget.layer({ ratio: 0, cap: 1 })), 51)
      assert.strictEqual(yield* count(RetryBudget.layerUnlimited), 200)
    })
  )

  it.effect("an interrupted retry gives nothing back", () =>
    Effect.gen(function* () {
      const { records: _, layer } = collectRecords()
      const clock = yield* Effect.clock
      const { model } = modelOf((attempt) => (attempt === 1 ? errorOf("ServerError") : undefined))
      const slow = ChatModel.fromLeaf({
        ...target,
        generate: (request, attempt) => (attempt.index === 1 ? model.generate(request) : Effect.never),
        open: () => Effect.never
      })
      const fiber = yield* Effect.fork(
        Effect.provide(slow.pipe(ChatModel.retry(policy)).generate(Chat.prompt("Hello")), layer)
      )
      yield* TestClock.adjust("1 second")
      yield* fiber.interruptAsFork(fiber.id())
      yield* TestClock.adjust("0 millis")
      const left = (yield* RetryBudget.RetryBudgets).of("openai", clock).available(yield* Clock.currentTimeMillis)
      assert.isBelow(left, 9.5)
    })
  )
})

describe("a retry that finds its budget empty", () => {
  const empty = RetryBudget.layer({ cap: 1, ratio: 0, reserve: "10 seconds" })
  const twice = RetryPolicy.make({ initialDelay: 0, maxAttempts: 2 })

  it.effect("waits in order until the budget has room, and the wait is part of its delay", () =>
    Effect.gen(function* () {
      const down = modelOf(() => errorOf("ServerError"))
      const again = ChatModel.retry(down.model, twice)
      const { millis } = yield* under(
        Effect.provide(
          Effect.forEach([0, 1, 2], () => Effect.exit(again.generate(Chat.prompt("Hello"))), {
            concurrency: "unbounded"
          }),
          empty
        )
      )
      assert.strictEqual(down.attempts(), 6)
      assert.strictEqual(millis, 20_000)
    })
  )

  it.effect(
    "gives up before its deadline, after 60 seconds or maxHint without one, and leaves nothing when interrupted",
    () =>
      Effect.gen(function* () {
        const never = RetryBudget.layer({ cap: 1, ratio: 0, reserve: "10 hours" })
        const { attempts, model } = modelOf(() => errorOf("ServerError"))
        const held = ChatModel.retry(model, twice)
        const ask = held.generate(Chat.prompt("Hello"))
        const run = Effect.gen(function* () {
          yield* under(ask, "0 millis")
          const limited = yield* under(Resilience.deadline(ask, "5 seconds"))
          assert.strictEqual(limited.millis, 4999)
          assert.strictEqual(errorIn(limited.exit)?._tag, "ServerError")
          assert.strictEqual((yield* under(ask)).millis, 60_000)
          for (const [maxHint, millis] of [
            ["10 minutes", 600_000],
            ["5 seconds", 60_000]
          ] as const) {
            const policy = RetryPolicy.make({ initialDelay: 0, maxAttempts: 2, maxHint })
            const waiting = ChatModel.retry(model, policy).generate(Chat.prompt("Hello"))
            assert.strictEqual((yield* under(waiting)).millis, millis)
          }
          assert.strictEqual((yield* under(Effect.timeout(ask, "3 seconds"))).millis, 3000)
          const before = attempts()
          const other = held.pipe(ChatModel.orElse(modelOf(() => undefined, { provider: "anthropic" }).model))
          assert.strictEqual((yield* under(other.generate(Chat.prompt("Hello")))).millis, 0)
          assert.strictEqual(attempts(), before + 1)
        })
        yield* Effect.provide(run, never)
      })
  )

  it("keeps the theorem, with calls that wait, leave and are answered in any order", async () => {
    const calls = fc.array(
      fc.record({
        start: fc.integer({ min: 0, max: 60_000 }),
        deadline: fc.integer({ min: 1, max: 90_000 }),
        cancelled: fc.option(fc.integer({ min: 1, max: 60_000 }), { nil: undefined }),
        fails: fc.integer({ min: 0, max: 5 })
      }),
      { minLength: 1, maxLength: 40 }
    )
    const numbers = fc.record({
      ratio: fc.double({ min: 0, max: 1, noNaN: true }),
      cap: fc.integer({ min: 1, max: 5 }),
      reserve: fc.integer({ min: 100, max: 30_000 })
    })
    await fc.assert(
      fc
        .asyncProperty(calls, numbers, fc.string(), async (given, options, seed) => {
          const attempts: Array<{ readonly at: number; readonly kind: "first" | "answered" | "lost" }> = []
          let now = () => 0
          const one = ({ cancelled, deadline, fails, start }: (typeof given)[number]) => {
            const { model } = modelOf((attempt) => {
              attempts.push({ at: now(), kind: attempt === 1 ? "first" : attempt > fails ? "answered" : "lost" })
              return attempt <= fails ? errorOf("ServerError") : undefined
            })
            const held = model.pipe(ChatModel.retry(policy), ChatModel.deadline(deadline))
            const asked = Effect.exit(held.generate(Chat.prompt("Hello")))
            const bounded = cancelled === undefined ? asked : Effect.asVoid(Effect.timeoutOption(asked, cancelled))
            return Effect.zipRight(Effect.sleep(start), Effect.asVoid(bounded))
          }
          const program = Effect.flatMap(Effect.clock, (clock) => {
            now = () => clock.unsafeCurrentTimeMillis()
            return Effect.forEach(given, one, { concurrency: "unbounded", discard: true })
          })
          simulate(
            program.pipe(
              Effect.provide(RetryBudget.layer(options)),
              Effect.withRandom(Random.make(seed)),
              Logger.withMinimumLogLevel(LogLevel.None)
            )
          )
          // At every moment: what was answered was paid back.
          for (const { at } of attempts) {
            const until = attempts.filter((one) => one.at <= at)
            const firsts = until.filter(({ kind }) => kind === "first").length
            const answered = until.filter(({ kind }) => kind === "answered").length
            assert.isAtMost(
              until.length - answered,
              firsts * (1 + options.ratio) + options.cap + at / options.reserve + 1e-6
            )
          }
        })
        .beforeEach(breathe),
      { numRuns: cases(10_000) }
    )
  })
})
