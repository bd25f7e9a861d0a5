import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Stream } from "effect"
import {
  Anthropic,
  Chat,
  ChatModel,
  CircuitBreaker,
  Gemini,
  OpenAi,
  OpenAiResponses,
  RetryPolicy,
  Store
} from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { share } from "../support/cases.js"
import { evidenceOf, leaksOf } from "../support/leaks.js"

/** A provider that repeats the caller's key, in any place, in any form: nothing that is kept or shown has it. */

/** Looks like no key, and has to be encoded in an address. */
const key = "Correct+Horse/Battery=Staple 7"
const apiKey = Redacted.make(key)

const lower = encodeURIComponent(key).replace(/%../g, (code) => code.toLowerCase())

const echoes: Record<string, string> = {
  plain: `no such key: ${key}`,
  encoded: `see /keys/${encodeURIComponent(key)}, ${lower}, ${lower.replaceAll("%20", "+")}`,
  "in a query": `at https://x.test/v1?model=m&key=${encodeURIComponent(key)}&x=1`,
  "in a header's words": `{"authorization":"Bearer ${key}"}`,
  "over lines, with control characters": `bad\r\nkey:\n\u001b[31m${key.slice(0, 7)}\u0007${key.slice(7)}\u202e`,
  "where a long text is cut": `${"x ".repeat(235)}${key} ${"y".repeat(200)} ${key}`
}

const page = (echo: string) => `<html><head><title>${echo}</title></head><body>${echo}</body></html>`
const stream = { headers: { "content-type": "text/event-stream" } }
/** What a header can carry. */
const headerOf = (echo: string) => echo.replace(/[^\x20-\x7e]/g, "")

const places: Record<string, (echo: string) => Step.Step> = {
  "the message of an error": (echo) => Fault.unauthorized({ message: echo }),
  "the code of an error": (echo) => Fault.status(400, { body: { error: { message: "no", type: echo, code: echo } } }),
  "an error as text": (echo) => Fault.status(502, { body: echo }),
  "a web page": (echo) => Fault.status(403, { body: page(echo), headers: { "content-type": "text/html" } }),
  headers: (echo) =>
    Fault.status(500, {
      headers: { "x-request-id": headerOf(echo), "request-id": headerOf(echo), "retry-after": headerOf(echo) }
    }),
  "the target of a redirect": (echo) =>
    Fault.status(302, { headers: { location: `https://x.test/${headerOf(echo)}` }, body: echo }),
  "a 200 that is no JSON": (echo) => Reply.raw(echo),
  "an error in a 200": (echo) => Reply.json({ error: { message: echo, code: echo, type: echo } }),
  "the model of an answer": (echo) => Reply.text("hi", { model: echo, headers: { "x-request-id": headerOf(echo) } }),
  "the end of an answer": (echo) =>
    Reply.json({
      choices: [{ index: 0, message: { content: "hi" }, finish_reason: echo }],
      stop_reason: echo,
      content: [{ type: "text", text: "hi" }],
      candidates: [{ content: { parts: [{ text: "hi" }] }, finishReason: echo }],
      output: [],
      status: echo
    }),
  "an answer that is cut": (echo) => Fault.resetInBody({ tokens: 8, reply: Reply.text(`${echo} ${echo} and more`) }),
  "an event that is an error": (echo) =>
    Reply.raw([`event: error\ndata: ${JSON.stringify({ type: "error", error: { message: echo } })}\n\n`], stream)
}

const makes = {
  "openai-chat": OpenAi.make({ model: "gpt-4o-mini", apiKey }),
  "openai-responses": OpenAiResponses.make({ model: "gpt-4o-mini", apiKey }),
  anthropic: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
  gemini: Gemini.make({ model: "gemini-2.5-flash", apiKey })
}

/** A store that keeps what it is told, keys and states. */
const keeping = (told: Array<string>): Store.KeyedStore => {
  const states = new Map<string, Store.Entry>()
  return {
    modify: <S extends Store.Entry, A>(name: string, f: (state: S | undefined) => readonly [A, S | undefined]) =>
      Effect.sync(() => {
        const [answer, next] = f(states.get(name) as S | undefined)
        told.push(name, JSON.stringify(next) ?? "")
        if (next === undefined) states.delete(name)
        else states.set(name, next)
        return answer
      })
  }
}

const combinations = Object.keys(places).flatMap((place) =>
  Object.keys(echoes).flatMap((echo) =>
    (Object.keys(makes) as Array<keyof typeof makes>).flatMap((format) =>
      (["generate", "stream"] as const).map((mode) => ({ place, echo, format, mode }))
    )
  )
)

describe("a key that a provider repeats is nowhere", () => {
  it("in 576 combinations", () => assert.lengthOf(combinations, 576))

  for (const { echo, format, mode, place } of share(combinations, 37)) {
    it.effect(`${place}, ${echo}, ${format}, ${mode}`, () =>
      Effect.gen(function* () {
        const provider = yield* FaultyProvider.make({ script: [places[place]?.(echoes[echo] ?? "") ?? Fault.hang] })
        const make = Effect.provideService(makes[format], HttpClient.HttpClient, provider.client)
        const told: Array<string> = []
        const breaker = yield* Effect.provideService(CircuitBreaker.make(), Store.KeyedStore, keeping(told))
        const model = (yield* make).pipe(
          ChatModel.timeout({ attempt: "5 seconds" }),
          ChatModel.breaker(breaker),
          ChatModel.retry(RetryPolicy.make({ maxAttempts: 2, initialDelay: "10 millis" })),
          ChatModel.deadline("1 minute")
        )
        const ask =
          mode === "generate" ? model.generate(Chat.prompt("hi")) : Stream.runDrain(model.stream(Chat.prompt("hi")))
        const { found, records } = yield* evidenceOf(ask)
        assert.strictEqual(records, 1)
        const [request] = yield* provider.requests
        assert.strictEqual(request?.key, key)
        assert.isNotEmpty(told)
        assert.deepStrictEqual(leaksOf([...found, ...told.map((text) => ["store", text] as const)], key), [])
      })
    )
  }
})
