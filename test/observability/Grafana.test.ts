import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { CircuitBreaker, LlmError, Pacer } from "effect-steadfast"
import { Telemetry } from "effect-steadfast/observability"
import { read } from "../docs/blocks.js"
import { under } from "../support/time.js"
import * as Day from "./day.js"
import * as Prometheus from "./prometheus.js"

interface Panel {
  readonly title: string
  readonly type: string
  readonly gridPos: { readonly x: number; readonly w: number }
  readonly targets?: ReadonlyArray<{ readonly expr: string; readonly legendFormat: string }>
}

const dashboard: { readonly panels: ReadonlyArray<Panel> } = JSON.parse(read("grafana/dashboard.json"))
const alerts = read("grafana/alerts.yaml")

/** The queries of the alerts: what stands behind `expr:`, or further in below it. */
const queriesOf = (yaml: string): ReadonlyArray<string> =>
  Array.from(yaml.matchAll(/^( +)expr: (?:\|\n((?:\1 {2}.*\n)+)|(.*)\n)/gm), ([, , block, line]) => block ?? line ?? "")

const queries = [
  ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
  ...queriesOf(alerts),
  ...Array.from(read("docs/telemetry.md").matchAll(/\| `([^`]*\[\w+\][^`]*)` \|/g), ([, query]) => query ?? "")
]

/** The words of the query language that a query here may have. */
const language = new Set([
  ...["sum", "max", "min", "by", "rate", "increase", "histogram_quantile", "rate_interval", "job"],
  "le"
])

/** A query without its texts: metrics, each with its own labels, and the words that are left. */
const partsOf = (query: string) => {
  const metrics: Array<readonly [metric: string, labels: ReadonlyArray<string>]> = []
  const plain = query.replaceAll(/\$\{?__\w+\}?|\$job/g, "").replaceAll(/"[^"]*"/g, "")
  const rest = plain.replaceAll(
    /((?:steadfast|gen_ai_client)_\w+)(?:\{([^}]*)\})?/g,
    (all, name: string, inside = "") => {
      // A label of a grouping has such a name too.
      if (Object.keys(Telemetry.attributes).some((attribute) => attribute.replaceAll(".", "_") === name)) return all
      metrics.push([name, Array.from(String(inside).matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g), ([, label]) => label ?? "")])
      return ""
    }
  )
  const words = Array.from(rest.matchAll(/[a-zA-Z_]\w*/g), ([word]) => word).filter((word) => !/^\d*[smhd]$/.test(word))
  return { metrics, words: words.filter((word) => !language.has(word)) }
}

/** What is exported after a day, and with the states of policies. */
const exported = Effect.gen(function* () {
  const day = yield* Day.make("grafana")
  const breaker = yield* CircuitBreaker.make({ maxWait: 0 })
  const pacer = yield* Pacer.make({ requests: { limit: 10, window: "1 minute" } })
  const down = Effect.fail(new LlmError.ServerError({ provider: "p", message: "no", delivery: "unknown" }))
  const states = Effect.gen(function* () {
    yield* Effect.exit(breaker.execute(down, { key: "k" })).pipe(Effect.repeatN(3))
    yield* pacer.pace(Effect.void, { key: "k" })
    yield* Effect.sleep("20 minutes")
  })
  const layer = Layer.merge(Telemetry.metrics, Telemetry.layerStates({ breaker, pacer, interval: "10 minutes" }))
  yield* under(Effect.zipRight(day.run, states).pipe(Effect.provide(layer)), "2 days")
  return Prometheus.parse(yield* Telemetry.prometheus)
})

describe("the dashboard, the alerts and the queries of the docs", () => {
  it.effect("name metrics that are exported, with labels that these have", () =>
    Effect.gen(function* () {
      const families = yield* exported
      const labelsOf = new Map<string, Set<string>>()
      for (const { samples } of families.values()) {
        for (const { labels, name } of samples) {
          labelsOf.set(name, new Set([...(labelsOf.get(name) ?? ["job"]), ...Object.keys(labels)]))
        }
      }
      assert.isAbove(queries.length, 40)
      const used = new Set<string>()
      for (const query of queries) {
        const { metrics, words } = partsOf(query)
        assert.isNotEmpty(metrics, query)
        for (const [metric, labels] of metrics) {
          used.add(metric.replace(/_(?:bucket|sum|count)$/, ""))
          const known = labelsOf.get(metric)
          assert.isDefined(known, `${metric} is not exported: ${query}`)
          for (const label of [...labels, ...words])
            assert.isTrue(known.has(label), `${metric} has no ${label}: ${query}`)
        }
      }
      // All metrics are exported by now, and each of them is on the dashboard.
      for (const definition of Object.values<Telemetry.Definition>(Telemetry.table)) {
        const name = Telemetry.prometheusName(definition)
        const family = families.get(name)
        assert.isDefined(family, name)
        assert.strictEqual(family.type, definition.kind)
        assert.strictEqual(family.help, definition.description)
        assert.isTrue(used.has(name), `${name} is on no panel`)
        const own = new Set(family.samples.flatMap(({ labels }) => Object.keys(labels)))
        own.delete("le")
        for (const label of own) {
          if (label.startsWith("steadfast_label_")) continue
          assert.include(
            definition.attributes.map((attribute) => attribute.replaceAll(".", "_")),
            label,
            name
          )
        }
        for (const attribute of definition.attributes) {
          assert.isTrue(own.has(attribute.replaceAll(".", "_")), `${name} never has ${attribute}`)
        }
      }
    })
  )

  it("have legends of labels that their query keeps", () => {
    for (const { targets = [], title } of dashboard.panels) {
      for (const { expr, legendFormat } of targets) {
        for (const [, label = ""] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) {
          assert.match(expr, new RegExp(`by \\([^)]*\\b${label}\\b`), title)
        }
      }
    }
  })

  it("have alerts with distinct names, and panels that fit", () => {
    const names = Array.from(alerts.matchAll(/- alert: (\w+)\n/g), ([, name]) => name)
    assert.isAbove(names.length, 5)
    assert.strictEqual(new Set(names).size, names.length)
    assert.strictEqual(queriesOf(alerts).length, names.length)
    for (const { gridPos } of dashboard.panels) assert.isAtMost(gridPos.x + gridPos.w, 24)
  })
})
