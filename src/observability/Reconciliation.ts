/**
 * What the call log counted against what the provider billed.
 *
 * @since 0.2.0
 */

import * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Row } from "./CallLogRows.js"
import { number } from "./CallQuery.js"

/**
 * A bill that cannot be read. Lines and columns count from 1; the column is that of the field.
 *
 * @since 0.2.0
 * @category errors
 */
export class BillError extends Schema.TaggedError<BillError>("steadfast/BillError")("BillError", {
  line: Schema.Int,
  column: Schema.Int,
  reason: Schema.String
}) {
  override get message(): string {
    return `bill, line ${this.line}, column ${this.column}: ${this.reason}`
  }
}

/**
 * Tokens and dollars.
 *
 * @since 0.2.0
 * @category models
 */
export interface Counted {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly usd: number
}

/**
 * A line of a bill. `provider` is absent if the bill has no such column.
 *
 * @since 0.2.0
 * @category models
 */
export interface BillLine extends Counted {
  /** The day in UTC, as `2026-11-30`. */
  readonly day: string
  readonly provider: string | undefined
  readonly model: string
}

/**
 * A day and model, by the log and by the bill. `captured` is the share of the bill's dollars that the log counted,
 * absent if the bill has none. `uncounted` attempts have no price or no usage in the log.
 *
 * @since 0.2.0
 * @category models
 */
export interface ReconciliationLine {
  readonly day: string
  readonly provider: string | undefined
  readonly model: string
  readonly counted: Counted
  readonly billed: Counted | undefined
  readonly captured: number | undefined
  readonly uncounted: number
}

/**
 * A reconciliation: its lines in the order of days and models, and their sums.
 *
 * @since 0.2.0
 * @category models
 */
export interface Reconciliation {
  readonly lines: ReadonlyArray<ReconciliationLine>
  readonly counted: Counted
  readonly billed: Counted
  readonly captured: number | undefined
}

// -----------------------------------------------------------------------------
// the bill
// -----------------------------------------------------------------------------

interface Field {
  readonly text: string
  readonly line: number
  readonly column: number
}

/** The fields of a CSV text (RFC 4180), with where each begins. A quoted field may hold commas and lines. */
const fieldsOf = (csv: string): ReadonlyArray<ReadonlyArray<Field>> => {
  const rows: Array<Array<Field>> = []
  let row: Array<Field> = []
  let at = csv.startsWith("\ufeff") ? 1 : 0
  let [line, lineStart] = [1, at]
  while (at <= csv.length) {
    const begin = { line, column: at - lineStart + 1 }
    let text = ""
    if (csv[at] === '"') {
      for (at++; ; at++) {
        if (at >= csv.length) throw new BillError({ ...begin, reason: "the quote is not closed" })
        if (csv[at] === '"') {
          if (csv[at + 1] !== '"') break
          at++
        } else if (csv[at] === "\n") {
          line++
          lineStart = at + 1
        }
        text += csv[at]
      }
      at++
      if (at < csv.length && !/[,\r\n]/.test(csv[at] ?? "")) {
        throw new BillError({ line, column: at - lineStart + 1, reason: "expected a comma after the closing quote" })
      }
    } else {
      const end = csv.slice(at).search(/[,\r\n]/)
      text = end < 0 ? csv.slice(at) : csv.slice(at, at + end)
      at += text.length
    }
    row.push({ ...begin, text: text.trim() })
    if (csv[at] === ",") {
      at++
      continue
    }
    if (row.length > 1 || row[0]?.text !== "") rows.push(row)
    row = []
    if (csv[at] === "\r" && csv[at + 1] === "\n") at++
    at++
    line++
    lineStart = at
  }
  return rows
}

const required = ["day", "model", "input_tokens", "output_tokens", "usd"] as const

const dayIn = ({ column, line, text }: Field): string => {
  const date = new Date(`${text}T00:00:00Z`)
  const real = /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text)
  if (!real) throw new BillError({ line, column, reason: `found "${text}", expected a day such as 2026-11-30` })
  return text
}

const numberIn = ({ column, line, text }: Field, name: string): number => {
  if (!/^\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text) || !Number.isFinite(Number(text))) {
    throw new BillError({ line, column, reason: `found "${text}", expected a number for ${name}, such as 12.5` })
  }
  return Number(text)
}

const read = (csv: string): ReadonlyArray<BillLine> => {
  const [header, ...rows] = fieldsOf(csv)
  if (header === undefined) throw new BillError({ line: 1, column: 1, reason: "the bill is empty" })
  const names = header.map(({ text }) => text.toLowerCase())
  for (const name of required) {
    if (!names.includes(name)) {
      throw new BillError({ line: 1, column: 1, reason: `there is no column ${name}; found ${names.join(", ")}` })
    }
  }
  return rows.map((row) => {
    const [first] = row
    if (row.length !== header.length) {
      const reason = `found ${row.length} fields, expected ${header.length}`
      throw new BillError({ line: first?.line ?? 1, column: 1, reason })
    }
    const field = (name: string): Field | undefined => row[names.indexOf(name)]
    const of = (name: (typeof required)[number]): Field => field(name) ?? { text: "", line: 1, column: 1 }
    const model = of("model")
    if (model.text === "") throw new BillError({ line: model.line, column: model.column, reason: "no model" })
    return {
      day: dayIn(of("day")),
      provider: field("provider")?.text,
      model: model.text,
      inputTokens: numberIn(of("input_tokens"), "input_tokens"),
      outputTokens: numberIn(of("output_tokens"), "output_tokens"),
      usd: numberIn(of("usd"), "usd")
    }
  })
}

/**
 * Reads a bill: CSV with the columns `day`, `model`, `input_tokens`, `output_tokens`, `usd` and, if there is one,
 * `provider`, in any order; others are passed over.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parseBill = (csv: string): Effect.Effect<ReadonlyArray<BillLine>, BillError> =>
  Effect.suspend(() => {
    try {
      return Effect.succeed(read(csv))
    } catch (error) {
      return error instanceof BillError ? Effect.fail(error) : Effect.die(error)
    }
  })

// -----------------------------------------------------------------------------
// the comparison
// -----------------------------------------------------------------------------

const none: Counted = { inputTokens: 0, outputTokens: 0, usd: 0 }

const plus = (a: Counted, b: Counted): Counted => ({
  inputTokens: a.inputTokens + b.inputTokens,
  outputTokens: a.outputTokens + b.outputTokens,
  usd: a.usd + b.usd
})

const shareOf = (counted: Counted, billed: Counted | undefined): number | undefined =>
  billed === undefined || billed.usd === 0 ? undefined : counted.usd / billed.usd

const keyOf = (day: string, provider: string | undefined, model: string): string =>
  JSON.stringify([day, provider ?? null, model])

const compare = (bill: ReadonlyArray<BillLine>, found: ReadonlyArray<Row>): Reconciliation => {
  const lines = new Map<string, ReconciliationLine>()
  for (const { day, model, provider, ...amounts } of bill) {
    const key = keyOf(day, provider, model)
    const billed = plus(lines.get(key)?.billed ?? none, amounts)
    lines.set(key, { day, provider, model, counted: none, billed, captured: undefined, uncounted: 0 })
  }
  // Some providers bill the model that was asked for, some the one that answered.
  const named = bill.some(({ provider }) => provider !== undefined)
  for (const row of found) {
    const [day, model] = [String(row.day), String(row.model)]
    const provider = named ? String(row.provider) : undefined
    const asked = keyOf(day, provider, model)
    const answered = keyOf(day, provider, String(row.response_model))
    const key = lines.get(asked)?.billed === undefined && lines.get(answered)?.billed !== undefined ? answered : asked
    const known = lines.get(key) ?? {
      ...{ day, provider, model, counted: none, billed: undefined, captured: undefined, uncounted: 0 }
    }
    const amounts = {
      inputTokens: number(row.input_tokens),
      outputTokens: number(row.output_tokens),
      usd: number(row.usd)
    }
    const uncounted = known.uncounted + number(row.uncounted)
    lines.set(key, { ...known, counted: plus(known.counted, amounts), uncounted })
  }
  const all = [...lines.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, line]) => ({ ...line, captured: shareOf(line.counted, line.billed) }))
  const counted = all.reduce((sum, line) => plus(sum, line.counted), none)
  const billed = all.reduce((sum, line) => plus(sum, line.billed ?? none), none)
  return { lines: all, counted, billed, captured: shareOf(counted, billed) }
}

const dayMillis = 86_400_000

/**
 * Compares a bill with the attempts that the log holds of the bill's days, by day and model, in UTC. All attempts
 * count: providers bill failed and cancelled ones too.
 *
 * @since 0.2.0
 * @category queries
 */
export const reconcile = (csv: string): Effect.Effect<Reconciliation, BillError | SqlError, SqlClient.SqlClient> =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const bill = yield* parseBill(csv)
    const days = bill.map(({ day }) => Date.parse(day))
    if (days.length === 0) return compare(bill, [])
    const first = days.reduce((a, b) => Math.min(a, b))
    const last = days.reduce((a, b) => Math.max(a, b))
    const found = yield* sql<Row>`select day, provider, model, response_model, sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens, sum(usd) as usd,
        sum(case when cost in ('unpriced', 'unknown') then 1 else 0 end) as uncounted
      from steadfast_attempts where started_at >= ${first} and started_at < ${last + dayMillis}
      group by day, provider, model, response_model`
    const billedDays = new Set(bill.map(({ day }) => day))
    return compare(
      bill,
      found.filter((row) => billedDays.has(String(row.day)))
    )
  })
