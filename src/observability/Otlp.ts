/**
 * Export over OTLP/HTTP by `@effect/opentelemetry`, which is loaded only when it is used.
 *
 * Effect's metrics have no units, and its exporter takes a unit from a tag. Here the table gives it, and the body is
 * changed before it is written.
 *
 * @since 0.2.0
 */

import * as HttpBody from "@effect/platform/HttpBody"
import type * as HttpClient from "@effect/platform/HttpClient"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { find } from "./MetricTable.js"

/** What is read of the exporter's body. */
interface Body {
  readonly resourceMetrics: ReadonlyArray<{
    readonly scopeMetrics: ReadonlyArray<{
      readonly metrics: ReadonlyArray<{ readonly name: string; unit?: string }>
    }>
  }>
}

const withUnits = (data: unknown): unknown => {
  for (const { scopeMetrics } of (data as Body).resourceMetrics) {
    for (const { metrics } of scopeMetrics) {
      for (const metric of metrics) {
        const unit = find(metric.name)?.unit
        if (unit !== undefined) metric.unit = unit
      }
    }
  }
  return data
}

/** What the exporters take. */
export interface Settings {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly resource: {
    readonly serviceName: string
    readonly serviceVersion?: string | undefined
    readonly attributes?: Record<string, unknown>
  }
  readonly interval: Duration.Duration
  readonly shutdownTimeout: Duration.Duration
  readonly logs: boolean
}

const missing = (cause: unknown): Error =>
  new Error("Telemetry.layerOtlp needs the package @effect/opentelemetry: npm install @effect/opentelemetry", { cause })

const load = Effect.orDie(
  Effect.tryPromise({
    try: () =>
      Promise.all([
        import("@effect/opentelemetry/OtlpLogger"),
        import("@effect/opentelemetry/OtlpMetrics"),
        import("@effect/opentelemetry/OtlpSerialization"),
        import("@effect/opentelemetry/OtlpTracer")
      ]),
    catch: missing
  })
)

/**
 * The exporters of traces and metrics, and of logs if asked for.
 *
 * @internal
 */
export const layer = (settings: Settings): Layer.Layer<never, never, HttpClient.HttpClient> =>
  Layer.unwrapEffect(
    Effect.map(load, ([OtlpLogger, OtlpMetrics, OtlpSerialization, OtlpTracer]) => {
      const { headers, interval: exportInterval, logs, resource, shutdownTimeout } = settings
      const base = settings.url.replace(/\/+$/, "")
      const common = { headers, exportInterval, resource, shutdownTimeout }
      const serialization = Layer.succeed(OtlpSerialization.OtlpSerialization, {
        traces: (data) => HttpBody.unsafeJson(data),
        metrics: (data) => HttpBody.unsafeJson(withUnits(data)),
        logs: (data) => HttpBody.unsafeJson(data)
      })
      const exporters = Layer.merge(
        OtlpTracer.layer({ ...common, url: `${base}/v1/traces` }),
        OtlpMetrics.layer({ ...common, url: `${base}/v1/metrics` })
      )
      const all = logs
        ? Layer.merge(
            exporters,
            OtlpLogger.layer({ ...common, url: `${base}/v1/logs`, replaceLogger: undefined, excludeLogSpans: true })
          )
        : exporters
      return Layer.provide(all, serialization)
    })
  )
