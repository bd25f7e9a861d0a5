/**
 * The settings of the server, of observability and of the passthrough, with their defaults.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import * as Loopback from "../../http/Loopback.js"
import type { File } from "./FileSchema.js"
import { oneOf } from "./Problem.js"
import type * as Report from "./Report.js"
import type * as Resolved from "./Resolved.js"
import * as Secrets from "./Secrets.js"

const hashed = (key: string): string =>
  /^sha256:[0-9a-f]{64}$/i.test(key) ? key.slice("sha256:".length).toLowerCase() : Secrets.hashOf(key)

/**
 * The server. Without keys of clients, it is for this machine alone, unless `open` says otherwise.
 *
 * @since 0.2.0
 * @category constructors
 */
export const server = ({ server = {} }: File, hasKeys: boolean, report: Report.Report): Resolved.Server => {
  const host = server.host ?? "127.0.0.1"
  if (
    !Loopback.isHost(host) &&
    !hasKeys &&
    server.open !== true &&
    !report.has(["keys"]) &&
    !report.has(["server", "open"])
  ) {
    report.add(
      ["server", "host"],
      "client keys in keys, or server.open: true, as others than this machine can connect",
      `${JSON.stringify(host)} and no keys`
    )
  }
  return {
    host,
    port: server.port ?? 4000,
    open: server.open === true,
    // The APIs of the providers take bodies up to 20 to 50 MB, with images and files in them.
    maxBodyBytes: server.maxBodyBytes ?? 32 * 2 ** 20,
    maxConcurrent: server.maxConcurrent ?? 5000,
    maxConnections: server.maxConnections ?? 10_000,
    requestTimeout: server.requestTimeout ?? Duration.seconds(60),
    drain: server.drain ?? Duration.seconds(30),
    // Longer than the 60 seconds of common proxies: the side that sends must close first.
    keepAlive: server.keepAlive ?? Duration.seconds(75),
    readerTimeout: server.readerTimeout ?? Duration.minutes(2),
    rememberFailures: server.rememberFailures ?? Duration.seconds(10),
    processing: server.processing ?? true,
    verboseErrors: server.verboseErrors ?? false,
    adminKeyHash: server.adminKey === undefined ? undefined : hashed(server.adminKey)
  }
}

/**
 * @since 0.2.0
 * @category constructors
 */
export const observability = ({ observability = {} }: File): Resolved.Observability => ({
  callLog: observability.callLog === undefined ? undefined : Redacted.make(observability.callLog),
  retention: observability.retention,
  otlp: observability.otlp && {
    url: observability.otlp.url.replace(/\/+$/, ""),
    headers: Object.fromEntries(
      Object.entries(observability.otlp.headers ?? {}).map(([name, value]) => [name, Redacted.make(value)] as const)
    )
  },
  logLevel: observability.logLevel ?? "info",
  logFormat: observability.logFormat ?? "text",
  metricLabels: [...new Set(observability.metricLabels)]
})

/**
 * The provider of the other paths.
 *
 * @since 0.2.0
 * @category constructors
 */
export const passthrough = (
  { passthrough }: File,
  providers: ReadonlyMap<string, Resolved.Provider>,
  report: Report.Report
): string | undefined => {
  if (passthrough === undefined) return undefined
  const provider = providers.get(passthrough)
  if (provider === undefined) report.add(["passthrough"], oneOf(passthrough, providers.keys(), "a provider"))
  else if (provider.kind !== "openai") report.add(["passthrough"], "a provider of kind openai")
  return passthrough
}
