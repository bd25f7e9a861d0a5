import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, LogLevel } from "effect"
import { CallRecord } from "effect-steadfast"
import { Telemetry } from "effect-steadfast/observability"
import { apiKey, collectLogs } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"
import { under } from "../support/time.js"
import * as Day from "./day.js"
import * as Prometheus from "./prometheus.js"
import { count, sumOf } from "./truth.js"

const scraped = Effect.map(Telemetry.prometheus, Prometheus.parse)

const ran = Effect.gen(function* () {
  const day = yield* Day.make("day")
  const spans = collectSpans()
  const logs = collectLogs(LogLevel.All)
  const before = yield* scraped
  const layers = Layer.mergeAll(Telemetry.layerMetrics({ labels: ["tenant"] }), spans.layer, logs.layer)
  yield* under(day.run.pipe(Effect.provide(layers)), "2 days")
  const text = yield* Telemetry.prometheus
  const truths: Record<string, Effect.Effect.Success<ReturnType<typeof Day.truth>>> = {}
  for (const [target, provider] of Object.entries(day.providers)) truths[target] = yield* Day.truth(provider)
  return {
    ...day,
    spans: spans.spans(),
    logs: logs.lines,
    text,
    truths,
    seen: Prometheus.since(before, Prometheus.parse(text))
  }
})

describe("the metrics of a day", () => {
  it.effect("equal what the providers noted, what the records say, and the sums over spans", () =>
    Effect.gen(function* () {
      const { calls, logs, records, seen, spans, text, truths } = yield* ran
      const attempts = records.flatMap(({ attempts }) => attempts)
      const all = Object.values(truths)

      // The day has everything in it.
      assert.strictEqual(records.length, calls)
      const outcomes = count(records, ({ outcome }) => outcome)
      assert.hasAllKeys(outcomes, ["success", "failure", "interrupted"])
      assert.isAbove(
        sumOf(attempts, ({ hedge }) => (hedge ? 1 : 0)),
        0
      )
      assert.isAbove(
        sumOf(attempts, ({ fallback }) => (fallback ? 1 : 0)),
        0
      )
      assert.isAbove(
        sumOf(attempts, ({ retry }) => (retry ? 1 : 0)),
        50
      )
      assert.isAbove(
        sumOf(all, ({ hungUp }) => hungUp),
        40
      )

      // Calls.
      assert.deepStrictEqual(seen.by("steadfast_calls_total", "steadfast_outcome"), outcomes)
      assert.deepStrictEqual(
        seen.by("steadfast_calls_total", "steadfast_label_tenant"),
        count(records, ({ labels }) => labels?.tenant ?? "")
      )
      assert.strictEqual(seen.sum("gen_ai_client_inference_duration_seconds_count"), calls)
      assert.closeTo(
        seen.sum("gen_ai_client_inference_duration_seconds_sum"),
        sumOf(records, ({ durationMillis }) => durationMillis / 1000),
        1e-6
      )
      assert.deepStrictEqual(
        seen.by("gen_ai_client_inference_duration_seconds_count", "error_type"),
        count(records, ({ error, outcome }) => error?._tag ?? (outcome === "interrupted" ? "interrupted" : ""))
      )
      assert.strictEqual(seen.sum("steadfast_call_attempts_count"), calls)
      assert.strictEqual(
        seen.sum("steadfast_call_attempts_sum"),
        sumOf(all, ({ requests }) => requests)
      )
      for (const n of [1, 2, 3]) {
        assert.strictEqual(
          seen.sum("steadfast_call_attempts_bucket", { le: String(n) }),
          records.filter(({ attempts }) => attempts.length <= n).length
        )
      }

      // Attempts: what arrived at the providers.
      assert.deepStrictEqual(
        seen.by("steadfast_attempts_total", "steadfast_attempt_target"),
        Object.fromEntries(Object.entries(truths).map(([target, { requests }]) => [target, requests]))
      )
      const statuses = (status: number) => sumOf(all, (one) => one.statuses[status])
      assert.strictEqual(seen.sum("steadfast_attempts_total", { error_type: "RateLimited" }), statuses(429))
      assert.strictEqual(seen.sum("steadfast_attempts_total", { error_type: "AuthError" }), statuses(401))
      assert.strictEqual(
        seen.sum("steadfast_attempts_total", { steadfast_attempt_outcome: "success" }),
        sumOf(all, ({ answered }) => answered)
      )
      assert.strictEqual(
        seen.sum("steadfast_attempts_total", { steadfast_attempt_outcome: "interrupted" }),
        sumOf(all, ({ hungUp }) => hungUp)
      )
      assert.strictEqual(
        seen.sum("steadfast_attempts_total", { steadfast_attempt_kind: "hedge" }),
        sumOf(attempts, ({ hedge }) => (hedge ? 1 : 0))
      )
      // A hedge has the number of the attempt beside it, and there is one at the most in a call of this day.
      const numberOf = ({ hedge, index }: (typeof attempts)[number]) => String(hedge === true ? index - 1 : index)
      assert.deepStrictEqual(
        seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number"),
        count(attempts, numberOf)
      )
      assert.deepStrictEqual(
        seen.by("steadfast_attempts_by_number_total", "steadfast_attempt_number", {
          steadfast_attempt_outcome: "success"
        }),
        count(attempts, (attempt) => (attempt.outcome === "success" ? numberOf(attempt) : undefined))
      )

      // Fallbacks: one for each call that reached the other target.
      const handed = records.filter(({ attempts }) => attempts.some(({ fallback }) => fallback !== undefined))
      assert.deepStrictEqual(
        seen.by("steadfast_fallbacks_total", "steadfast_fallback_reason"),
        count(handed, ({ attempts }) => attempts.find(({ fallback }) => fallback !== undefined)?.fallback?.reason)
      )
      assert.strictEqual(
        seen.sum("steadfast_fallbacks_total", {
          steadfast_fallback_from: "openai/alpha",
          steadfast_fallback_to: "openai/beta"
        }),
        handed.length
      )

      // Tokens, once: those that the providers told.
      for (const [target, { cached, input, output }] of Object.entries(truths)) {
        const labels = { gen_ai_request_model: target.split("/")[1] ?? "", gen_ai_token_modality: "unknown" }
        const usage = (part: string) => seen.sum(`gen_ai_client_inference_usage_${part}_total`, labels)
        assert.deepStrictEqual(
          [usage("input_tokens"), usage("output_tokens"), usage("cache_read_input_tokens")],
          [input, output, cached],
          target
        )
      }
      const input = sumOf(all, ({ input }) => input)
      const output = sumOf(all, ({ output }) => output)
      assert.strictEqual(
        seen.sum("gen_ai_client_inference_usage_cache_write_input_tokens_total"),
        3 * (truths["anthropic/gamma"]?.answered ?? 0)
      )
      assert.strictEqual(
        seen.sum("gen_ai_client_inference_usage_reasoning_output_tokens_total"),
        sumOf(attempts, ({ usage }) => usage?.reasoningTokens)
      )
      assert.strictEqual(seen.sum("steadfast_tokens_total", { steadfast_token_type: "input" }), input)
      assert.strictEqual(seen.sum("steadfast_tokens_total", { steadfast_token_type: "output" }), output)
      const later = records.filter((record) => (CallRecord.servedBy(record)?.index ?? 1) > 1)
      assert.isAbove(later.length, 20)
      assert.strictEqual(
        seen.sum("steadfast_tokens_total", { steadfast_token_type: "input" }) -
          seen.sum("steadfast_tokens_total", { steadfast_token_type: "input", steadfast_served: "first" }) -
          seen.sum("steadfast_tokens_total", { steadfast_token_type: "input", steadfast_served: "none" }),
        sumOf(later, ({ attempts }) => sumOf(attempts, ({ usage }) => usage?.inputTokens))
      )
      const ofSpans = (name: string) => sumOf(spans, ({ attributes }) => Number(attributes[name] ?? 0))
      assert.strictEqual(ofSpans("gen_ai.usage.input_tokens"), input)
      assert.strictEqual(ofSpans("gen_ai.usage.output_tokens"), output)
      assert.strictEqual(spans.filter(({ name }) => name === "attempt").length, attempts.length)
      assert.strictEqual(spans.length, attempts.length + calls)

      // Money: per million tokens.
      const alpha = truths["openai/alpha"] ?? { input: 0, output: 0 }
      const beta = truths["openai/beta"] ?? { input: 0, output: 0 }
      const delta = truths["anthropic/delta"] ?? { input: 0, output: 0 }
      const usd =
        (2 * alpha.input +
          8 * alpha.output +
          10 * beta.input +
          30 * beta.output +
          5 * delta.input +
          20 * delta.output) /
        1e6
      assert.closeTo(seen.sum("steadfast_cost_usd_total"), usd, 1e-9)
      assert.closeTo(ofSpans("steadfast.usd"), usd, 1e-9)
      // A stream that was cut was paid for.
      const cut = truths["anthropic/delta"]?.cut ?? 0
      const wasted = (cut * (5 * 47 + 20)) / 1e6
      assert.isAbove(wasted, 0)
      assert.closeTo(seen.sum("steadfast_cost_wasted_usd_total"), wasted, 1e-9)
      assert.closeTo(ofSpans("steadfast.wasted_usd"), wasted, 1e-9)
      assert.deepStrictEqual(seen.by("steadfast_attempts_unpriced_total", "steadfast_attempt_target"), {
        "openai/slow": truths["openai/slow"]?.answered ?? 0,
        "anthropic/gamma": truths["anthropic/gamma"]?.answered ?? 0
      })
      assert.strictEqual(
        seen.sum("steadfast_attempts_usage_unknown_total"),
        sumOf(records, (record) => CallRecord.billOf(record).unknown)
      )

      // Times.
      assert.closeTo(
        seen.sum("steadfast_call_backoff_seconds_sum"),
        sumOf(records, CallRecord.waitedMillis) / 1000,
        1e-6
      )
      assert.strictEqual(seen.sum("steadfast_call_backoff_seconds_count"), calls)
      assert.strictEqual(
        seen.sum("steadfast_attempt_time_to_first_token_seconds_count"),
        attempts.filter(({ firstTokenMillis }) => firstTokenMillis !== undefined).length
      )
      assert.strictEqual(
        seen.sum("steadfast_attempt_time_to_first_token_seconds_bucket", {
          steadfast_attempt_target: "openai/late",
          le: "0.64"
        }),
        0
      )
      const first = ofSpans("gen_ai.response.time_to_first_chunk")
      // The spans of cancelled streams do not tell it.
      assert.closeTo(seen.sum("gen_ai_client_inference_time_to_first_chunk_seconds_sum"), first + 40, 1e-6)

      // Nothing secret anywhere.
      const everything = JSON.stringify([
        text,
        logs,
        spans.map(({ attributes, events, name, status }) => [name, attributes, events, status])
      ])
      for (const secret of [apiKey, Day.prompt, Day.secretAnswer]) assert.notInclude(everything, secret)
      assert.notInclude(text, "user-1")
      assert.include(everything, "tenant-1")
    })
  )
})
