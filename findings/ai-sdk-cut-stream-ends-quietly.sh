#!/usr/bin/env bash
# ai 6.0.326 with @ai-sdk/openai 3.0.141: an agent whose stream ends in the middle ends as if it had answered.
#
# A Chat Completions stream brings a tool call, and ends before the finish reason and `[DONE]`: the connection closes
# cleanly, as behind a proxy whose upstream broke off. A careful guess: an error part, or one of the two retries that the
# SDK makes. The stream ends without an error and without a retry: the finish reason is "other", the tool is not run, and
# the text is empty.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund ai@6.0.326 @ai-sdk/openai@3.0.141 zod@4.6.7
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import { createOpenAI } from "@ai-sdk/openai"
import { stepCountIs, streamText, tool } from "ai"
import { z } from "zod"
const frame = (delta, finish = null) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
const call = { index: 0, id: "call_1", type: "function", function: { name: "pay", arguments: '{"order":7}' } }
let requests = 0
const server = createServer((_, response) => {
  requests++
  response.writeHead(200, { "content-type": "text/event-stream" })
  if (requests === 1) response.end(frame({ role: "assistant", tool_calls: [call] }))
  else response.end(`${frame({ role: "assistant", content: "Done." })}${frame({}, "stop")}data: [DONE]\n\n`)
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const baseURL = `http://127.0.0.1:${server.address().port}/v1`
let paid = 0
let errors = 0
const finishes = []
const { fullStream } = streamText({
  model: createOpenAI({ baseURL, apiKey: "key" }).chat("m"),
  prompt: "Pay order 7.",
  stopWhen: stepCountIs(3),
  tools: { pay: tool({ inputSchema: z.object({ order: z.number() }), execute: async () => `paid ${++paid}` }) },
  onError: () => {}
})
for await (const part of fullStream) {
  if (part.type === "error") errors++
  if (part.type === "finish-step") finishes.push(part.finishReason)
}
console.log(`${paid} paid, ${errors} errors, ${requests} requests, steps ended with ${finishes.join(" and ")}`)
server.close()
JS
found=$(node run.mjs)
expected="0 paid, 0 errors, 1 requests, steps ended with other"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
