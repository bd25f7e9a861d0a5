#!/usr/bin/env bash
# @libsql/client 0.18.0: a loop that only awaits its client keeps the memory of every statement.
#
# 3,000 statements, each with a text of 50 kB, one after the other, and the collector is run every hundred. A careful
# guess: memory is flat. The client's promises are done at once, so the loop never leaves the queue of microtasks, and
# Node runs the finalizers of native objects only in a turn of the event loop: more than 100 MB stay. With one
# `setImmediate` every hundred statements less than 60 MB come to be.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @libsql/client@0.18.0
cat >run.mjs <<'JS'
import { createClient } from "@libsql/client"
const turns = process.argv[2] === "turns"
const client = createClient({ url: "file:calls.db" })
const text = "x".repeat(50_000)
await client.execute({ sql: "select length(?)", args: [text] })
const before = process.memoryUsage.rss()
for (let i = 1; i <= 3000; i++) {
  await client.execute({ sql: "select length(?)", args: [text] })
  if (i % 100 !== 0) continue
  globalThis.gc()
  if (turns) await new Promise((resolve) => setImmediate(resolve))
}
const grown = (process.memoryUsage.rss() - before) / 1e6
console.log(grown > 100 ? "more than 100 MB" : grown < 60 ? "less than 60 MB" : `${grown.toFixed(0)} MB`)
JS
found="$(node --expose-gc run.mjs), with turns $(node --expose-gc run.mjs turns)"
echo "$found"
[ "$found" = "more than 100 MB, with turns less than 60 MB" ] || { echo "this has changed"; exit 1; }
