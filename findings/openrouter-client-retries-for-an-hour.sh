#!/usr/bin/env bash
# @openrouter/sdk 1.3.19: by default one call repeats a 500 for an hour, more than 50 times.
#
# A careful guess: two or three retries, as in the clients of OpenAI and Anthropic. This one goes on until an hour is
# over, and only then throws. The clock of the script runs ahead: each wait of the client is over at once, and counts.
# With `retryConfig: { strategy: "none" }` it asks once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @openrouter/sdk@1.3.19
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import { OpenRouter } from "@openrouter/sdk"
const { now } = Date
const { setTimeout: soon } = globalThis
let ahead = 0
Date.now = () => now() + ahead
globalThis.setTimeout = (then, millis = 0, ...more) => {
  ahead += millis
  return soon(then, 0, ...more)
}
const ask = async (options) => {
  let asked = 0
  const server = createServer((request, response) => {
    asked++
    request.resume()
    response.writeHead(500, { "content-type": "application/json" })
    response.end(JSON.stringify({ error: { code: 500, message: "down" } }))
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const serverURL = `http://127.0.0.1:${server.address().port}/api/v1`
  const client = new OpenRouter({ apiKey: "key", serverURL, ...options })
  const began = Date.now()
  const call = client.chat.send({ chatRequest: { model: "m", messages: [{ role: "user", content: "Hi" }] } })
  const error = await call.then(() => "no error", ({ name }) => name)
  const minutes = (Date.now() - began) / 60_000
  server.close()
  server.closeAllConnections()
  return `${asked > 50 ? "more than 50 requests" : `${asked} request`} ${minutes >= 59 ? "in an hour" : "at once"}, ${error}`
}
console.log(`by default: ${await ask({})}; told not to: ${await ask({ retryConfig: { strategy: "none" } })}`)
JS
found=$(node run.mjs)
expected="by default: more than 50 requests in an hour, InternalServerResponseError; told not to: 1 request at once, InternalServerResponseError"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
