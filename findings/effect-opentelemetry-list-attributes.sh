#!/usr/bin/env bash
# @effect/opentelemetry 0.64.1: the tracer over the OpenTelemetry SDK writes attributes that are lists as text.
#
# The conventions for generative AI want lists, as `gen_ai.response.finish_reasons`, and the SDK takes them. A careful
# guess: a list goes through. It becomes a text with line breaks, in which backends find no member.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init -y >/dev/null
npm install --silent --no-audit --no-fund --legacy-peer-deps effect@3.22.4 @effect/platform@0.97.2 \
  @effect/opentelemetry@0.64.1 @opentelemetry/api@1.9.1 @opentelemetry/resources@2.12.1 \
  @opentelemetry/sdk-trace-base@2.12.1 @opentelemetry/semantic-conventions@1.45.0
cat >run.mjs <<'JS'
import * as Resource from "@effect/opentelemetry/Resource"
import * as Tracer from "@effect/opentelemetry/Tracer"
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base"
import { Effect, Layer } from "effect"
const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
const layer = Tracer.layer.pipe(
  Layer.provide(Layer.succeed(Tracer.OtelTracerProvider, provider)),
  Layer.provide(Resource.layer({ serviceName: "finding" }))
)
const reasons = "gen_ai.response.finish_reasons"
const program = Effect.annotateCurrentSpan(reasons, ["stop"]).pipe(Effect.withSpan("chat"), Effect.provide(layer))
await Effect.runPromise(program)
console.log(JSON.stringify(exporter.getFinishedSpans()[0].attributes[reasons]))
JS
found=$(node run.mjs)
expected='"[\n  \"stop\"\n]"'
echo "$found"
[ "$found" = "$expected" ] || { echo "this has changed"; exit 1; }
