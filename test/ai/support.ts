import { AiError, LanguageModel, type Response, Telemetry } from "@effect/ai"
import { HttpClient, HttpClientRequest } from "@effect/platform"
import { Effect, Fiber, Stream, TestClock } from "effect"
import { type Attempt, type Chat, ChatModel, type LlmError } from "effect-steadfast"
import { EffectAi } from "effect-steadfast/ai"
import { FaultyProvider, type Step } from "effect-steadfast/testing"

type Part = Response.PartEncoded | Response.StreamPartEncoded

/** What a model of theirs does with a request: its parts, or how it fails. */
export type Turn = ReadonlyArray<Part> | Effect.Effect<ReadonlyArray<Part>, unknown>

/** A usage, as theirs writes it. */
export const usage = (inputTokens: number | undefined, outputTokens: number | undefined, more = {}) => ({
  inputTokens,
  outputTokens,
  totalTokens: inputTokens === undefined || outputTokens === undefined ? undefined : inputTokens + outputTokens,
  reasoningTokens: undefined,
  cachedInputTokens: undefined,
  ...more
})

export const finish = (
  reason: Response.FinishReason = "stop",
  metadata: Response.FinishPartMetadata = {}
): Response.FinishPartEncoded => ({ type: "finish", reason, usage: usage(3, 2), metadata })

/** A stream of turns: each part in a chunk of its own. */
const streamed = (turn: Turn): Stream.Stream<Part, unknown> =>
  Effect.isEffect(turn)
    ? Stream.flatMap(Stream.fromEffect(turn), (parts) => Stream.rechunk(Stream.fromIterable(parts), 1))
    : Stream.rechunk(Stream.fromIterable(turn), 1)

/**
 * A model of theirs, made by their own constructor, that serves turns by script, and the options that it was given.
 */
export const theirs = (...script: ReadonlyArray<Turn>) =>
  Effect.gen(function* () {
    const asked: Array<LanguageModel.ProviderOptions> = []
    const next = (options: LanguageModel.ProviderOptions): Turn => {
      asked.push({ ...options })
      return script[Math.min(asked.length, script.length) - 1] ?? []
    }
    const service = yield* LanguageModel.make({
      generateText: (options) =>
        Effect.suspend(() => {
          const turn = next(options)
          return (Effect.isEffect(turn) ? turn : Effect.succeed(turn)) as Effect.Effect<
            Array<Response.PartEncoded>,
            AiError.AiError
          >
        }),
      streamText: (options) =>
        Stream.suspend(() => streamed(next(options)) as Stream.Stream<Response.StreamPartEncoded, AiError.AiError>)
    })
    return { asked, service, model: EffectAi.fromLanguageModel(service, { provider: "theirs", model: "m-1" }) }
  })

/** What a leaf of ours does with a request: its answer, or its events, or how it fails. */
export type Reply = Partial<Chat.Response> | LlmError.LlmError

export const answerOf = (reply: Partial<Chat.Response>): Chat.Response => ({
  provider: "ours",
  model: "m-2",
  text: "",
  toolCalls: [],
  finishReason: "stop",
  ...reply
})

export const eventsOf = (response: Chat.Response): ReadonlyArray<Chat.Event> => [
  {
    _tag: "Start",
    provider: response.provider,
    model: response.model,
    ...(response.id === undefined ? {} : { id: response.id }),
    ...(response.requestId === undefined ? {} : { requestId: response.requestId })
  },
  ...(response.reasoning === undefined ? [] : [{ _tag: "ReasoningDelta", text: response.reasoning } as const]),
  ...Array.from(response.text.matchAll(/\s*\S+\s*/g), ([text]) => ({ _tag: "TextDelta", text }) as const),
  ...response.toolCalls.map((call) => ({ _tag: "ToolCall", ...call }) as const),
  ...(response.usage === undefined ? [] : [{ _tag: "Usage", usage: response.usage } as const]),
  {
    _tag: "Finish",
    reason: response.finishReason,
    ...(response.providerData === undefined ? {} : { providerData: response.providerData })
  }
]

const isError = (reply: Reply): reply is LlmError.LlmError => reply instanceof Error

/**
 * A leaf of ours that serves replies by script, and the requests that it was given.
 */
export const ours = (...script: ReadonlyArray<Reply>) => {
  const asked: Array<Chat.Request> = []
  const next = (request: Chat.Request, attempt: Attempt.Attempt): Effect.Effect<Chat.Response, LlmError.LlmError> => {
    asked.push(request)
    attempt.note({ status: 200 })
    const reply = script[Math.min(asked.length, script.length) - 1] ?? {}
    return isError(reply) ? Effect.fail(reply) : Effect.succeed(answerOf(reply))
  }
  const model = ChatModel.make({
    provider: "ours",
    model: "m-2",
    generate: (request, attempt) => Effect.suspend(() => next(request, attempt)),
    stream: (request, attempt) =>
      Stream.unwrap(
        Effect.map(
          Effect.suspend(() => next(request, attempt)),
          (answer) => Stream.fromIterable(eventsOf(answer))
        )
      )
  })
  return { asked, model }
}

/** Runs under `TestClock` to its end, if that comes within an hour. */
export const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust("1 hour")
    return yield* Fiber.join(fiber)
  })

// -----------------------------------------------------------------------------
// a provider of theirs over HTTP
// -----------------------------------------------------------------------------

interface Completion {
  readonly id: string
  readonly model: string
  readonly choices: ReadonlyArray<{ readonly message: { readonly content: string }; readonly finish_reason: string }>
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number }
}

const place = { module: "Tiny", method: "generateText" }

/**
 * A small provider for `@effect/ai` over a real `HttpClient`, whose errors and spans are made as `@effect/ai-openai`
 * makes them. It serves whole answers of text.
 */
export const tiny = (script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    const client = HttpClient.filterStatusOk(provider.client)
    const service = yield* LanguageModel.make({
      generateText: ({ span }) =>
        HttpClientRequest.post("https://api.openai.com/v1/chat/completions").pipe(
          HttpClientRequest.setHeaders({
            authorization: "Bearer sk-proj-9fK2mQ7xTzL4wVb8NcR1",
            accept: "application/json"
          }),
          HttpClientRequest.bodyUnsafeJson({
            model: "gpt-4o-mini",
            messages: [{ role: "user", content: "a secret prompt" }]
          }),
          client.execute,
          Effect.flatMap((response) => response.json),
          Effect.catchTags({
            RequestError: (error) => AiError.HttpRequestError.fromRequestError({ ...place, error }),
            ResponseError: (error) => AiError.HttpResponseError.fromResponseError({ ...place, error })
          }),
          Effect.map((json) => {
            const { choices, id, model, usage: counts } = json as Completion
            Telemetry.addGenAIAnnotations(span, {
              system: "openai",
              operation: { name: "chat" },
              response: { id, model },
              usage: { inputTokens: counts.prompt_tokens, outputTokens: counts.completion_tokens }
            })
            return [
              { type: "response-metadata", id, modelId: model },
              { type: "text", text: choices[0]?.message.content ?? "" },
              { ...finish(), usage: usage(counts.prompt_tokens, counts.completion_tokens) }
            ] as Array<Response.PartEncoded>
          })
        ),
      streamText: () => Stream.die("it has no streams")
    })
    const model = EffectAi.fromLanguageModel(service, { provider: "openai", model: "gpt-4o-mini" })
    return { provider, service, model }
  })
