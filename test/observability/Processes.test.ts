import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect } from "effect"
import { Call, Chat } from "effect-steadfast"
import { CallLog, CallReport } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { Fault, Reply } from "effect-steadfast/testing"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { apiKey, scripted } from "../support/evidence.js"
import { scriptedDay } from "./scriptedDay.js"
import { bundle, ended, lines, root, startScript } from "./workers.js"

const folder = mkdtempSync(join(tmpdir(), "steadfast-processes-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const start = (script: string, ...args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, ["--import", "tsx", join(root, script), ...args], {
    cwd: root,
    env: { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1" }
  })

let processes: Awaited<ReturnType<typeof bundle>> | undefined
beforeAll(async () => {
  processes = await bundle()
})
afterAll(() => processes?.remove())
const worker = (...args: ReadonlyArray<string>) => startScript(processes?.script ?? "", ...args)
const command = (...args: ReadonlyArray<string>) => ended(start("src/bin.ts", ...args))

const count = (file: string, table: string) =>
  Effect.provide(
    Effect.flatMap(SqlClient.SqlClient, (sql) =>
      Effect.map(sql.unsafe<{ readonly n: number }>(`select count(*) as n from ${table}`), ([row]) => row?.n ?? 0)
    ),
    CallLogLibsql.client(file)
  )

describe("a call log that processes share", () => {
  it("is made by several at once", async () => {
    const file = join(folder, "made.db")
    const all = await Promise.all([1, 2, 3].map(() => ended(worker("migrate", file))))
    assert.deepStrictEqual(
      all.map(({ code }) => code),
      [0, 0, 0],
      all.map(({ stderr, stdout }) => stderr + stdout).join("\n")
    )
    assert.strictEqual(await Effect.runPromise(count(file, "steadfast_schema")), 2)
  })

  it("waits for a lock that another holds for five seconds, and no call waits with it", async () => {
    const file = join(folder, "held.db")
    const records = scriptedDay(500, 1).map(({ record }) => record)
    await Effect.runPromise(
      Effect.gen(function* () {
        const [observer] = yield* Call.Observers
        const log = yield* CallLog.CallLog
        if (observer === undefined) return assert.fail("there is an observer")
        yield* Effect.forEach(records.slice(0, 10), observer)
        yield* log.flush
        const holder = worker("hold", file, "5000")
        const gone = ended(holder)
        yield* Effect.promise(() => lines(holder, 1))
        for (const [index, record] of records.slice(10).entries()) {
          // Fails if it waits for anything.
          Effect.runSync(observer(record))
          if (index % 10 === 0) yield* Effect.sleep(1)
        }
        assert.deepStrictEqual(yield* log.stats, { written: 10, waiting: 400, lost: 90 }, "the lock is held")
        yield* Effect.promise(() => gone)
        yield* log.flush
        assert.deepStrictEqual(yield* log.stats, { written: 410, waiting: 0, lost: 90 })
      }).pipe(Effect.provide(CallLogLibsql.layer({ file, maxBuffered: 400, keep: Number.POSITIVE_INFINITY })))
    )
    assert.strictEqual(await Effect.runPromise(count(file, "steadfast_calls")), 410)
    const { lost } = await Effect.runPromise(
      Effect.provide(CallReport.report({ by: "day" }), CallLogLibsql.client(file))
    )
    assert.deepStrictEqual(lost, { records: 90, overflow: 90, refused: 0 })
  })
})

describe("what the call log keeps of a call", () => {
  it("is no key, no prompt and no answer", async () => {
    const file = join(folder, "secret.db")
    const [prompt, answer] = ["the prompt about marzipan", "the answer about nougat"]
    await Effect.runPromise(
      Effect.gen(function* () {
        const { model } = yield* scripted({ script: [Fault.status(400), Reply.text(answer)] })
        yield* Effect.either(model.generate(Chat.prompt(prompt)))
        assert.include(JSON.stringify(yield* model.generate(Chat.prompt(prompt))), answer)
        yield* Effect.flatMap(CallLog.CallLog, (log) => log.flush)
      }).pipe(Effect.provide(CallLogLibsql.layer({ file })))
    )
    assert.strictEqual(await Effect.runPromise(count(file, "steadfast_calls")), 2)
    const bytes = readdirSync(folder)
      .filter((name) => name.startsWith("secret.db"))
      .map((name) => readFileSync(join(folder, name), "latin1"))
      .join("")
    assert.include(bytes, "gpt-4o-mini")
    for (const secret of [apiKey, apiKey.slice(8), "marzipan", "nougat", "authorization"]) {
      assert.notInclude(bytes.toLowerCase(), secret.toLowerCase())
    }
  })
})

describe("steadfast", () => {
  const file = join(folder, "command.db")
  const bill = join(folder, "bill.csv")

  it("prints reports, calls and reconciliations; mistakes go to stderr with exit code 1", async () => {
    const records = scriptedDay(60, 3).map(({ record }) => record)
    await Effect.runPromise(
      Effect.gen(function* () {
        const [observer] = yield* Call.Observers
        if (observer !== undefined) yield* Effect.forEach(records, observer, { discard: true })
      }).pipe(Effect.provide(CallLogLibsql.layer({ file, keep: Number.POSITIVE_INFINITY })))
    )
    const range = ["--db", file, "--since", "2026-11-01"]
    const report = await command("report", ...range, "--by", "target")
    assert.strictEqual(report.code, 0, report.stderr)
    assert.match(report.stdout, /^target +calls +failed/)
    assert.match(report.stdout, /anthropic\/claude-haiku-4-5 +\d+/)
    assert.match(report.stdout, /\nall +60 +\d+/, "the last line of the table")
    const total = await command("report", ...range, "--by", "all", "--json")
    const whole = JSON.parse(total.stdout) as CallReport.Report
    assert.deepStrictEqual([whole.rows.length, whole.total?.calls, whole.rows[0]], [1, 60, whole.total])
    const json = await command("report", ...range, "--by", "label:tenant", "--json")
    const { rows } = JSON.parse(json.stdout) as CallReport.Report
    assert.strictEqual(
      rows.reduce((sum, { calls }) => sum + calls, 0),
      60
    )
    const csv = await command("report", ...range, "--by", "day", "--csv")
    assert.match(csv.stdout, /^group,calls,.*\n2026-11-28,60,/)
    assert.strictEqual(csv.stdout.split("\n")[0]?.split(",").length, csv.stdout.split("\n")[1]?.split(",").length)
    const one = await command("calls", "--db", file, "--call", records[0]?.id ?? "")
    assert.include(one.stdout, records[0]?.attempts[0]?.model ?? "no attempt")
    assert.match((await command("calls", ...range, "--failed")).stdout, /✕|⊘/)
    writeFileSync(bill, "day,model,input_tokens,output_tokens,usd\n2026-11-28,gpt-4o,1,1,1\n")
    assert.match((await command("reconcile", "--db", file, "--bill", bill)).stdout, /2026-11-28 .*gpt-4o /)
    writeFileSync(bill, "day,model,input_tokens,output_tokens,usd\n2026-11-28,gpt-4o,1,$1,1\n")
    const mistakes: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [["report", "--db", join(folder, "none.db")], /no call log at/],
      [["report", "--db", file, "--since", "yesterday"], /"yesterday" is no time/],
      [["report", "--db", file, "--by", "colour"], /--by colour/],
      [["calls", "--db", file, "--call", "nobody"], /no call nobody/],
      [["reconcile", "--db", file, "--bill", bill], /line 2, column 21: found "\$1"/],
      [["report", "--wizard"], /no wizard/],
      [["report"], /--db/]
    ]
    for (const [args, message] of mistakes) {
      const { code, stderr, stdout } = await command(...args)
      assert.deepStrictEqual([code, stdout], [1, ""], args.join(" "))
      assert.match(stderr, message)
    }
    assert.notInclude(readdirSync(folder), "none.db", "reading makes no file")
  })
})

describe("steadfast dashboard", () => {
  const file = join(folder, "dashboard.db")

  const serving = async (...args: ReadonlyArray<string>) => {
    const child = start("src/bin.ts", "dashboard", "--db", file, ...args)
    const gone = ended(child)
    const address = await new Promise<string>((resolve, reject) => {
      child.stdout?.on("data", (chunk) => {
        const [found] = /http:\/\/\S+/.exec(String(chunk)) ?? []
        if (found !== undefined) resolve(found)
      })
      child.on("close", () => gone.then(({ stderr }) => reject(new Error(`it ended: ${stderr}`))))
    })
    return { child, gone, address }
  }

  it("serves the log on this machine, and ends by a signal, with a connection open", async () => {
    const [one] = scriptedDay(1, 5).map(({ record }) => record)
    await Effect.runPromise(
      Effect.gen(function* () {
        const [observer] = yield* Call.Observers
        if (observer !== undefined && one !== undefined) yield* observer({ ...one, startedAt: Date.now() - 60_000 })
      }).pipe(Effect.provide(CallLogLibsql.layer({ file })))
    )
    for (const signal of ["SIGINT", "SIGTERM"] as const) {
      const { address, child, gone } = await serving("--port", "0")
      assert.match(address, /^http:\/\/127\.0\.0\.1:\d+$/)
      const page = await fetch(address)
      assert.strictEqual(page.status, 200)
      assert.include(await page.text(), "<html")
      const overview = (await (await fetch(`${address}/api/overview`)).json()) as { readonly totals: { calls: number } }
      assert.strictEqual(overview.totals.calls, 1)
      child.kill(signal)
      const { code, stderr } = await gone
      assert.deepStrictEqual([code, stderr], [0, ""], signal)
    }
  })

  it("tells a file that is missing or no call log, and a port that is taken or none", async () => {
    const empty = join(folder, "empty.db")
    writeFileSync(empty, "")
    const { address, child, gone } = await serving("--port", "0")
    const port = new URL(address).port
    const mistakes: ReadonlyArray<readonly [ReadonlyArray<string>, RegExp]> = [
      [["--db", join(folder, "none.db")], /^steadfast: no call log at .*none\.db$/],
      [["--db", empty, "--port", "0"], /^steadfast: there is no call log in this database$/],
      [["--db", file, "--port", port], new RegExp(`^steadfast: port ${port} of 127\\.0\\.0\\.1 is taken`)],
      [["--db", file, "--port", "70000"], /^steadfast: --port 70000: expected 0 to 65535$/]
    ]
    for (const [args, message] of mistakes) {
      const { code, stderr, stdout } = await command("dashboard", ...args)
      assert.deepStrictEqual([code, stdout], [1, ""], args.join(" "))
      assert.match(stderr.trim(), message)
    }
    child.kill()
    await gone
    assert.notInclude(readdirSync(folder), "none.db")
  })
})
