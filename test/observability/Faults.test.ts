import { execFileSync } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import { createClient } from "@libsql/client"
import { Effect, Fiber, Layer } from "effect"
import { Call } from "effect-steadfast"
import { CallLog, CallReport } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { exhaustive } from "../support/cases.js"
import { collectLogs, type Line } from "../support/evidence.js"
import { backends } from "./databases.js"
import { scriptedCall } from "./scriptedDay.js"
import { bundle, ended, startScript } from "./workers.js"

const day = Date.UTC(2026, 10, 28)
const forever = Number.POSITIVE_INFINITY

const folder = mkdtempSync(join(tmpdir(), "steadfast-faults-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** The open log, and a call that ends at once: it is no call if it waits or fails. */
const opened = Effect.gen(function* () {
  const log = yield* CallLog.CallLog
  const [observer] = yield* Call.Observers
  let recorded = 0
  const call = (): void => {
    if (observer === undefined) throw new Error("there is no observer")
    Effect.runSync(Effect.provide(observer(scriptedCall(recorded++, 1, day).record), quiet))
  }
  return { log, call, recorded: () => recorded }
})

/** What `runSync` logs is in no test's collection. */
const quiet = collectLogs().layer

const calls = (count: number, call: () => void) =>
  Effect.sync(() => {
    for (let n = 0; n < count; n++) call()
  })

/** What the database itself says. */
const account = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const [row] = yield* sql.unsafe<{ readonly n: unknown }>("select count(*) as n from steadfast_calls")
  const { lost } = yield* CallReport.report({ by: "day" })
  return { written: Number(row?.n), lost: lost.records }
})

/** The lines that say how many records were lost, added up. */
const told = (lines: ReadonlyArray<Line>): number =>
  lines.reduce((sum, { message }) => sum + Number(/(\d+) records were lost/.exec(message)?.[1] ?? 0), 0)

/** A disk that becomes full under calls, and has room again. */
const filling = (client: Layer.Layer<SqlClient.SqlClient, unknown>, makeRoom: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const lines = collectLogs()
    const layer = CallLog.layerFrom(client, {
      ...{ maxBuffered: 300, batchSize: 50, flushEvery: "5 millis", keep: forever }
    })
    yield* Effect.gen(function* () {
      const { call, log, recorded } = yield* opened
      yield* calls(20, call)
      yield* log.flush
      assert.deepStrictEqual(yield* log.stats, { written: 20, waiting: 0, lost: 0 })
      // Until the disk is full, and the buffer too.
      yield* Effect.repeat(Effect.zipRight(calls(20, call), Effect.sleep("1 millis")), {
        until: () => lines.lines.some(({ message }) => message.includes("cannot write"))
      })
      yield* calls(1000, call)
      const full = yield* log.stats
      assert.strictEqual(full.waiting, 300)
      assert.isAbove(full.lost, 600)
      assert.strictEqual(full.written + full.waiting + full.lost, recorded())
      yield* makeRoom
      yield* log.flush
      yield* calls(100, call)
      yield* log.flush
      const after = yield* log.stats
      assert.deepStrictEqual(after, { written: full.written + 400, waiting: 0, lost: full.lost })
      assert.strictEqual(after.written + after.lost, recorded())
      // The note of the lost ones is written after the flush.
      yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => told(lines.lines) > 0 })
      assert.strictEqual(told(lines.lines), after.lost)
      assert.match(lines.lines.find(({ message }) => message.includes("cannot write"))?.message ?? "", /full/)
      const found = yield* Effect.provide(account, client)
      assert.deepStrictEqual(found, { written: after.written, lost: after.lost })
    }).pipe(Effect.provide(layer), Effect.provide(lines.layer))
  })

/** A disk of four megabytes, where this process may mount one. */
const smallDisk = () => {
  const disk = mkdtempSync(join(folder, "disk-"))
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], { stdio: "ignore" })
  } catch {
    return undefined
  }
  // Lazily: the driver closes a connection whose statement failed when it is collected.
  return { disk, unmount: () => execFileSync("umount", ["-l", disk]) }
}

describe("a disk that is full", () => {
  it("costs records, which are counted and told, and no call", async (context) => {
    const mounted = smallDisk()
    if (mounted === undefined) {
      return context.skip("no small disk can be mounted here: only SQLite's own limit is tested")
    }
    try {
      const ballast = join(mounted.disk, "ballast")
      writeFileSync(ballast, Buffer.alloc(3_000_000))
      const client = CallLogLibsql.client(join(mounted.disk, "calls.db"))
      await Effect.runPromise(
        filling(
          client,
          Effect.sync(() => rmSync(ballast))
        )
      )
    } finally {
      mounted.unmount()
    }
  })

  it("is the same where SQLite sets the limit, over a client of the application", async () => {
    const file = join(folder, "limited.db")
    await Effect.runPromise(Effect.provide(CallLog.migrate, CallLogLibsql.client(file)))
    const liveClient = createClient({ url: `file:${file}`, concurrency: 1 })
    await liveClient.execute("pragma max_page_count = 150")
    const room = Effect.promise(() => liveClient.execute("pragma max_page_count = 100000"))
    await Effect.runPromise(filling(LibsqlClient.layer({ liveClient }), room))
    liveClient.close()
    const found = await Effect.runPromise(Effect.provide(account, CallLogLibsql.client(file)))
    assert.isAbove(found.written, 400, "another connection sees them")
  })
})

describe("a PostgreSQL that crashes under load, and is back", () => {
  for (const maxBuffered of [100, 100_000]) {
    it(`holds what was written, with room for ${maxBuffered} records`, async (context) => {
      const backend = backends[1]?.start()
      if (backend?.server === undefined) {
        backend?.stop()
        return context.skip("there is no PostgreSQL of our own to crash: its programs are not installed")
      }
      const { server } = backend
      const database = backend.make()
      const lines = collectLogs()
      try {
        await Effect.runPromise(
          Effect.gen(function* () {
            const { call, log, recorded } = yield* opened
            const load = yield* Effect.fork(Effect.forever(Effect.zipRight(calls(5, call), Effect.sleep("5 millis"))))
            const written = Effect.map(log.stats, ({ written }) => written)
            const more = (count: number) =>
              Effect.flatMap(written, (before) =>
                Effect.repeat(Effect.zipRight(Effect.sleep("10 millis"), written), {
                  until: (now) => now >= before + count
                })
              )
            for (let crash = 0; crash < 2; crash++) {
              yield* more(100)
              yield* Effect.promise(server.crash)
              yield* Effect.sleep("500 millis")
              yield* Effect.promise(server.start)
              yield* more(100)
            }
            assert.isNull(load.unsafePoll(), "the load goes on")
            yield* Fiber.interrupt(load)
            yield* log.flush
            const { lost, waiting, ...after } = yield* log.stats
            assert.strictEqual(waiting, 0)
            assert.strictEqual(after.written + lost, recorded())
            if (maxBuffered === 100) assert.isAbove(lost, 0)
            else assert.strictEqual(lost, 0)
            yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => told(lines.lines) === lost })
            assert.deepStrictEqual(yield* Effect.provide(account, database.client), { written: after.written, lost })
            console.log(`two crashes: ${recorded()} records, ${after.written} written, ${lost} lost`)
          }).pipe(
            Effect.provide(
              CallLog.layerFrom(database.client, { maxBuffered, batchSize: 50, flushEvery: "20 millis", keep: forever })
            ),
            Effect.provide(lines.layer)
          )
        )
        assert.isTrue(lines.lines.some(({ message }) => message.includes("cannot write")))
      } finally {
        backend.stop()
      }
    })
  }
})

describe("memory", () => {
  let processes: Awaited<ReturnType<typeof bundle>> | undefined
  beforeAll(async () => {
    processes = await bundle()
  })
  afterAll(() => processes?.remove())

  const count = exhaustive ? 1_000_000 : 20_000
  for (const [title, url, outcome] of [
    ["while a file is written", join(folder, "memory.db"), { written: count, waiting: 0, lost: 0 }],
    ["while the database is away", "away", { written: 0, waiting: 10_000, lost: count - 10_000 }]
  ] as const) {
    it(`stays flat over ${count} records ${title}`, async () => {
      const { code, stderr, stdout } = await ended(startScript(processes?.script ?? "", "memory", url, String(count)))
      assert.strictEqual(code, 0, stderr)
      const said = stdout.split("\n").find((line) => line.startsWith("{")) ?? ""
      const { early, late, lost, most, rss, waiting, written } = JSON.parse(said)
      assert.deepStrictEqual({ written, waiting, lost }, outcome)
      console.log(`${title}: ${said}`)
      if (!exhaustive) return
      assert.isBelow(late - early, 3, "megabytes more after ten times the records")
      assert.isBelow(most - early, 10)
      assert.isBelow(rss, 400)
    })
  }
})
