/**
 * The spans of calls and attempts.
 *
 * @since 0.2.0
 */

import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Tracer from "effect/Tracer"
import type { AttemptRecord } from "./CallRecord.js"

/**
 * Starts a span under a context. The caller ends it; `undefined` at no cost if tracing is off.
 *
 * @internal
 */
export const open = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  context: Context.Context<never>,
  name: string,
  attributes: () => Record<string, unknown>
): Tracer.Span | undefined => {
  if (!fiber.getFiberRef(FiberRef.currentTracerEnabled)) return undefined
  const clock = Context.get(fiber.currentDefaultServices, Clock.Clock)
  const parent = Context.getOption(context, Tracer.ParentSpan)
  const links = Chunk.toReadonlyArray(fiber.getFiberRef(FiberRef.currentTracerSpanLinks))
  const span = fiber.currentTracer.span(name, parent, Context.empty(), links, clock.unsafeCurrentTimeNanos(), "client")
  for (const [key, value] of fiber.getFiberRef(FiberRef.currentTracerSpanAnnotations)) span.attribute(key, value)
  const own = attributes()
  for (const key in own) span.attribute(key, own[key])
  return span
}

/**
 * The model and usage of the answer, named as in the GenAI conventions and in OpenInference.
 *
 * @internal
 */
export const usage = (span: Tracer.Span, { responseModel, usage }: AttemptRecord): void => {
  if (responseModel !== undefined) span.attribute("gen_ai.response.model", responseModel)
  if (usage === undefined) return
  span.attribute("gen_ai.usage.input_tokens", usage.inputTokens)
  span.attribute("gen_ai.usage.output_tokens", usage.outputTokens)
  span.attribute("llm.token_count.prompt", usage.inputTokens)
  span.attribute("llm.token_count.completion", usage.outputTokens)
  if (usage.cachedInputTokens !== undefined) {
    span.attribute("gen_ai.usage.cache_read.input_tokens", usage.cachedInputTokens)
    span.attribute("llm.token_count.prompt_details.cache_read", usage.cachedInputTokens)
  }
  if (usage.cacheWriteTokens !== undefined) {
    // The conventions have renamed the first to the second.
    span.attribute("gen_ai.usage.cache_creation.input_tokens", usage.cacheWriteTokens)
    span.attribute("gen_ai.usage.cache_write.input_tokens", usage.cacheWriteTokens)
    span.attribute("llm.token_count.prompt_details.cache_write", usage.cacheWriteTokens)
  }
}
