/**
 * Metrics of calls, attempts, tokens, costs and policies, and their way out: OTLP or Prometheus.
 *
 * - {@link metrics} counts what call records tell. Names and units: the table of `docs/telemetry.md`.
 * - {@link layerStates} samples circuits, queues and retry budgets.
 * - {@link layerOtlp} sends spans and metrics to a collector. {@link layerPrometheus} serves the metrics at a port of
 *   their own; {@link prometheus} is the text for a route that the application has already.
 *
 * The package has a dashboard for Grafana and alert rules for Prometheus in its folder `grafana`.
 *
 * Gotchas:
 * - Effect keeps the metrics of a process in one registry. An exporter tells all of it, the application's own too.
 * - The number of series is bounded: an attribute keeps its first 256 values, a label 64, and further ones are `other`.
 * - Metrics are no bills. A counter begins at 0 with each process; the records hold what a single call cost.
 *
 * @example
 * import { NodeHttpClient } from "@effect/platform-node"
 * import { Effect, Layer } from "effect"
 * import { Chat, ChatModel } from "effect-steadfast"
 * import { Telemetry } from "effect-steadfast/observability"
 *
 * declare const assistant: ChatModel.ChatModel
 *
 * const telemetry = Layer.mergeAll(
 *   Telemetry.layerMetrics({ labels: ["tenant"] }),
 *   Telemetry.layerOtlp({ url: "http://127.0.0.1:4318", resource: { serviceName: "my-app" } })
 * ).pipe(Layer.provide(NodeHttpClient.layerUndici))
 *
 * const program = assistant.generate(Chat.prompt("Hello")).pipe(Effect.provide(telemetry))
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import * as Call from "../calls/Call.js"
import * as CallSpan from "../calls/CallSpan.js"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as PolicyOptions from "../policies/Options.js"
import type * as Pacer from "../policies/pacer/Pacer.js"
import * as Instrument from "./Instrument.js"
import * as Otlp from "./Otlp.js"
import * as PrometheusServer from "./PrometheusServer.js"
import * as PrometheusText from "./PrometheusText.js"
import * as RecordMetrics from "./RecordMetrics.js"
import * as StateMetrics from "./StateMetrics.js"

export { attributes, type Definition, metrics as table, prometheusName } from "./MetricTable.js"
export { contentType } from "./PrometheusText.js"
export type { Kind } from "./RecordMetrics.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/**
 * The options of {@link layerMetrics}.
 *
 * @since 0.2.0
 * @category options
 */
export interface MetricsOptions {
  /**
   * The labels of calls (`Call.withLabels`) that become attributes `steadfast.label.{name}`. Each multiplies the
   * series; 64 values of each are kept. Default: none.
   */
  readonly labels?: ReadonlyArray<string> | undefined
}

/**
 * The options of {@link layerStates}.
 *
 * @since 0.2.0
 * @category options
 */
export interface StatesOptions {
  /** The breaker whose circuits are shown. Default: none. */
  readonly breaker?: CircuitBreaker.CircuitBreaker | undefined
  /** The pacer whose queues are shown. Default: none. */
  readonly pacer?: Pacer.Pacer | undefined
  /** The time between two samples: above 0. Default 5 seconds. */
  readonly interval?: Duration.DurationInput | undefined
}

/**
 * The options of {@link layerOtlp}.
 *
 * @since 0.2.0
 * @category options
 */
export interface OtlpOptions {
  /** The base URL of the collector, such as `http://127.0.0.1:4318`; `/v1/traces` and the like are added. */
  readonly url: string
  /** Headers of every export. Default: none. */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** What describes this process. */
  readonly resource: {
    readonly serviceName: string
    readonly serviceVersion?: string | undefined
    readonly attributes?: Record<string, unknown>
  }
  /** The time between two exports: above 0. Default 10 seconds. */
  readonly interval?: Duration.DurationInput | undefined
  /** Whether the log is sent too. Default `false`. */
  readonly logs?: boolean | undefined
  /** The longest time of the last export of each kind, at the end: above 0. Default 1 second. */
  readonly shutdownTimeout?: Duration.DurationInput | undefined
}

/**
 * The options of {@link layerPrometheus}.
 *
 * @since 0.2.0
 * @category options
 */
export interface PrometheusOptions {
  /** The port; 0 for any that is free. */
  readonly port: number
  /** The address to listen at. Default `127.0.0.1`: a metrics page has no password. */
  readonly host?: string | undefined
}

const length = PolicyOptions.duration({ above: 0 })

const read = (input: Duration.DurationInput, name: string): Duration.Duration =>
  Duration.millis(length.read(input, `Telemetry: ${name}`))

// -----------------------------------------------------------------------------
// layers
// -----------------------------------------------------------------------------

/**
 * Counts what the records of calls tell, with labels of your choice as attributes. Provide it once, around the program:
 * two of them count each call twice.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerMetrics = ({ labels = [] }: MetricsOptions = {}): Layer.Layer<never> =>
  Layer.suspend(() => {
    const update = RecordMetrics.make([...new Set(labels)], Instrument.bounds())
    return Call.observe((record) => Effect.sync(() => update(record)))
  })

/**
 * Counts what the records of calls tell, without their labels.
 *
 * @since 0.2.0
 * @category layers
 */
export const metrics: Layer.Layer<never> = layerMetrics()

/**
 * Samples the states of circuits and queues, and of the retry budgets of the context, into gauges. Transitions of
 * circuits are counted as they happen.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerStates = ({ breaker, interval = "5 seconds", pacer }: StatesOptions = {}): Layer.Layer<never> =>
  Layer.scopedDiscard(StateMetrics.sample({ breaker, pacer }, read(interval, "interval")))

/**
 * Sends spans and metrics to an OpenTelemetry collector, as JSON over HTTP. Needs the package `@effect/opentelemetry`.
 * A collector that is away fails no call; what it missed of the spans is lost.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerOtlp = (options: OtlpOptions): Layer.Layer<never, never, HttpClient.HttpClient> => {
  const { headers = {}, interval = "10 seconds", logs = false, resource, shutdownTimeout = "1 second", url } = options
  return Otlp.layer({
    url,
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, value]) => [name, Redacted.isRedacted(value) ? Redacted.value(value) : value])
    ),
    resource,
    interval: read(interval, "interval"),
    shutdownTimeout: read(shutdownTimeout, "shutdownTimeout"),
    logs
  })
}

/**
 * Serves the metrics of this process at `GET /metrics`, for Prometheus. Needs Node. Fails with `ServeError` if the port
 * is in use.
 *
 * @since 0.2.0
 * @category layers
 */
export const layerPrometheus = ({ host = "127.0.0.1", port }: PrometheusOptions): Layer.Layer<never, ServeError> =>
  Layer.scopedDiscard(PrometheusServer.serve(host, port))

/**
 * Spans carry the names of older conventions too: `gen_ai.system` and `llm.token_count.*`.
 *
 * @since 0.2.0
 * @category layers
 */
export const legacyNames: Layer.Layer<never> = Layer.succeed(CallSpan.LegacyNames, true) as Layer.Layer<never>

// -----------------------------------------------------------------------------
// getters
// -----------------------------------------------------------------------------

/**
 * The metrics of this process in the text format of Prometheus, for a route of your own; its `content-type` is
 * {@link contentType}.
 *
 * @since 0.2.0
 * @category getters
 */
export const prometheus: Effect.Effect<string> = Effect.sync(PrometheusText.current)
