/**
 * A tracer under which spans do not say what our own span of the call says already: the operation and its usage.
 *
 * Providers of `@effect/ai` write `gen_ai.*` on their span. Inside of a call of ours that would count every token twice
 * in a sum over spans.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"

/** Their names of operation and usage, the old ones too. */
const counted = /^gen_ai\.(?:operation\.name$|usage\.)/

/** The span itself, not a wrapper: tracers know their own spans by class. */
const filtered = (span: Tracer.Span): Tracer.Span => {
  const attribute = span.attribute.bind(span)
  Object.defineProperty(span, "attribute", {
    value: (key: string, value: unknown) => {
      if (!counted.test(key)) attribute(key, value)
    },
    configurable: true
  })
  return span
}

const filter = (tracer: Tracer.Tracer): Tracer.Tracer =>
  Tracer.make({
    span: (...args) => filtered(tracer.span(...args)),
    context: (f, fiber) => tracer.context(f, fiber)
  })

/**
 * Runs an effect under the filter.
 *
 * @internal
 */
export const around = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.flatMap(Effect.tracer, (tracer) => Effect.withTracer(effect, filter(tracer)))
