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
import { createClient } from "@libsql/client"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as CallLog from "./CallLog.js"

/**
 * The milliseconds that a statement waits for another process's lock. The process stands still meanwhile, so it is little
 * more than a batch of another writer takes.
 *
 * @internal
 */
export const busyMillis = 20

/**
 * A client for a libSQL file. The folder is made if it is missing.
 *
 * @since 0.2.0
 * @category layers
 */
export const client = (file: string): Layer.Layer<SqlClient.SqlClient, unknown> => {
  const live = Effect.acquireRelease(
    Effect.tryPromise(async () => {
      mkdirSync(dirname(resolve(file)), { recursive: true })
      // One connection: its settings stay, and there is never a second that would need them.
      const liveClient = createClient({ url: pathToFileURL(resolve(file)).href, timeout: busyMillis, concurrency: 1 })
      try {
        await liveClient.execute("pragma journal_mode = wal")
        await liveClient.execute("pragma synchronous = normal")
      } catch (error) {
        liveClient.close()
        throw error
      }
      return liveClient
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
