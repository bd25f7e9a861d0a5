import { FetchHttpClient } from "@effect/platform"
import { Cause, Effect, Layer } from "effect"
import { Call } from "effect-steadfast"
import * as Telemetry from "effect-steadfast/observability/Telemetry"

const text = await Effect.runPromise(
  Effect.zipRight(Call.make("nothing")(Effect.void), Telemetry.prometheus).pipe(Effect.provide(Telemetry.metrics))
)
console.log(text.split("\n").find((line) => line.startsWith("steadfast_calls_total")))

const otlp = Telemetry.layerOtlp({ url: "http://127.0.0.1:1", resource: { serviceName: "consumer" } })
const exit = await Effect.runPromiseExit(Effect.scoped(Layer.build(Layer.provide(otlp, FetchHttpClient.layer))))
console.log(exit._tag === "Success" ? "exported" : Cause.squash(exit.cause).message)
