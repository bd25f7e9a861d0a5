#!/usr/bin/env node
/**
 * The `steadfast` command: a gateway, and reports over a call log.
 *
 * `steadfast gateway --config gateway.yaml` serves until it is stopped; `steadfast status` asks it how it is, and
 * `steadfast import FILE` turns another gateway's file into one for it.
 *
 * `steadfast report --db calls.db --since 24h --by target`, `steadfast calls --db calls.db --failed`,
 * `steadfast reconcile --db calls.db --bill bill.csv`, and `steadfast dashboard --db calls.db --port 4777`, a page that
 * it serves until it is stopped. What goes wrong is told on stderr, with exit code 1. It writes nothing to the log, but
 * brings the tables of an earlier version up to date.
 *
 * It needs `@effect/cli` and `@effect/platform-node`, and the packages of the database: `@effect/sql-libsql` and
 * `@libsql/client` for a file, `@effect/sql-pg` for a `postgres://` URL.
 *
 * @since 0.2.0
 */

import { existsSync, readFileSync } from "node:fs"
import * as Command from "@effect/cli/Command"
import * as CliOptions from "@effect/cli/Options"
import * as ValidationError from "@effect/cli/ValidationError"
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as NodeContext from "@effect/platform-node/NodeContext"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as GatewayCommand from "./gateway/Command.js"
import { upgrade } from "./observability/CallLogSchema.js"
import * as CallReport from "./observability/CallReport.js"
import * as ReportText from "./observability/ReportText.js"

/** What the user got wrong, in a line. */
class Mistake extends Error {}

const mistake = (message: string): Effect.Effect<never, Mistake> => Effect.fail(new Mistake(message))

/** The client of a database: a PostgreSQL URL, else a file that must be there. Reading makes no file. */
const clientOf = (db: string): Layer.Layer<SqlClient.SqlClient, unknown> => {
  if (/^postgres(?:ql)?:\/\//.test(db)) {
    const load = Effect.promise(() => import("@effect/sql-pg/PgClient"))
    return Layer.unwrapEffect(Effect.map(load, (pg) => pg.layer({ url: Redacted.make(db), maxConnections: 1 })))
  }
  const file = db.replace(/^file:(?:\/\/)?/, "")
  if (!existsSync(file)) return Layer.unwrapEffect(mistake(`no call log at ${file}`))
  const load = Effect.promise(() => import("./observability/CallLogLibsql.js"))
  return Layer.unwrapEffect(Effect.map(load, (libsql) => libsql.client(file)))
}

/** A call log that is up to date. */
const logOf = (db: string): Layer.Layer<SqlClient.SqlClient, unknown> =>
  Layer.tap(clientOf(db), (context) =>
    upgrade.pipe(
      Effect.provide(context),
      Effect.flatMap((found) => (found ? Effect.void : mistake("there is no call log in this database")))
    )
  )

const units: Readonly<Record<string, Duration.Unit>> = { s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks" }

/** A time: so long ago (`90m`, `24h`, `7d`), or a date. */
const timeOf = (text: string): Effect.Effect<number, Mistake> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const [, amount = "", letter = ""] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? []
    const unit = units[letter]
    const at = unit === undefined ? Date.parse(text) : now - Duration.toMillis(`${Number(amount)} ${unit}`)
    return Number.isNaN(at)
      ? mistake(`"${text}" is no time: expected 90m, 24h, 7d or a date such as 2026-11-30`)
      : Effect.succeed(at)
  })

const isBy = (text: string): text is CallReport.By =>
  ["provider", "model", "target", "day", "error", "all"].includes(text) || /^label:./.test(text)

const db = CliOptions.text("db").pipe(CliOptions.withDescription("The call log: a file, or a postgres:// URL"))
const since = CliOptions.text("since").pipe(
  CliOptions.withDescription("From when on: 90m, 24h, 7d ago, or a date"),
  CliOptions.withDefault("24h")
)
const by = CliOptions.text("by").pipe(
  CliOptions.withDescription("provider, model, target, day, error, all or label:NAME"),
  CliOptions.withDefault("target")
)
const json = CliOptions.boolean("json").pipe(CliOptions.withDescription("Print JSON"))
const csv = CliOptions.boolean("csv").pipe(CliOptions.withDescription("Print CSV"))
const failed = CliOptions.boolean("failed").pipe(CliOptions.withDescription("Only calls that did not succeed"))
const call = CliOptions.text("call").pipe(CliOptions.withDescription("One call, by its id"), CliOptions.optional)
const limit = CliOptions.integer("limit").pipe(
  CliOptions.withDescription("The most calls, up to 1000"),
  CliOptions.withDefault(20)
)
const bill = CliOptions.text("bill").pipe(
  CliOptions.withDescription("CSV with day, model, input_tokens, output_tokens, usd, and maybe provider")
)

const printJson = (value: unknown): Effect.Effect<void> => Console.log(JSON.stringify(value, undefined, 2))

const report = Command.make("report", { db, since, by, json, csv }, (given) =>
  Effect.gen(function* () {
    const { by } = given
    if (!isBy(by)) {
      return yield* mistake(`--by ${by}: expected provider, model, target, day, error, all or label:NAME`)
    }
    if (given.json && given.csv) return yield* mistake("--json and --csv exclude each other")
    const found = yield* CallReport.report({ by, since: yield* timeOf(given.since) })
    if (given.json) return yield* printJson(found)
    if (!given.csv) return yield* Console.log(ReportText.reportText(found, by))
    const rows = found.rows.map(ReportText.flatOf)
    yield* Console.log(ReportText.csvOf(rows, ReportText.flatColumns))
    if (found.lost.records > 0) yield* Console.error(`${found.lost.records} records lost`)
  }).pipe(Effect.provide(logOf(given.db)))
).pipe(Command.withDescription("Counts calls, retries, waits and costs"))

const calls = Command.make("calls", { db, since, failed, call, limit, json }, (given) =>
  Effect.gen(function* () {
    if (Option.isSome(given.call)) {
      const id = given.call.value
      const found = yield* CallReport.timeline(id)
      if (Option.isNone(found)) return yield* mistake(`no call ${id}`)
      return yield* given.json ? printJson(found.value) : Console.log(ReportText.timelineText(found.value))
    }
    const options = { failed: given.failed, limit: given.limit, since: yield* timeOf(given.since) }
    const found = yield* CallReport.calls(options)
    yield* given.json ? printJson(found) : Console.log(ReportText.callsText(found))
  }).pipe(Effect.provide(logOf(given.db)))
).pipe(Command.withDescription("Lists calls with their attempts, or shows one call"))

const reconcile = Command.make("reconcile", { db, bill, json }, (given) =>
  Effect.gen(function* () {
    const text = yield* Effect.try({
      try: () => readFileSync(given.bill, "utf8"),
      catch: () => new Mistake(`cannot read ${given.bill}`)
    })
    const found = yield* CallReport.reconcile(text)
    yield* given.json ? printJson(found) : Console.log(ReportText.reconciliationText(found))
  }).pipe(Effect.provide(logOf(given.db)))
).pipe(Command.withDescription("Compares the log with a provider's bill, by day and model"))

/** Why it failed, in a line: the cause that the database driver gave, not the wrapper's words. */
const lineOf = (error: unknown): string => {
  const inner = (error as { readonly cause?: unknown } | undefined)?.cause ?? error
  return inner instanceof Error ? inner.message || inner.name : String(inner)
}

/** Why the server does not start. */
const notServed = ({ cause }: ServeError, host: string, port: number): Effect.Effect<never, Mistake> => {
  const { code } = (cause ?? {}) as { readonly code?: unknown }
  if (code === "EADDRINUSE") return mistake(`port ${port} of ${host} is taken; choose another with --port`)
  if (code === "EACCES") return mistake(`port ${port} of ${host} is not allowed; choose another with --port`)
  return mistake(`cannot listen on ${host}, port ${port}: ${lineOf(cause)}`)
}

const port = CliOptions.integer("port").pipe(
  CliOptions.withDescription("The port of the page, 0 for a free one"),
  CliOptions.withDefault(4777)
)
const host = CliOptions.text("host").pipe(
  CliOptions.withDescription("The address to listen on; there is no login"),
  CliOptions.withDefault("127.0.0.1")
)

const dashboard = Command.make("dashboard", { db, port, host }, ({ db, host, port }) =>
  Effect.gen(function* () {
    if (port < 0 || port > 65_535) return yield* mistake(`--port ${port}: expected 0 to 65535`)
    const { layer } = yield* Effect.promise(() => import("./observability/DashboardServer.js"))
    // The address comes when the server listens; the process ends by a signal, and then closes what is open.
    yield* HttpServer.addressFormattedWith((address) =>
      Console.log(`dashboard of ${db.replace(/\/\/.*@/, "//")}: ${address}`)
    ).pipe(Effect.zipRight(Effect.never), Effect.provide(layer({ host, port })))
  }).pipe(
    Effect.catchTag("ServeError", (error) => notServed(error, host, port)),
    Effect.provide(logOf(db))
  )
).pipe(Command.withDescription("Serves a page over a call log until it is stopped"))

const steadfast = Command.make("steadfast").pipe(
  Command.withDescription("A gateway for LLM calls, and reports over its call log"),
  Command.withSubcommands([
    GatewayCommand.gateway,
    GatewayCommand.status,
    GatewayCommand.importing,
    report,
    calls,
    reconcile,
    dashboard
  ])
)

const { version }: { readonly version: string } = JSON.parse(
  readFileSync(new URL("../package.json", import.meta.url), "utf8")
)

// The wizard does not end without a terminal.
const program = process.argv.includes("--wizard")
  ? mistake("there is no wizard; see --help")
  : Command.run(steadfast, { name: "steadfast", version })(process.argv)

program.pipe(
  Effect.tapErrorCause((cause) => {
    // A signal ends the dashboard.
    if (Cause.isInterruptedOnly(cause)) return Effect.void
    const error = Cause.squash(cause)
    // The command line's own complaints are printed already.
    return ValidationError.isValidationError(error) ? Effect.void : Console.error(`steadfast: ${lineOf(error)}`)
  }),
  Effect.provide(NodeContext.layer),
  NodeRuntime.runMain({ disableErrorReporting: true })
)
