#!/usr/bin/env bash
# @libsql/client 0.18.0: after one SQLITE_BUSY, a connection loses what it writes, and says that it is written.
#
# A second process holds the write lock for longer than the client's `timeout`, so that an INSERT fails with
# SQLITE_BUSY. A careful guess: the next INSERT of the same client, after the lock is gone, is there for everybody. It
# is not: the client reports one row, reads it back, and no other connection ever sees it. A new client writes as usual.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund @libsql/client@0.18.0
cat >run.mjs <<'JS'
import { createClient } from "@libsql/client"
const url = "file:calls.db"
const first = createClient({ url, timeout: 200 })
await first.execute("pragma journal_mode = wal")
await first.execute("create table t (a)")
const other = createClient({ url, timeout: 200 })
const lock = await other.transaction("write")
const busy = await first.execute("insert into t values (1)").then(
  () => "written",
  (error) => error.code
)
await lock.rollback()
const { rowsAffected } = await first.execute("insert into t values (2)")
const count = async (client) => (await client.execute("select count(*) as n from t")).rows[0].n
const own = await count(first)
const third = createClient({ url })
console.log(`${busy}; then ${rowsAffected} row reported, ${own} read back, ${await count(third)} seen by others`)
JS
found=$(node run.mjs)
expected="SQLITE_BUSY; then 1 row reported, 1 read back, 0 seen by others"
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
