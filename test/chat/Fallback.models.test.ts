import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import { Chat, ChatModel, ChatStream, CircuitBreaker, LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import { errorOf } from "../support/errors.js"
import { collect, collectRecords, only } from "../support/evidence.js"
import { under } from "../support/time.js"

/** A model that fails with `error`, or answers with its own name; and the requests that it got. */
const modelOf = (
  provider: string,
  options: {
    readonly error?: LlmError.LlmError
    readonly can?: ChatModel.Leaf["capabilities"]
    readonly group?: string
  } = {}
) => {
  const asked: Array<Chat.Request> = []
  const model = `${provider}-1`
  const ask = <A>(request: Chat.Request, answer: A): Effect.Effect<A, LlmError.LlmError> =>
    Effect.suspend(() => {
      asked.push(request)
      return options.error === undefined
        ? Effect.succeed(answer)
        : Effect.fail(LlmError.override(options.error, { provider, model }))
    })
  const events: ReadonlyArray<Chat.Event> = [
    { _tag: "Start", provider, model },
    { _tag: "TextDelta", text: provider },
    { _tag: "Finish", reason: "stop" }
  ]
  const leaf = ChatModel.make({
    provider,
    model,
    capabilities: options.can,
    group: options.group,
    generate: (request) =>
      ask(request, { provider, model, text: provider, toolCalls: [], finishReason: "stop" as const }),
    stream: (request) => Stream.unwrap(Effect.map(ask(request, events), Stream.fromIterable))
  })
  return { leaf, asked }
}

const tooLong = errorOf("ContextLengthExceeded", { status: 400 })
const hello = Chat.prompt("Hello")
const picture = Chat.request({
  messages: [Chat.user([{ type: "image", url: "https://example.com/a.png" }])]
})

/** What a model answers, whole and streamed, and the record of the whole answer. */
const both = (model: ChatModel.ChatModel, request: Chat.Request = hello) =>
  Effect.gen(function* () {
    const { layer, records } = collectRecords()
    const whole = yield* Effect.either(Effect.provide(model.generate(request), layer))
    const streamed = yield* Effect.either(ChatStream.collect(model.stream(request)))
    const say = (one: typeof whole) => (one._tag === "Right" ? one.right.text : one.left._tag)
    assert.strictEqual(say(streamed), say(whole))
    return { said: say(whole), record: only(records) }
  })

describe("a prompt that is too long", () => {
  it.effect("goes to a larger window, and the evidence says why", () =>
    Effect.gen(function* () {
      const small = modelOf("small", { error: tooLong, can: { contextWindow: 1000 } })
      const large = modelOf("large", { can: { contextWindow: 9000 } })
      const { record, said } = yield* both(small.leaf.pipe(ChatModel.orElse(large.leaf)))
      assert.strictEqual(said, "large")
      assert.deepStrictEqual(record.attempts[1]?.fallback, {
        from: "small/small-1",
        reason: "ContextLengthExceeded: large/large-1 takes 9000 tokens, small/small-1 1000"
      })
    })
  )

  it.effect("goes to no window of the same size, and the log says so", () =>
    Effect.gen(function* () {
      const evidence = collect()
      const small = modelOf("small", { error: tooLong, can: { contextWindow: 1000 } })
      const same = modelOf("same", { can: { contextWindow: 1000 } })
      const held = small.leaf.pipe(ChatModel.orElse(same.leaf))
      const { said } = yield* Effect.provide(both(held), evidence.layer)
      assert.strictEqual(said, "ContextLengthExceeded")
      assert.strictEqual(same.asked.length, 0)
      assert.include(evidence.lines[0]?.message, "not falling back to same/same-1: ContextLengthExceeded")
    })
  )

  it.effect("goes over a window that is too small to the one behind it", () =>
    Effect.gen(function* () {
      const first = modelOf("first", { error: tooLong, can: { contextWindow: 1000 } })
      const tiny = modelOf("tiny", { can: { contextWindow: 100 } })
      const large = modelOf("large", { can: { contextWindow: 9000 } })
      const long = Chat.prompt("word ".repeat(400))
      const held = first.leaf.pipe(ChatModel.orElse(tiny.leaf.pipe(ChatModel.orElse(large.leaf))))
      assert.strictEqual((yield* both(held, long)).said, "large")
      assert.strictEqual(tiny.asked.length, 0)
    })
  )
})

describe("who cannot do what is asked", () => {
  it.effect("is not asked after an error", () =>
    Effect.gen(function* () {
      const first = modelOf("first", { error: errorOf("ServerError") })
      const blind = modelOf("blind", { can: { images: false } })
      const seeing = modelOf("seeing", { can: { images: true } })
      const held = first.leaf.pipe(ChatModel.orElse(blind.leaf), ChatModel.orElse(seeing.leaf))
      const { record, said } = yield* both(held, picture)
      assert.strictEqual(said, "seeing")
      assert.strictEqual(blind.asked.length, 0)
      assert.strictEqual(record.attempts[1]?.fallback?.reason, "ServerError")
    })
  )
})

describe("rules", () => {
  it.effect("send a filtered prompt elsewhere only if asked to", () =>
    Effect.gen(function* () {
      const strict = modelOf("strict", { error: errorOf("ContentFiltered") })
      const other = modelOf("other")
      assert.strictEqual((yield* both(strict.leaf.pipe(ChatModel.orElse(other.leaf)))).said, "ContentFiltered")
      const asked = ChatModel.orElse(other.leaf, { when: { ContentFiltered: true } })
      assert.strictEqual((yield* both(strict.leaf.pipe(asked))).said, "other")
    })
  )

  it.effect("route by reason: each error to its own target", () =>
    Effect.gen(function* () {
      const route = (error: LlmError.LlmError) =>
        modelOf("first", { error }).leaf.pipe(
          ChatModel.orElse(modelOf("large").leaf, {
            when: (error) => error._tag === "ContextLengthExceeded"
          }),
          ChatModel.orElse(modelOf("other").leaf, { when: { ContextLengthExceeded: false } })
        )
      assert.strictEqual((yield* both(route(tooLong))).said, "large")
      assert.strictEqual((yield* both(route(errorOf("QuotaExhausted")))).said, "other")
      assert.strictEqual((yield* both(route(errorOf("InvalidRequest")))).said, "InvalidRequest")
    })
  )
})

/** A call without time to wait for its budget. */
const atOnce = <A, E>(effect: Effect.Effect<A, E>) => Effect.exit(Resilience.deadline(effect, "1 millis"))

describe("a fallback within the same provider and key group", () => {
  it.effect("draws on the retry budget, and deposits nothing", () =>
    Effect.gen(function* () {
      const first = modelOf("first", { error: errorOf("ServerError"), group: "one" })
      const second = modelOf("second", { error: errorOf("ServerError"), group: "one" })
      const held = first.leaf.pipe(ChatModel.orElse(second.leaf))
      yield* under(Effect.replicateEffect(atOnce(held.generate(hello)), 100))
      assert.strictEqual(first.asked.length, 100)
      assert.strictEqual(second.asked.length, 19)
    })
  )

  it.effect("is the first attempt of the call where a breaker refused the other model, and has no limit", () =>
    Effect.gen(function* () {
      const first = modelOf("first", { group: "one" })
      const second = modelOf("second", { error: errorOf("ServerError"), group: "one" })
      const breaker = yield* CircuitBreaker.make()
      yield* breaker.open("first")
      const held = first.leaf.pipe(ChatModel.breaker(breaker, { key: "first" }), ChatModel.orElse(second.leaf))
      yield* under(Effect.replicateEffect(atOnce(held.generate(hello)), 100))
      yield* under(Effect.replicateEffect(Effect.exit(Stream.runDrain(held.stream(hello))), 100))
      assert.strictEqual(first.asked.length, 0)
      assert.strictEqual(second.asked.length, 200)
      // The one after it is an attempt more. The calls above have earned ten.
      const third = modelOf("third", { error: errorOf("ServerError"), group: "one" })
      yield* under(Effect.replicateEffect(atOnce(held.pipe(ChatModel.orElse(third.leaf)).generate(hello)), 100))
      assert.strictEqual(third.asked.length, 19)
    })
  )

  it.effect("gets back what was answered, and to another group there is no limit", () =>
    Effect.gen(function* () {
      const first = modelOf("first", { error: errorOf("ServerError"), group: "one" })
      const answering = modelOf("second", { group: "one" })
      yield* under(Effect.replicateEffect(first.leaf.pipe(ChatModel.orElse(answering.leaf)).generate(hello), 100))
      assert.strictEqual(answering.asked.length, 100)
      const failing = modelOf("second", { error: errorOf("ServerError"), group: "two" })
      const away = first.leaf.pipe(ChatModel.orElse(failing.leaf), ChatModel.retry(RetryPolicy.none))
      yield* under(Effect.replicateEffect(Effect.exit(away.generate(hello)), 100))
      assert.strictEqual(failing.asked.length, 100)
    })
  )
})
