import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, type Layer, Metric } from "effect"
import { Call, type CallRecord, LlmError } from "effect-steadfast"
import { Telemetry } from "effect-steadfast/observability"
import * as Instrument from "../../src/observability/Instrument.js"
import * as Prometheus from "./prometheus.js"

const scraped = Effect.map(Telemetry.prometheus, Prometheus.parse)

let names = 0
/** A model that no other test has: the registry of metrics is one for the process. */
const fresh = () => `model-${process.pid}-${names++}`

const attempt = (
  model: string,
  index: number,
  more: Partial<CallRecord.AttemptRecord> = {}
): CallRecord.AttemptRecord => ({
  index,
  provider: "gemini",
  model,
  startedAt: 0,
  durationMillis: 10,
  outcome: "success",
  ...more
})

const record = (attempts: ReadonlyArray<CallRecord.AttemptRecord>, more: Partial<CallRecord.CallRecord> = {}) => ({
  id: "c-1",
  name: "ask",
  operation: "chat",
  startedAt: 0,
  durationMillis: 1500,
  outcome: "success" as const,
  attempts,
  ...more
})

/** What a layer's observers make of records. */
const observing = (layer: Layer.Layer<never>, records: ReadonlyArray<CallRecord.CallRecord>) =>
  Effect.gen(function* () {
    const before = yield* scraped
    const observers = yield* Call.Observers
    assert.strictEqual(observers.length, 1)
    for (const one of records) for (const observer of observers) yield* observer(one)
    return Prometheus.since(before, yield* scraped)
  }).pipe(Effect.provide(layer))

const failure = (tag: "ServerError" | "RateLimited") =>
  new LlmError[tag]({ provider: "gemini", model: "m", message: "no", delivery: "rejected" })

describe("the metrics of a record", () => {
  it.effect("name the provider as the conventions do, and count in seconds", () =>
    Effect.gen(function* () {
      const model = fresh()
      const stream = { stream: true, firstTokenMillis: 250, startedAt: 1000, responseModel: `${model}-2` }
      const seen = yield* observing(Telemetry.metrics, [record([attempt(model, 1, stream)])])
      const labels = {
        gen_ai_operation_name: "chat",
        gen_ai_provider_name: "gcp.gemini",
        gen_ai_request_model: model,
        gen_ai_response_model: `${model}-2`
      }
      const duration = "gen_ai_client_inference_duration_seconds"
      assert.strictEqual(seen.sum(`${duration}_sum`, { ...labels, error_type: "" }), 1.5)
      assert.strictEqual(seen.sum(`${duration}_bucket`, { ...labels, le: "1.28" }), 0)
      assert.strictEqual(seen.sum(`${duration}_bucket`, { ...labels, le: "2.56" }), 1)
      assert.strictEqual(seen.sum("gen_ai_client_inference_time_to_first_chunk_seconds_sum", labels), 1.25)
      const target = { steadfast_attempt_target: `gemini/${model}` }
      assert.strictEqual(seen.sum("steadfast_attempt_time_to_first_token_seconds_sum", target), 0.25)
    })
  )

  it.effect("tell which attempt of an answer helped, also where a call has many answers", () =>
    Effect.gen(function* () {
      const model = fresh()
      const failed = { outcome: "failure" as const, error: failure("ServerError") }
      const retry = { retry: { delayMillis: 1000, reason: "backoff" } }
      const agent = record([
        attempt(model, 1),
        attempt(model, 2, failed),
        attempt(model, 3, { ...failed, ...retry }),
        attempt(model, 4, retry),
        attempt(model, 5)
      ])
      const seen = yield* observing(Telemetry.metrics, [agent])
      const by = (outcome: string) =>
        seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number", {
          steadfast_attempt_outcome: outcome
        })
      assert.deepStrictEqual(
        [by("success"), by("failure")],
        [
          { 1: 2, 3: 1 },
          { 1: 1, 2: 1 }
        ]
      )
      const target = { steadfast_attempt_target: `gemini/${model}` }
      assert.deepStrictEqual(seen.by("steadfast_attempts_total", "steadfast_attempt_kind", target), {
        first: 3,
        retry: 2
      })
      const added = { gen_ai_request_model: model }
      assert.strictEqual(seen.sum("steadfast_call_backoff_seconds_sum", added), 2)
      assert.strictEqual(seen.sum("steadfast_call_queue_seconds_count", added), 1)
    })
  )

  it.effect("of a round of a schedule that is a call of its own", () =>
    Effect.gen(function* () {
      const model = fresh()
      const seen = yield* observing(Telemetry.metrics, [record([attempt(model, 3)])])
      assert.deepStrictEqual(seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number"), { 3: 1 })
      assert.deepStrictEqual(seen.by("steadfast_calls_total", "steadfast_served"), { retry: 1 })
    })
  )

  it.effect("count a handoff once, however often the other target is tried, and keep its reason short", () =>
    Effect.gen(function* () {
      const [from, to] = [fresh(), fresh()]
      const failed = { outcome: "failure" as const, error: failure("RateLimited") }
      const fallback = { from: `gemini/${from}`, reason: "ContextLengthExceeded: the window of x takes 5 tokens" }
      const queuedMillis = 300
      const seen = yield* observing(Telemetry.metrics, [
        record([
          attempt(from, 1, failed),
          attempt(to, 2, { ...failed, fallback }),
          attempt(to, 3, { fallback, retry: { delayMillis: 5, reason: "hint" }, queuedMillis })
        ])
      ])
      assert.deepStrictEqual(
        seen.by("steadfast_fallbacks_total", "steadfast_fallback_reason", {
          steadfast_fallback_from: `gemini/${from}`,
          steadfast_fallback_to: `gemini/${to}`
        }),
        { ContextLengthExceeded: 1 }
      )
      assert.deepStrictEqual(seen.by("steadfast_calls_total", "steadfast_served"), { fallback: 1 })
      assert.closeTo(seen.sum("steadfast_call_queue_seconds_sum", { gen_ai_request_model: to }), 0.3, 1e-12)
    })
  )

  it.effect("tell the dollars that were of no use, by the target that took them, and what has no price", () =>
    Effect.gen(function* () {
      const [a, b] = [fresh(), fresh()]
      const usage = { inputTokens: 7, outputTokens: 2 }
      const lost = new LlmError.StreamInterrupted({
        provider: "gemini",
        model: a,
        message: "cut",
        delivery: "unknown",
        received: 1,
        partial: ""
      })
      const cut = { outcome: "failure" as const, error: lost }
      const fallback = { from: `gemini/${a}`, reason: "StreamInterrupted" }
      const seen = yield* observing(Telemetry.metrics, [
        record([attempt(a, 1, { ...cut, usage, usd: 2 }), attempt(b, 2, { usage, usd: 3, fallback })]),
        record([attempt(b, 1, { usage, usd: 5 })], { outcome: "interrupted" }),
        record([attempt(a, 1, cut), attempt(a, 2, { usage })])
      ])
      const by = (name: string, label: string) => seen.by(name, label)
      assert.deepStrictEqual(by("steadfast_cost_wasted_usd_total", "gen_ai_request_model"), { [a]: 2, [b]: 5 })
      assert.deepStrictEqual(by("steadfast_cost_usd_total", "gen_ai_request_model"), { [a]: 2, [b]: 8 })
      assert.deepStrictEqual(by("steadfast_cost_usd_total", "steadfast_served"), { fallback: 5, none: 5 })
      const target = { steadfast_attempt_target: `gemini/${a}` }
      assert.strictEqual(seen.sum("steadfast_attempts_unpriced_total", target), 1)
      assert.strictEqual(seen.sum("steadfast_attempts_usage_unknown_total", target), 1)
      assert.deepStrictEqual(by("steadfast_tokens_total", "steadfast_token_type"), { input: 28, output: 8 })
    })
  )

  it.effect("are the same series for a second layer", () =>
    Effect.gen(function* () {
      const model = fresh()
      for (let i = 0; i < 2; i++) yield* observing(Telemetry.metrics, [record([attempt(model, 1)])])
      const pairs = Metric.unsafeSnapshot().filter(
        ({ metricKey: { name, tags } }) =>
          name === "gen_ai.client.inference.duration" && tags.some(({ value }) => value === model)
      )
      assert.strictEqual(pairs.length, 1)
    })
  )

  it.effect("of calls that ended before an attempt, and of those that asked nobody", () =>
    Effect.gen(function* () {
      const model = fresh()
      const error = new LlmError.CircuitOpen({ provider: "xai", model, message: "open", delivery: "not-sent" })
      const seen = yield* observing(Telemetry.metrics, [
        record([], { outcome: "failure", error }),
        record([], { outcome: "interrupted" }),
        record([], { outcome: "defect" }),
        record([], { operation: undefined })
      ])
      assert.deepStrictEqual(seen.by("gen_ai_client_inference_duration_seconds_count", "error_type"), {
        CircuitOpen: 1,
        interrupted: 1,
        _OTHER: 1
      })
      assert.strictEqual(
        seen.sum("gen_ai_client_inference_duration_seconds_count", {
          gen_ai_provider_name: "x_ai",
          gen_ai_request_model: model
        }),
        1
      )
      assert.strictEqual(seen.sum("steadfast_calls_total"), 4)
      assert.deepStrictEqual(seen.by("steadfast_call_attempts_count", "steadfast_outcome"), {
        failure: 1,
        interrupted: 1,
        defect: 1,
        success: 1
      })
    })
  )

  it.effect("keep 64 values of a label that was asked for, and none of the others", () =>
    Effect.gen(function* () {
      const model = fresh()
      const records = Array.from({ length: 100 }, (_, n) =>
        record([attempt(model, 1)], { labels: { tenant: `t-${n % 70}`, user: `u-${n}` } })
      )
      const seen = yield* observing(Telemetry.layerMetrics({ labels: ["tenant"] }), records)
      const tenants = seen.by("gen_ai_client_inference_duration_seconds_count", "steadfast_label_tenant")
      assert.strictEqual(Object.keys(tenants).length, 65)
      assert.deepInclude(tenants, { "t-0": 2, "t-63": 1, other: 6 })
      assert.strictEqual(seen.grown.filter(({ labels }) => "steadfast_label_user" in labels).length, 0)
    })
  )

  it.effect("keep 256 values of a name that a server tells, and cut them", () =>
    Effect.gen(function* () {
      const model = fresh()
      const records = Array.from({ length: 300 }, (_, n) =>
        record([attempt(model, 1, { responseModel: `${model}-${n}-${"x".repeat(500)}` })])
      )
      const seen = yield* observing(Telemetry.metrics, records)
      const models = seen.by("gen_ai_client_inference_duration_seconds_count", "gen_ai_response_model", {
        gen_ai_request_model: model
      })
      assert.strictEqual(Object.keys(models).length, 257)
      assert.strictEqual(models.other, 44)
      assert.isAtMost(Math.max(...Object.keys(models).map((name) => name.length)), 256)
    })
  )

  it.effect("count each value under its series, in any order and however often it comes", () =>
    Effect.gen(function* () {
      const name = fresh()
      const definition = { name, kind: "counter" as const, unit: "1", description: "", attributes: ["a", "b"] }
      const instrument = Instrument.make(definition, Instrument.bounds())
      const a = fc.nat({ max: 320 }).map((n) => `a-${n}`)
      const b = fc.constantFrom("x", "y", undefined)
      const [values = []] = fc.sample(fc.array(fc.tuple(a, b), { minLength: 4000, maxLength: 4000 }), 1)
      const kept = new Set<string>()
      const expected = new Map<string, number>()
      for (const [a, b] of values) {
        instrument(1, [a, b])
        if (kept.size < 256) kept.add(a)
        const series = `${kept.has(a) ? a : "other"} ${b}`
        expected.set(series, (expected.get(series) ?? 0) + 1)
      }
      const samples = (yield* scraped).get(`${name.replaceAll("-", "_")}_total`)?.samples ?? []
      const told = new Map(samples.map(({ labels, value }) => [`${labels.a} ${labels.b}`, value]))
      assert.isTrue(expected.has("other x"))
      assert.deepStrictEqual(told, expected)
    })
  )

  it.effect("have 2000 series at the most, and count on in one more", () =>
    Effect.gen(function* () {
      const name = fresh()
      const attributes = ["a", "b", "c"]
      const definition = { name, kind: "counter" as const, unit: "1", description: "", attributes }
      const instrument = Instrument.make(definition, Instrument.bounds())
      for (let a = 0; a < 60; a++) for (let b = 0; b < 60; b++) instrument(1, [`a-${a}`, `b-${b}`, undefined])
      const family = (yield* scraped).get(`${name.replaceAll("-", "_")}_total`)
      assert.isDefined(family)
      assert.strictEqual(family.samples.length, 2001)
      const overflow = family.samples.find(({ labels }) => labels.a === "other")
      assert.deepInclude(overflow, { labels: { a: "other", b: "other", c: "other" }, value: 1600 })
    })
  )

  it.effect("cost a record some microseconds, and no series more", () =>
    Effect.gen(function* () {
      const [observer] = yield* Call.Observers
      assert.isDefined(observer)
      const usage = { inputTokens: 100, outputTokens: 20, cachedInputTokens: 50 }
      const one = record([attempt(fresh(), 1, { usage, usd: 0.01, responseModel: "m-2" })], { labels: { tenant: "a" } })
      const n = 5_000
      for (let i = 0; i < n; i++) Effect.runSync(observer(one))
      const series = Metric.unsafeSnapshot().length
      const began = process.cpuUsage()
      for (let i = 0; i < n; i++) Effect.runSync(observer(one))
      const { system, user } = process.cpuUsage(began)
      console.log(`a record with one attempt: ${((user + system) / n).toFixed(1)} µs of the processor`)
      assert.strictEqual(Metric.unsafeSnapshot().length, series)
    }).pipe(Effect.provide(Telemetry.layerMetrics({ labels: ["tenant"] })))
  )
})
