import { assert, describe, it } from "@effect/vitest"
import { ErrorResponse, EventStream } from "effect-steadfast/http"
import * as Sdk from "../../src/http/Sdk.js"
import { errorOf } from "../support/errors.js"

describe("a client with a need of its own", () => {
  it("is known by its name, or by OpenRouter's path", () => {
    for (const [path, agent, sdk] of [
      ["/v1/chat/completions", "mistral-client-typescript/2.7.0", "mistral"],
      ["/v1/chat/completions", "@huggingface/inference/4.13.30 Node.js/20", "huggingface"],
      ["/v1/chat/completions", "speakeasy-sdk/typescript 1.3.19 2.914.0 1.0.0 @openrouter/sdk", "openrouter"],
      ["/api/v1/chat/completions", "ai-sdk/openrouter/3.1.0", "openrouter"],
      ["/api/v1/chat/completions", undefined, "openrouter"],
      ["/v1/chat/completions", "OpenAI/JS 7.59.0", undefined],
      ["/v1/chat/completions?x=/api/v1/", undefined, undefined]
    ] as const) {
      assert.strictEqual(Sdk.of(path, agent), sdk, `${path} ${agent}`)
    }
  })

  it("hears of an overload by a status that it does not repeat without end", () => {
    assert.strictEqual(ErrorResponse.make(errorOf("Overloaded"), { sdk: "huggingface" }).status, 529)
    assert.strictEqual(ErrorResponse.make(errorOf("CircuitOpen"), { sdk: "huggingface" }).status, 529)
    assert.strictEqual(ErrorResponse.make(errorOf("ServerError"), { sdk: "huggingface" }).status, 502)
    assert.strictEqual(ErrorResponse.make(errorOf("Overloaded"), { sdk: "openrouter" }).status, 503)
  })

  it("gets the status as the code of an error, also within a chunk", () => {
    const { body, status } = ErrorResponse.make(errorOf("Timeout"), { sdk: "openrouter" })
    assert.deepInclude(body.error, { code: 504, message: body.message })
    assert.strictEqual(status, 504)
    const encoder = EventStream.make("openai", { id: "c-1", created: 7, model: "m", sdk: "openrouter" })
    assert.notInclude(encoder.push({ _tag: "TextDelta", text: "a" }) as string, "fingerprint")
    const chunk = JSON.parse(encoder.fail(errorOf("Timeout")).slice("data: ".length))
    assert.deepInclude(chunk, { id: "c-1", object: "chat.completion.chunk", created: 7, model: "m" })
    assert.deepStrictEqual(chunk.error, { code: 504, message: body.message })
    assert.deepInclude(chunk.choices[0], { index: 0, finish_reason: "error" })
  })
})
