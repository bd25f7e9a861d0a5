/**
 * The databases of the call log's tests: a libSQL file always; PostgreSQL at `STEADFAST_PG_URL`, or a throwaway cluster
 * where its programs are installed. Where neither is, that is said aloud.
 */
import { execFileSync, spawn } from "node:child_process"
import { once } from "node:events"
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as SqlClient from "@effect/sql/SqlClient"
import { PgClient } from "@effect/sql-pg"
import { type Layer, Redacted } from "effect"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"

/** Why a test of PostgreSQL is skipped. */
export const noServer = "there is no PostgreSQL here: neither its programs nor STEADFAST_PG_URL"

/** A database that a test has for itself. */
export interface Database {
  readonly client: Layer.Layer<SqlClient.SqlClient, unknown>
  readonly url: string
}

/** The client of a database at such an address. */
export const clientOf = (url: string): Layer.Layer<SqlClient.SqlClient, unknown> =>
  url.startsWith("postgres")
    ? PgClient.layer({ url: Redacted.make(url), maxConnections: 3 })
    : CallLogLibsql.client(url)

export interface Backend {
  readonly name: string
  /** An empty database. */
  readonly make: () => Database
  readonly stop: () => void
  /** Of a server of our own: stops it at once, as a crash does, and starts it again. */
  readonly server?: { readonly crash: () => Promise<void>; readonly start: () => Promise<void> }
}

const libsql = (): Backend => {
  const folder = mkdtempSync(join(tmpdir(), "steadfast-log-"))
  let count = 0
  return {
    name: "libSQL",
    make: () => {
      const file = join(folder, `${++count}.db`)
      return { client: clientOf(file), url: file }
    },
    stop: () => rmSync(folder, { recursive: true, force: true })
  }
}

const programs = (): string | undefined => {
  const root = "/usr/lib/postgresql"
  if (!existsSync(root)) return undefined
  return readdirSync(root)
    .map((version) => join(root, version, "bin"))
    .find((bin) => existsSync(join(bin, "initdb")))
}

const idOf = (user: string): number | undefined => {
  try {
    return Number(execFileSync("id", ["-u", user], { stdio: ["ignore", "pipe", "ignore"] }).toString())
  } catch {
    return undefined
  }
}

const postgresAt = (url: string, more: Pick<Backend, "server" | "stop">): Backend => {
  const own = `${process.pid}_${Date.now()}`
  let count = 0
  return {
    name: "PostgreSQL",
    make: () => {
      const name = `steadfast_${own}_${++count}`
      execFileSync("psql", ["-q", url, "-c", `create database ${name}`], { stdio: ["ignore", "ignore", "inherit"] })
      const database = new URL(url)
      database.pathname = `/${name}`
      return { client: clientOf(database.href), url: database.href }
    },
    ...more
  }
}

/** A cluster in a temporary folder. PostgreSQL does not run as root: then another user has it. */
const cluster = (bin: string): Backend => {
  const folder = mkdtempSync(join(tmpdir(), "steadfast-pg-"))
  const uid = process.getuid?.() === 0 ? (idOf("postgres") ?? idOf("nobody")) : undefined
  if (uid !== undefined) chownSync(folder, uid, -1)
  const data = join(folder, "data")
  const options = { cwd: folder, ...(uid === undefined ? {} : { uid }) }
  const run = (program: string, args: ReadonlyArray<string>) =>
    execFileSync(join(bin, program), args, { ...options, stdio: "ignore" })
  run("initdb", ["-D", data, "-U", "steadfast", "-A", "trust", "-E", "UTF8", "--no-sync"])
  // Below the ports that the kernel gives to clients.
  const port = 20_000 + Math.floor(Math.random() * 12_000)
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${folder} -c fsync=off`
  const starting = ["-D", data, "-l", join(folder, "log"), "-w", "-o", settings, "start"]
  const crashing = ["-D", data, "-m", "immediate", "stop"]
  run("pg_ctl", starting)
  const meanwhile = async (args: ReadonlyArray<string>): Promise<void> => {
    const child = spawn(join(bin, "pg_ctl"), args, { ...options, stdio: "ignore" })
    const [code] = await once(child, "exit")
    if (code !== 0) throw new Error(`pg_ctl ended with ${code}`)
  }
  return postgresAt(`postgres://steadfast@127.0.0.1:${port}/postgres`, {
    server: { crash: () => meanwhile(crashing), start: () => meanwhile(starting) },
    stop: () => {
      run("pg_ctl", crashing)
      rmSync(folder, { recursive: true, force: true })
    }
  })
}

const postgres = (): Backend | undefined => {
  const url = process.env.STEADFAST_PG_URL
  if (url !== undefined && url !== "") return postgresAt(url, { stop: () => undefined })
  const bin = programs()
  if (bin !== undefined) return cluster(bin)
  console.warn("no PostgreSQL: neither STEADFAST_PG_URL nor its programs. Its half of the call log's tests is skipped.")
  return undefined
}

/** What starts when its tests do. */
export const backends: ReadonlyArray<{ readonly name: string; readonly start: () => Backend | undefined }> = [
  { name: "libSQL", start: libsql },
  { name: "PostgreSQL", start: postgres }
]
