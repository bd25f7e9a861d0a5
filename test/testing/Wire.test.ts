import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { at, events, names, readStream, request, textOf, wholeText } from "./support.js"

const one = (step: Step.Step) => FaultyProvider.make({ script: [step] })

describe.each(names)("%s", (format) => {
  const text = "Grüße, 世界 👋 — three  spaces\nand lines"

  const stream = (step: Step.Step, more: object = {}) =>
    Effect.gen(function* () {
      const provider = yield* one(step)
      const response = yield* provider.client.execute(request(format, true, more))
      assert.match(response.headers["content-type"] ?? "", /^text\/event-stream/)
      return events(yield* readStream(response))
    })

  const json = (step: Step.Step) =>
    Effect.gen(function* () {
      const provider = yield* one(step)
      const response = yield* provider.client.execute(request(format))
      assert.match(response.headers["content-type"] ?? "", /^application\/json/)
      return yield* response.json
    })

  it.effect("answers in one piece", () =>
    Effect.gen(function* () {
      assert.strictEqual(wholeText(format, yield* json(Reply.text(text))), text)
    })
  )

  it.effect("streams the same text, by word, in given chunks, and in n of them", () =>
    Effect.gen(function* () {
      for (const chunks of [undefined, 1, 3, 1000, [text.slice(0, 5), text.slice(5)]]) {
        assert.strictEqual(textOf(format, yield* stream(Reply.text(text, { chunks }))), text)
      }
      const pieces = (yield* stream(Reply.text("a b c"))).filter((event) => textOf(format, [event]) !== "")
      assert.deepStrictEqual(
        pieces.map((event) => textOf(format, [event])),
        ["a", " b", " c"]
      )
    })
  )

  it.effect("survives being fragmented into network pieces of any size", () =>
    Effect.gen(function* () {
      for (const fragment of [1, 2, 3, 7, 64]) {
        assert.strictEqual(textOf(format, yield* stream(Reply.text(text, { fragment }))), text)
      }
    })
  )

  it.effect("reports the words as usage, or what it is given", () =>
    Effect.gen(function* () {
      const usage = {
        "openai-chat": ["usage", "prompt_tokens", "completion_tokens"],
        "openai-responses": ["usage", "input_tokens", "output_tokens"],
        anthropic: ["usage", "input_tokens", "output_tokens"],
        gemini: ["usageMetadata", "promptTokenCount", "candidatesTokenCount"]
      }[format]
      const [field = "", input = "", output = ""] = usage
      const counted = at(yield* json(Reply.text("one two three")), field)
      assert.deepStrictEqual([at(counted, input), at(counted, output)], [4, 3])
      const given = at(yield* json(Reply.text("x", { usage: { inputTokens: 70, outputTokens: 8 } })), field)
      assert.deepStrictEqual([at(given, input), at(given, output)], [70, 8])
    })
  )

  it.effect("counts what is read from a cache and written to it, where the format does", () =>
    Effect.gen(function* () {
      const usage = {
        inputTokens: 100,
        outputTokens: 1,
        cachedTokens: 50,
        cacheWriteTokens: 30,
        cacheWriteHourTokens: 20,
        reasoningTokens: 0
      }
      const body = yield* json(Reply.text("x", { usage }))
      const told = {
        "openai-chat": [100, { cached_tokens: 50, cache_write_tokens: 30, audio_tokens: 0 }],
        "openai-responses": [100, { cached_tokens: 50, cache_write_tokens: 30 }],
        anthropic: [20, { ephemeral_5m_input_tokens: 10, ephemeral_1h_input_tokens: 20 }],
        gemini: [100, 50]
      }[format]
      const found = {
        "openai-chat": [at(body, "usage", "prompt_tokens"), at(body, "usage", "prompt_tokens_details")],
        "openai-responses": [at(body, "usage", "input_tokens"), at(body, "usage", "input_tokens_details")],
        anthropic: [at(body, "usage", "input_tokens"), at(body, "usage", "cache_creation")],
        gemini: [at(body, "usageMetadata", "promptTokenCount"), at(body, "usageMetadata", "cachedContentTokenCount")]
      }[format]
      assert.deepStrictEqual(found, told)
      if (format === "anthropic") {
        assert.strictEqual(at(body, "usage", "cache_read_input_tokens"), 50)
        assert.strictEqual(at(body, "usage", "cache_creation_input_tokens"), 30)
      }
      const plain = JSON.stringify(yield* json(Reply.text("x")))
      assert.notInclude(plain, "cache_write_tokens")
    })
  )

  it.effect("names the requested model, or another", () =>
    Effect.gen(function* () {
      const name = format === "gemini" ? "modelVersion" : "model"
      assert.strictEqual(at(yield* json(Reply.text("x")), name), "m-1")
      assert.strictEqual(at(yield* json(Reply.text("x", { model: "m-2" })), name), "m-2")
    })
  )

  it.effect("says why it stopped", () =>
    Effect.gen(function* () {
      const reason = (body: unknown): unknown => {
        switch (format) {
          case "openai-chat":
            return at(body, "choices", 0, "finish_reason")
          case "openai-responses":
            return at(body, "incomplete_details", "reason") ?? at(body, "status")
          case "anthropic":
            return at(body, "stop_reason")
          case "gemini":
            return at(body, "candidates", 0, "finishReason")
        }
      }
      const expected = {
        "openai-chat": ["stop", "length", "content_filter"],
        "openai-responses": ["completed", "max_output_tokens", "content_filter"],
        anthropic: ["end_turn", "max_tokens", "refusal"],
        gemini: ["STOP", "MAX_TOKENS", "SAFETY"]
      }[format]
      const finishes: ReadonlyArray<Step.FinishReason> = ["stop", "length", "content-filter"]
      const seen = yield* Effect.forEach(finishes, (finish) => Effect.map(json(Reply.text("x", { finish })), reason))
      assert.deepStrictEqual(seen, expected)
    })
  )

  it.effect("turns a stream into an error event, first or in the middle", () =>
    Effect.gen(function* () {
      const isError = (event: unknown) => at(event, "error") !== undefined && at(event, "error") !== null
      for (const afterTokens of [0, 2]) {
        const provider = yield* one(Fault.errorEvent("overloaded", { afterTokens, reply: Reply.text("a b c d") }))
        const body = yield* Effect.flatMap(provider.client.execute(request(format, true)), readStream)
        assert.include(body, "verloaded")
        const all = events(body)
        assert.strictEqual(textOf(format, all), afterTokens === 0 ? "" : "a b")
        assert.isTrue(all.some(isError))
      }
    })
  )

  it.effect("gives an error inside a 200 when it does not stream", () =>
    Effect.gen(function* () {
      const body = yield* json(Fault.errorEvent("server-error"))
      assert.isDefined(at(body, "error"))
    })
  )

  it.effect("has an error of its own for every kind and status", () =>
    Effect.gen(function* () {
      for (const status of [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529, 418, 599]) {
        const provider = yield* one(Fault.status(status))
        const response = yield* provider.client.execute(request(format))
        assert.strictEqual(response.status, status)
        assert.isString(at(yield* response.json, "error", "message"))
      }
      for (const status of [502, 520, 521, 524]) {
        const provider = yield* one(Fault.status(status))
        const response = yield* provider.client.execute(request(format))
        assert.strictEqual(response.status, status)
        assert.match(response.headers["content-type"] ?? "", /^text\/html/)
        assert.include(yield* response.text, String(status))
      }
    })
  )

  it.effect("sends broken answers", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Fault.garbage, Fault.emptyBody, Fault.htmlPage(), Reply.json({ error: "x" })]
      })
      const ask = provider.client.execute(request(format))
      const failed = yield* Effect.flip(Effect.flatMap(ask, (response) => response.json))
      assert.strictEqual(failed._tag, "ResponseError")
      assert.strictEqual(yield* Effect.flatMap(ask, (response) => response.text), "")
      assert.include(yield* Effect.flatMap(ask, (response) => response.text), "<html>")
      assert.deepStrictEqual(yield* Effect.flatMap(ask, (response) => response.json), { error: "x" })
    })
  )
})

describe("openai-chat", () => {
  const chat = (step: Step.Step, more: object = {}) =>
    Effect.gen(function* () {
      const provider = yield* one(step)
      const response = yield* provider.client.execute(request("openai-chat", true, more))
      return events(yield* readStream(response))
    })

  it.effect("begins with the role, ends with [DONE], and counts only when asked", () =>
    Effect.gen(function* () {
      const plain = yield* chat(Reply.text("a b"))
      assert.strictEqual(at(plain[0], "choices", 0, "delta", "role"), "assistant")
      assert.strictEqual(at(plain[3], "choices", 0, "finish_reason"), "stop")
      assert.deepStrictEqual(plain[4], { done: true })
      assert.lengthOf(plain, 5)
      assert.isTrue(plain.every((event) => at(event, "usage") === undefined))

      const counted = yield* chat(Reply.text("a b"), { stream_options: { include_usage: true } })
      assert.lengthOf(counted, 6)
      assert.strictEqual(at(counted[1], "usage"), null)
      assert.deepStrictEqual(at(counted[4], "choices"), [])
      assert.strictEqual(at(counted[4], "usage", "total_tokens"), 6)
    })
  )

  it.effect("streams several tool calls in pieces", () =>
    Effect.gen(function* () {
      const calls = [
        { name: "weather", arguments: { city: "Oslo", days: 3 } },
        { name: "time", id: "call_x" }
      ]
      const all = yield* chat(Reply.toolCall(calls, { text: "Let me look" }))
      assert.strictEqual(textOf("openai-chat", all), "Let me look")
      const deltas = all.flatMap((event) => {
        const found = at(event, "choices", 0, "delta", "tool_calls", 0)
        return found === undefined ? [] : [found]
      })
      const whole = (index: number) =>
        deltas
          .filter((delta) => at(delta, "index") === index)
          .map((delta) => at(delta, "function", "arguments"))
          .join("")
      assert.deepStrictEqual(JSON.parse(whole(0)), { city: "Oslo", days: 3 })
      assert.deepStrictEqual(JSON.parse(whole(1)), {})
      assert.isTrue(deltas.some((delta) => at(delta, "id") === "call_x"))
      assert.strictEqual(at(all[all.length - 2], "choices", 0, "finish_reason"), "tool_calls")
    })
  )

  it.effect("thinks in reasoning_content", () =>
    Effect.gen(function* () {
      const all = yield* chat(Reply.reasoning("hm hm", { text: "yes" }))
      assert.strictEqual(
        all.map((event) => at(event, "choices", 0, "delta", "reasoning_content") ?? "").join(""),
        "hm hm"
      )
      assert.strictEqual(textOf("openai-chat", all), "yes")
    })
  )
})

describe("openai-responses", () => {
  it.effect("numbers its events and nests whole items in the last", () =>
    Effect.gen(function* () {
      const reply = Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }, { text: "one two" })
      const provider = yield* one(reply)
      const body = yield* Effect.flatMap(provider.client.execute(request("openai-responses", true)), readStream)
      const all = events(body)
      assert.deepStrictEqual(
        all.map((event) => event.sequence_number),
        all.map((_, i) => i)
      )
      // The name of each event is the type of its data.
      assert.deepStrictEqual(
        [...body.matchAll(/^event: (.*)$/gm)].map((found) => found[1]),
        all.map((event) => event.type)
      )
      const last = all[all.length - 1]
      assert.strictEqual(at(last, "type"), "response.completed")
      assert.strictEqual(at(last, "response", "output", 0, "content", 0, "text"), "one two")
      assert.strictEqual(at(last, "response", "output", 1, "arguments"), JSON.stringify({ city: "Oslo" }))
      assert.strictEqual(at(last, "response", "usage", "total_tokens"), 7)
      const streamed = all.filter((event) => event.type === "response.function_call_arguments.delta")
      assert.strictEqual(streamed.map((event) => event.delta).join(""), JSON.stringify({ city: "Oslo" }))
      // What is not streamed is the same response.
      const whole = yield* one(reply)
      const json = yield* Effect.flatMap(whole.client.execute(request("openai-responses")), (_) => _.json)
      assert.deepStrictEqual(json, at(last, "response"))
    })
  )

  it.effect("fails with an error event and response.failed", () =>
    Effect.gen(function* () {
      const provider = yield* one(Fault.errorEvent("overloaded", { afterTokens: 1 }))
      const response = yield* provider.client.execute(request("openai-responses", true))
      const [error, failed] = events(yield* readStream(response)).slice(-2)
      assert.strictEqual(at(error, "error", "code"), "server_is_overloaded")
      assert.strictEqual(at(failed, "response", "status"), "failed")
    })
  )
})

describe("anthropic", () => {
  it.effect("opens and closes its blocks, with thoughts, text and tools", () =>
    Effect.gen(function* () {
      const reply: Step.Reply = {
        ...Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }, { text: "one two" }),
        parts: [
          { _tag: "Reasoning", chunks: ["hm", " hm"] },
          ...Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }, { text: "one two" }).parts
        ]
      }
      const provider = yield* one(reply)
      const all = events(yield* Effect.flatMap(provider.client.execute(request("anthropic", true)), readStream))
      assert.deepStrictEqual(
        all.map((event) => at(event, "content_block", "type") ?? at(event, "delta", "type") ?? event.type),
        [
          "message_start",
          "thinking",
          "ping",
          "thinking_delta",
          "thinking_delta",
          "signature_delta",
          "content_block_stop",
          "text",
          "text_delta",
          "text_delta",
          "content_block_stop",
          "tool_use",
          "input_json_delta",
          "input_json_delta",
          "input_json_delta",
          "content_block_stop",
          "message_delta",
          "message_stop"
        ]
      )
      const json = all.map((event) => at(event, "delta", "partial_json") ?? "").join("")
      assert.deepStrictEqual(JSON.parse(json), { city: "Oslo" })
      assert.strictEqual(at(all[all.length - 2], "delta", "stop_reason"), "tool_use")
    })
  )
})

describe("gemini", () => {
  it.effect("streams a JSON array without alt=sse", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [
          Reply.text("a b c"),
          Fault.errorEvent("server-error", { afterTokens: 2 }),
          Fault.errorEvent("overloaded")
        ]
      })
      const url = "https://x.example/v1beta/models/m-1:streamGenerateContent"
      const ask = Effect.flatMap(provider.client.post(url, {}), (response) => response.json)
      const all = (yield* ask) as ReadonlyArray<unknown>
      assert.strictEqual(textOf("gemini", all), "a b c")
      const failed = (yield* ask) as ReadonlyArray<unknown>
      assert.strictEqual(at(failed[2], "error", "code"), 500)
      assert.strictEqual(at(yield* ask, 0, "error", "status"), "UNAVAILABLE")
    })
  )

  it.effect("calls functions whole and marks thoughts", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [
          Reply.toolCall({ name: "weather", arguments: { city: "Oslo" } }),
          Reply.reasoning("hm", { text: "yes" })
        ]
      })
      const ask = Effect.flatMap(provider.client.execute(request("gemini", true)), readStream)
      assert.deepStrictEqual(at(events(yield* ask)[0], "candidates", 0, "content", "parts", 0, "functionCall"), {
        name: "weather",
        args: { city: "Oslo" }
      })
      const thoughts = events(yield* ask)
      assert.strictEqual(at(thoughts[0], "candidates", 0, "content", "parts", 0, "thought"), true)
      assert.strictEqual(at(thoughts[0], "usageMetadata", "thoughtsTokenCount"), 1)
    })
  )
})

describe("hints", () => {
  const hinted = (
    form: Step.HintForm,
    format: "openai-chat" | "anthropic" | "gemini",
    retryAfter = "1500 millis" as const
  ) =>
    Effect.gen(function* () {
      const provider = yield* one(Fault.rateLimited({ retryAfter, form }))
      const response = yield* provider.client.execute(request(format))
      assert.strictEqual(response.status, 429)
      return { headers: response.headers, body: yield* response.text }
    })

  it.effect("native: where each provider really says it", () =>
    Effect.gen(function* () {
      const openAi = yield* hinted("native", "openai-chat")
      assert.strictEqual(openAi.headers["retry-after"], "2")
      assert.strictEqual(openAi.headers["retry-after-ms"], "1500")
      assert.include(openAi.body, "Please try again in 1.5s.")
      const anthropic = yield* hinted("native", "anthropic")
      assert.strictEqual(anthropic.headers["retry-after"], "2")
      assert.isUndefined(anthropic.headers["retry-after-ms"])
      const gemini = yield* hinted("native", "gemini")
      assert.isUndefined(gemini.headers["retry-after"])
      assert.include(gemini.body, '"retryDelay": "1.5s"')
      assert.include(gemini.body, "Please retry in 1.5s.")
    })
  )

  it.effect("in one place only when asked so", () =>
    Effect.gen(function* () {
      const header = yield* hinted("header", "openai-chat")
      assert.strictEqual(header.headers["retry-after"], "1.5")
      assert.notInclude(header.body, "try again")
      const ms = yield* hinted("header-ms", "anthropic")
      assert.strictEqual(ms.headers["retry-after-ms"], "1500")
      assert.isUndefined(ms.headers["retry-after"])
      const date = yield* hinted("http-date", "openai-chat")
      assert.strictEqual(Date.parse(date.headers["retry-after"] ?? "") - Date.parse(date.headers.date ?? ""), 2000)
      const prose = yield* hinted("prose", "openai-chat")
      assert.isUndefined(prose.headers["retry-after"])
      assert.include(prose.body, "Please try again in 1.5s.")
      const body = yield* hinted("body", "openai-chat")
      assert.include(body.body, '"retry_after":1.5')
      const reset = yield* hinted("reset", "openai-chat")
      assert.strictEqual(reset.headers["x-ratelimit-remaining-requests"], "0")
      assert.strictEqual(reset.headers["x-ratelimit-reset-requests"], "1.5s")
      const instant = yield* hinted("reset", "anthropic")
      assert.strictEqual(instant.headers["anthropic-ratelimit-requests-reset"], "1970-01-01T00:00:01.500Z")
    })
  )

  it.effect("inside a stream, in its error event", () =>
    Effect.gen(function* () {
      const fault = Fault.errorEvent("rate-limited", { retryAfter: "3 seconds" })
      const provider = yield* one(fault)
      const said = (format: "openai-responses" | "gemini") =>
        Effect.flatMap(provider.client.execute(request(format, true)), readStream)
      assert.include(yield* said("openai-responses"), "Please try again in 3s.")
      assert.include(yield* said("gemini"), '"retryDelay":"3s"')
    })
  )

  it.effect("can speak as another provider, and be overridden", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [
          Fault.overloaded({ provider: "anthropic" }),
          Fault.status(503, { body: { detail: "busy" }, headers: { "retry-after": "9" } })
        ]
      })
      const first = yield* provider.client.execute(request("openai-chat"))
      assert.strictEqual(first.status, 529)
      assert.strictEqual(at(yield* first.json, "error", "type"), "overloaded_error")
      const second = yield* provider.client.execute(request("openai-chat"))
      assert.deepStrictEqual(yield* second.json, { detail: "busy" })
      assert.strictEqual(second.headers["retry-after"], "9")
    })
  )
})
