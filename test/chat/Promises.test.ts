import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Stream } from "effect"
import { ChatModel, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { cases } from "../support/cases.js"
import { elapse, modelOf, prompt, read, readAll, recorded } from "./support.js"

/** A text in which every token names its position and its step. */
const tokens = (step: string, count: number): ReadonlyArray<string> =>
  Array.from({ length: count }, (_, i) => `<${step}:${i}>`)

const kinds = [
  "reply",
  "fragments",
  "slow",
  "slow start",
  "late",
  "reset",
  "cut",
  "stall",
  "pings",
  "error event",
  "refused",
  "hang",
  "503",
  "429",
  "401",
  "400",
  "garbage",
  "empty"
] as const

interface Draw {
  readonly kind: (typeof kinds)[number]
  readonly count: number
  readonly at: number
}

const stepOf = ({ at, count, kind }: Draw, name: string): Step.Step => {
  const chunks = tokens(name, count)
  const reply = Reply.text(chunks.join(""), { chunks })
  switch (kind) {
    case "reply":
      return reply
    case "fragments":
      return Reply.text(chunks.join(""), { chunks, fragment: at + 1 })
    case "slow":
      return Fault.slowTokens("4 seconds", reply)
    case "slow start":
      return Fault.slowFirstToken("8 seconds", reply)
    case "late":
      return Fault.slowHeaders("8 seconds", reply)
    case "reset":
      return Fault.resetInBody({ tokens: at, reply })
    case "cut":
      return Fault.earlyEnd({ tokens: at, reply })
    case "stall":
      return Fault.stall({ tokens: at, reply })
    case "pings":
      return Fault.stall({ tokens: at, reply, pings: "3 seconds" })
    case "error event":
      return Fault.errorEvent("overloaded", { afterTokens: at, reply })
    case "refused":
      return Fault.noConnection()
    case "hang":
      return Fault.hang
    case "503":
      return Fault.status(503)
    case "429":
      return Fault.rateLimited({ retryAfter: "2 seconds" })
    case "401":
      return Fault.unauthorized()
    case "400":
      return Fault.badRequest()
    case "garbage":
      return Fault.garbage
    case "empty":
      return Fault.emptyBody
  }
}

type Composition =
  | { readonly _tag: "Leaf"; readonly leaf: number }
  | { readonly _tag: "Retry"; readonly max: number; readonly of: Composition }
  | { readonly _tag: "Timeout"; readonly which: "attempt" | "firstToken" | "idle"; readonly of: Composition }
  | { readonly _tag: "Deadline"; readonly seconds: number; readonly of: Composition }
  | { readonly _tag: "OrElse"; readonly of: Composition; readonly that: Composition }

const leaves = 3

const { composition } = fc.letrec<{ composition: Composition }>((tie) => ({
  composition: fc.oneof(
    { maxDepth: 4, depthSize: "medium" },
    fc.record({ _tag: fc.constant("Leaf" as const), leaf: fc.nat({ max: leaves - 1 }) }),
    fc.record({ _tag: fc.constant("Retry" as const), max: fc.integer({ min: 1, max: 3 }), of: tie("composition") }),
    fc.record({
      _tag: fc.constant("Timeout" as const),
      which: fc.constantFrom("attempt" as const, "firstToken" as const, "idle" as const),
      of: tie("composition")
    }),
    fc.record({ _tag: fc.constant("Deadline" as const), seconds: fc.constantFrom(1, 5, 20), of: tie("composition") }),
    fc.record({ _tag: fc.constant("OrElse" as const), of: tie("composition"), that: tie("composition") })
  )
}))

const build = (from: Composition, models: ReadonlyArray<ChatModel.ChatModel>): ChatModel.ChatModel => {
  switch (from._tag) {
    case "Leaf":
      return models[from.leaf] ?? assert.fail("no such leaf")
    case "Retry":
      return build(from.of, models).pipe(
        ChatModel.retry(RetryPolicy.make({ maxAttempts: from.max, initialDelay: "1 second" }))
      )
    case "Timeout":
      return build(from.of, models).pipe(ChatModel.timeout({ [from.which]: "5 seconds" }))
    case "Deadline":
      return build(from.of, models).pipe(ChatModel.deadline(`${from.seconds} seconds`))
    case "OrElse":
      return build(from.of, models).pipe(ChatModel.orElse(build(from.that, models)))
  }
}

const draw: fc.Arbitrary<Draw> = fc
  .record({ kind: fc.constantFrom(...kinds), count: fc.integer({ min: 1, max: 4 }), at: fc.nat({ max: 4 }) })
  .map((drawn) => ({ ...drawn, at: Math.min(drawn.at, drawn.count) }))

const scripts = fc.array(fc.array(draw, { minLength: 1, maxLength: 4 }), { minLength: leaves, maxLength: leaves })

/** What was drawn, made real: a provider, and the model over it, which always ends some time. */
const setUp = (drawn: ReadonlyArray<ReadonlyArray<Draw>>, shape: Composition) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({
      rules: drawn.map((script, leaf) => ({
        model: `m-${leaf}`,
        script: script.map((step, i) => stepOf(step, `${leaf}.${i}`))
      }))
    })
    const models = yield* Effect.forEach(drawn, (_, leaf) => modelOf(provider, { model: `m-${leaf}` }))
    const texts = drawn.flatMap((script, leaf) => script.map((step, i) => tokens(`${leaf}.${i}`, step.count).join("")))
    return { provider, texts, model: build(shape, models).pipe(ChatModel.deadline("10 minutes")) }
  })

const runs = { fastCheck: { numRuns: cases(100, 10) } }

describe("strict mode, for any script and any composition", () => {
  it.effect.prop(
    "delivers a prefix of exactly one attempt and ends in exactly one way",
    [scripts, composition],
    ([drawn, shape]) =>
      Effect.gen(function* () {
        const { model, provider, texts } = yield* setUp(drawn, shape)
        const { records, value } = yield* recorded(readAll(model))
        const { error, exit, tags, text } = value

        // One end: Finish, last and once, or an error.
        const finishes = tags.filter((tag) => tag === "Finish").length
        assert.strictEqual(finishes, exit._tag === "Success" ? 1 : 0)
        if (finishes === 1) assert.strictEqual(tags.at(-1), "Finish")
        else assert.isDefined(error)

        // Start first and once, held back until there is content; Usage only before Finish.
        if (tags.length > 0)
          assert.deepStrictEqual([tags[0], tags.filter((tag) => tag === "Start").length], ["Start", 1])
        if (tags.length > 0 && finishes === 0) assert.include(tags, "TextDelta")
        if (tags.includes("Usage")) assert.strictEqual(tags.at(-2), "Usage")

        // The text of one attempt, complete if there is a Finish.
        const whole = texts.find((candidate) => candidate.startsWith(text))
        assert.isDefined(whole)
        if (finishes === 1) assert.include(texts, text)

        // One record, in which only the last attempt can have delivered or succeeded.
        assert.lengthOf(records, 1)
        const [record] = records
        const asked = yield* provider.requests
        assert.lengthOf(record?.attempts ?? [], asked.length)
        assert.strictEqual(record?.outcome, finishes === 1 ? "success" : "failure")
        assert.deepStrictEqual(
          record?.attempts.map((attempt) => attempt.outcome),
          asked.map((_, i) => (finishes === 1 && i === asked.length - 1 ? "success" : "failure"))
        )
        assert.deepStrictEqual(
          record?.attempts.map((attempt) => attempt.index),
          asked.map((_, i) => i + 1)
        )

        // Nobody is left on the line.
        for (const request of asked) assert.isTrue(request.hungUp || request.finishedAt !== undefined)
      }),
    runs
  )

  it.effect.prop(
    "generate gives the whole text of one attempt or an error",
    [scripts, composition],
    ([drawn, shape]) =>
      Effect.gen(function* () {
        const { model, provider, texts } = yield* setUp(drawn, shape)
        const { records, value } = yield* recorded(elapse(Effect.either(model.generate(prompt))))
        if (value._tag === "Right") assert.include(texts, value.right.text)
        const asked = yield* provider.requests
        assert.lengthOf(records, 1)
        assert.lengthOf(records[0]?.attempts ?? [], asked.length)
        for (const request of asked) assert.isTrue(request.hungUp || request.finishedAt !== undefined)
      }),
    runs
  )

  it.effect.prop(
    "a reader who leaves after any number of events leaves nobody on the line",
    [scripts, composition, fc.integer({ min: 1, max: 5 })],
    ([drawn, shape, count]) =>
      Effect.gen(function* () {
        const { model, provider } = yield* setUp(drawn, shape)
        const { records } = yield* recorded(elapse(read(Stream.take(model.stream(prompt), count))))
        for (const request of yield* provider.requests) {
          assert.isTrue(request.hungUp || request.finishedAt !== undefined)
        }
        assert.lengthOf(records, 1)
      }),
    runs
  )
})
