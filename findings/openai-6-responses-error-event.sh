#!/usr/bin/env bash
# openai 6.49.0: the documented `error` event of a Responses stream is no error.
#
# The API reference shows the event as `{"type":"error","code":…,"message":…,"param":…,"sequence_number":…}`. A careful
# guess: the client throws, as it does for an error in Chat Completions. The event comes out of the stream like any
# other, and the loop ends as if all were well. With an object `error` inside, the client throws.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund openai@6.49.0
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import OpenAI from "openai"
const frame = (event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`
const ask = async (more) => {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.end(frame({ type: "error", code: "server_error", message: "It broke.", param: null, sequence_number: 0, ...more }))
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const client = new OpenAI({ apiKey: "key", maxRetries: 0, baseURL: `http://127.0.0.1:${server.address().port}/v1` })
  const types = []
  try {
    for await (const event of await client.responses.create({ model: "m", input: "Hi", stream: true })) types.push(event.type)
    return `no error, ${types.length} event (${types.join()})`
  } catch (error) {
    return `${error.constructor.name}`
  } finally {
    server.close()
    server.closeAllConnections()
  }
}
console.log(`flat: ${await ask({})}; with an object: ${await ask({ error: { type: "server_error", code: "server_error", message: "It broke.", param: null } })}`)
JS
found=$(node run.mjs)
expected="flat: no error, 1 event (error); with an object: APIError"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
