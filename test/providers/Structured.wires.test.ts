import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Cause, Effect, Exit, FastCheck as fc, Option, Schema, Stream } from "effect"
import { type CallRecord, ChatModel, type LlmError, Prices, RetryPolicy, Spend } from "effect-steadfast"
import { Reply, type Step } from "effect-steadfast/testing"
import { cuts, hasGrown } from "../chat/structured/support.js"
import { attempts, elapse, recorded } from "../chat/support.js"
import { cases, seed } from "../support/cases.js"
import { ask, modelOf, type Wire, wires } from "./Structured.support.js"
import { law } from "./support.js"

const Person = Schema.Struct({ name: Schema.NonEmptyString, age: Schema.optional(Schema.Int) })
const ada = { name: "Ada", age: 36 }
const json = JSON.stringify(ada)

/** 1 dollar for each token of the question, 10 for each of the answer. */
const prices = Prices.layer(
  Prices.table(
    Object.fromEntries(
      ["openai/gpt-4o-mini", "anthropic/claude-haiku-4-5", "gemini/gemini-3-flash-preview"].map((target) => [
        target,
        { input: 1_000_000, output: 10_000_000 }
      ])
    )
  )
)

const usage = { inputTokens: 10, outputTokens: 3 }
const usdOfOne = 10 + 3 * 10

type Told = ReadonlyArray<readonly [role: string, text: RegExp]>

interface Answer {
  readonly step: Step.Step
  /** The code of the error; none for a right answer. */
  readonly code?: (wire: Wire) => string | undefined
  readonly tag?: LlmError.Tag
  /** The turns after the question in the next request. `undefined`: there is no next request. */
  readonly told?: Told
}

const told = (text: string, why: RegExp): Told => [
  ["assistant", new RegExp(`^${text.replace(/[{}"]/g, "\\$&")}$`)],
  ["user", why]
]

const answers: Record<string, Answer> = {
  right: { step: Reply.text(json, { usage }) },
  fenced: { step: Reply.text(`\`\`\`json\n${json}\n\`\`\``, { usage }) },
  prose: {
    step: Reply.text("She is Ada", { usage }),
    code: () => "not-json",
    told: told("She is Ada", /^Your answer does not fit: found text \(10 characters\), expected one JSON value/)
  },
  "off the schema": {
    step: Reply.text('{"name":""}', { usage }),
    code: () => "misfit",
    told: told('{"name":""}', /^Your answer does not fit: answer\.name: found an empty string, expected/)
  },
  truncated: {
    step: Reply.text('{"name":"A', { usage, finish: "length" }),
    code: () => "truncated",
    told: told('{"name":"A', /^Your answer does not fit: found an answer that was cut at the token limit/)
  },
  refused: { step: Reply.refusal("I will not.", { usage }), tag: "ContentFiltered", code: ({ refused }) => refused },
  "a tool call": {
    step: Reply.toolCall({ name: "look", arguments: {}, id: "call_1" }, { usage }),
    code: () => "not-json",
    told: [["user", /^Your last answer does not fit: found tool calls and no text, expected JSON/]]
  },
  empty: {
    step: Reply.text("", { usage }),
    code: () => "not-json",
    told: [["user", /^Your last answer does not fit: found no text, expected JSON/]]
  }
}

type Result = { readonly value: typeof Person.Type } | { readonly error: LlmError.LlmError | undefined }

const ended = (exit: Exit.Exit<typeof Person.Type, LlmError.LlmError>): Result =>
  Exit.isSuccess(exit) ? { value: exit.value } : { error: Option.getOrUndefined(Cause.failureOption(exit.cause)) }

/** The value of a model, whole or from the last event of a stream. */
const asks: Record<string, (model: ChatModel.ChatModel) => Effect.Effect<Result>> = {
  whole: (model) =>
    Effect.map(Effect.exit(Effect.map(ChatModel.generateObject(model, Person, ask), ({ value }) => value)), ended),
  streamed: (model) =>
    ChatModel.streamObject(model, Person, ask).pipe(
      Stream.runLast,
      Effect.map(Option.filter((event) => event._tag === "Whole")),
      Effect.map((last) => (Option.isSome(last) && last.value._tag === "Whole" ? last.value.value : { name: "none" })),
      Effect.exit,
      Effect.map(ended)
    )
}

/** Once alone, and once with one retry after which the answer is right: results, records, requests, money. */
const run = (wire: Wire, step: Step.Step, asked: (model: ChatModel.ChatModel) => Effect.Effect<Result>) =>
  Effect.gen(function* () {
    const alone = yield* modelOf(wire, { script: [step] })
    const first = yield* elapse(asked(alone.model))
    const retried = yield* modelOf(wire, { script: [step, Reply.text(json, { usage })] })
    const held = retried.model.pipe(ChatModel.retry(RetryPolicy.make({ maxAttempts: 2 }), { mode: "restart" }))
    const spending = Effect.zip(asked(held), Spend.spent).pipe(Spend.within({ usd: 100_000 }))
    const { records, value } = yield* recorded(elapse(spending))
    const [last, spent] = "_tag" in value ? [{ error: value }, undefined] : value
    const bodies = (yield* retried.provider.requests).map(({ body }) => body)
    return { bodies, first, last, record: records[0], spent }
  }).pipe(Effect.provide(prices))

const usdOf = (record: CallRecord.CallRecord | undefined) => record?.attempts.map(({ usd }) => usd)

for (const [name, wire] of Object.entries<Wire>(wires)) {
  describe(name, () => {
    for (const [how, asked] of Object.entries(asks)) {
      it.effect(`no answer at all, ${how}: the provider's error, of which the model is not told`, () =>
        Effect.gen(function* () {
          const nothing = Reply.text("", { usage: { ...usage, outputTokens: 0 } })
          const { bodies, first, last, record } = yield* run(wire, nothing, asked)
          const error = "error" in first ? first.error : assert.fail("no error")
          assert.deepStrictEqual([error?._tag, error?.code], ["InvalidResponse", undefined])
          assert.deepStrictEqual(last, { value: ada })
          assert.deepStrictEqual(
            record?.attempts.map(({ correction }) => correction),
            [undefined, undefined]
          )
          assert.deepStrictEqual(wire.turns(bodies[1]), wire.turns(bodies[0]))
        })
      )
    }
    for (const [kind, { code, step, tag = "InvalidResponse", told }] of Object.entries(answers)) {
      // Gemini never answers with silence: its empty answer is that of the test above.
      if (kind === "empty" && name === "Gemini") continue
      for (const [how, asked] of Object.entries(asks)) {
        it.effect(`${kind}, ${how}`, () =>
          Effect.gen(function* () {
            const { bodies, first, last, record, spent } = yield* run(wire, step, asked)
            if (code === undefined) {
              assert.deepStrictEqual([first, last], [{ value: ada }, { value: ada }])
              assert.deepStrictEqual(attempts(record), ["success"])
              assert.deepStrictEqual([usdOf(record), spent?.usd, spent?.tokens], [[usdOfOne], usdOfOne, 13])
              assert.lengthOf(wire.turns(bodies[0]), 1)
              assert.nestedProperty(wire.schema(bodies[0]), "properties.age")
              return
            }
            const error = "error" in first ? first.error : assert.fail("no error")
            assert.deepStrictEqual([error?._tag, error?.code], [tag, code(wire)], error?.message)
            if (told === undefined) {
              assert.strictEqual("error" in last && last.error?._tag, tag)
              assert.deepStrictEqual([attempts(record), bodies.length], [[`failure ${tag}`], 1])
              return
            }
            assert.deepStrictEqual(last, { value: ada })
            assert.deepStrictEqual(attempts(record), [`failure ${tag}`, "success"])
            assert.deepStrictEqual(
              record?.attempts.map(({ correction, error, usd }) => [correction, error?.code, usd]),
              [
                [undefined, code(wire), usdOfOne],
                [true, undefined, usdOfOne]
              ]
            )
            assert.deepStrictEqual([spent?.usd, spent?.attempts], [2 * usdOfOne, 2])
            const asTold: Told = [["user", /^Who is she\?$/], ...told]
            const turns = wire.turns(bodies[1])
            // Anthropic's format puts turns of the same role together.
            const isJoined = name === "Anthropic" && told.length === 1
            assert.deepStrictEqual(
              turns.map(([role]) => role),
              isJoined ? ["user"] : asTold.map(([role]) => role)
            )
            for (const [index, [, words]] of asTold.entries()) {
              const text = turns[isJoined ? 0 : index]?.[1] ?? ""
              assert.match(isJoined ? (text.split("?")[index] ?? "").concat(index === 0 ? "?" : "") : text, words)
            }
            assert.deepStrictEqual(wire.schema(bodies[1]), wire.schema(bodies[0]))
          })
        )
      }
    }
  })
}

// -----------------------------------------------------------------------------
// laws
// -----------------------------------------------------------------------------

const Doc = Schema.Struct({
  title: Schema.String,
  at: Schema.optional(Schema.Date),
  tags: Schema.Array(Schema.Literal("new", "old")).pipe(Schema.maxItems(3)),
  parts: Schema.Array(
    Schema.Union(
      Schema.Struct({ kind: Schema.Literal("text"), text: Schema.NonEmptyString, size: Schema.optional(Schema.Int) }),
      Schema.Struct({ kind: Schema.Literal("rule"), width: Schema.NullOr(Schema.JsonNumber) })
    )
  ).pipe(Schema.maxItems(3))
})

/** Forms in which models write JSON. */
const forms: ReadonlyArray<(text: string) => string> = [
  (text) => text,
  (text) => `\n\n${text}\n`,
  (text) => `\`\`\`json\n${text}\n\`\`\``,
  (text) => `\`\`\`\n${text}\n\`\`\`\n`,
  (text) => `Here it is:\n\`\`\`json\n${text}\n\`\`\`\nDone.`
]

describe("streamObject", () => {
  for (const [name, wire] of Object.entries<Wire>(wires)) {
    law<[typeof Doc.Type, number, (text: string) => string, Array<number>, number]>(
      `grows to what generateObject gives, however it is cut: ${name}`,
      [
        Arbitrary.make(Doc),
        fc.constantFrom(0, 2),
        fc.constantFrom(...forms),
        fc.array(fc.nat(), { maxLength: 12 }),
        fc.integer({ min: 1, max: 200 })
      ],
      ([doc, indent, form, places, fragment]) =>
        Effect.gen(function* () {
          const encoded: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(Doc)(doc)))
          const text = form(JSON.stringify(encoded, null, indent))
          const chunks = cuts(text, places).filter((piece) => piece !== "")
          const { model } = yield* modelOf(wire, { script: [Reply.text(text, { chunks, fragment })] })
          const whole = yield* ChatModel.generateObject(model, Doc, ask)
          const events = Array.from(yield* Stream.runCollect(ChatModel.streamObject(model, Doc, ask)))
          assert.deepStrictEqual(whole.value, Schema.decodeUnknownSync(Doc)(encoded))
          const last = events.pop()
          if (last?._tag !== "Whole") return assert.fail(`ends with ${last?._tag}`)
          assert.deepStrictEqual(last.value, whole.value)
          let before: unknown
          for (const event of events) {
            if (event._tag !== "Partial") return assert.fail(`a ${event._tag} before the end`)
            assert.isTrue(hasGrown(before, event.value), `${JSON.stringify(before)} → ${JSON.stringify(event.value)}`)
            before = event.value
          }
          // Words before the JSON are no part of it, and it is not looked for behind them before the end.
          if (!text.startsWith("Here")) assert.deepStrictEqual(before, encoded)
        }),
      { fastCheck: { numRuns: cases(1000, 40), seed } }
    )
  }
})
