/**
 * What a gateway leaves of its calls, by its configuration: metrics, the call log, traces, prices, log lines.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as LogLevel from "effect/LogLevel"
import * as Redacted from "effect/Redacted"
import * as NodeTransport from "../node/NodeTransport.js"
import * as CallLog from "../observability/CallLog.js"
import * as Degradation from "../observability/Degradation.js"
import * as Telemetry from "../observability/Telemetry.js"
import * as Prices from "../policies/spend/Prices.js"
import type * as Resolved from "./config/Resolved.js"
import * as FilePrices from "./FilePrices.js"

const levels = {
  debug: LogLevel.Debug,
  info: LogLevel.Info,
  warn: LogLevel.Warning,
  error: LogLevel.Error
} as const

/**
 * How a configuration wants its log lines.
 *
 * @internal
 */
export const logging = ({ logFormat, logLevel }: Resolved.Observability): Layer.Layer<never> =>
  Layer.merge(
    // The logger that `runMain` has added would say everything once more.
    Layer.provideMerge(logFormat === "json" ? Logger.json : Logger.pretty, Logger.remove(Logger.prettyLoggerDefault)),
    Logger.minimumLogLevel(levels[logLevel])
  )

/** The client of the database, without its driver where there is no log. */
const clientOf = (url: Redacted.Redacted): Layer.Layer<SqlClient.SqlClient, unknown> =>
  Layer.unwrapEffect(
    Effect.promise(async () => {
      const place = Redacted.value(url)
      if (/^postgres(?:ql)?:\/\//.test(place)) {
        const { PgClient } = await import("@effect/sql-pg")
        return PgClient.layerConfig({ url: Config.succeed(url) })
      }
      const { client } = await import("../observability/CallLogLibsql.js")
      return client(place.replace(/^file:(?:\/\/)?/, ""))
    })
  )

const callLog = ({
  callLog: url,
  retention
}: Resolved.Observability): Layer.Layer<CallLog.CallLog | SqlClient.SqlClient> => {
  if (url === undefined) return Layer.empty as unknown as Layer.Layer<CallLog.CallLog | SqlClient.SqlClient>
  const options = retention === undefined ? {} : { keep: retention }
  // A gateway whose log cannot be opened would hide its calls: it does not start.
  return Layer.provideMerge(CallLog.layer(options), Layer.orDie(clientOf(url)))
}

const prices = (table: Prices.Table): Layer.Layer<never> =>
  Layer.unwrapEffect(Effect.map(FilePrices.of(table), Prices.layer))

const traces = ({ otlp }: Resolved.Observability): Layer.Layer<never> =>
  otlp === undefined
    ? Layer.empty
    : Telemetry.layerOtlp({
        url: otlp.url,
        resource: { serviceName: "steadfast-gateway" },
        headers: Object.fromEntries(Object.entries(otlp.headers).map(([name, value]) => [name, Redacted.value(value)]))
      }).pipe(Layer.provide(NodeTransport.layer))

/**
 * The observers of a configuration, and the log's database where there is one.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = ({
  observability,
  prices: table
}: Pick<Resolved.Config, "observability" | "prices">): Layer.Layer<
  CallLog.CallLog | SqlClient.SqlClient | Degradation.Degradation
> =>
  Layer.mergeAll(
    logging(observability),
    Telemetry.layerMetrics({ labels: observability.metricLabels }),
    callLog(observability),
    prices(table),
    traces(observability),
    Degradation.layer()
  )
