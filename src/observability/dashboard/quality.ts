/**
 * What judges and users said, apart for answers that a later attempt served.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { ReportRow } from "../CallReport.js"
import type { Scale, Scores } from "../DashboardQuality.js"
import type { Overview } from "../DashboardQuery.js"
import { count, percent, plural, unknown } from "./format.js"

const groups = [
  ["normal", "first attempt"],
  ["retried", "later attempt"]
] as const

const fixed = (n: number | undefined): string => (n === undefined ? unknown : n.toFixed(2))

/** With its sign: a difference. */
const signed = (n: number): string => `${n < 0 ? "−" : "+"}${Math.abs(n).toFixed(2)}`

const between = (interval: Scores["interval"]): string =>
  interval === undefined ? unknown : `${fixed(interval[0])} – ${fixed(interval[1])}`

/** A mean with its interval, on a line from 0 to 1. */
const Whisker = ({ kind, scores }: { readonly kind: string; readonly scores: Scores }): VNode => {
  const { interval, mean } = scores
  return html`<svg class="whisker" width="100%" height="16" aria-hidden="true">
    <line class="rule" x1="0" x2="100%" y1="8" y2="8" />
    ${
      interval !== undefined &&
      html`<rect class=${kind} x="${100 * interval[0]}%" width="${100 * (interval[1] - interval[0])}%" y="6" height="4" />`
    }
    ${interval !== undefined && mean !== undefined && html`<circle cx="${100 * mean}%" cy="8" r="4.5" />`}
  </svg>`
}

const verdictOf = ({ difference, normal, retried, verdict }: Scale): string => {
  if (difference === undefined) {
    if (normal.count + retried.count > 0 && normal.interval === undefined && retried.interval === undefined)
      return "Scores that are not from 0 to 1: no interval."
    return "Too few to tell: it takes 30 of each."
  }
  const { high, low, mean } = difference
  const words =
    verdict === "lower"
      ? "Later attempts score lower"
      : verdict === "higher"
        ? "Later attempts score higher"
        : "No difference seen"
  return `${words}: ${signed(mean)}, 95 % interval ${signed(low)} to ${signed(high)}.`
}

const Scored = ({ scale }: { readonly scale: Scale }): VNode => html`
  <table class="scores">
    <caption>${scale.name}: mean score, with its 95 % interval</caption>
    <thead>
      <tr>
        <th scope="col">answered by</th><th scope="col" class="n">scored</th><th scope="col" class="n">mean</th>
        <th scope="col" class="n">interval</th><th scope="col" class="axis"><span>0</span><span>1</span></th>
      </tr>
    </thead>
    <tbody>
      ${groups.map(
        ([group, name]) => html`<tr key=${group}>
          <th scope="row">${name}</th><td class="n">${count(scale[group].count)}</td>
          <td class="n"><b>${fixed(scale[group].mean)}</b></td><td class="n">${between(scale[group].interval)}</td>
          <td class="plot-cell">
            <${Whisker} scores=${scale[group]} kind=${group === "normal" ? "ok" : "ok again"} />
          </td>
        </tr>`
      )}
    </tbody>
  </table>
  <p class=${scale.verdict === "lower" ? "verdict bad" : "verdict"}>${verdictOf(scale)}</p>`

const none: Scores = { count: 0, yes: 0, mean: undefined, interval: undefined }

const share = (scores: Scores): string => {
  if (scores.mean === undefined) return unknown
  const [low = 0, high = 1] = scores.interval ?? []
  return `${Math.round(100 * scores.mean)} % (${Math.round(100 * low)} – ${Math.round(100 * high)})`
}

const Thumbs = ({ scales, totals }: { readonly scales: ReadonlyArray<Scale>; readonly totals: ReportRow }): VNode => {
  const of = (kind: Scale["kind"]) => scales.find((scale) => scale.kind === kind)
  const [thumbs, escalated] = [of("thumbs"), of("escalated")]
  const { first, later, second, third } = totals.servedBy
  const rows = [
    ["normal", "first attempt", first],
    ["retried", "later attempt", second + third + later],
    ["unserved", "nothing", totals.calls - first - second - third - later]
  ] as const
  const verdict = thumbs === undefined ? undefined : thumbs.verdict
  return html`<table class="thumbs">
      <caption class="hidden">What users said, by the attempt that answered</caption>
      <thead>
        <tr>
          <th scope="col">answered by</th><th scope="col" class="n">up</th><th scope="col" class="n">down</th>
          <th scope="col" class="n"><abbr title="with the 95 % interval">share up</abbr></th>
          <th scope="col" class="n">escalated</th>
        </tr>
      </thead>
      <tbody>
        ${rows.map(([group, name, calls]) => {
          const { count: all, yes } = thumbs?.[group] ?? none
          const gone = escalated?.[group].yes ?? 0
          return html`<tr key=${group}>
            <th scope="row">${name} <small>${plural(calls, "call")}</small></th>
            <td class="n">${count(yes)}</td><td class="n">${count(all - yes)}</td>
            <td class="n">${share(thumbs?.[group] ?? none)}</td>
            <td class="n">${count(gone)}${gone > 0 && html` <small>${percent(gone, calls)}</small>`}</td>
          </tr>`
        })}
      </tbody>
    </table>
    ${
      thumbs !== undefined &&
      html`<p class=${verdict === "lower" ? "verdict bad" : "verdict"}>
        ${
          thumbs.difference === undefined
            ? "Too few to tell the two apart: it takes 30 of each."
            : `${verdict === "lower" ? "Users like answers of later attempts less" : verdict === "higher" ? "Users like answers of later attempts more" : "No difference seen"}: ` +
              `${signed(100 * thumbs.difference.mean).replace(/\..*/, "")} points, 95 % interval ` +
              `${signed(100 * thumbs.difference.low).replace(/\..*/, "")} to ${signed(100 * thumbs.difference.high).replace(/\..*/, "")}.`
        }
      </p>`
    }`
}

export const Quality = ({ scales, totals }: Pick<Overview, "scales"> & { readonly totals: ReportRow }): VNode => {
  const judged = scales.filter(({ kind }) => kind === "judge")
  const scored = scales.filter(({ kind }) => kind === "score")
  const thumbed = scales.some(({ kind }) => kind === "thumbs" || kind === "escalated")
  return html`<div class="columns even">
    <section class="card" aria-labelledby="quality">
      <h2 id="quality">Quality: what judges said</h2>
      ${judged.length === 0 && html`<p class="none">No answer of this time was judged.</p>`}
      ${judged.map((scale) => html`<${Scored} key=${scale.name} scale=${scale} />`)}
    </section>
    <section class="card" aria-labelledby="users">
      <h2 id="users">What users said</h2>
      ${!thumbed && scored.length === 0 && html`<p class="none">No user said anything of a call of this time.</p>`}
      ${thumbed && html`<${Thumbs} scales=${scales} totals=${totals} />`}
      ${scored.map((scale) => html`<${Scored} key=${scale.name} scale=${scale} />`)}
    </section>
  </div>`
}
