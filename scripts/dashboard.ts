/**
 * The dashboard over a day of made-up traffic, and over calls that go on while it runs: `npm run dashboard`. No key, no
 * network; the log is a file in the system's folder for temporary files. The same seed makes the same day:
 * `SEED=7 PORT=4777 npm run dashboard`. With `LIVE=0` no calls go on.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpServer from "@effect/platform/HttpServer"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import { CircuitBreaker, Pacer } from "effect-steadfast"
import { Degradation } from "effect-steadfast/observability"
import { GenaiPrices } from "effect-steadfast/prices"
import { migrate } from "../src/observability/CallLog.js"
import * as CallLogLibsql from "../src/observability/CallLogLibsql.js"
import { tables } from "../src/observability/CallLogSchema.js"
import { insert, write } from "../src/observability/CallLogWriter.js"
import * as DashboardServer from "../src/observability/DashboardServer.js"
import { liveTraffic, policies } from "./liveTraffic.js"
import { dayOfCalls, opinionsOf } from "./traffic.js"

const batch = 200
const seed = Number(process.env.SEED ?? 1)

const hour = 3_600_000

const fill = Effect.gen(function* () {
  yield* migrate
  const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  const records = dayOfCalls(seed, now)
  for (let start = 0; start < records.length; start += batch) yield* write(records.slice(start, start + batch))
  yield* insert(
    tables.feedback,
    opinionsOf(seed, records).map(({ at, call, name, score }) => ({ call_id: call, name, score, given_at: at }))
  )
  const at = now - 8 * hour
  yield* insert(tables.lost, [{ id: "demo", reason: "overflow", records: 12, first_at: at, last_at: at + 4000 }])
  return records.length
})

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-dashboard-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** The server, with what the traffic's policies know; `LIVE=0` shows the day alone, as another process would. */
const server = Effect.gen(function* () {
  const port = Number(process.env.PORT ?? 4777)
  if (process.env.LIVE === "0") return DashboardServer.layer({ port })
  const { pools } = yield* liveTraffic
  const live = {
    breakers: [yield* CircuitBreaker.CircuitBreaker],
    pacers: [yield* Pacer.Pacer],
    pools,
    degradation: yield* Degradation.Degradation
  }
  return DashboardServer.layer({ port, live })
})

const program = Effect.gen(function* () {
  const path = join(yield* folder, "calls.db")
  const client = CallLogLibsql.client(path)
  const calls = yield* Effect.provide(fill, client)
  const quiet = Logger.minimumLogLevel(LogLevel.None)
  const log = Layer.mergeAll(policies, CallLogLibsql.layer({ file: path }), GenaiPrices.layer, quiet)
  const tell = HttpServer.addressFormattedWith((address) => Console.log(`A day of ${calls} made-up calls: ${address}`))
  const served = Layer.provide(Layer.unwrapEffect(server), [log, client])
  yield* Effect.provide(Effect.zipRight(tell, Effect.never), served)
})

NodeRuntime.runMain(Effect.scoped(program))
