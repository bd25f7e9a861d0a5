/**
 * The dashboard over a day of made-up traffic: `npm run dashboard`. No key, no network; the log is a file in the
 * system's folder for temporary files. The same seed makes the same day: `SEED=7 PORT=4777 npm run dashboard`.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { migrate } from "../src/observability/CallLog.js"
import * as CallLogLibsql from "../src/observability/CallLogLibsql.js"
import { tables } from "../src/observability/CallLogSchema.js"
import { insert, write } from "../src/observability/CallLogWriter.js"
import * as DashboardServer from "../src/observability/DashboardServer.js"
import { dayOfCalls } from "./traffic.js"

const batch = 200

const fill = Effect.gen(function* () {
  yield* migrate
  const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  const records = dayOfCalls(Number(process.env.SEED ?? 1), now)
  for (let start = 0; start < records.length; start += batch) yield* write(records.slice(start, start + batch))
  const at = now - 8 * 3_600_000
  yield* insert(tables.lost, [{ id: "demo", reason: "overflow", records: 12, first_at: at, last_at: at + 4000 }])
  return records.length
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-dashboard-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const program = Effect.gen(function* () {
  const calls = yield* fill
  yield* HttpServer.addressFormattedWith((address) => Console.log(`A day of ${calls} made-up calls: ${address}`))
  yield* Effect.never
})

const server = Layer.unwrapScoped(
  Effect.map(folder, (path) =>
    DashboardServer.layer({ port: Number(process.env.PORT ?? 4777) }).pipe(
      Layer.provideMerge(CallLogLibsql.client(join(path, "calls.db")))
    )
  )
)

NodeRuntime.runMain(Effect.scoped(Effect.provide(program, server)))
