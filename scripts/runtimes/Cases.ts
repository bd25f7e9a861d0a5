/**
 * What can happen to a request on its way, and what the caller should then see: the same on every runtime and client.
 */
import type { HttpClient } from "@effect/platform"
import { Cause, Clock, Effect, Exit, Fiber, Redacted, Stream } from "effect"
import { Chat, ChatModel, ChatStream, LlmError, OpenAi, RetryPolicy } from "effect-steadfast"
import type { Places } from "./Servers.js"

/** One thing that can happen. */
export interface Case {
  readonly name: string
  /** What the caller should see. */
  readonly expected: string
  /** What is true as well, but says less: not every client tells more. */
  readonly weaker?: ReadonlyArray<string>
  /** Why a client says less. */
  readonly why?: string
  readonly run: (places: Places) => Effect.Effect<string, unknown, HttpClient.HttpClient>
}

/** What an error says to the policies above it. */
const told = (error: unknown): string => {
  if (!LlmError.isLlmError(error)) {
    const tag = typeof error === "object" && error !== null && "_tag" in error ? error._tag : undefined
    return tag === "ConfigError" ? tag : `${String(tag)}, which is no LlmError`
  }
  return [
    error._tag === "Timeout" ? `Timeout (${error.phase})` : error._tag,
    error.delivery,
    LlmError.isRetryable(error) ? "retried" : "not retried",
    LlmError.isFallbackable(error) ? "fallback" : "no fallback"
  ].join(", ")
}

/** What the caller of `self` sees: its text, or its failure. */
const seen = (self: Effect.Effect<string, unknown, HttpClient.HttpClient>) =>
  Effect.map(Effect.exit(self), (exit) => {
    if (Exit.isSuccess(exit)) return exit.value
    const error = Cause.failureOption(exit.cause)
    return error._tag === "Some" ? told(error.value) : "a defect"
  })

/** Longer than undici's time to connect, which is 10 s. */
const patience = "13 seconds"

const prompt = Chat.prompt("hi")

const modelAt = (baseUrl: string, options: Partial<OpenAi.Options> = {}) =>
  Effect.map(OpenAi.make({ model: "m-1", apiKey: Redacted.make("key-1"), baseUrl, ...options }), (model) =>
    ChatModel.timeout(model, { attempt: patience, firstToken: patience, idle: patience })
  )

/** The text of one answer. */
const ask = (baseUrl: string, options?: Partial<OpenAi.Options>) =>
  Effect.flatMap(modelAt(baseUrl, options), (model) => Effect.map(model.generate(prompt), ({ text }) => text))

const asking =
  (url: (places: Places) => string, options?: Partial<OpenAi.Options>): Case["run"] =>
  (places) =>
    ask(`${url(places)}/v1`, options)

/** All of these, which should say the same. */
const all = (each: ReadonlyArray<Effect.Effect<string, unknown, HttpClient.HttpClient>>): ReturnType<Case["run"]> =>
  Effect.map(Effect.forEach(each, seen), (words) => [...new Set(words)].join("; "))

/** What the server knows of the requests with this id. */
const known = (places: Places, id: string) =>
  Effect.promise(
    () => fetch(`${places.http}/count/${id}`).then((response) => response.json()) as Promise<Record<string, unknown>>
  )

const until = (places: Places, id: string, is: (known: Record<string, unknown>) => boolean) =>
  Effect.iterate(false, {
    while: (found) => !found,
    body: () => Effect.delay(Effect.map(known(places, id), is), "20 millis")
  })

const unique = () => Math.random().toString(36).slice(2)

const lost = "ConnectionError, unknown, retried, fallback"
const unsent = "ConnectionError, not-sent, retried, fallback"
const vague = "ConnectionError, unknown, not retried, fallback"
const unfit = "ConnectionError, not-sent, not retried, fallback"

export const cases: ReadonlyArray<Case> = [
  { name: "an answer", expected: "hello", run: asking(({ http }) => `${http}/ok`) },
  {
    name: "a stream",
    expected: "hello",
    run: ({ http }) =>
      Effect.flatMap(modelAt(`${http}/stream/1/v1`), (model) =>
        Effect.map(ChatStream.collect(model.stream(prompt)), ({ text }) => text)
      )
  },
  {
    name: "429 with a hint, then an answer",
    expected: "hello after the hint",
    run: ({ http }) =>
      Effect.gen(function* () {
        const model = yield* modelAt(`${http}/limited/${unique()}/v1`)
        const start = yield* Clock.currentTimeMillis
        const { text } = yield* ChatModel.retry(model, RetryPolicy.standard).generate(prompt)
        return `${text} ${(yield* Clock.currentTimeMillis) - start >= 295 ? "after" : "before"} the hint`
      })
  },
  {
    name: "user and password in the address",
    expected: "hello",
    run: ({ http }) => ask(`${http.replace("//", "//me:secret@")}/basic/1/v1`, { apiKey: undefined })
  },
  { name: "a port that refuses", expected: unsent, run: asking(({ refused }) => refused) },
  { name: "a host that does not exist", expected: unsent, run: asking(() => "http://no-such-host.invalid") },
  {
    name: "a reset as it connects",
    expected: unsent,
    weaker: [lost],
    why: "The reset comes at once, or after the client has written: then nobody knows what the server read.",
    run: asking(({ reset }) => reset)
  },
  {
    name: "a reset in the handshake of TLS",
    expected: unsent,
    weaker: [lost],
    why: "These clients do not tell such a reset from one after the request.",
    run: asking(({ resetInHandshake }) => resetInHandshake)
  },
  {
    name: "a host that does not answer",
    expected: "Timeout (connect), not-sent, retried, fallback",
    weaker: ["Timeout (attempt), unknown, retried, fallback"],
    why: "These clients have no limit for connecting: the limit of the attempt ends it.",
    run: asking(({ dead }) => dead)
  },
  { name: "a certificate that nobody trusts", expected: unfit, run: asking(({ untrusted }) => untrusted) },
  {
    name: "a TLS version that is too old",
    expected: unfit,
    weaker: [vague],
    why: "Bun has the same words for whatever goes wrong in TLS, also after the request.",
    run: asking(({ oldTls }) => oldTls)
  },
  {
    name: "https to a port without TLS",
    expected: unfit,
    weaker: [vague],
    why: "Plain text in the middle of an answer has the same code.",
    run: asking(({ http }) => http.replace("http:", "https:"))
  },
  {
    name: "no certificate of the client",
    expected: "ConnectionError, rejected, not retried, fallback",
    weaker: [vague, lost],
    why: "In TLS 1.3 the request is sent before the server refuses. These clients see only that it hung up.",
    run: asking(({ mutual }) => mutual)
  },
  { name: "a reset before the answer", expected: lost, run: asking(({ http }) => `${http}/reset/1`) },
  { name: "a hang-up before the answer", expected: lost, run: asking(({ http }) => `${http}/close/1`) },
  { name: "a reset in the answer", expected: lost, run: asking(({ http }) => `${http}/reset-in-body/1`) },
  {
    name: "a reset in a stream",
    expected: "hel, then StreamInterrupted, unknown",
    run: ({ http }) =>
      Effect.gen(function* () {
        const id = unique()
        const model = yield* modelAt(`${http}/cut/${id}/v1`)
        const go = Effect.promise(() => fetch(`${http}/go/${id}`))
        const events = Stream.tap(model.stream(prompt), ({ _tag }) => (_tag === "TextDelta" ? go : Effect.void))
        const error = yield* Effect.flip(ChatStream.collect(events))
        const partial = error._tag === "StreamInterrupted" ? error.partial : ""
        return `${partial}, then ${error._tag}, ${error.delivery}`
      })
  },
  {
    name: "an answer that is no HTTP",
    expected: lost,
    run: ({ http }) => all(["bad-header-value", "no-http", "bad-chunk"].map((id) => ask(`${http}/raw/${id}/v1`)))
  },
  {
    name: "plain text in the TLS of an answer",
    expected: lost,
    weaker: [vague],
    why: "A port without TLS has the same code.",
    run: asking(({ plainInTls }) => plainInTls)
  },
  {
    name: "a redirect",
    expected: "ConnectionError, unknown, not retried, fallback",
    run: (places) =>
      Effect.gen(function* () {
        const id = unique()
        const words = yield* seen(ask(`${places.http}/redirect/${id}/v1`))
        return (yield* known(places, id)).count === 0 ? words : `${words}, but the key went along`
      })
  },
  {
    name: "an answer over the bound",
    expected: "InvalidResponse, unknown, not retried, no fallback",
    run: asking(({ http }) => `${http}/huge/1`, { maxAnswerBytes: 50_000 })
  },
  {
    name: "a key that no header can carry",
    expected: "ConfigError",
    run: ({ http }) => all(["a\nb", "“a”"].map((key) => ask(`${http}/ok/1/v1`, { apiKey: Redacted.make(key) })))
  },
  {
    name: "an address that is none",
    expected: "ConfigError",
    run: () =>
      all(
        ["localhost:4200/v1", "htp://x/v1", "/v1", "http://127.0.0.1:0", "http://127.0.0.1:65536"].map((url) =>
          ask(url)
        )
      )
  },
  {
    name: "a port that fetch blocks",
    expected: "InvalidRequest, not-sent, not retried, fallback",
    weaker: [unsent],
    why: "These clients go to any port. Here nobody listens at 6000.",
    run: asking(() => "http://127.0.0.1:6000")
  },
  {
    name: "a caller that leaves",
    expected: "closed",
    run: (places) =>
      Effect.gen(function* () {
        const words: Array<string> = []
        for (const streaming of [false, true]) {
          const id = unique()
          const model = yield* modelAt(`${places.http}/hang/${id}/v1`)
          const fiber = yield* Effect.fork(
            streaming ? ChatStream.collect(model.stream(prompt)) : model.generate(prompt)
          )
          yield* until(places, id, ({ count }) => count === 1)
          yield* Fiber.interrupt(fiber)
          const left = until(places, id, ({ closed }) => closed === true)
          const closed = yield* Effect.timeoutOption(left, "5 seconds")
          words.push(closed._tag === "Some" ? "closed" : "left open")
        }
        return [...new Set(words)].join("; ")
      })
  }
]

/** What every case shows over one client. */
export const measure = (places: Places): Effect.Effect<Record<string, string>, never, HttpClient.HttpClient> =>
  Effect.map(
    Effect.forEach(cases, ({ name, run }) => Effect.map(seen(run(places)), (words) => [name, words] as const), {
      concurrency: 6
    }),
    Object.fromEntries
  )
