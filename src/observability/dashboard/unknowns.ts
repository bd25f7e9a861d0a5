/**
 * What the figures do not know, and how sure they are.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { Live } from "../DashboardLive.js"
import type { Overview } from "../DashboardQuery.js"
import { count, percent, plural, time } from "./format.js"

/** Fewer calls, and the value at the 99th rank is the largest. */
const few = 100

const lostOf = ({ lost }: Overview): ReadonlyArray<string> => {
  const { from, overflow, records, refused, to } = lost
  if (records === 0) return []
  const when = from === undefined || to === undefined ? "" : `, of calls from ${time(from)} to ${time(to)}`
  return [
    `${plural(records, "record")} lost${when}: in no figure here. ${count(overflow)} found the log's buffer full, ` +
      `${count(refused)} the database refused.`
  ]
}

/** The targets with most of what is missing. */
const at = (targets: Overview["targets"], of: (row: Overview["targets"][number]) => number): string => {
  const named = targets.filter((row) => of(row) > 0).sort((a, b) => of(b) - of(a))
  if (named.length === 0) return ""
  const [first, second] = named.map(({ group }) => group)
  return ` (calls to ${first}${second === undefined ? "" : named.length === 2 ? ` and ${second}` : ` and ${named.length - 1} other targets`})`
}

const costsOf = ({ targets, totals }: Overview): ReadonlyArray<string> => {
  if (totals === undefined) return []
  const { unknown, unpriced } = totals
  return [
    ...(unpriced > 0
      ? [`${plural(unpriced, "attempt")} with a usage but no price${at(targets, (row) => row.unpriced)}: in no cost.`]
      : []),
    ...(unknown > 0
      ? [`${plural(unknown, "attempt")} that may have cost something, of which the provider told no usage.`]
      : [])
  ]
}

const samplesOf = ({ targets, totals }: Overview): ReadonlyArray<string> => {
  if (totals === undefined) return []
  if (totals.calls < few) return [`Only ${plural(totals.calls, "call")}: p99 is the longest wait, and rates are rough.`]
  const rough = targets.filter(({ calls, group }) => calls < few && group !== "none")
  return rough.length === 0
    ? []
    : [
        `Few calls to ${rough
          .slice(0, 3)
          .map(({ calls, group }) => `${group} (${count(calls)})`)
          .join(", ")}${rough.length > 3 ? ` and ${rough.length - 3} more` : ""}: their rates are rough.`
      ]
}

const saidOf = ({ scales, totals }: Overview): ReadonlyArray<string> => {
  if (totals === undefined) return []
  const all = (kind: string) =>
    Math.max(
      0,
      ...scales
        .filter((scale) => scale.kind === kind)
        .map(({ normal, retried, unserved }) => normal.count + retried.count + unserved.count)
    )
  const [judged, thumbs] = [all("judge"), Math.max(all("thumbs"), all("score"))]
  const parts = [
    judged === 0 ? "no call was judged" : `${count(judged)} (${percent(judged, totals.calls)}) were judged`,
    thumbs === 0 ? "no user rated one" : `users rated ${count(thumbs)} (${percent(thumbs, totals.calls)})`
  ]
  return [`Of ${plural(totals.calls, "call")} ${parts.join(", ")}; of the others the quality is not known.`]
}

const liveOf = (live: Live | undefined): ReadonlyArray<string> => {
  if (live === undefined) return []
  if (!live.known) return ["Live state and alarms: they are in the process that makes the calls."]
  const { has, unjudged } = live
  const missing = [
    ...(has.breakers ? [] : ["circuits"]),
    ...(has.pacers ? [] : ["queues"]),
    ...(has.degradation ? [] : ["alarms"])
  ]
  return [
    `Live state is that of one process; others that write to the same log have their own.${
      missing.length === 0 ? "" : ` Not given to this page: ${missing.join(", ")}.`
    }`,
    ...(unjudged.dropped + unjudged.failed > 0
      ? [`${count(unjudged.dropped)} answers found the judge busy, and ${plural(unjudged.failed, "judgement")} failed.`]
      : [])
  ]
}

export const Unknowns = ({
  live,
  overview
}: {
  readonly live: Live | undefined
  readonly overview: Overview
}): VNode => {
  const notes = [
    ...lostOf(overview),
    ...costsOf(overview),
    ...samplesOf(overview),
    ...saidOf(overview),
    ...liveOf(live),
    "Calls that still run: a record is written at the end."
  ]
  return html`<section class="unknowns" aria-labelledby="unknowns">
    <h2 id="unknowns">Not known</h2>
    <ul>${notes.map((note) => html`<li key=${note}>${note}</li>`)}</ul>
  </section>`
}
