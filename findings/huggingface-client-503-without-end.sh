#!/usr/bin/env bash
# @huggingface/inference 4.13.30: a 503 is asked for again at once, and without end.
#
# A careful guess: a client repeats a 503 a few times, waits in between, and then throws. This one has no wait and no
# bound: while the server is down, a single call sends as many requests as the network carries, and its caller never
# hears of it. `retry-after` changes nothing. With `retry_on_error: false` it asks once and throws.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @huggingface/inference@4.13.30
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import { InferenceClient } from "@huggingface/inference"
const ask = async (options) => {
  let asked = 0
  const server = createServer((request, response) => {
    asked++
    request.resume()
    response.writeHead(503, { "content-type": "application/json", "retry-after": "60" })
    response.end(JSON.stringify({ error: "down" }))
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const client = new InferenceClient("key", { endpointUrl: `http://127.0.0.1:${server.address().port}/v1` })
  const signal = AbortSignal.timeout(2000)
  const call = client.chatCompletion({ model: "m", messages: [{ role: "user", content: "Hi" }] }, { signal, ...options })
  const error = await call.then(() => "no error", ({ name }) => name)
  server.close()
  server.closeAllConnections()
  return `${asked > 50 ? "more than 50 requests" : `${asked} request`}, ${signal.aborted ? "no error within 2 seconds" : error}`
}
console.log(`by default: ${await ask({})}; told not to: ${await ask({ retry_on_error: false })}`)
JS
found=$(node run.mjs)
expected="by default: more than 50 requests, no error within 2 seconds; told not to: 1 request, ProviderApiError"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
