import { assert, describe, it } from "@effect/vitest"
import { Effect, Metric, MetricBoundaries, MetricLabel } from "effect"
import { Telemetry } from "effect-steadfast/observability"
import * as Prometheus from "./prometheus.js"

const scraped = Effect.map(Telemetry.prometheus, Prometheus.parse)

describe("the text for Prometheus", () => {
  it.effect("holds all kinds of metrics, and whatever stands in their names", () =>
    Effect.gen(function* () {
      // No other test has this name: the registry of metrics is one for the process.
      const name = `text-${process.pid}`
      const tag = MetricLabel.make("a.b", 'quote " backslash \\ line \n end')
      yield* Metric.update(
        Metric.taggedWithLabels(Metric.counter(`${name}.requests`, { incremental: true, description: "a\nb\\" }), [
          tag
        ]),
        1
      )
      yield* Metric.incrementBy(Metric.counter(`${name}.both ways`), -3)
      yield* Metric.set(Metric.gauge(`9${name}`), Number.POSITIVE_INFINITY)
      yield* Metric.update(Metric.histogram(`${name}.h`, MetricBoundaries.fromIterable([0.5, 1e-7, 2])), 1)
      for (const ends of [[0.5, 1], [0.5, 1], [0.7]]) {
        yield* Metric.update(Metric.histogram(`${name}.same`, MetricBoundaries.fromIterable(ends)), 0.6)
      }
      yield* Metric.update(Metric.frequency(`${name}.f`), "word")
      const summary = Metric.summary({ name: `${name}.s`, maxAge: "1 hour", maxSize: 9, error: 0, quantiles: [0.5] })
      yield* Metric.update(summary, 4)
      yield* Metric.increment(Metric.counter(`${name}-twice`, { incremental: true }))
      yield* Metric.increment(Metric.counter(`${name}_twice`, { incremental: true }))
      yield* Metric.increment(Metric.counter(`${name}_big`, { bigint: true, incremental: true }))
      const families = yield* scraped
      const own = name.replaceAll("-", "_")
      const of = (suffix: string) => families.get(own + suffix)
      assert.deepStrictEqual(of("_requests_total")?.samples, [
        { name: `${own}_requests_total`, labels: { a_b: 'quote " backslash \\ line \n end' }, value: 1 }
      ])
      assert.strictEqual(of("_requests_total")?.help, "a\\nb\\\\")
      assert.deepInclude(of("_both_ways"), { type: "gauge" })
      assert.strictEqual(of("_both_ways")?.samples[0]?.value, -3)
      assert.strictEqual(families.get(`_9${own}`)?.samples[0]?.value, Number.POSITIVE_INFINITY)
      assert.strictEqual(of("_h")?.type, "histogram")
      assert.deepInclude(of("_f_total")?.samples[0], { labels: { key: "word" }, value: 1 })
      assert.deepInclude(of("_s")?.samples[0], { labels: { quantile: "0.5" }, value: 4 })
      assert.deepStrictEqual(
        of("_same")?.samples.map(({ value }) => value),
        [0, 2, 2, 1.2, 2]
      )
      assert.deepStrictEqual(
        of("_twice_total")?.samples.map(({ value }) => value),
        [2]
      )
      assert.strictEqual(of("_big_total")?.samples[0]?.value, 1)
    })
  )
})
