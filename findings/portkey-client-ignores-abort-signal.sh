#!/usr/bin/env bash
# portkey-ai 3.1.0: the `signal` of a request's options does not end the request.
#
# The options take an `AbortSignal`, as those of the openai package do, after which they are modelled. A careful guess:
# an abort closes the connection, and the call fails at once. The signal is looked at only when the connection has failed
# by itself: the request goes on, and its answer comes as if nothing had been said.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund portkey-ai@3.1.0 openai@7.59.0
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import OpenAI from "openai"
import { Portkey } from "portkey-ai"
const ask = async (call) => {
  let left = false
  const server = createServer((request, response) => {
    request.resume()
    response.on("close", () => {
      left ||= !response.writableEnded
    })
    const message = { role: "assistant", content: "Hello" }
    setTimeout(() => {
      response.writeHead(200, { "content-type": "application/json" })
      response.end(JSON.stringify({ id: "c", object: "chat.completion", created: 1, model: "m", choices: [{ index: 0, message, finish_reason: "stop" }] }))
    }, 1000)
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const baseURL = `http://127.0.0.1:${server.address().port}/v1`
  const told = await call(baseURL, AbortSignal.timeout(200)).then(
    ({ choices }) => choices[0].message.content,
    ({ constructor }) => constructor.name
  )
  await new Promise((resolve) => setTimeout(resolve, 300))
  server.close()
  server.closeAllConnections()
  return `${told}, ${left ? "connection closed" : "connection kept"}`
}
const body = { model: "m", messages: [{ role: "user", content: "Hi" }] }
const portkey = (baseURL, signal) => new Portkey({ apiKey: "key", baseURL }).chat.completions.create(body, {}, { signal })
const openai = (baseURL, signal) => new OpenAI({ apiKey: "key", baseURL }).chat.completions.create(body, { signal })
console.log(`portkey-ai: ${await ask(portkey)}; openai: ${await ask(openai)}`)
JS
found=$(node run.mjs)
expected="portkey-ai: Hello, connection kept; openai: APIUserAbortError, connection closed"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
