import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpApp from "@effect/platform/HttpApp"
import type * as SqlClient from "@effect/sql/SqlClient"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Logger } from "effect"
import { CallLog, CallReport, Dashboard, Telemetry } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { cases, exhaustive, seed } from "../support/cases.js"
import { apiKey, collectRecords } from "../support/evidence.js"
import { manualClock } from "../support/manualClock.js"
import { collectSpans } from "../support/spans.js"
import { clockOf } from "../support/time.js"
import * as Prometheus from "./prometheus.js"
import { byHandoff, count, sumOf, truthOf } from "./truth.js"
import * as Day from "./wholeDay.js"
import { type Asked, type Told, truthsOf } from "./wholeTruth.js"

const scraped = Effect.map(Telemetry.prometheus, Prometheus.parse)

const kept = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-day-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

const reports = ["provider", "model", "target", "day", "error", "label:tenant"] as const

/** A bill of what the providers told, by the day of each request. */
const billOf = (told: ReadonlyArray<Told>): string => {
  const lines = new Map<string, { input: number; output: number; usd: number }>()
  for (const { day, target, usage, usd } of told.flatMap(({ asked }) => asked)) {
    const key = `${day},${target.replace("/", ",")}`
    const { input, output, usd: before } = lines.get(key) ?? { input: 0, output: 0, usd: 0 }
    lines.set(key, {
      input: input + (usage?.input ?? 0),
      output: output + (usage?.output ?? 0),
      usd: before + (usd ?? 0)
    })
  }
  const rows = [...lines].map(([key, { input, output, usd }]) => `${key},${input},${output},${usd}`)
  return ["day,provider,model,input_tokens,output_tokens,usd", ...rows].join("\n")
}

/** Runs the day, and reads all evidence of it. */
const lived = Effect.gen(function* () {
  const file = join(yield* kept, "calls.db")
  const day = yield* Day.make(cases(10_000, 1000), exhaustive ? seed : 1)
  const spans = collectSpans()
  const observed = collectRecords()
  const before = yield* scraped
  // The database works in real time, the application in that of the day.
  const log = yield* Layer.build(CallLog.layerFrom(CallLogLibsql.client(file), { maxBuffered: 20_000, keep: Infinity }))
  const layers = Layer.mergeAll(Telemetry.layerMetrics({ labels: ["tenant"] }), spans.layer, observed.layer).pipe(
    Layer.provideMerge(Layer.succeedContext(log))
  )
  const quiet = Logger.remove(Logger.defaultLogger)
  const { adjust, clock } = manualClock(Day.wall)
  const running = yield* Effect.fork(
    day.run.pipe(Effect.provide(layers), Effect.provide(quiet), Effect.withClock(clock))
  )
  yield* Effect.promise(() => adjust(Day.dayMillis))
  yield* Fiber.join(running)
  yield* Context.get(log, CallLog.CallLog).flush
  const text = yield* Telemetry.prometheus
  const logs = yield* Effect.all(
    Object.fromEntries(Object.entries(day.providers).map(([target, { requests }]) => [target, requests]))
  )
  const told = truthsOf(day.plan, logs)
  const reading = Effect.gen(function* () {
    const handler = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<SqlClient.SqlClient>())(Dashboard.routes)
    const json = (path: string) =>
      Effect.promise(async () => (await handler(new Request(new URL(path, "http://test/")))).json())
    return {
      reports: yield* Effect.forEach(reports, (by) => CallReport.report({ by })),
      reconciled: yield* CallReport.reconcile(billOf(told)),
      overview: yield* json("api/overview?range=24h"),
      acme: yield* json("api/overview?range=24h&provider=openai&label.tenant=tenant-1"),
      newest: yield* json("api/calls?range=24h"),
      failures: yield* json("api/calls?range=24h&failed=1")
    }
  })
  // Asked in the last moment of the day.
  const evening = clockOf(
    () => Day.start + Day.dayMillis,
    () => Effect.never
  )
  const read = yield* reading.pipe(Effect.withClock(evening), Effect.provide(CallLogLibsql.client(file)))
  return {
    ...read,
    told,
    asked: told.flatMap(({ asked }) => asked),
    records: observed.records,
    seen: Prometheus.since(before, Prometheus.parse(text)),
    text,
    spans: spans.spans()
  }
}).pipe(Effect.scoped)

type Lived = Effect.Effect.Success<typeof lived>

const sums = <A>(
  all: ReadonlyArray<A>,
  key: (one: A) => string,
  value: (one: A) => number | undefined
): Record<string, number> => {
  const found: Record<string, number> = {}
  for (const one of all) {
    const add = value(one) ?? 0
    if (add !== 0) found[key(one)] = (found[key(one)] ?? 0) + add
  }
  return found
}

/** Times are sums of floats: everything is equal but for a millionth. */
const rounded = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value), (_, inner) => (typeof inner === "number" ? Math.round(inner * 1e6) / 1e6 : inner))

const equal = (found: unknown, true_: unknown, what?: string): void =>
  assert.deepStrictEqual(rounded(found), rounded(true_), what)

const modelOf = ({ target }: Pick<Asked, "target">): string => target.split("/")[1] ?? ""

describe("a whole day", () => {
  let day: Lived

  beforeAll(async () => {
    day = await Effect.runPromise(lived)
  })

  it("has everything in it", () => {
    const { asked, told } = day
    assert.hasAllKeys(
      count(told, ({ outcome }) => outcome),
      ["success", "failure", "interrupted"]
    )
    const tags = ["RateLimited", "ServerError", "Overloaded", "ContentFiltered", "StreamInterrupted"]
    assert.includeMembers(Object.keys(count(asked, ({ error }) => error)), [...tags, "ConnectionError", "Timeout"])
    assert.hasAllKeys(
      count(asked, ({ kind }) => kind),
      ["first", "retry", "fallback", "hedge"]
    )
    assert.hasAllKeys(
      count(asked, ({ cost }) => cost),
      ["usd", "free", "unpriced", "unknown"]
    )
    assert.isAbove(told.filter(({ facts }) => facts.served === 2).length, told.length / 50)
    assert.isAbove(
      sumOf(told, ({ facts }) => facts.wasted),
      0
    )
    assert.isAbove(
      sumOf(told, ({ facts }) => facts.queue),
      0
    )
    assert.isTrue(asked.some(({ error, usage }) => error === "ContentFiltered" && usage !== undefined))
    assert.strictEqual(day.records.length, told.length)
  })

  it("is what the reports of the call log say", () => {
    const facts = day.told.map(({ facts }) => facts)
    reports.forEach((by, index) => {
      const { lost, rows = [] } = day.reports[index] ?? {}
      const found = rows
        .map((row) => ({ ...row, handoffs: [...row.handoffs].sort(byHandoff) }))
        .sort((a, b) => (a.group < b.group ? -1 : 1))
      equal(found, truthOf(by, facts), by)
      assert.deepStrictEqual(lost, { records: 0, overflow: 0, refused: 0 })
    })
  })

  it("is what the bill says", () => {
    const { asked, reconciled } = day
    assert.isAbove(reconciled.lines.length, 7)
    for (const { billed, counted, day: date, model, uncounted } of reconciled.lines) {
      equal(counted, billed, `${date} ${model}`)
      const missing = asked.filter(
        (one) => one.day === date && modelOf(one) === model && (one.cost === "unknown" || one.cost === "unpriced")
      )
      assert.strictEqual(uncounted, missing.length, `${date} ${model}`)
    }
    assert.strictEqual(reconciled.captured, 1)
    assert.strictEqual(
      reconciled.counted.inputTokens,
      sumOf(asked, ({ usage }) => usage?.input)
    )
  })

  it("is what the dashboard shows", () => {
    const { acme, asked, failures, newest, overview, told } = day
    const facts = told.map(({ facts }) => facts)
    const all = truthOf(
      "label:none",
      facts.map((one) => ({ ...one, tenant: undefined }))
    )
    const sorted = (row: CallReport.ReportRow) => ({ ...row, handoffs: [...row.handoffs].sort(byHandoff) })
    equal(sorted(overview.totals), { ...all[0], group: "all" })
    equal(
      overview.targets
        .map(sorted)
        .sort((a: CallReport.ReportRow, b: CallReport.ReportRow) => (a.group < b.group ? -1 : 1)),
      truthOf("target", facts)
    )
    const bucketed = new Map<number, Array<Told>>()
    for (const one of told) {
      const at = Math.floor(one.call.at / overview.bucketMillis) * overview.bucketMillis
      bucketed.set(at, [...(bucketed.get(at) ?? []), one])
    }
    equal(
      overview.buckets,
      [...bucketed].map(([at, some]) => ({
        at,
        calls: some.length,
        failed: some.filter(({ outcome }) => outcome === "failure").length,
        errors: count(some, ({ facts }) => facts.firstError)
      }))
    )
    equal(
      overview.choices.targets.map(({ model, provider }: Record<string, string>) => `${provider}/${model}`).sort(),
      [...Day.targets].sort()
    )
    const chosen = facts.filter((one) => one.asked.provider === "openai" && one.tenant === "tenant-1")
    equal(sorted(acme.totals), {
      ...truthOf(
        "label:none",
        chosen.map((one) => ({ ...one, tenant: undefined }))
      )[0],
      group: "all"
    })
    const latest = told.toSorted((a, b) => b.call.at - a.call.at)
    equal(
      newest.calls.map(({ startedAt }: CallReport.CallSummary) => startedAt),
      latest.slice(0, 30).map(({ call }) => call.at)
    )
    equal(
      failures.calls.map(({ startedAt }: CallReport.CallSummary) => startedAt),
      latest
        .filter(({ outcome }) => outcome !== "success")
        .slice(0, 30)
        .map(({ call }) => call.at)
    )
    assert.strictEqual(overview.totals.attempts, asked.length)
  })

  it("is what Prometheus scrapes", () => {
    const { asked, seen, told } = day
    const calls = told.length
    const outcomes = count(told, ({ outcome }) => outcome)
    equal(seen.by("steadfast_calls_total", "steadfast_outcome"), outcomes)
    equal(
      seen.by("steadfast_calls_total", "error_type"),
      count(told, ({ error, outcome }) => error ?? (outcome === "interrupted" ? outcome : ""))
    )
    equal(
      seen.by("steadfast_calls_total", "steadfast_label_tenant"),
      count(told, ({ call }) => call.tenant ?? "")
    )
    equal(
      seen.by("steadfast_calls_total", "steadfast_served"),
      count(told, ({ served }) => served?.kind ?? "none")
    )
    assert.strictEqual(seen.sum("steadfast_call_attempts_count"), calls)
    assert.strictEqual(seen.sum("steadfast_call_attempts_sum"), asked.length)
    for (const n of [1, 2, 3, 4, 5]) {
      assert.strictEqual(
        seen.sum("steadfast_call_attempts_bucket", { le: String(n) }),
        told.filter(({ asked }) => asked.length <= n).length
      )
    }

    equal(
      seen.by("steadfast_attempts_total", "steadfast_attempt_target"),
      count(asked, ({ target }) => target)
    )
    equal(
      seen.by("steadfast_attempts_total", "steadfast_attempt_kind"),
      count(asked, ({ kind }) => kind)
    )
    equal(
      seen.by("steadfast_attempts_total", "steadfast_attempt_outcome"),
      count(asked, ({ outcome }) => outcome)
    )
    for (const target of Day.targets) {
      equal(
        seen.by("steadfast_attempts_total", "error_type", { steadfast_attempt_target: target }),
        count(
          asked.filter((one) => one.target === target),
          ({ error, outcome }) => error ?? (outcome === "interrupted" ? outcome : "")
        ),
        target
      )
    }
    // A hedge has the number of the attempt beside it.
    const numbered = told.flatMap(({ asked, call }) =>
      asked.map((one, index) => ({ one, number: call.route === "hedged" ? "1" : String(index + 1) }))
    )
    equal(
      seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number"),
      count(numbered, ({ number }) => number)
    )
    equal(
      seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number", {
        steadfast_attempt_outcome: "success"
      }),
      count(numbered, ({ number, one }) => (one.outcome === "success" ? number : undefined))
    )
    for (const from of Day.targets) {
      for (const to of Day.targets) {
        const labels = { steadfast_fallback_from: from, steadfast_fallback_to: to }
        equal(
          seen.by("steadfast_fallbacks_total", "steadfast_fallback_reason", labels),
          count(asked, ({ handoff, target }) => (handoff?.from === from && target === to ? handoff.reason : undefined))
        )
      }
    }

    const model = "gen_ai_request_model"
    const usage = (part: string) => `gen_ai_client_inference_usage_${part}_total`
    equal(
      seen.by(usage("input_tokens"), model),
      sums(asked, modelOf, ({ usage }) => usage?.input)
    )
    equal(
      seen.by(usage("output_tokens"), model),
      sums(asked, modelOf, ({ usage }) => usage?.output)
    )
    equal(
      seen.by(usage("cache_read_input_tokens"), model),
      sums(asked, modelOf, ({ usage }) => usage?.cached)
    )
    const ways = told.flatMap(({ asked, call, served }) =>
      asked.map((one) => ({ one, call, way: served?.kind ?? "none" }))
    )
    for (const type of ["input", "output"] as const) {
      equal(
        seen.by("steadfast_tokens_total", "steadfast_served", { steadfast_token_type: type }),
        sums(
          ways,
          ({ way }) => way,
          ({ one }) => one.usage?.[type]
        )
      )
      equal(
        seen.by("steadfast_tokens_total", "steadfast_label_tenant", { steadfast_token_type: type }),
        sums(
          ways,
          ({ call }) => call.tenant ?? "",
          ({ one }) => one.usage?.[type]
        )
      )
    }
    equal(
      seen.by("steadfast_cost_usd_total", model),
      sums(asked, modelOf, ({ usd }) => usd)
    )
    equal(
      seen.by("steadfast_cost_usd_total", "steadfast_served"),
      sums(
        ways,
        ({ way }) => way,
        ({ one }) => one.usd
      )
    )
    equal(
      seen.by("steadfast_cost_wasted_usd_total", "steadfast_label_tenant"),
      sums(
        told,
        ({ call }) => call.tenant ?? "",
        ({ facts }) => facts.wasted
      )
    )
    const target = "steadfast_attempt_target"
    for (const cost of ["unpriced", "unknown"] as const) {
      equal(
        seen.by(`steadfast_attempts_${cost === "unknown" ? "usage_unknown" : cost}_total`, target),
        count(asked, (one) => (one.cost === cost ? one.target : undefined)),
        cost
      )
    }

    equal(
      seen.sum("gen_ai_client_inference_duration_seconds_sum"),
      sumOf(told, ({ call, ended }) => (ended - call.at) / 1000)
    )
    equal(
      seen.sum("steadfast_call_backoff_seconds_sum"),
      sumOf(told, ({ facts }) => facts.backoff / 1000)
    )
    equal(
      seen.sum("steadfast_call_queue_seconds_sum"),
      sumOf(told, ({ facts }) => facts.queue / 1000)
    )
    const first = "steadfast_attempt_time_to_first_token_seconds"
    equal(
      seen.by(`${first}_count`, target),
      count(asked, (one) => (one.firstToken === undefined ? undefined : one.target))
    )
    equal(
      seen.by(`${first}_sum`, target),
      sums(
        asked,
        (one) => one.target,
        ({ firstToken }) => firstToken && firstToken / 1000
      )
    )
  })

  it("is what the spans add up to", () => {
    const { asked, spans, told } = day
    const ofSpans = (name: string) => sumOf(spans, ({ attributes }) => Number(attributes[name] ?? 0))
    assert.strictEqual(spans.filter(({ name }) => name === "attempt").length, asked.length)
    const logical = spans.filter(({ attributes }) => attributes["gen_ai.operation.name"] !== undefined)
    assert.strictEqual(logical.length, told.length)
    assert.strictEqual(spans.length, asked.length + told.length)
    assert.strictEqual(ofSpans("steadfast.attempts"), asked.length)
    assert.strictEqual(
      ofSpans("gen_ai.usage.input_tokens"),
      sumOf(asked, ({ usage }) => usage?.input)
    )
    assert.strictEqual(
      ofSpans("gen_ai.usage.output_tokens"),
      sumOf(asked, ({ usage }) => usage?.output)
    )
    assert.strictEqual(
      ofSpans("gen_ai.usage.cache_read.input_tokens"),
      sumOf(asked, ({ usage }) => usage?.cached)
    )
    equal(
      ofSpans("steadfast.usd"),
      sumOf(asked, ({ usd }) => usd)
    )
    equal(
      ofSpans("steadfast.wasted_usd"),
      sumOf(told, ({ facts }) => facts.wasted)
    )
    assert.strictEqual(
      ofSpans("steadfast.unpriced_attempts"),
      sumOf(told, ({ facts }) => facts.unpriced)
    )
    assert.strictEqual(
      ofSpans("steadfast.usage_unknown_attempts"),
      sumOf(told, ({ facts }) => facts.unknown)
    )
    equal(
      ofSpans("steadfast.retry.delay_ms"),
      sumOf(told, ({ facts }) => facts.backoff)
    )
    equal(
      ofSpans("steadfast.attempt.queued_ms"),
      sumOf(told, ({ facts }) => facts.queue)
    )
    equal(
      ofSpans("steadfast.attempt.first_token_ms"),
      sumOf(asked, ({ firstToken }) => firstToken)
    )
    equal(
      count(spans, ({ attributes, name }) => (name === "attempt" ? undefined : String(attributes["error.type"] ?? ""))),
      count(told, ({ error, outcome }) => error ?? (outcome === "interrupted" ? "" : ""))
    )
  })

  it("tells no secret", () => {
    const { newest, overview, reports, spans, text } = day
    const told = spans.map(({ attributes, events, name, status }) => [name, attributes, events, status])
    const everything = JSON.stringify([text, told, reports, overview, newest])
    for (const secret of [apiKey, Day.prompt, Day.secretAnswer]) assert.notInclude(everything, secret)
  })
})
