/**
 * The call log in a libSQL file: no server, and nothing to compile.
 *
 * It stands in a module of its own, `effect-steadfast/observability/CallLogLibsql`, so that only this one needs
 * `@effect/sql-libsql` and `@libsql/client` 0.18.
 *
 * Gotchas:
 * - The driver is synchronous: a statement stops the whole process while it runs. A batch takes milliseconds; another
 *   process that holds the lock costs at most {@link busyMillis} for each try, since the log waits by itself. Read
 *   reports of a large log from another process: `steadfast report`.
 * - The file is in WAL mode: readers do not hold up the writer, and a killed process loses no row that was written. A
 *   power cut may take the last ones (`synchronous=NORMAL`).
 *
 * @example
 * import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
 *
 * const log = CallLogLibsql.layer({ file: "calls.db", keep: "90 days" })
 *
 * @since 0.2.0
 */

import { mkdirSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as LibsqlClient from "@effect/sql-libsql/LibsqlClient"
import { type Client, createClient, type InStatement } from "@libsql/client"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CallLog from "./CallLog.js"

/**
 * The milliseconds that a statement waits for another process's lock. The process stands still meanwhile, so it is
 * little more than a batch of another writer takes.
 *
 * @internal
 */
export const busyMillis = 20

/** Settings of a connection. `busy_timeout` is an option of the client. */
const settings = "pragma synchronous = normal"

/**
 * One connection, which is made anew after a failed statement. The driver (0.18.0) leaves a statement that met
 * SQLITE_BUSY open, and what the same connection writes from then on is never committed: each statement succeeds, and
 * all are gone when it closes.
 */
const open = async (url: string): Promise<Client> => {
  const client = createClient({ url, timeout: busyMillis, concurrency: 1 })
  const anew =
    <Args extends ReadonlyArray<unknown>, A>(run: (...args: Args) => Promise<A>) =>
    async (...args: Args): Promise<A> => {
      try {
        return await run(...args)
      } catch (error) {
        if (/^SQLITE_/.test(String((error as { readonly code?: unknown }).code))) {
          await client.reconnect()
          await client.execute(settings)
        }
        throw error
      }
    }
  const execute = anew((statement: InStatement) => client.execute(statement))
  const batch = anew(client.batch.bind(client))
  try {
    await client.execute("pragma journal_mode = wal")
    await client.execute(settings)
  } catch (error) {
    client.close()
    throw error
  }
  return new Proxy(client, {
    get: (target, name) => {
      if (name === "execute") return execute
      if (name === "batch") return batch
      const value: unknown = Reflect.get(target, name, target)
      return typeof value === "function" ? value.bind(target) : value
    }
  })
}

/**
 * A client for a libSQL file. The folder is made if it is missing.
 *
 * @since 0.2.0
 * @category layers
 */
export const client = (file: string): Layer.Layer<SqlClient.SqlClient, unknown> => {
  const live = Effect.acquireRelease(
    Effect.tryPromise(() => {
      mkdirSync(dirname(resolve(file)), { recursive: true })
      return open(pathToFileURL(resolve(file)).href)
    }),
    (liveClient) => Effect.sync(() => liveClient.close())
  )
  return Layer.unwrapScoped(Effect.map(live, (liveClient) => LibsqlClient.layer({ liveClient })))
}

/**
 * The options of {@link layer}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends CallLog.Options {
  /** The path of the file. */
  readonly file: string
}

/**
 * The call log in a libSQL file. See `CallLog.Options` for the rest of the options.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = ({ file, ...options }: Options): Layer.Layer<CallLog.CallLog> =>
  CallLog.layerFrom(client(file), options)
