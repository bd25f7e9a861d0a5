import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, TestClock } from "effect"
import { Chat, ChatModel, LlmError, RetryPolicy } from "effect-steadfast"
import * as Balance from "../../../src/chat/balance/Balance.js"
import * as CircuitBreaker from "../../../src/policies/circuit/CircuitBreaker.js"
import { errorOf } from "../../support/errors.js"
import { errorIn, under } from "../../support/time.js"
import { type Answer, errorTag, ledger, memberOf, ways } from "./Balance.support.js"

const prompt = Chat.prompt("Hello")

/** Members with scripted answers, and one model of them. */
const balanced = (
  answers: { readonly [name: string]: (nth: number) => Answer | undefined },
  options: Balance.BalanceOptions = {},
  more: { readonly [name: string]: { weight?: number; cost?: number; leaf?: Partial<ChatModel.Leaf> } } = {}
) => {
  const all = ledger()
  const members = Object.entries(answers).map(([name, answer]) => {
    const { leaf, ...rest } = more[name] ?? {}
    return { model: memberOf(all, name, answer, leaf), ...rest }
  })
  return { all, model: Balance.balance(members, options) }
}

const fine = () => undefined
const refusing = (hint?: Duration.DurationInput) => () => ({
  error: errorOf("CircuitOpen", {
    delivery: "not-sent",
    ...(hint === undefined ? {} : { hint: Duration.decode(hint) })
  })
})

for (const [name, ask] of Object.entries(ways)) {
  describe(`balance, asked to ${name}`, () => {
    it.effect("gives everyone a turn", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: fine, b: fine, c: fine })
        for (let i = 0; i < 9; i++) yield* ask(model, prompt)
        assert.deepStrictEqual(["a", "b", "c"].map(all.count), [3, 3, 3])
      })
    )

    it.effect("goes by weight", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: fine, b: fine }, {}, { a: { weight: 3 } })
        for (let i = 0; i < 12; i++) yield* ask(model, prompt)
        assert.deepStrictEqual(["a", "b"].map(all.count), [9, 3])
      })
    )

    it.effect("goes by cost", () =>
      Effect.gen(function* () {
        const { all, model } = balanced(
          { a: fine, b: fine },
          { strategy: "cheapest" },
          { a: { cost: 2 }, b: { cost: 1 } }
        )
        for (let i = 0; i < 5; i++) yield* ask(model, prompt)
        assert.strictEqual(all.count("b"), 5)
      })
    )

    it.effect("goes by time", () =>
      Effect.gen(function* () {
        const { all, model } = balanced(
          { slow: () => ({ millis: 2000 }), quick: () => ({ millis: 200 }) },
          { strategy: "fastest" }
        )
        for (let i = 0; i < 10; i++) yield* under(ask(model, prompt), "3 seconds")
        assert.deepStrictEqual(["slow", "quick"].map(all.count), [1, 9])
      })
    )

    it.effect("leaves those alone that are busy", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: () => ({ hangs: true }), b: fine })
        const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], () => Effect.fork(ask(model, prompt)))
        yield* TestClock.adjust("1 second")
        assert.strictEqual(all.count("a"), 1)
        assert.isAtLeast(all.count("b"), 3)
        yield* Fiber.interruptAll(fibers)
      })
    )

    it.effect("asks the next at once where a breaker refuses", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: refusing("10 seconds"), b: fine })
        for (let i = 0; i < 6; i++) assert.strictEqual(yield* ask(model, prompt), "b")
        assert.isAbove(all.count("a"), 0)
      })
    )

    it.effect("passes over those whose breaker is known to be open", () =>
      Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.make()
        const all = ledger()
        const a = memberOf(all, "a", fine, { model: "a" }).pipe(ChatModel.breaker(breaker))
        const b = memberOf(all, "b", fine, { model: "b" })
        yield* breaker.open(ChatModel.keyOf(a))
        const model = Balance.balance([a, b])
        for (let i = 0; i < 4; i++) assert.strictEqual(yield* ask(model, prompt), "b")
        yield* breaker.reset(ChatModel.keyOf(a))
        for (let i = 0; i < 4; i++) yield* ask(model, prompt)
        assert.isAbove(all.count("a"), 0)
      })
    )

    it.effect("lets other errors stand, and a retry choose anew", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: () => ({ error: errorOf("ServerError") }), b: fine })
        const policy = RetryPolicy.make({ initialDelay: "1 second" })
        const { exit } = yield* under(Effect.replicateEffect(ask(model.pipe(ChatModel.retry(policy)), prompt), 4))
        assert.deepStrictEqual(exit._tag === "Success" && exit.value, ["b", "b", "b", "b"])
        assert.isAbove(all.count("a"), 0)
      })
    )

    it.effect("spares one that fails at once, though it is never busy", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({
          a: () => ({ error: errorOf("ServerError") }),
          b: () => ({ millis: 2000 }),
          c: () => ({ millis: 2000 })
        })
        for (let i = 0; i < 100; i++) {
          yield* Effect.fork(Effect.exit(ask(model, prompt)))
          yield* TestClock.adjust("100 millis")
        }
        yield* TestClock.adjust("10 seconds")
        // A third would be its share; without sparing it would have all but a few.
        assert.isAtMost(all.count("a"), 20)
      })
    )

    it.effect("waits for the first that comes back, where nobody takes traffic", () =>
      Effect.gen(function* () {
        const gate = (nth: number) => (nth === 1 ? refusing("20 seconds")() : undefined)
        const { model } = balanced({ a: gate, b: refusing("1 hour") })
        const { exit, millis } = yield* under(ask(model, prompt))
        assert.strictEqual(exit._tag === "Success" && exit.value, "a")
        assert.isAtLeast(millis, 20_000)
        assert.isAtMost(millis, 20_200)
      })
    )

    it.effect("fails with the soonest hint where that would take too long", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: refusing("90 seconds"), b: refusing("2 minutes") })
        const { exit, millis } = yield* under(ask(model, prompt))
        const error = errorIn(exit)
        assert.strictEqual(error?._tag, "CircuitOpen")
        assert.strictEqual(error?.message, "none of the 2 models takes traffic")
        assert.strictEqual(Duration.toMillis(error?.hint ?? Duration.infinity), 90_000)
        assert.strictEqual(error?.delivery, "not-sent")
        assert.strictEqual(millis, 0)
        assert.deepStrictEqual([all.count("a"), all.count("b")], [1, 1])
      })
    )

    it.effect("does not wait where it was told not to, or the deadline is nearer", () =>
      Effect.gen(function* () {
        const impatient = balanced({ a: refusing("1 second") }, { maxWait: 0 })
        assert.strictEqual((yield* under(ask(impatient.model, prompt))).millis, 0)
        const late = balanced({ a: refusing("10 seconds") }).model.pipe(ChatModel.deadline("9 seconds"))
        const { exit, millis } = yield* under(ask(late, prompt))
        assert.deepStrictEqual([errorTag(exit), millis], ["CircuitOpen", 0])
      })
    )

    it.effect("waits no longer in all than it was told to", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: refusing("10 seconds") }, { maxWait: "35 seconds" })
        const { exit, millis } = yield* under(ask(model, prompt))
        assert.strictEqual(errorTag(exit), "CircuitOpen")
        assert.isAtMost(millis, 35_000)
        assert.isAbove(all.count("a"), 2)
      })
    )

    it.effect("keeps a session with its member, while that takes traffic", () =>
      Effect.gen(function* () {
        let out = ""
        const gate = (name: string) => () => (out === name ? refusing("1 second")() : undefined)
        const { model } = balanced(
          { a: gate("a"), b: gate("b"), c: gate("c") },
          { affinity: (request) => request.messages.map((message) => message.role).join() }
        )
        const first = yield* ask(model, prompt)
        for (let i = 0; i < 5; i++) assert.strictEqual(yield* ask(model, prompt), first)
        out = first
        const second = yield* ask(model, prompt)
        assert.notStrictEqual(second, first)
        assert.strictEqual(yield* ask(model, prompt), second)
        out = ""
        assert.strictEqual(yield* ask(model, prompt), first)
      })
    )

    it.effect("asks only those that can do what the request needs", () =>
      Effect.gen(function* () {
        const { all, model } = balanced({ a: fine, b: fine }, {}, { a: { leaf: { capabilities: { tools: false } } } })
        const tools = [{ name: "f", parameters: {} }]
        for (let i = 0; i < 4; i++) yield* ask(model, { ...prompt, tools })
        assert.strictEqual(all.count("b"), 4)
        for (let i = 0; i < 4; i++) yield* ask(model, prompt)
        assert.isAbove(all.count("a"), 0)
      })
    )

    it.effect("leaves it to the provider to say so where nobody can", () =>
      Effect.gen(function* () {
        const cannot = { leaf: { capabilities: { tools: false } } }
        const { model } = balanced(
          { a: fine, b: fine },
          {},
          { a: cannot, b: { leaf: { capabilities: { tools: false, images: false } } } }
        )
        yield* ask(model, { ...prompt, tools: [{ name: "f", parameters: {} }] })
      })
    )
  })
}

describe("what is known of a balanced model", () => {
  const about = (model: ChatModel.ChatModel) => model[ChatModel.TypeId]

  it.effect("is its targets, and the earliest time", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make()
      const all = ledger()
      const [a, b] = ["a", "b"].map((model) =>
        memberOf(all, model, fine, { model }).pipe(ChatModel.breaker(breaker, { key: model }))
      ) as [ChatModel.ChatModel, ChatModel.ChatModel]
      const model = Balance.balance([a, { model: b, weight: 2 }])
      assert.deepStrictEqual(
        about(model).targets.map((target) => target.model),
        ["a", "b"]
      )
      yield* breaker.open("a")
      assert.strictEqual(about(model).readyAt(), 0)
      yield* breaker.open("b")
      assert.strictEqual(about(model).readyAt(), Number.POSITIVE_INFINITY)
    })
  )

  it("is how they go on, where they all do so alike", () => {
    const all = ledger()
    const leaf = (name: string, continuation: "prefill" | "turn") => memberOf(all, name, fine, { continuation })
    assert.strictEqual(about(Balance.balance([leaf("a", "turn"), leaf("b", "turn")])).continuation, "turn")
    assert.isUndefined(about(Balance.balance([leaf("a", "turn"), leaf("b", "prefill")])).continuation)
  })

  it("is a name of all names", () => {
    const all = ledger()
    const a = memberOf(all, "a", fine)
    const b = memberOf(all, "b", fine, { model: "other" })
    assert.strictEqual(Balance.balance([a, b, a]).name, "openai/gpt + openai/other")
  })

  it("refuses options that mean nothing", () => {
    const all = ledger()
    assert.throws(() => Balance.balance([]), "Balancer: members: found none")
    assert.throws(() => Balance.balance([{ model: memberOf(all, "a", fine), weight: 0 }]), RangeError)
  })
})

describe("affinity", () => {
  it.effect("does not depend on where a member stands in the list", () =>
    Effect.gen(function* () {
      const all = ledger()
      const members = ["a", "b", "c", "d"].map((name) => memberOf(all, name, fine))
      const affinity = (request: Chat.Request) => String(request.maxTokens)
      const one = Balance.balance(members, { affinity })
      const other = Balance.balance([...members].reverse(), { affinity })
      const fewer = Balance.balance(members.slice(1), { affinity })
      for (let session = 1; session <= 40; session++) {
        const request = { ...prompt, maxTokens: session }
        const chosen = yield* ways.generate(one, request)
        assert.strictEqual(yield* ways.generate(other, request), chosen)
        if (chosen !== "a") assert.strictEqual(yield* ways.generate(fewer, request), chosen)
      }
      assert.strictEqual(new Set(all.names()).size, 4)
    })
  )
})

describe("a model of models", () => {
  it.effect("is one model: its attempts are those of one call, and a fallback takes over from it", () =>
    Effect.gen(function* () {
      const { model } = balanced({ a: refusing("1 hour"), b: refusing("1 hour") })
      const last = memberOf(ledger(), "last", fine, { provider: "anthropic", model: "claude" })
      const assistant = model.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(last))
      assert.strictEqual(yield* ways.generate(assistant, prompt), "last")
    })
  )

  it.effect("does not run again what may have been run", () =>
    Effect.gen(function* () {
      const error = errorOf("CircuitOpen", { delivery: "unknown" })
      const { all, model } = balanced({ a: () => ({ error }), b: () => ({ error }) })
      const { exit } = yield* under(ways.generate(model, { ...prompt, idempotent: false }))
      assert.strictEqual(errorIn(exit)?._tag, "CircuitOpen")
      assert.strictEqual(all.names().length, 1)
      assert.isFalse(LlmError.isRetryable(errorIn(exit) ?? error))
    })
  )
})
