import * as Resource from "@effect/opentelemetry/Resource"
import * as OtelTracer from "@effect/opentelemetry/Tracer"
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor
} from "@opentelemetry/sdk-trace-base"
import { Layer } from "effect"

/** A tracer that keeps its spans, in the order in which they ended. */
export const collectSpans = () => {
  const exporter = new InMemorySpanExporter()
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
  const layer = OtelTracer.layer.pipe(
    Layer.provide(Layer.succeed(OtelTracer.OtelTracerProvider, provider)),
    Layer.provide(Resource.layer({ serviceName: "test" }))
  )
  const spans = (): ReadonlyArray<ReadableSpan> => exporter.getFinishedSpans()
  const named = (name: string): ReadonlyArray<ReadableSpan> => spans().filter((span) => span.name === name)
  return { spans, named, layer }
}
