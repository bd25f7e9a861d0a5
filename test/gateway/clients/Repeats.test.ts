import { Effect } from "effect"
import { Fault } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { post } from "./asks.js"
import { clientKey, requestsOf, staged } from "./gateway.js"
import { how, installed, load, packages } from "./installed.js"
import { question, text, words } from "./replies.js"

const messages = [{ role: "user", content: question }]

describe.skipIf(!installed)(`a client that repeats at once and without end${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  it("asks seldom, and hears of the first answer that anybody gets", () =>
    staged({ kind: "openai", script: [Fault.status(503), Fault.status(503), text] }, async (stage) => {
      const { InferenceClient } = await load("@huggingface/inference")
      // In a browser it has another name.
      const unnamed = (url: string, init: RequestInit) =>
        fetch(url, { ...init, headers: { ...(init.headers as object), "User-Agent": "Mozilla/5.0" } })
      const client = new InferenceClient(clientKey, { endpointUrl: `${stage.url}/v1`, fetch: unnamed })
      const asked = client.chatCompletion({ model: "smart", messages })
      while (stage.heard.length < 3) await Effect.runPromise(Effect.sleep("10 millis"))
      assert.strictEqual((await post(stage, "anthropic", false)).status, 200)
      assert.strictEqual((await asked).choices[0].message.content, words)
      // It waits 0.1, 0.2, 0.4 and 0.8 seconds.
      assert.isAtMost(stage.heard.length, 7)
      assert.strictEqual((await requestsOf(stage))[0].length, 4)
    }))
})
