import { HttpClient } from "@effect/platform"
import { Cause, Clock, Effect, Fiber, Layer, Option, Redacted, Stream, TestClock } from "effect"
import { Call, type CallRecord, Chat, type ChatModel, type LlmError, OpenAi } from "effect-steadfast"
import { FaultyProvider, type Step } from "effect-steadfast/testing"

export const prompt = Chat.prompt("four words of prompt")

/**
 * A model of Chat Completions over a faulty provider.
 */
export const modelOf = (
  provider: { readonly client: HttpClient.HttpClient },
  options: Partial<OpenAi.Options> = {}
): Effect.Effect<ChatModel.ChatModel> =>
  OpenAi.make({ model: "m-1", apiKey: Redacted.make("key-1"), ...options }).pipe(
    Effect.provideService(HttpClient.HttpClient, provider.client),
    Effect.orDie
  )

/**
 * A model whose provider serves these steps, the last of them for ever.
 */
export const scripted = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script })
    return { provider, model: yield* modelOf(provider) }
  })

/**
 * What a reader saw of a stream: the events, when each came, and how and when it ended. Times count from its start.
 */
export const read = (self: Stream.Stream<Chat.Event, LlmError.LlmError>) =>
  Effect.gen(function* () {
    const start = yield* Clock.currentTimeMillis
    const events: Array<Chat.Event> = []
    const times: Array<number> = []
    const exit = yield* Effect.exit(
      Stream.runForEach(self, (event) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          events.push(event)
          times.push(now - start)
        })
      )
    )
    const ended = (yield* Clock.currentTimeMillis) - start
    const error = exit._tag === "Failure" ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
    return { events, times, ended, exit, error, tags: events.map((event) => event._tag), text: textOf(events) }
  })

export const textOf = (events: ReadonlyArray<Chat.Event>): string =>
  events.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")

/**
 * Runs under `TestClock` to its end, if that comes within `time`.
 */
export const elapse = <A, E, R>(effect: Effect.Effect<A, E, R>, time: "0 millis" | "1 minute" | "1 hour" = "1 hour") =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* TestClock.adjust(time)
    return yield* Fiber.join(fiber)
  })

/**
 * Reads a model's stream under `TestClock`.
 */
export const readAll = (model: ChatModel.ChatModel, request: Chat.Request = prompt) =>
  elapse(read(model.stream(request)))

/**
 * Runs an effect and returns its value with the call records.
 */
export const recorded = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const records: Array<CallRecord.CallRecord> = []
    const observer = Call.observe((record) =>
      Effect.sync(() => {
        records.push(record)
      })
    )
    return Effect.map(Effect.provide(effect, observer as Layer.Layer<never>), (value) => ({ value, records }))
  })

/**
 * Each attempt of a record in two words: how it ended, and with which error.
 */
export const attempts = (record: CallRecord.CallRecord | undefined): ReadonlyArray<string> =>
  record?.attempts.map((_) => `${_.outcome}${_.error === undefined ? "" : ` ${_.error._tag}`}`) ?? []

/**
 * A body of server-sent events, byte for byte.
 */
export const chunk = (choice: object, more: object = {}): string =>
  `data: ${JSON.stringify({ id: "c-1", model: "m-1-dated", choices: [{ index: 0, ...choice }], ...more })}\n\n`

export const content = (text: string): string => chunk({ delta: { content: text }, finish_reason: null })
export const finish = (reason: string): string => chunk({ delta: {}, finish_reason: reason })
export const usage = `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 2 } })}\n\n`
export const done = "data: [DONE]\n\n"
export const sse = { headers: { "content-type": "text/event-stream" } }
