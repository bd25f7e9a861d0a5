/**
 * The spans of calls and attempts.
 *
 * A call's span follows the OpenTelemetry conventions for generative AI: the span `gen_ai.client.inference` of
 * https://github.com/open-telemetry/semantic-conventions-genai, v0.1.0 (`docs/gen-ai/client-inference.md`). It covers
 * the call with all its retries. The conventions know no attempts: those have names of our own and of `http.*`.
 *
 * @since 0.2.0
 */

import * as Chunk from "effect/Chunk"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Fiber from "effect/Fiber"
import * as FiberRef from "effect/FiberRef"
import * as Tracer from "effect/Tracer"
import type { Usage } from "../policies/Usage.js"
import { type AttemptRecord, billOf, type CallRecord, servedBy, targetName } from "./CallRecord.js"

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
 * Whether spans carry the old names too: `gen_ai.system` and OpenInference's `llm.token_count.*`. Default `false`.
 *
 * @since 0.2.0
 * @category context
 */
export class LegacyNames extends Context.Reference<LegacyNames>()("steadfast/Call/LegacyNames", {
  defaultValue: () => false
}) {}

/** The providers that the conventions call by another name than we do. */
const providers: Readonly<Record<string, string>> = {
  gemini: "gcp.gemini",
  vertex: "gcp.vertex_ai",
  xai: "x_ai",
  mistral: "mistral_ai",
  azure: "azure.ai.openai",
  bedrock: "aws.bedrock"
}

/**
 * The name of a provider in the GenAI conventions.
 *
 * @since 0.2.0
 * @category getters
 */
export const providerName = (provider: string): string => providers[provider] ?? provider

/**
 * The attributes of an attempt's span. The names of the GenAI conventions stand on the call's span only, so that a sum
 * over spans counts no token twice.
 *
 * @internal
 */
export const attemptAttributes = (draft: AttemptRecord): Record<string, unknown> => {
  const attributes: Record<string, unknown> = {
    "steadfast.attempt.index": draft.index,
    "steadfast.attempt.target": targetName(draft),
    "steadfast.attempt.provider": draft.provider,
    "steadfast.attempt.model": draft.model
  }
  if (draft.key !== undefined) attributes["steadfast.attempt.key"] = draft.key
  if (draft.hedge === true) attributes["steadfast.attempt.hedge"] = true
  if (draft.queuedMillis !== undefined) attributes["steadfast.attempt.queued_ms"] = draft.queuedMillis
  if (draft.retry !== undefined) {
    attributes["steadfast.retry.delay_ms"] = draft.retry.delayMillis
    attributes["steadfast.retry.reason"] = draft.retry.reason
  }
  if (draft.fallback !== undefined) {
    attributes["steadfast.fallback.from"] = draft.fallback.from
    attributes["steadfast.fallback.reason"] = draft.fallback.reason
  }
  return attributes
}

/**
 * What became of an attempt.
 *
 * @internal
 */
export const endAttempt = (span: Tracer.Span, attempt: AttemptRecord): void => {
  span.attribute("steadfast.attempt.outcome", attempt.outcome)
  if (attempt.status !== undefined) span.attribute("http.response.status_code", attempt.status)
  if (attempt.requestId !== undefined) span.attribute("steadfast.attempt.request_id", attempt.requestId)
  if (attempt.responseId !== undefined) span.attribute("steadfast.attempt.response_id", attempt.responseId)
  if (attempt.usage !== undefined) {
    span.attribute("steadfast.attempt.input_tokens", attempt.usage.inputTokens)
    span.attribute("steadfast.attempt.output_tokens", attempt.usage.outputTokens)
  }
  if (attempt.usd !== undefined) span.attribute("steadfast.attempt.usd", attempt.usd)
  if (attempt.firstTokenMillis !== undefined) {
    span.attribute("steadfast.attempt.first_token_ms", attempt.firstTokenMillis)
  }
  if (attempt.correction !== undefined) span.attribute("steadfast.attempt.correction", attempt.correction)
  if (attempt.error !== undefined) span.attribute("error.type", attempt.error._tag)
}

/** Sets an attribute to the sum of a count over all attempts, if one has it. */
const sum = (
  span: Tracer.Span,
  attempts: ReadonlyArray<AttemptRecord>,
  names: ReadonlyArray<string>,
  of: (usage: Usage) => number | undefined
): void => {
  let total: number | undefined
  for (const { usage } of attempts) {
    const count = usage && of(usage)
    if (count !== undefined) total = (total ?? 0) + count
  }
  if (total !== undefined) for (const name of names) span.attribute(name, total)
}

/**
 * What became of a call: who was asked and who answered, with what usage. Tokens are those of all attempts.
 *
 * @internal
 */
export const endCall = (span: Tracer.Span, record: Omit<CallRecord, "durationMillis">, legacy: boolean): void => {
  const { attempts, error, labels, operation, outcome } = record
  const served = servedBy(record)
  const last = served ?? attempts.at(-1)
  span.attribute("steadfast.attempts", attempts.length)
  if (operation !== undefined) span.attribute("gen_ai.operation.name", operation)
  for (const name in labels) span.attribute(`steadfast.label.${name}`, labels[name])
  if (error !== undefined) span.attribute("error.type", error._tag)
  if (last === undefined) return
  span.attribute("gen_ai.provider.name", providerName(last.provider))
  span.attribute("gen_ai.request.model", last.model)
  if (last.stream === true) span.attribute("gen_ai.request.stream", true)
  if (legacy) span.attribute("gen_ai.system", last.provider)
  if (served !== undefined) {
    span.attribute("steadfast.target", targetName(served))
    if (served.responseModel !== undefined) span.attribute("gen_ai.response.model", served.responseModel)
    if (served.responseId !== undefined) span.attribute("gen_ai.response.id", served.responseId)
    if (served.firstTokenMillis !== undefined) {
      const before = served.startedAt - record.startedAt
      span.attribute("gen_ai.response.time_to_first_chunk", (before + served.firstTokenMillis) / 1000)
    }
  }
  const reason = outcome === "success" ? served?.finishReason : "error"
  if (reason !== undefined) span.attribute("gen_ai.response.finish_reasons", [reason])
  const old = (name: string): ReadonlyArray<string> => (legacy ? [`llm.token_count.${name}`] : [])
  sum(span, attempts, ["gen_ai.usage.input_tokens", ...old("prompt")], (usage) => usage.inputTokens)
  sum(span, attempts, ["gen_ai.usage.output_tokens", ...old("completion")], (usage) => usage.outputTokens)
  const read = ["gen_ai.usage.cache_read.input_tokens", ...old("prompt_details.cache_read")]
  sum(span, attempts, read, (usage) => usage.cachedInputTokens)
  const written = ["gen_ai.usage.cache_write.input_tokens", ...old("prompt_details.cache_write")]
  sum(span, attempts, written, (usage) => usage.cacheWriteTokens)
  sum(span, attempts, ["gen_ai.usage.reasoning.output_tokens"], (usage) => usage.reasoningTokens)
  const { unknown, unpriced, usd, wastedUsd } = billOf(record)
  span.attribute("steadfast.usd", usd)
  if (wastedUsd > 0) span.attribute("steadfast.wasted_usd", wastedUsd)
  if (unpriced > 0) span.attribute("steadfast.unpriced_attempts", unpriced)
  if (unknown > 0) span.attribute("steadfast.usage_unknown_attempts", unknown)
}
