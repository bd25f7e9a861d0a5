/**
 * The metrics of call records.
 *
 * @since 0.2.0
 */

import * as CallRecord from "../calls/CallRecord.js"
import * as CallSpan from "../calls/CallSpan.js"
import type { LlmError } from "../errors/LlmError.js"
import * as AttemptPlaces from "./AttemptPlaces.js"
import * as Instrument from "./Instrument.js"
import { type Definition, metrics } from "./MetricTable.js"

/**
 * How an attempt came about.
 *
 * @since 0.2.0
 * @category models
 */
export type Kind = "first" | "retry" | "fallback" | "hedge"

/**
 * The class of an error by the conventions; `undefined` for a success.
 *
 * @internal
 */
export const errorType = (outcome: CallRecord.Outcome, error: LlmError | undefined): string | undefined => {
  if (error !== undefined) return error._tag
  if (outcome === "success") return undefined
  return outcome === "interrupted" ? "interrupted" : "_OTHER"
}

const kindOf = ({ fallback, hedge, retry }: CallRecord.AttemptRecord, number: number): Kind => {
  if (hedge === true) return "hedge"
  if (fallback !== undefined) return "fallback"
  // A plain schedule leaves no decision, and another key is another attempt at the same target.
  return retry !== undefined || number > 1 ? "retry" : "first"
}

/** The reason of a fallback is the tag of an error, and prose in some cases. */
const tagOf = (reason: string): string => reason.split(":", 1)[0] ?? reason

/**
 * Makes a function that updates all metrics by a record. `labels` are the names of the labels that become attributes.
 *
 * @internal
 */
export const make = (
  labels: ReadonlyArray<string>,
  bounds: Instrument.Bounds
): ((record: CallRecord.CallRecord) => void) => {
  const of = (definition: Definition): Instrument.Instrument => Instrument.make(definition, bounds, labels)
  const calls = of(metrics.calls)
  const callAttempts = of(metrics.callAttempts)
  const duration = of(metrics.duration)
  const firstChunk = of(metrics.firstChunk)
  const backoff = of(metrics.backoff)
  const queue = of(metrics.queue)
  const attempts = of(metrics.attempts)
  const byNumber = of(metrics.attemptsByNumber)
  const firstToken = of(metrics.firstToken)
  const fallbacks = of(metrics.fallbacks)
  const tokens = of(metrics.tokens)
  const usd = of(metrics.usd)
  const wastedUsd = of(metrics.wastedUsd)
  const unpriced = of(metrics.unpriced)
  const usageUnknown = of(metrics.usageUnknown)
  const inputTokens = of(metrics.inputTokens)
  const outputTokens = of(metrics.outputTokens)
  const cacheReadTokens = of(metrics.cacheReadTokens)
  const cacheWriteTokens = of(metrics.cacheWriteTokens)
  const reasoningTokens = of(metrics.reasoningTokens)

  return (record) => {
    const own = labels.map((name) => record.labels?.[name])
    const { error, operation, outcome } = record
    const served = CallRecord.servedBy(record)
    const places = AttemptPlaces.of(record.attempts)
    const kinds = record.attempts.map((attempt, at) => kindOf(attempt, places[at]?.number ?? 1))
    const way = served === undefined ? "none" : (kinds[record.attempts.indexOf(served)] ?? "none")
    calls(1, [operation, outcome, errorType(outcome, error), way, ...own])
    callAttempts(record.attempts.length, [outcome])

    for (const [at, attempt] of record.attempts.entries()) {
      const { handoff, number } = places[at] as AttemptPlaces.Place
      const kind = kinds[at]
      const target = CallRecord.targetName(attempt)
      const provider = CallSpan.providerName(attempt.provider)
      const { fallback, firstTokenMillis, model, responseModel, usage } = attempt
      attempts(1, [target, kind, attempt.outcome, errorType(attempt.outcome, attempt.error)])
      byNumber(1, [number < 10 ? String(number) : "10+", attempt.outcome])
      if (firstTokenMillis !== undefined) firstToken(firstTokenMillis / 1000, [target])
      if (handoff && fallback !== undefined) fallbacks(1, [fallback.from, target, tagOf(fallback.reason)])
      const cost = CallRecord.costOf(attempt)
      if (cost._tag === "Usd") {
        usd(cost.usd, [provider, model, way, ...own])
        const useless = outcome !== "success" || attempt.outcome !== "success"
        if (useless && cost.usd > 0) wastedUsd(cost.usd, [provider, model, ...own])
      } else if (cost._tag === "Unpriced") unpriced(1, [target])
      else if (cost._tag === "Unknown") usageUnknown(1, [target])
      // The conventions want a 0 of an attempt without usage, so that each has its series.
      const asked = [operation, provider, "unknown", model, responseModel, ...own]
      inputTokens(usage?.inputTokens ?? 0, asked)
      outputTokens(usage?.outputTokens ?? 0, asked)
      if (usage === undefined) continue
      tokens(usage.inputTokens, [provider, model, "input", way, ...own])
      tokens(usage.outputTokens, [provider, model, "output", way, ...own])
      if (usage.cachedInputTokens !== undefined) cacheReadTokens(usage.cachedInputTokens, asked)
      if (usage.cacheWriteTokens !== undefined) cacheWriteTokens(usage.cacheWriteTokens, asked)
      if (usage.reasoningTokens !== undefined) reasoningTokens(usage.reasoningTokens, asked)
    }

    // A call that asked no model has no inference.
    if (operation === undefined) return
    const who = served ?? record.attempts.at(-1) ?? error
    const provider = who === undefined ? "_OTHER" : CallSpan.providerName(who.provider)
    const model = who?.model
    duration(record.durationMillis / 1000, [
      operation,
      provider,
      model,
      served?.responseModel,
      errorType(outcome, error),
      ...own
    ])
    backoff(CallRecord.waitedMillis(record) / 1000, [provider, model])
    queue(CallRecord.queuedMillis(record) / 1000, [provider, model])
    const begun = served ?? record.attempts.find(({ firstTokenMillis }) => firstTokenMillis !== undefined)
    if (begun?.stream === true && begun.firstTokenMillis !== undefined) {
      const after = begun.startedAt - record.startedAt + begun.firstTokenMillis
      firstChunk(Math.max(0, after) / 1000, [
        operation,
        CallSpan.providerName(begun.provider),
        begun.model,
        begun.responseModel,
        ...own
      ])
    }
  }
}
