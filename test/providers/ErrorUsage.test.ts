import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted, Stream } from "effect"
import { Anthropic, Chat, Gemini, OpenAi, OpenAiResponses, Prices, Spend } from "effect-steadfast"
import { FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { collectRecords, only } from "../support/evidence.js"
import { errorIn, under } from "../support/time.js"

const options = { model: "m", apiKey: Redacted.make("sk-test-key") }

const formats = {
  chat: OpenAi.make(options),
  responses: OpenAiResponses.make(options),
  anthropic: Anthropic.make(options),
  gemini: Gemini.make(options)
}

const price = { input: 2, output: 8 }
const prices = Prices.layer(Prices.table({ "openai/m": price, "anthropic/m": price, "gemini/m": price }))

/** The attempt of one request, and what a limit around it charged. */
const asked = (format: keyof typeof formats, step: Step.Step, streaming: boolean) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script: [step] })
    const model = yield* Effect.provideService(formats[format], HttpClient.HttpClient, provider.client)
    const request = Chat.prompt("a question")
    const call = streaming ? Stream.runDrain(model.stream(request)) : Effect.asVoid(model.generate(request))
    const observed = collectRecords()
    const spending = Effect.zip(Effect.exit(call), Spend.spent).pipe(Spend.within({ usd: 100 }))
    const { exit, millis } = yield* under(Effect.provide(spending, Layer.merge(observed.layer, prices)), "1 minute")
    if (Exit.isFailure(exit)) return assert.fail(String(exit.cause))
    const [ended, spent] = exit.value
    return { error: errorIn(ended), attempt: only(only(observed.records).attempts), spent, millis }
  })

const usage = { inputTokens: 40, outputTokens: 9 }
const usd = (40 * price.input + 9 * price.output) / 1e6

/** Chat Completions after a filtered end, with a connection that stays open. */
const chunks = (...data: ReadonlyArray<unknown>): Step.Raw =>
  Reply.raw([...data.map((one) => `data: ${JSON.stringify(one)}\n\n`), ": open\n\n"], {
    headers: { "content-type": "text/event-stream" }
  })

const piece = { id: "c", object: "chat.completion.chunk", model: "m" }
const begun = { ...piece, choices: [{ index: 0, delta: { content: "It" }, finish_reason: null }] }
const filtered = { ...piece, choices: [{ index: 0, delta: {}, finish_reason: "content_filter" }] }
const told = { ...piece, choices: [], usage: { prompt_tokens: 40, completion_tokens: 9, total_tokens: 49 } }

describe("the usage of an answer that is an error", () => {
  for (const format of Object.keys(formats) as ReadonlyArray<keyof typeof formats>) {
    for (const streaming of [false, true]) {
      it.effect(`is known where the answer was filtered: ${format}, ${streaming ? "streamed" : "whole"}`, () =>
        Effect.gen(function* () {
          const step = Reply.text("only the begin of it", { finish: "content-filter", usage })
          const { attempt, error, spent } = yield* asked(format, step, streaming)
          assert.strictEqual(error?._tag, "ContentFiltered")
          assert.deepInclude(attempt.usage, usage)
          assert.closeTo(attempt.usd ?? 0, usd, 1e-12)
          assert.closeTo(spent.usd, usd, 1e-12)
          assert.strictEqual(spent.tokens, 49)
        })
      )
    }
  }

  const bodies = {
    chat: {
      choices: [{ index: 0, message: { role: "assistant", content: "" }, finish_reason: "stop" }],
      usage: { prompt_tokens: 40, completion_tokens: 0, completion_tokens_details: { reasoning_tokens: 0 } }
    },
    responses: {
      status: "failed",
      error: { code: "server_error", message: "it failed" },
      output: [],
      usage: { input_tokens: 40, output_tokens: 0 }
    },
    anthropic: {
      content: [{ type: "text" }],
      stop_reason: "end_turn",
      usage: { input_tokens: 40, output_tokens: 0 }
    },
    gemini: {
      promptFeedback: { blockReason: "SAFETY" },
      usageMetadata: { promptTokenCount: 40, candidatesTokenCount: 0, totalTokenCount: 40 }
    }
  }
  const tags = {
    chat: "InvalidResponse",
    responses: "ServerError",
    anthropic: "InvalidResponse",
    gemini: "ContentFiltered"
  }
  for (const format of Object.keys(formats) as ReadonlyArray<keyof typeof formats>) {
    it.effect(`is known where the body is no answer: ${format}`, () =>
      Effect.gen(function* () {
        const { attempt, error, spent } = yield* asked(format, Reply.json({ id: "x", ...bodies[format] }), false)
        assert.strictEqual(error?._tag, tags[format])
        assert.deepInclude(attempt.usage, { inputTokens: 40, outputTokens: 0 })
        assert.strictEqual(spent.tokens, 40)
      })
    )
    it.effect(`is known where such a body answers a request for a stream: ${format}`, () =>
      Effect.gen(function* () {
        const { attempt, error } = yield* asked(format, Reply.json({ id: "x", ...bodies[format] }), true)
        assert.strictEqual(error?._tag, tags[format])
        assert.deepInclude(attempt.usage, { inputTokens: 40, outputTokens: 0 })
      })
    )
  }

  it.effect("is known where a stream came to a request for a whole answer", () =>
    Effect.gen(function* () {
      const { attempt, error } = yield* asked("chat", chunks(begun, filtered, told), false)
      assert.strictEqual(error?._tag, "ContentFiltered")
      assert.deepInclude(attempt.usage, usage)
    })
  )

  it.effect("comes at once with the chunk after the end, and the error with it", () =>
    Effect.gen(function* () {
      const step: Step.Step = { _tag: "Cut", reply: chunks(begun, filtered, told), at: { events: 3 }, ending: "stall" }
      const { attempt, error, millis } = yield* asked("chat", step, true)
      assert.strictEqual(error?._tag, "ContentFiltered")
      assert.deepInclude(attempt.usage, usage)
      assert.strictEqual(millis, 0)
    })
  )

  for (const ending of ["end", "reset", "stall"] as const) {
    it.effect(`is not waited for long, and stays unknown if it never comes: ${ending}`, () =>
      Effect.gen(function* () {
        const step: Step.Step = { _tag: "Cut", reply: chunks(begun, filtered, told), at: { events: 2 }, ending }
        const { attempt, error, millis } = yield* asked("chat", step, true)
        assert.strictEqual(error?._tag, "ContentFiltered")
        assert.isUndefined(attempt.usage)
        assert.strictEqual(millis, ending === "stall" ? 5000 : 0)
      })
    )
  }

  it.effect("of a stream that broke is that so far in the record, and the whole hold for a limit", () =>
    Effect.gen(function* () {
      const reply = Reply.text("one two three four", { usage })
      const { attempt, error, spent } = yield* asked(
        "anthropic",
        { _tag: "Cut", reply, at: { tokens: 2 }, ending: "reset" },
        true
      )
      assert.strictEqual(error?._tag, "StreamInterrupted")
      assert.deepInclude(attempt.usage, { inputTokens: 40, outputTokens: 1 })
      assert.isAbove(spent.tokens, 1000)
    })
  )
})
