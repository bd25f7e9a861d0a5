/**
 * Effect's metrics in the text format of Prometheus, version 0.0.4.
 *
 * @since 0.2.0
 */

import * as Metric from "effect/Metric"
import type * as MetricPair from "effect/MetricPair"
import * as MetricState from "effect/MetricState"
import * as Option from "effect/Option"
import { find, prometheusName, prometheusWord } from "./MetricTable.js"

/**
 * The content type of the text.
 *
 * @since 0.2.0
 * @category constants
 */
export const contentType = "text/plain; version=0.0.4; charset=utf-8"

const numberText = (value: number | bigint): string =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value)

const escapeHelp = (text: string): string => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")

const escapeValue = (text: string): string => escapeHelp(text).replaceAll('"', '\\"')

type Labels = ReadonlyMap<string, string>

const series = (name: string, labels: Labels, more: Readonly<Record<string, string>> = {}): string => {
  const all = [...labels, ...Object.entries(more)].map(([key, value]) => `${key}="${escapeValue(value)}"`)
  return all.length === 0 ? name : `${name}{${all.join(",")}}`
}

/** All series of one name. */
interface Family {
  readonly type: string
  readonly help: string
  /** By series: two names that differ only in what Prometheus does not take would be one series twice. */
  readonly lines: Map<string, string>
}

type Kind = "counter" | "gauge" | "histogram" | "summary"

const kindOf = ({ metricKey, metricState }: MetricPair.MetricPair.Untyped): Kind => {
  if (MetricState.isHistogramState(metricState)) return "histogram"
  if (MetricState.isSummaryState(metricState)) return "summary"
  if (MetricState.isFrequencyState(metricState)) return "counter"
  return MetricState.isCounterState(metricState) &&
    (metricKey.keyType as { incremental?: boolean }).incremental === true
    ? "counter"
    : "gauge"
}

const nameOf = (name: string, kind: Kind): string => {
  const own = find(name)
  if (own !== undefined) return prometheusName(own)
  const word = prometheusWord(name)
  return kind === "counter" && !word.endsWith("_total") ? `${word}_total` : word
}

const add = (name: string, labels: Labels, state: unknown, put: (series: string, value: number | bigint) => void) => {
  if (MetricState.isHistogramState(state)) {
    for (const [boundary, count] of state.buckets) {
      if (boundary !== Number.POSITIVE_INFINITY) put(series(`${name}_bucket`, labels, { le: String(boundary) }), count)
    }
    put(series(`${name}_bucket`, labels, { le: "+Inf" }), state.count)
    put(series(`${name}_sum`, labels), state.sum)
    put(series(`${name}_count`, labels), state.count)
  } else if (MetricState.isSummaryState(state)) {
    for (const [quantile, value] of state.quantiles) {
      put(
        series(name, labels, { quantile: String(quantile) }),
        Option.getOrElse(value, () => Number.NaN)
      )
    }
    put(series(`${name}_sum`, labels), state.sum)
    put(series(`${name}_count`, labels), state.count)
  } else if (MetricState.isFrequencyState(state)) {
    for (const [key, count] of state.occurrences) put(series(name, labels, { key }), count)
  } else if (MetricState.isCounterState(state)) put(series(name, labels), state.count)
  else if (MetricState.isGaugeState(state)) put(series(name, labels), state.value)
}

/**
 * The text of a snapshot. Of two metrics of different types with one name, the later one is left out.
 *
 * @since 0.2.0
 * @category encoding
 */
export const render = (snapshot: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => {
  const families = new Map<string, Family>()
  for (const pair of snapshot) {
    const { metricKey, metricState } = pair
    const kind = kindOf(pair)
    const name = nameOf(metricKey.name, kind)
    const family = families.get(name) ?? {
      type: kind,
      help: Option.getOrElse(metricKey.description, () => ""),
      lines: new Map<string, string>()
    }
    families.set(name, family)
    if (family.type !== kind) continue
    const labels = new Map(metricKey.tags.map(({ key, value }) => [prometheusWord(key), value]))
    add(name, labels, metricState, (series, value) => {
      if (!family.lines.has(series)) family.lines.set(series, `${series} ${numberText(value)}`)
    })
  }
  let text = ""
  for (const [name, { help, lines, type }] of families) {
    if (help !== "") text += `# HELP ${name} ${escapeHelp(help)}\n`
    text += `# TYPE ${name} ${type}\n`
    for (const line of lines.values()) text += `${line}\n`
  }
  return text
}

/**
 * The text of all metrics of this process.
 *
 * @internal
 */
export const current = (): string => render(Metric.unsafeSnapshot())
