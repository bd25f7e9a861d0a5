import { Fault } from "effect-steadfast/testing"
import { assert, describe, it } from "vitest"
import { post } from "./asks.js"
import { clientKey, staged } from "./gateway.js"
import { call, text, tool } from "./replies.js"

/** The calls in the frames of a stream of Chat Completions. */
const callsIn = (frames: string): ReadonlyArray<{ readonly function: { readonly arguments: string } }> =>
  frames
    .split("\n\n")
    .filter((frame) => frame.startsWith("data: {"))
    .flatMap((frame) => JSON.parse(frame.slice("data: ".length)).choices[0]?.delta.tool_calls ?? [])

describe("what a gateway writes for clients of several kinds", () => {
  it("is one list of models under /v1 for all", () =>
    staged({ kind: "openai", script: [text] }, async ({ url }) => {
      const headers = { authorization: `Bearer ${clientKey}` }
      const get = async (path: string) => (await fetch(url + path, { headers })).json()
      const { data, models, object } = await get("/v1/models")
      assert.deepStrictEqual(
        data.map(({ id }: { readonly id: string }) => id),
        ["smart", "vectors"]
      )
      assert.deepStrictEqual(
        models.map(({ name }: { readonly name: string }) => name),
        ["models/smart", "models/vectors"]
      )
      assert.strictEqual(object, "list")
      assert.deepInclude(await get("/v1/models/smart"), { id: "smart", object: "model", name: "models/smart" })
      assert.notProperty(await get("/v1beta/models"), "data")
    }))

  it("is a whole tool call for Mistral's clients, and the pieces of the provider for others", () =>
    staged({ kind: "openai", script: [tool] }, async (stage) => {
      const ask = async (agent: string) =>
        callsIn(await (await post(stage, "openai", true, { "user-agent": agent })).text())
      const whole = await ask("mistral-client-typescript/2.7.0")
      assert.deepStrictEqual(
        whole.map((one) => JSON.parse(one.function.arguments)),
        [call.arguments]
      )
      assert.isAbove((await ask("OpenAI/JS 7.59.0")).length, 3)
    }))

  it("says nothing of a usage that the client did not ask for, but to OpenRouter's", () =>
    staged({ kind: "openai", script: [text] }, async (stage) => {
      const frames = await (await post(stage, "openai", true)).text()
      assert.include(frames, "data: [DONE]")
      assert.notInclude(frames, "usage")
      const agent = { "user-agent": "speakeasy-sdk/typescript 1.3.19 @openrouter/sdk" }
      const more = await (await post(stage, "openai", true, agent)).text()
      assert.match(more, /"usage":\{/)
      assert.notInclude(more, '"usage":null')
    }))

  it.each([
    ["@huggingface/inference/4.13.30", 529],
    ["OpenAI/JS 7.59.0", 503]
  ])("is an overload that %s does not repeat without end", (agent, status) =>
    staged({ kind: "openai", script: [Fault.status(503)] }, async (stage) => {
      const response = await post(stage, "openai", true, { "user-agent": agent })
      assert.strictEqual(response.status, status)
      await response.text()
    })
  )
})
