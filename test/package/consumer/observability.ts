import type { HttpClient } from "@effect/platform"
import { type Effect, Layer } from "effect"
import * as Telemetry from "effect-steadfast/observability/Telemetry"

export const text: Effect.Effect<string> = Telemetry.prometheus

export const layer: Layer.Layer<never, never, HttpClient.HttpClient> = Layer.merge(
  Telemetry.layerMetrics({ labels: ["tenant"] }),
  Telemetry.layerOtlp({ url: "http://127.0.0.1:4318", resource: { serviceName: "consumer" } })
)
