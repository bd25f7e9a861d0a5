/**
 * A record as rows of the call log, and back. Pure.
 *
 * @since 0.2.0
 */

import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import {
  type AttemptRecord,
  billOf,
  CallRecord,
  costOf,
  queuedMillis,
  servedBy,
  waitedMillis
} from "../calls/CallRecord.js"
import { LlmError } from "../errors/LlmError.js"
import * as AttemptPlaces from "./AttemptPlaces.js"

/**
 * The value of a column.
 *
 * @internal
 */
export type Value = string | number | null

/**
 * A row: a value for each column of its table.
 *
 * @internal
 */
export type Row = Readonly<Record<string, Value>>

/**
 * The rows of one record.
 *
 * @internal
 */
export interface Rows {
  readonly call: Row
  readonly attempts: ReadonlyArray<Row>
  readonly labels: ReadonlyArray<Row>
}

/** PostgreSQL refuses NUL and half a surrogate pair, SQLite cuts the text there. */
const unreadable = /[\0\p{Surrogate}]/gu

/** Names are indexed, and PostgreSQL bounds what an index holds. */
const longest = 256

/**
 * Text as both databases take it.
 *
 * @internal
 */
export const textOf = (value: string): string => value.slice(0, longest).replace(unreadable, "\ufffd")

const textOr = (value: string | undefined): string | null => (value === undefined ? null : textOf(value))

const numberOr = (value: number | undefined): number | null =>
  value !== undefined && Number.isFinite(value) ? value : null

const number = (value: number): number => (Number.isFinite(value) ? value : 0)

const flagOr = (value: boolean | undefined): number | null => (value === undefined ? null : Number(value))

const days = new Map<number, string>()

/**
 * The day of a time in UTC, as `2026-11-30`.
 *
 * @internal
 */
export const dayOf = (millis: number): string => {
  const number = Math.floor(millis / 86_400_000)
  const known = days.get(number)
  if (known !== undefined) return known
  const date = new Date(number * 86_400_000)
  const day = Number.isNaN(date.getTime()) ? "unknown" : date.toISOString().slice(0, 10)
  if (days.size > 1000) days.clear()
  days.set(number, day)
  return day
}

const encodeError = Schema.encodeEither(LlmError)

/** The error in full, for the view of one call. It holds no part of an answer. */
const errorJson = (error: LlmError | undefined): string | null => {
  if (error === undefined) return null
  const encoded = encodeError(error)
  if (Either.isLeft(encoded)) return null
  const { hint = 0, ...right } = encoded.right
  const more = Number.isFinite(hint) && encoded.right.hint !== undefined ? { hint } : {}
  return JSON.stringify({ ...right, ...more, ...(right._tag === "StreamInterrupted" ? { partial: "" } : {}) })
}

const sum = (attempts: ReadonlyArray<AttemptRecord>, part: "inputTokens" | "outputTokens"): number =>
  attempts.reduce((all, { usage }) => all + (usage?.[part] ?? 0), 0)

const attemptRow = (call: string, attempt: AttemptRecord, position: number, { handoff }: AttemptPlaces.Place): Row => ({
  call_id: call,
  position,
  attempt: attempt.index,
  provider: textOf(attempt.provider),
  model: textOf(attempt.model),
  key_name: textOr(attempt.key),
  started_at: number(attempt.startedAt),
  day: dayOf(attempt.startedAt),
  duration_ms: number(attempt.durationMillis),
  outcome: attempt.outcome,
  error: attempt.error?._tag ?? null,
  status: numberOr(attempt.status),
  request_id: textOr(attempt.requestId),
  response_id: textOr(attempt.responseId),
  response_model: textOr(attempt.responseModel),
  input_tokens: numberOr(attempt.usage?.inputTokens),
  output_tokens: numberOr(attempt.usage?.outputTokens),
  cached_input_tokens: numberOr(attempt.usage?.cachedInputTokens),
  cache_write_tokens: numberOr(attempt.usage?.cacheWriteTokens),
  cache_write_hour_tokens: numberOr(attempt.usage?.cacheWriteHourTokens),
  reasoning_tokens: numberOr(attempt.usage?.reasoningTokens),
  cost: costOf(attempt)._tag.toLowerCase(),
  usd: numberOr(attempt.usd),
  queued_ms: numberOr(attempt.queuedMillis),
  retry_ms: numberOr(attempt.retry?.delayMillis),
  retry_reason: textOr(attempt.retry?.reason),
  fallback_from: textOr(attempt.fallback?.from),
  fallback_reason: textOr(attempt.fallback?.reason),
  handoff: Number(handoff),
  hedge: flagOr(attempt.hedge),
  stream: flagOr(attempt.stream),
  first_token_ms: numberOr(attempt.firstTokenMillis),
  finish_reason: textOr(attempt.finishReason),
  limits_json: attempt.limits === undefined ? null : JSON.stringify(attempt.limits),
  error_json: errorJson(attempt.error)
})

/** 128 bits of a text (MurmurHash3's mixing, four lanes). Not for secrets: it names sets of labels. */
const hashOf = (text: string): string => {
  let [a, b, c, d] = [0x9368e53c, 0x586dcd20, 0x4e774912, 0x2f0b4a27]
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at)
    a = b ^ Math.imul(a ^ unit, 0x239b961b)
    b = c ^ Math.imul(b ^ unit, 0xab0e9789 | 0)
    c = d ^ Math.imul(c ^ unit, 0x38b34ae5)
    d = a ^ Math.imul(d ^ unit, 0xa1e38b93 | 0)
  }
  a = Math.imul(c ^ (a >>> 18), 0x239b961b)
  b = Math.imul(d ^ (b >>> 22), 0xab0e9789 | 0)
  c = Math.imul(a ^ (c >>> 17), 0x38b34ae5)
  d = Math.imul(b ^ (d >>> 19), 0xa1e38b93 | 0)
  const lanes = [a ^ b ^ c ^ d, b ^ a, c ^ a, d ^ a]
  return lanes.map((lane) => (lane >>> 0).toString(36).padStart(7, "0")).join("")
}

const names = new Map<string, string>()

/** The name of a set of labels, the same for the same labels in any order; null without labels. */
const labelSetOf = (labels: ReadonlyArray<readonly [string, string]>): string | null => {
  if (labels.length === 0) return null
  const text = JSON.stringify([...labels].sort(([a], [b]) => (a < b ? -1 : 1)))
  const known = names.get(text)
  if (known !== undefined) return known
  const name = hashOf(text)
  if (names.size >= 1000) names.clear()
  names.set(text, name)
  return name
}

/** Dollars, or null if no attempt's cost is known and one's should be. */
const dollars = (usd: number, priced: boolean, uncertain: number): number | null =>
  priced || uncertain === 0 ? number(usd) : null

/**
 * The rows of a record. `provider` and `model` of a call are those that it asked first, so that a report on a target
 * tells what became of the calls meant for it; `served_provider` and `served_model` answered.
 *
 * @internal
 */
export const rowsOf = (record: CallRecord): Rows => {
  const { attempts } = record
  const id = textOf(record.id)
  const places = AttemptPlaces.of(attempts)
  const asked = attempts[0] ?? record.error
  const served = servedBy(record)
  const bill = billOf(record)
  const priced = attempts.some(({ usd }) => usd !== undefined)
  const uncertain = bill.unpriced + bill.unknown
  const numbers = places.filter((_, index) => attempts[index]?.outcome === "success").map((place) => place.number)
  const firstError = attempts.find(({ error }) => error !== undefined)?.error ?? record.error
  const labels = [
    ...new Map(Object.entries(record.labels ?? {}).map(([name, value]) => [textOf(name), textOf(String(value))]))
  ]
  const call = {
    id,
    name: textOf(record.name),
    operation: textOr(record.operation),
    started_at: number(record.startedAt),
    day: dayOf(record.startedAt),
    duration_ms: number(record.durationMillis),
    outcome: record.outcome,
    provider: textOr(asked?.provider),
    model: textOr(asked?.model),
    served_provider: textOr(served?.provider),
    served_model: textOr(served?.model),
    error: record.error?._tag ?? null,
    first_error: firstError?._tag ?? null,
    attempts: attempts.length,
    retries: places.filter(({ again }) => again).length,
    fallbacks: places.filter(({ handoff }) => handoff).length,
    hedges: attempts.filter(({ hedge }) => hedge === true).length,
    served_attempt: served === undefined ? null : Math.max(...numbers),
    backoff_ms: number(waitedMillis(record)),
    queue_ms: number(queuedMillis(record)),
    first_token_ms: numberOr(served?.firstTokenMillis),
    input_tokens: number(sum(attempts, "inputTokens")),
    output_tokens: number(sum(attempts, "outputTokens")),
    usd: dollars(bill.usd, priced, uncertain),
    wasted_usd: dollars(bill.wastedUsd, priced, uncertain),
    unpriced: bill.unpriced,
    usage_unknown: bill.unknown,
    error_json: errorJson(record.error),
    label_set: labelSetOf(labels)
  }
  return {
    call,
    attempts: attempts.map((attempt, index) =>
      attemptRow(id, attempt, index + 1, places[index] ?? { number: 1, again: false, handoff: false })
    ),
    labels: labels.map(([name, value]) => ({ call_id: id, name, value }))
  }
}

// -----------------------------------------------------------------------------
// back
// -----------------------------------------------------------------------------

const parsed = (json: unknown): unknown => (typeof json === "string" ? JSON.parse(json) : undefined)

const flag = (value: unknown): boolean | undefined =>
  value === null || value === undefined ? undefined : Number(value) === 1

/** Without what is absent, as records are. */
const present = (fields: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))

const attemptOf = (row: Row): unknown => {
  const usage =
    row.input_tokens === null
      ? undefined
      : present({
          inputTokens: row.input_tokens,
          outputTokens: row.output_tokens,
          cachedInputTokens: row.cached_input_tokens,
          cacheWriteTokens: row.cache_write_tokens,
          cacheWriteHourTokens: row.cache_write_hour_tokens,
          reasoningTokens: row.reasoning_tokens
        })
  return present({
    index: row.attempt,
    provider: row.provider,
    model: row.model,
    key: row.key_name,
    startedAt: row.started_at,
    durationMillis: row.duration_ms,
    outcome: row.outcome,
    error: parsed(row.error_json),
    status: row.status,
    requestId: row.request_id,
    responseId: row.response_id,
    responseModel: row.response_model,
    usage,
    usd: row.usd,
    queuedMillis: row.queued_ms,
    limits: parsed(row.limits_json),
    retry: row.retry_ms === null ? undefined : { delayMillis: row.retry_ms, reason: row.retry_reason ?? "" },
    fallback: row.fallback_from === null ? undefined : { from: row.fallback_from, reason: row.fallback_reason ?? "" },
    hedge: flag(row.hedge),
    stream: flag(row.stream),
    firstTokenMillis: row.first_token_ms,
    finishReason: row.finish_reason
  })
}

const decodeRecord = Schema.decodeUnknownSync(CallRecord)

/**
 * The record that rows were made of.
 *
 * @internal
 */
export const recordOf = ({ attempts, call, labels }: Rows): CallRecord =>
  decodeRecord(
    present({
      id: call.id,
      name: call.name,
      operation: call.operation,
      labels: labels.length === 0 ? undefined : Object.fromEntries(labels.map(({ name, value }) => [name, value])),
      startedAt: call.started_at,
      durationMillis: call.duration_ms,
      outcome: call.outcome,
      error: parsed(call.error_json),
      attempts: attempts.map(attemptOf)
    })
  )
