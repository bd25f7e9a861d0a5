#!/usr/bin/env bash
# @portkey-ai/gateway 1.15.2 on Node 20: whole answers pass, and every stream is a 500.
#
# The gateway stands before a server that answers Chat Completions in the usual two forms. A careful guess: both come
# through. The whole answer does. A stream is read from the server, and the client gets status 500, "Something went
# wrong": the gateway appends headers to the response of `fetch`, whose headers Node 20 calls immutable.
set -euo pipefail
case "$(node --version)" in v20.*) ;; *) echo "seen on Node 20 only, found $(node --version)"; exit 0 ;; esac
folder=$(mktemp -d)
trap 'kill "${gateway:-}" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @portkey-ai/gateway@1.15.2 hono@4.9.7 @hono/node-server@1.19.19
cat >run.mjs <<'JS'
import { createServer } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
const chunk = (delta, finish = null) =>
  `data: ${JSON.stringify({ id: "c", object: "chat.completion.chunk", created: 1, model: "m", choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
const whole = { id: "c", object: "chat.completion", created: 1, model: "m", choices: [{ index: 0, message: { role: "assistant", content: "Hi" }, finish_reason: "stop" }] }
const server = createServer(async (request, response) => {
  let body = ""
  for await (const piece of request) body += piece
  if (JSON.parse(body).stream) {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.end(`${chunk({ content: "Hi" })}${chunk({}, "stop")}data: [DONE]\n\n`)
  } else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(whole))
})
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
const ask = async (stream) => {
  const response = await fetch(`http://127.0.0.1:${process.argv[2]}/v1/chat/completions`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: "Bearer key",
      "x-portkey-provider": "openai",
      "x-portkey-custom-host": `http://127.0.0.1:${server.address().port}/v1`
    },
    body: JSON.stringify({ model: "m", stream, messages: [{ role: "user", content: "Hi" }] })
  })
  return `${response.status}${response.ok ? "" : ` ${(await response.json()).message}`}`
}
for (let tries = 0; tries < 50; tries++) {
  if (await fetch(`http://127.0.0.1:${process.argv[2]}/`).then(() => true, () => false)) break
  await sleep(200)
}
console.log(`whole: ${await ask(false)}; stream: ${await ask(true)}`)
process.exit()
JS
port=$((20000 + RANDOM % 20000))
TRUSTED_CUSTOM_HOSTS=127.0.0.1,localhost node node_modules/@portkey-ai/gateway/build/start-server.js --headless --port=$port >log 2>&1 &
gateway=$!
found=$(node run.mjs $port)
expected="whole: 200; stream: 500 Something went wrong"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
