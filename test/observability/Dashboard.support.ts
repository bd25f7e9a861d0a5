import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type * as SqlClient from "@effect/sql/SqlClient"
import { Clock, Effect, Layer } from "effect"
import type { AttemptRecord, CallRecord } from "../../src/calls/CallRecord.js"
import * as LlmError from "../../src/errors/LlmError.js"
import { migrate } from "../../src/observability/CallLog.js"
import * as CallLogLibsql from "../../src/observability/CallLogLibsql.js"
import { tables } from "../../src/observability/CallLogSchema.js"
import { insert, write } from "../../src/observability/CallLogWriter.js"

/** A libSQL file that is gone afterwards. */
export const database: Layer.Layer<SqlClient.SqlClient, unknown> = Layer.unwrapScoped(
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-dashboard-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    ),
    (folder) => CallLogLibsql.client(join(folder, "calls.db"))
  )
)

const minute = 60_000

const gpt = { provider: "openai", model: "gpt" }
const claude = { provider: "anthropic", model: "claude" }
const local = { provider: "vllm", model: "llama <b>&amp;" }

const limited = new LlmError.RateLimited({ ...gpt, message: "slow down <script>", status: 429, delivery: "rejected" })
const late = new LlmError.Timeout({ ...claude, message: "too late", phase: "attempt", delivery: "unknown" })

type Part = Partial<AttemptRecord> & {
  readonly provider: string
  readonly model: string
  readonly durationMillis: number
}

/** A call that began so many minutes ago, its attempts one after the other. */
const call = (id: string, ago: number, labels: Record<string, string>, parts: ReadonlyArray<Part>) => {
  return (now: number): CallRecord => {
    const startedAt = now - ago * minute
    let at = startedAt
    const attempts = parts.map((part, index): AttemptRecord => {
      at += (part.retry?.delayMillis ?? 0) + (part.queuedMillis ?? 0)
      const attempt = { index: index + 1, startedAt: at, outcome: part.error ? "failure" : "success", ...part } as const
      at += part.durationMillis
      return attempt
    })
    const last = attempts.at(-1)
    return {
      id,
      name: "answer",
      operation: "chat",
      ...(Object.keys(labels).length === 0 ? {} : { labels }),
      startedAt,
      durationMillis: at - startedAt,
      outcome: last?.outcome ?? "success",
      ...(last?.error === undefined ? {} : { error: last.error }),
      attempts
    }
  }
}

const usage = { inputTokens: 1000, outputTokens: 100 }
const refused: Part = { ...gpt, durationMillis: 200, error: limited, status: 429, requestId: "req_1" }
const again: Part = { ...refused, retry: { delayMillis: 1500, reason: "RateLimited" } }
const fallback = { from: "openai/gpt", reason: "RateLimited" }

/** Six calls of the last hour and one of two days ago: the figures are known. */
const script = [
  call("fast", 5, { tenant: "acme" }, [{ ...gpt, durationMillis: 900, usage, usd: 0.002 }]),
  call("retried", 10, { tenant: "acme" }, [refused, { ...again, error: undefined, status: 200, usage, usd: 0.002 }]),
  call("handed on", 15, { tenant: "globex" }, [
    refused,
    again,
    { ...claude, durationMillis: 1400, usage, usd: 0.01, fallback, queuedMillis: 300, firstTokenMillis: 400 }
  ]),
  call("late", 20, { tenant: "globex" }, [{ ...claude, durationMillis: 15_000, error: late }]),
  call("unpriced", 25, { tenant: "a:b=c&d" }, [{ ...local, durationMillis: 700, usage }]),
  call("a/b", 30, {}, [{ ...gpt, durationMillis: 50, outcome: "interrupted" }]),
  call("old", 2 * 24 * 60, {}, [{ ...gpt, durationMillis: 100, usage, usd: 0.002 }])
]

/** The script, as of now. */
export const records: Effect.Effect<ReadonlyArray<CallRecord>> = Effect.map(Clock.currentTimeMillis, (now) =>
  script.map((make) => make(now))
)

/** What was said of them: on whole steps of a day, so that the figures are known. */
export const opinions = [
  { call_id: "fast", name: "thumbs", score: 1 },
  { call_id: "retried", name: "thumbs", score: 0 },
  { call_id: "retried", name: "escalated", score: 1 },
  { call_id: "handed on", name: "thumbs", score: 1 },
  { call_id: "handed on", name: "judge", score: 0.5 },
  { call_id: "fast", name: "judge", score: 0.75 },
  { call_id: "late", name: "thumbs", score: -1 },
  { call_id: "unpriced", name: "stars", score: 4 },
  { call_id: "nobody", name: "thumbs", score: 1 }
]

/** Writes the script, what was said of it, and a note of records that were lost; returns its records. */
export const scripted: Effect.Effect<ReadonlyArray<CallRecord>, unknown, SqlClient.SqlClient> = Effect.gen(
  function* () {
    yield* migrate
    const all = yield* records
    yield* write(all)
    const at = (yield* Clock.currentTimeMillis) - 12 * minute
    yield* insert(
      tables.feedback,
      opinions.map((one) => ({ ...one, given_at: at }))
    )
    yield* insert(tables.lost, [{ id: "l", reason: "overflow", records: 3, first_at: at, last_at: at }])
    return all
  }
)
