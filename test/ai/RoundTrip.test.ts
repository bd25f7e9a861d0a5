import type { Response } from "@effect/ai"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Schema, Stream } from "effect"
import { Chat, type ChatModel, ChatStream, LlmError } from "effect-steadfast"
import { EffectAi } from "effect-steadfast/ai"
import { cases } from "../support/cases.js"
import { finish, ours, type Reply, theirs, usage } from "./support.js"

// -----------------------------------------------------------------------------
// conversations
// -----------------------------------------------------------------------------

/** What JSON keeps: `-0` is none of it. */
const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as unknown)
const word = fc.string({ minLength: 1, maxLength: 12 })
const text = fc.oneof(fc.constant(""), word, fc.constant('{"a":1}'), fc.constant("42"), fc.constant('"quoted"'))
const params = fc.dictionary(fc.constantFrom("a", "b", "city"), json)
const names = ["weather", "other"] as const

const wireData = fc.record({
  wire: fc.constantFrom("anthropic", "gemini"),
  provider: fc.constant("ours"),
  model: fc.constant("m-2"),
  reply: params
})

const maybe = <K extends string, A>(key: K, arb: fc.Arbitrary<A>): fc.Arbitrary<{ readonly [P in K]?: A }> =>
  fc.option(arb, { nil: undefined }).map((value) => (value === undefined ? {} : { [key]: value }) as { [P in K]?: A })

const merged = <A extends object, B extends object>(a: fc.Arbitrary<A>, b: fc.Arbitrary<B>): fc.Arbitrary<A & B> =>
  fc.tuple(a, b).map(([a, b]) => ({ ...a, ...b }))

const call: fc.Arbitrary<Chat.ToolCall> = merged(
  fc.record({ id: word, name: fc.constantFrom(...names), arguments: params }),
  maybe("providerData", wireData)
)

const calls = fc.uniqueArray(call, { maxLength: 3, selector: ({ id }) => id })

const media = fc.oneof<Array<fc.Arbitrary<Chat.ImagePart | Chat.FilePart>>>(
  fc.constant({ type: "image", data: "iVBORw0KGgo=", mediaType: "image/png" } as const),
  fc.constant({ type: "image", url: "https://example.com/a.png" } as const),
  fc.constant({ type: "file", data: "JVBERg==", mediaType: "application/pdf", name: "a.pdf" } as const),
  fc.constant({ type: "file", url: "https://example.com/a.pdf", mediaType: "application/pdf" } as const)
)

const user = fc.oneof(
  text.map((content) => Chat.user(content)),
  fc.tuple(text, media).map(([content, part]) => Chat.user([{ type: "text", text: content }, part]))
)

/** A turn: a question, and perhaps an answer with the results of its tools. */
const turn: fc.Arbitrary<ReadonlyArray<Chat.Message>> = fc
  .tuple(
    user,
    fc.boolean(),
    text,
    calls,
    fc.array(text, { minLength: 3, maxLength: 3 }),
    maybe("providerData", wireData)
  )
  .map(([question, isAnswered, content, toolCalls, results, data]) => [
    question,
    ...(isAnswered
      ? [
          { role: "assistant", content, ...(toolCalls.length === 0 ? {} : { toolCalls }), ...data } as Chat.Message,
          ...toolCalls.map(({ id }, index) => Chat.toolResult(id, results[index] ?? ""))
        ]
      : [])
  ])

const tools: ReadonlyArray<Chat.Tool> = names.map((name) => ({
  name,
  description: `the ${name}`,
  parameters: { type: "object", properties: { city: { type: "string" } }, additionalProperties: true }
}))

const choice = fc.constantFrom<NonNullable<Chat.Request["toolChoice"]>>("auto", "none", "required", { name: "weather" })

const format = fc.constant({
  type: "json-schema",
  name: "place",
  schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
} as const)

const request: fc.Arbitrary<Chat.Request> = merged(
  fc
    .tuple(fc.array(word, { maxLength: 1 }), fc.array(turn, { minLength: 1, maxLength: 3 }), choice)
    .map(([system, turns, toolChoice]) => ({
      messages: [...system.map(Chat.system), ...turns.flat()] as unknown as Chat.Request["messages"],
      tools,
      toolChoice
    })),
  maybe("responseFormat", format)
)

const counts = merged(
  fc.record({ inputTokens: fc.integer({ min: 5, max: 99 }), outputTokens: fc.integer({ min: 5, max: 99 }) }),
  merged(
    maybe("cachedInputTokens", fc.integer({ min: 0, max: 2 })),
    merged(
      maybe("cacheWriteTokens", fc.integer({ min: 0, max: 2 })),
      maybe("reasoningTokens", fc.integer({ min: 0, max: 4 }))
    )
  )
)

/** An answer of one of our leaves: some content, and an end that fits to it. */
const answer: fc.Arbitrary<Partial<Chat.Response>> = merged(
  fc
    .tuple(text, calls, fc.constantFrom("stop" as const, "length" as const, "other" as const))
    .map(([content, toolCalls, reason]) => ({
      text: content === "" && toolCalls.length === 0 ? "a" : content,
      toolCalls,
      finishReason: toolCalls.length > 0 && reason !== "length" ? ("tool-calls" as const) : reason
    })),
  merged(
    merged(maybe("reasoning", word), maybe("usage", counts)),
    merged(maybe("providerData", wireData), merged(maybe("id", word), maybe("requestId", word)))
  )
)

const fields = { provider: "ours", model: "m-2", message: "told", delivery: "rejected" } as const

const error: fc.Arbitrary<LlmError.LlmError> = fc.constantFrom(
  new LlmError.RateLimited({ ...fields, status: 429 }),
  new LlmError.AuthError({ ...fields, status: 401 }),
  new LlmError.ServerError(fields),
  new LlmError.ConnectionError(fields),
  new LlmError.InvalidRequest(fields),
  new LlmError.InvalidResponse(fields),
  new LlmError.ContentFiltered(fields),
  new LlmError.StreamInterrupted({ ...fields, received: 0, partial: "" }),
  new LlmError.CircuitOpen(fields)
)

const reply: fc.Arbitrary<Reply> = fc.oneof({ arbitrary: answer, weight: 4 }, { arbitrary: error, weight: 1 })

// -----------------------------------------------------------------------------
// outcomes
// -----------------------------------------------------------------------------

const encode = Schema.encodeSync(LlmError.LlmError)

const outcome = <A>(effect: Effect.Effect<A, LlmError.LlmError>) =>
  Effect.match(effect, { onFailure: (error) => ({ error: encode(error) }), onSuccess: (value) => ({ value }) })

/** Who answered is the target that was asked; everything else is kept. */
const kept = (response: Chat.Response) => {
  const { provider: _, ...rest } = response
  return rest
}

/** Neighbouring deltas as they came, and everything else but for who answered. */
const events = (model: ChatModel.ChatModel, request: Chat.Request) =>
  Effect.map(Stream.runCollect(model.stream(request)), (all) =>
    Array.from(all, (event) => (event._tag === "Start" ? { ...event, provider: "" } : event))
  )

const both = (model: ChatModel.ChatModel, request: Chat.Request) =>
  Effect.all({
    whole: outcome(Effect.map(model.generate(request), kept)),
    collected: outcome(Effect.map(ChatStream.collect(model.stream(request)), kept)),
    // Theirs streams no objects.
    events: request.responseFormat === undefined ? outcome(events(model, request)) : Effect.succeed(undefined)
  })

const target = { provider: "theirs", model: "m-1" }

/** Nobody else's signature goes to another wire; the conversation keeps it all the same. */
const messages = (asked: ReadonlyArray<Chat.Request>) => asked.map(({ messages }) => messages)

describe("a model of ours through theirs and back", () => {
  it.effect.prop(
    "keeps requests, answers, deltas, usage and errors",
    [request, reply],
    ([request, reply]) =>
      Effect.gen(function* () {
        const direct = ours(reply)
        const through = ours(reply)
        const service = yield* EffectAi.toLanguageModel(through.model)
        const back = EffectAi.fromLanguageModel(service, target)
        assert.deepStrictEqual(yield* both(back, request), yield* both(direct.model, request))
        assert.deepStrictEqual(messages(through.asked), messages(direct.asked))
        for (const { responseFormat, toolChoice, tools } of through.asked.slice(0, 1)) {
          assert.deepStrictEqual(
            { responseFormat, toolChoice, tools },
            {
              responseFormat: request.responseFormat,
              toolChoice: request.toolChoice,
              tools: request.tools
            }
          )
        }
      }),
    { fastCheck: { numRuns: cases(600, 8) } }
  )
})

// -----------------------------------------------------------------------------
// theirs
// -----------------------------------------------------------------------------

const metadata = fc.constantFrom({}, { anthropic: { signature: "s" } }, { openai: { itemId: "i" } })

const parts: fc.Arbitrary<ReadonlyArray<Response.PartEncoded>> = fc
  .tuple(
    metadata,
    maybe("reasoning", word),
    word,
    calls,
    fc.constantFrom("stop" as const, "length" as const, "other" as const),
    counts
  )
  .map(([metadata, { reasoning }, content, toolCalls, reason, counts]) => [
    { type: "response-metadata", id: "r-1", modelId: "m-dated" },
    ...(reasoning === undefined ? [] : [{ type: "reasoning", text: reasoning, metadata } as const]),
    { type: "text", text: content, metadata },
    ...toolCalls.map(({ arguments: params, id, name }) => ({ type: "tool-call", id, name, params, metadata }) as const),
    {
      ...finish(toolCalls.length > 0 && reason !== "length" ? "tool-calls" : reason),
      usage: usage(counts.inputTokens, counts.outputTokens)
    }
  ])

const shown = (content: ReadonlyArray<Response.AnyPart>) =>
  content.map((part) => {
    const { metadata: _, ...rest } = part
    return rest
  })

describe("a model of theirs through ours and back", () => {
  it.effect.prop(
    "keeps what it is asked and what it answers",
    [request, parts],
    ([request, parts]) =>
      Effect.gen(function* () {
        const text = request.responseFormat === undefined ? request : { ...request, responseFormat: undefined }
        const { asked, model, service } = yield* theirs(parts)
        // Their own answer, asked for directly with what our adapter asks.
        yield* model.generate(text)
        const options = asked[0]
        assert(options !== undefined)
        const again = yield* EffectAi.toLanguageModel(model)
        const ask = (one: typeof service, prompt = options.prompt) =>
          one.generateText({
            prompt,
            toolkit: {
              tools: Object.fromEntries(options.tools.map((tool) => [tool.name, tool])),
              handle: () => Effect.die("")
            },
            toolChoice: options.toolChoice,
            disableToolCallResolution: true
          } as never) as Effect.Effect<{ readonly content: ReadonlyArray<Response.AnyPart> }, never>
        const [plain, through] = [yield* ask(service), yield* ask(again)]
        assert.deepStrictEqual(shown(through.content), shown(plain.content))

        // The next turn of the conversation takes back what the first one said under their metadata.
        const message = Chat.reply(yield* model.generate(text))
        const next = { ...text, messages: [Chat.user("x"), message, Chat.user("y")] } as Chat.Request
        yield* model.generate(next)
        yield* ask(again, EffectAi.promptOf(through.content))
        assert.deepStrictEqual(asked.at(-1)?.prompt.content[0]?.content, asked.at(-2)?.prompt.content[1]?.content)
      }),
    { fastCheck: { numRuns: cases(600, 8) } }
  )
})
