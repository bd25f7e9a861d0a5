/**
 * Reports as text: aligned tables for a terminal, and CSV. Pure.
 *
 * @since 0.2.0
 */

import type { AttemptRecord, CallRecord } from "../calls/CallRecord.js"
import { targetName } from "../calls/CallRecord.js"
import type { CallSummary } from "./CallList.js"
import type { Report, ReportRow } from "./CallReport.js"
import type { Reconciliation } from "./Reconciliation.js"

/** What would move a terminal's cursor, or change what it shows. */
const control = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu

const plain = (text: string): string => text.replace(control, "\ufffd")

/** Columns of text; those after the first that look like numbers stand right. */
const table = (header: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const all = [header, ...rows].map((row) => row.map(plain))
  const widths = header.map((_, column) =>
    all.reduce((most, row) => Math.max(most, [...(row[column] ?? "")].length), 0)
  )
  const right = header.map((_, column) => rows.length > 0 && rows.every((row) => /^[-\d]/.test(row[column] ?? "")))
  return all
    .map((row) =>
      row
        .map((cell, column) => {
          const space = " ".repeat((widths[column] ?? 0) - [...cell].length)
          return column > 0 && right[column] ? space + cell : cell + space
        })
        .join("  ")
        .trimEnd()
    )
    .join("\n")
}

const quoted = (value: unknown): string => {
  const text = value === undefined ? "" : String(value)
  // A spreadsheet takes text that begins so for a formula.
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe
}

/**
 * Objects with the same keys as CSV (RFC 4180).
 *
 * @internal
 */
export const csvOf = (rows: ReadonlyArray<Readonly<Record<string, unknown>>>, columns: ReadonlyArray<string>): string =>
  [columns.join(","), ...rows.map((row) => columns.map((column) => quoted(row[column])).join(","))].join("\n")

/**
 * A row of a report without nested values, for CSV.
 *
 * @internal
 */
export const flatOf = (row: ReportRow): Readonly<Record<string, string | number | undefined>> => ({
  group: row.group,
  calls: row.calls,
  succeeded: row.succeeded,
  failed: row.failed,
  interrupted: row.interrupted,
  defects: row.defects,
  unsent: row.unsent,
  attempts: row.attempts,
  retries_mean: row.retries.mean,
  retries_max: row.retries.max,
  retry_rate: row.retries.rate,
  served_first: row.servedBy.first,
  served_second: row.servedBy.second,
  served_third: row.servedBy.third,
  served_later: row.servedBy.later,
  backoff_p50_ms: row.backoffMillis.p50,
  backoff_p95_ms: row.backoffMillis.p95,
  backoff_p99_ms: row.backoffMillis.p99,
  queue_p50_ms: row.queueMillis.p50,
  queue_p95_ms: row.queueMillis.p95,
  queue_p99_ms: row.queueMillis.p99,
  input_tokens: row.inputTokens,
  output_tokens: row.outputTokens,
  usd: row.usd,
  wasted_usd: row.wastedUsd,
  unpriced: row.unpriced,
  usage_unknown: row.unknown,
  normal_calls: row.normal.calls,
  normal_usd: row.normal.usd,
  retried_calls: row.retried.calls,
  retried_usd: row.retried.usd,
  handoffs: row.handoffs.reduce((sum, { count }) => sum + count, 0)
})

/**
 * The columns of {@link flatOf}, which a report without rows has too.
 *
 * @internal
 */
export const flatColumns: ReadonlyArray<string> = [
  ...["group", "calls", "succeeded", "failed", "interrupted", "defects", "unsent", "attempts"],
  ...["retries_mean", "retries_max", "retry_rate", "served_first", "served_second", "served_third", "served_later"],
  ...["backoff_p50_ms", "backoff_p95_ms", "backoff_p99_ms", "queue_p50_ms", "queue_p95_ms", "queue_p99_ms"],
  ...["input_tokens", "output_tokens", "usd", "wasted_usd", "unpriced", "usage_unknown"],
  ...["normal_calls", "normal_usd", "retried_calls", "retried_usd", "handoffs"]
]

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
const usd = (amount: number): string => amount.toFixed(4)
const waits = ({ p50, p95, p99 }: ReportRow["backoffMillis"]): string => [p50, p95, p99].map(Math.round).join(" / ")
const dash = "-"

/**
 * A report for a terminal.
 *
 * @internal
 */
export const reportText = ({ lost, rows, total }: Report, by: string): string => {
  if (rows.length === 0 && lost.records === 0) return "no calls"
  const header = [
    ...[by, "calls", "failed", "retries", "max", "retry rate", "by 1st", "2nd", "3rd", "4th+"],
    ...["backoff ms", "queue ms", "usd", "wasted", "unpriced", "unknown", "usd/call", "if retried"]
  ]
  const all = total === undefined || by === "all" ? [] : [total]
  const lines = [...rows, ...all].map((row) => [
    ...[row.group, row.calls, row.failed + row.defects].map(String),
    ...[row.retries.mean.toFixed(2), String(row.retries.max), percent(row.retries.rate)],
    ...[row.servedBy.first, row.servedBy.second, row.servedBy.third, row.servedBy.later].map(String),
    ...[waits(row.backoffMillis), waits(row.queueMillis), usd(row.usd), usd(row.wastedUsd)],
    ...[row.unpriced, row.unknown].map(String),
    ...[row.normal, row.retried].map(({ usdPerCall }) => (usdPerCall === undefined ? dash : usd(usdPerCall)))
  ])
  const parts = [table(header, lines), "backoff and queue: p50 / p95 / p99"]
  const handoffs = rows.flatMap((row) =>
    row.handoffs.map(({ count, from, reason, to }) => [row.group, String(count), from, to, reason])
  )
  if (handoffs.length > 0) parts.push(table([by, "handoffs", "from", "to", "reason"], handoffs))
  const scores = rows.flatMap((row) =>
    row.feedback.map(({ count, mean, name }) => [row.group, name, String(count), mean.toFixed(3)])
  )
  if (scores.length > 0) parts.push(table([by, "feedback", "scores", "mean"], scores))
  if (lost.records > 0) {
    parts.push(`${lost.records} records lost: ${lost.overflow} found the buffer full, ${lost.refused} were refused`)
  }
  return parts.join("\n\n")
}

/**
 * Calls for a terminal.
 *
 * @internal
 */
export const callsText = (calls: ReadonlyArray<CallSummary>): string =>
  calls.length === 0
    ? "no calls"
    : table(
        ["started", "id", "name", "outcome", "usd", "attempts"],
        calls.map((call) => [
          new Date(call.startedAt).toISOString(),
          call.id,
          call.name,
          call.error ?? call.outcome,
          call.usd === undefined ? (call.uncounted > 0 ? "unknown" : dash) : usd(call.usd),
          call.chain
        ])
      )

const seconds = (millis: number): string => `${(millis / 1000).toFixed(3)} s`

const whyOf = ({ fallback, hedge, queuedMillis, retry }: AttemptRecord): string =>
  [
    ...(hedge === true ? ["hedge"] : []),
    ...(retry === undefined ? [] : [`retry after ${seconds(retry.delayMillis)}: ${retry.reason}`]),
    ...(fallback === undefined ? [] : [`fallback from ${fallback.from}: ${fallback.reason}`]),
    ...(queuedMillis === undefined ? [] : [`queued ${seconds(queuedMillis)}`])
  ].join(", ")

/**
 * One call for a terminal: when each attempt began, how it ended, and why it was made.
 *
 * @internal
 */
export const timelineText = (record: CallRecord): string => {
  const head = `${plain(record.name)}  ${record.outcome}  ${seconds(record.durationMillis)}  ${plain(record.id)}`
  const labels = Object.entries(record.labels ?? {}).map(([name, value]) => `${plain(name)}=${plain(value)}`)
  const lines = record.attempts.map((attempt) => [
    `+${seconds(attempt.startedAt - record.startedAt)}`,
    String(attempt.index),
    targetName(attempt),
    [attempt.outcome, attempt.status, attempt.error?._tag].filter((part) => part !== undefined).join(" "),
    seconds(attempt.durationMillis),
    attempt.usd === undefined ? dash : usd(attempt.usd),
    whyOf(attempt)
  ])
  return [
    `${new Date(record.startedAt).toISOString()}  ${head}`,
    ...(labels.length === 0 ? [] : [labels.join("  ")]),
    ...(lines.length === 0 ? [] : [table(["begun", "attempt", "target", "end", "took", "usd", "why"], lines)]),
    ...(record.error === undefined ? [] : [`${record.error._tag}: ${plain(record.error.message)}`])
  ].join("\n")
}

/**
 * A reconciliation for a terminal.
 *
 * @internal
 */
export const reconciliationText = ({ billed, captured, counted, lines }: Reconciliation): string => {
  const share = (value: number | undefined) => (value === undefined ? dash : percent(value))
  const header = ["day", "provider", "model", "usd", "billed", "captured", "tokens", "billed", "uncounted"]
  const tokens = ({ inputTokens, outputTokens }: Reconciliation["counted"]) => String(inputTokens + outputTokens)
  const rows = lines.map((line) => [
    ...[line.day, line.provider ?? dash, line.model, usd(line.counted.usd)],
    line.billed === undefined ? dash : usd(line.billed.usd),
    share(line.captured),
    tokens(line.counted),
    line.billed === undefined ? dash : tokens(line.billed),
    String(line.uncounted)
  ])
  const sum = ["all", dash, dash, usd(counted.usd), usd(billed.usd), share(captured), tokens(counted), tokens(billed)]
  return table(header, [...rows, [...sum, String(lines.reduce((all, line) => all + line.uncounted, 0))]])
}
