#!/usr/bin/env bash
# @mistralai/mistralai 2.7.0: `"usage": null` in a chunk ends the stream with an error.
#
# OpenAI sends `usage: null` in each chunk but the last, when usage was asked for; its clients and most others take it as
# absent. A careful guess: so does the client of Mistral, whose API has the same form and whose usage is optional. It
# refuses the chunk, and the text of it is lost. The same chunk without the field is read.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @mistralai/mistralai@2.7.0
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import { Mistral } from "@mistralai/mistralai"
const chunk = (delta, finish, more) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }], ...more })}\n\n`
const ask = async (more) => {
  const server = createServer((request, response) => {
    request.resume()
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.end(`${chunk({ role: "assistant", content: "Hi" }, null, more)}${chunk({ content: "" }, "stop", more)}data: [DONE]\n\n`)
  })
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  const client = new Mistral({ apiKey: "key", serverURL: `http://127.0.0.1:${server.address().port}` })
  let text = ""
  try {
    const stream = await client.chat.stream({ model: "m", messages: [{ role: "user", content: "Hi" }] })
    for await (const { data } of stream) text += data.choices[0]?.delta.content ?? ""
    return text
  } catch (error) {
    return error.name ?? error.constructor.name
  } finally {
    server.close()
    server.closeAllConnections()
  }
}
console.log(`without the field: ${await ask({})}; with null: ${await ask({ usage: null })}`)
JS
found=$(node run.mjs)
expected="without the field: Hi; with null: ZodError"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
