import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { createClient } from "@libsql/client"
import { Context, Effect } from "effect"
import { CallLog } from "effect-steadfast/observability"
import { asking, chat, keys, staged } from "./stage.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-logs-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const logged = Effect.gen(function* () {
  const path = join(yield* folder, "calls.db")
  const made = yield* staged({}, {}, { rest: `observability: { callLog: "${path}" }` })
  const log = Context.get(made.services, CallLog.CallLog)
  const load = (count: number) =>
    Effect.forEach(
      Array.from({ length: count }, (_, seed) => seed),
      (seed) => asking(made.url, { key: keys.alice, body: chat("fast", { seed, stream: seed % 2 === 0 }) }),
      { concurrency: 8 }
    )
  return { ...made, path, log, load }
})

describe("a call log that cannot write", () => {
  it.scopedLive("because another process holds its lock fails no call, and has them all later", () =>
    Effect.gen(function* () {
      const { load, log, path, services } = yield* logged
      yield* load(2)
      yield* log.flush
      const other = createClient({ url: `file:${path}` })
      const held = yield* Effect.promise(() => other.transaction("write"))
      const heard = yield* load(40)
      assert.isTrue(heard.every(({ cut, status }) => status === 200 && !cut))
      yield* Effect.sleep("300 millis")
      yield* Effect.promise(() => held.rollback())
      other.close()
      yield* log.flush
      const sql = Context.get(services, SqlClient.SqlClient)
      const [row] = yield* sql<{ readonly count: number }>`SELECT count(*) AS count FROM steadfast_calls`
      const { lost } = yield* log.stats
      assert.strictEqual(Number(row?.count) + lost, 42)
      assert.strictEqual(lost, 0)
    }).pipe(Effect.orDie)
  )

  it.scopedLive("because the disk is full fails no call, and says what is lost", () =>
    Effect.gen(function* () {
      const { load, log, services, url } = yield* logged
      yield* load(2)
      yield* log.flush
      const sql = Context.get(services, SqlClient.SqlClient)
      // The database is as full as it may be.
      yield* sql`PRAGMA max_page_count = 1`
      const heard = yield* load(60)
      assert.isTrue(heard.every(({ cut, status }) => status === 200 && !cut))
      const { status } = yield* asking(url, { path: "/readyz" })
      assert.strictEqual(status, 200)
      const state = yield* asking(url, { path: "/status", key: keys.admin })
      assert.strictEqual(state.status, 200)
    }).pipe(Effect.orDie)
  )
})
