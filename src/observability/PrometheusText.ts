/**
 * Effect's metrics in the text format of Prometheus, version 0.0.4.
 *
 * @since 0.2.0
 */

import * as Metric from "effect/Metric"
import type * as MetricLabel from "effect/MetricLabel"
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

const label = (key: string, value: string): string => `${key}="${escapeValue(value)}"`

/** The labels of a metric as text, written once for all its lines: a histogram has many. */
const labelsOf = (tags: ReadonlyArray<MetricLabel.MetricLabel>): string =>
  Array.from(new Map(tags.map(({ key, value }) => [prometheusWord(key), value])), ([key, value]) =>
    label(key, value)
  ).join(",")

const series = (name: string, labels: string, more = ""): string =>
  labels === "" && more === "" ? name : `${name}{${labels}${labels === "" || more === "" ? "" : ","}${more}}`

/**
 * All series of one name.
 *
 * @internal
 */
export interface Family {
  readonly type: string
  readonly help: string
  /** The boundaries of a histogram. */
  readonly shape: string
  /** By series. Two metrics may have the same: their names differ in what Prometheus does not take, or in nothing. */
  readonly values: Map<string, number | bigint>
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

const add = (name: string, labels: string, state: unknown, put: (series: string, value: number | bigint) => void) => {
  if (MetricState.isHistogramState(state)) {
    for (const [boundary, count] of state.buckets) {
      if (boundary !== Number.POSITIVE_INFINITY)
        put(series(`${name}_bucket`, labels, label("le", String(boundary))), count)
    }
    put(series(`${name}_bucket`, labels, 'le="+Inf"'), state.count)
    put(series(`${name}_sum`, labels), state.sum)
    put(series(`${name}_count`, labels), state.count)
  } else if (MetricState.isSummaryState(state)) {
    for (const [quantile, value] of state.quantiles) {
      put(
        series(name, labels, label("quantile", String(quantile))),
        Option.getOrElse(value, () => Number.NaN)
      )
    }
    put(series(`${name}_sum`, labels), state.sum)
    put(series(`${name}_count`, labels), state.count)
  } else if (MetricState.isFrequencyState(state)) {
    for (const [key, count] of state.occurrences) put(series(name, labels, label("key", key)), count)
  } else if (MetricState.isCounterState(state)) put(series(name, labels), state.count)
  else if (MetricState.isGaugeState(state)) put(series(name, labels), state.value)
}

/**
 * The series of a snapshot, by the name of their metric.
 *
 * @internal
 */
export const families = (snapshot: ReadonlyArray<MetricPair.MetricPair.Untyped>): ReadonlyMap<string, Family> => {
  const families = new Map<string, Family>()
  for (const pair of snapshot) {
    const { metricKey, metricState } = pair
    const kind = kindOf(pair)
    const name = nameOf(metricKey.name, kind)
    const shape = MetricState.isHistogramState(metricState) ? metricState.buckets.map(([end]) => end).join() : ""
    const family = families.get(name) ?? {
      type: kind,
      help: Option.getOrElse(metricKey.description, () => ""),
      shape,
      values: new Map<string, number | bigint>()
    }
    families.set(name, family)
    if (family.type !== kind || family.shape !== shape) continue
    const labels = labelsOf(metricKey.tags)
    add(name, labels, metricState, (series, value) => {
      const before = family.values.get(series)
      if (before === undefined) family.values.set(series, value)
      else if (kind === "counter" || kind === "histogram") family.values.set(series, Number(before) + Number(value))
    })
  }
  return families
}

/**
 * The text of series.
 *
 * @internal
 */
export const textOf = (families: ReadonlyMap<string, Family>): string => {
  let text = ""
  for (const [name, { help, type, values }] of families) {
    if (help !== "") text += `# HELP ${name} ${escapeHelp(help)}\n`
    text += `# TYPE ${name} ${type}\n`
    for (const [series, value] of values) text += `${series} ${numberText(value)}\n`
  }
  return text
}

/**
 * The text of a snapshot. Two metrics of one name are added up; if their types or boundaries differ, or if they are
 * gauges, the later one is left out.
 *
 * @since 0.2.0
 * @category encoding
 */
export const render = (snapshot: ReadonlyArray<MetricPair.MetricPair.Untyped>): string => textOf(families(snapshot))

/**
 * The text of all metrics of this process.
 *
 * @internal
 */
export const current = (): string => render(Metric.unsafeSnapshot())
