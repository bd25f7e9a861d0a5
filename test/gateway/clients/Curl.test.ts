import { execFile, spawnSync } from "node:child_process"
import { Fault } from "effect-steadfast/testing"
import { assert, describe, it } from "vitest"
import { clientKey, requestsOf, type Stage, staged } from "./gateway.js"
import { question, text, words } from "./replies.js"

const found = spawnSync("curl", ["--version"]).status === 0
const missing = "SKIPPED: curl is not installed: apt-get install curl"
if (!found) console.warn(missing)

interface Ran {
  /** The exit code: 0 for a whole answer, 18 for one that broke off, 22 for a status above 400. */
  readonly code: number
  readonly out: string
}

const curl = (...args: ReadonlyArray<string>): Promise<Ran> =>
  new Promise((resolve) => {
    execFile("curl", ["--silent", "--no-buffer", "--max-time", "20", ...args], (error, out) =>
      resolve({ code: typeof error?.code === "number" ? error.code : error === null ? 0 : -1, out })
    )
  })

const body = (stream: boolean): string =>
  JSON.stringify({ model: "smart", stream, messages: [{ role: "user", content: question }] })

const ask = ({ url }: Stage, stream: boolean, ...more: ReadonlyArray<string>): Promise<Ran> =>
  curl(
    ...["--header", `authorization: Bearer ${clientKey}`, "--header", "content-type: application/json"],
    ...["--data", body(stream), ...more, `${url}/v1/chat/completions`]
  )

describe.skipIf(!found)(`curl at a gateway${found ? "" : ` (${missing})`}`, () => {
  it("gets an answer with its evidence", () =>
    staged({ kind: "anthropic", script: [Fault.status(503), text] }, async (stage) => {
      const { code, out } = await ask(stage, false, "--include")
      const [head = "", json = ""] = out.split("\r\n\r\n")
      assert.strictEqual(code, 0)
      assert.match(head, /^HTTP\/1\.1 200 OK/)
      assert.match(head, /^x-steadfast-attempts: 2\r?$/m)
      assert.match(head, /^x-steadfast-served-by: first\/first-model\r?$/m)
      assert.strictEqual(JSON.parse(json).choices[0].message.content, words)
    }))

  it("gets a stream of events to its end", () =>
    staged({ kind: "gemini", script: [text] }, async (stage) => {
      const { code, out } = await ask(stage, true)
      assert.strictEqual(code, 0)
      const blocks = out.trimEnd().split("\n\n")
      assert.match(
        blocks.pop() ?? "",
        /^: steadfast call=\S+ attempts=1 retries=0 fallbacks=0 served-by=first\/first-model/
      )
      assert.strictEqual(blocks.pop(), "data: [DONE]")
      const read = blocks.map((block) => JSON.parse(block.slice("data: ".length)).choices[0]?.delta.content ?? "")
      assert.strictEqual(read.join(""), words)
    }))

  it("gets the status of an error, and no other try", () =>
    staged({ kind: "responses", script: [Fault.status(503)] }, async (stage) => {
      const { code, out } = await ask(stage, true, "--include", "--fail-with-body", "--retry", "0")
      const [head = "", json = ""] = out.split("\r\n\r\n")
      assert.strictEqual(code, 22)
      assert.match(head, /^HTTP\/1\.1 503 Service Unavailable/)
      assert.match(head, /^x-should-retry: false\r?$/m)
      assert.strictEqual(JSON.parse(json).error.type, "overloaded_error")
      assert.strictEqual((await requestsOf(stage))[0].length, 2)
    }))

  it("that repeats by itself hears the same again, and the provider nothing", () =>
    staged({ kind: "openai", script: [Fault.status(503)] }, async (stage) => {
      const { out } = await ask(stage, false, "--include", "--retry", "1", "--retry-delay", "1")
      assert.match(out, /x-steadfast-remembered: true/)
      assert.strictEqual(stage.heard.length, 2)
      assert.strictEqual((await requestsOf(stage))[0].length, 2)
    }))

  it("knows that a stream broke off", () =>
    staged({ kind: "openai", script: [Fault.earlyEnd({ reply: text })] }, async (stage) => {
      const { code, out } = await ask(stage, true)
      assert.strictEqual(code, 18)
      assert.match(out, /data: \{"error":\{"message":"the answer broke off"[^\n]*\}\}\n\n$/)
      assert.notInclude(out, "[DONE]")
    }))

  it("hears that its key is wrong", () =>
    staged({ kind: "openai", script: [text] }, async (stage) => {
      const { out } = await ask(stage, false, "--include", "--header", "x-api-key: sk-client-wrong")
      assert.match(out, /^HTTP\/1\.1 401 Unauthorized/)
      assert.notInclude(out, "sk-client")
      assert.deepStrictEqual((await requestsOf(stage))[0], [])
    }))
})
