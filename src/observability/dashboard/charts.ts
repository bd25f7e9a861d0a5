/**
 * Calls and errors over time, and which attempt answered.
 *
 * @since 0.2.0
 */

import { scaleLinear } from "d3-scale"
import { html } from "htm/preact"
import type { VNode } from "preact"
import { useLayoutEffect, useRef, useState } from "preact/hooks"
import type { ReportRow } from "../CallReport.js"
import type { Overview } from "../DashboardQuery.js"
import type { Bucket } from "../DashboardSeries.js"
import { count, dayOf, minuteOf, percent, plural, pointOf, usd } from "./format.js"

/** The tags with a colour of their own, the most frequent in practice. */
const coloured = [
  "RateLimited",
  "Overloaded",
  "ServerError",
  "Timeout",
  "ConnectionError",
  "StreamInterrupted",
  "InvalidResponse"
]

const colourOf = (tag: string): string => `tag-${coloured.includes(tag) ? tag : "other"}`

/** Sums of each tag, the largest first. */
const tagsOf = (buckets: ReadonlyArray<Bucket>): ReadonlyArray<readonly [tag: string, calls: number]> => {
  const sums = new Map<string, number>()
  for (const { errors } of buckets) {
    for (const [tag, calls] of Object.entries(errors)) sums.set(tag, (sums.get(tag) ?? 0) + calls)
  }
  return [...sums].sort((a, b) => b[1] - a[1])
}

/** The width of an element, which changes with the window. */
export const useWidth = () => {
  const box = useRef<HTMLDivElement>(null)
  const [width, set] = useState(0)
  useLayoutEffect(() => {
    const { current } = box
    if (current === null) return
    const observer = new ResizeObserver(() => set(Math.floor(current.clientWidth)))
    set(Math.floor(current.clientWidth))
    observer.observe(current)
    return () => observer.disconnect()
  }, [])
  return [box, width] as const
}

const left = 44
const heights = { calls: 64, gap: 30, errors: 130, axis: 22, top: 16 }
const errorsTop = heights.top + heights.calls + heights.gap
const bottom = errorsTop + heights.errors

const describe = ({ at, calls, errors, failed }: Bucket): string =>
  [
    pointOf(at),
    plural(calls, "call"),
    `${count(failed)} failed`,
    ...Object.entries(errors).map(([tag, n]) => `${tag} ${count(n)}`)
  ].join(" · ")

const axis = (scale: (value: number) => number, ticks: ReadonlyArray<number>, width: number) =>
  ticks.map(
    (tick) => html`<g key=${tick}>
      <line class="rule" x1=${left} x2=${width} y1=${scale(tick)} y2=${scale(tick)} />
      <text x=${left - 6} y=${scale(tick)} dy="0.32em" text-anchor="end">${count(tick)}</text>
    </g>`
  )

const whole = (ticks: ReadonlyArray<number>) => ticks.filter(Number.isInteger)

const hour = 3_600_000
const day = 24 * hour

/** The widths between the times below the chart, the least first, and the room that one takes. */
const steps = [hour / 6, hour / 3, hour / 2, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 5 * day, 10 * day]
const room = 64

/** Round times in the reader's time zone. */
export const timesOf = ({ since, until }: Overview, width: number): ReadonlyArray<number> => {
  const step = steps.find((one) => ((width - left) * one) / (until - since) >= room) ?? 10 * day
  const times: Array<number> = []
  const at = new Date(since)
  at.setHours(0, 0, 0, 0)
  while (at.getTime() < until) {
    if (at.getTime() >= since) times.push(at.getTime())
    // By the clock on the wall, which jumps twice a year.
    if (step >= day) at.setDate(at.getDate() + step / day)
    else at.setMinutes(at.getMinutes() + step / 60_000)
  }
  return times
}

export const Errors = ({ overview }: { readonly overview: Overview }): VNode => {
  const [box, width] = useWidth()
  const { bucketMillis, buckets, since, until } = overview
  const tags = tagsOf(buckets)
  const most = (of: (bucket: Bucket) => number) => Math.max(1, ...buckets.map(of))
  const met = ({ errors }: Bucket) => Object.values(errors).reduce((sum, n) => sum + n, 0)
  const x = scaleLinear([since, until], [left, Math.max(width, left + 1)])
  const calls = scaleLinear([0, most((bucket) => bucket.calls)], [heights.top + heights.calls, heights.top]).nice(2)
  const errors = scaleLinear([0, most(met)], [bottom, errorsTop]).nice(3)
  const step = x(since + bucketMillis) - x(since)
  const bar = Math.max(1, step - (step > 4 ? 1 : 0))
  const rect = (at: number, from: number, to: number, kind: string) =>
    html`<rect class=${kind} x=${x(at)} width=${bar} y=${to} height=${Math.max(0, from - to)} />`
  const failed = buckets.reduce((sum, bucket) => sum + bucket.failed, 0)
  const total = tags.reduce((sum, [, n]) => sum + n, 0)
  const withErrors = buckets.filter((bucket) => met(bucket) > 0 || bucket.failed > 0)
  return html`<figure class="card wide" aria-labelledby="errors">
    <figcaption>
      <h2 id="errors">Calls, and the first error they met</h2>
      <ul class="legend">
        ${failed > 0 && html`<li><i class="swatch failed" />failed in the end <b>${count(failed)}</b></li>`}
        ${tags.map(([tag, n]) => html`<li key=${tag}><i class="swatch ${colourOf(tag)}" />${tag} <b>${count(n)}</b></li>`)}
        ${tags.length === 0 && html`<li>no errors</li>`}
      </ul>
    </figcaption>
    <div ref=${box} class="plot">
      ${
        width > 0 &&
        html`<svg width=${width} height=${bottom + heights.axis} role="img" aria-labelledby="errors-title errors-desc">
          <title id="errors-title">Calls and errors over time</title>
          <desc id="errors-desc">
            ${`${plural(total, "call")} met an error, ${count(failed)} failed. The same as a table stands below.`}
          </desc>
          <text class="name" x=${left} y=${heights.top - 6}>calls</text>
          ${axis(calls, whole(calls.ticks(2)), width)}
          <text class="name" x=${left} y=${errorsTop - 8}>calls that met an error</text>
          ${axis(errors, whole(errors.ticks(4)), width)}
          ${buckets.map(
            (bucket) => html`<g key=${bucket.at}>
              ${rect(bucket.at, calls(0), calls(bucket.calls), "calls")}
              ${bucket.failed > 0 && rect(bucket.at, calls(0), calls(bucket.failed), "failed")}
            </g>`
          )}
          ${buckets.map((bucket) => {
            let sum = 0
            return html`<g key=${bucket.at}>
              ${tags.map(([tag]) => {
                const from = sum
                sum += bucket.errors[tag] ?? 0
                return sum > from && rect(bucket.at, errors(from), errors(sum), colourOf(tag))
              })}
            </g>`
          })}
          ${timesOf(overview, width).map((tick) => {
            const at = x(tick)
            return html`<g key=${tick}>
              <line class="tick" x1=${at} x2=${at} y1=${bottom} y2=${bottom + 4} />
              <text x=${at} y=${bottom + 17} text-anchor=${at > width - 20 ? "end" : "middle"}>
                ${until - since > 2 * day ? dayOf(tick) : minuteOf(tick)}
              </text>
            </g>`
          })}
          ${buckets.map(
            (bucket) => html`<rect key=${bucket.at} class="hover" x=${x(bucket.at)} width=${Math.max(step, 1)}
              y=${heights.top} height=${bottom - heights.top}><title>${describe(bucket)}</title></rect>`
          )}
        </svg>`
      }
    </div>
    ${
      withErrors.length > 0 &&
      html`<details>
        <summary>As a table</summary>
        <div class="scroll" tabindex="0" role="region" aria-label="Errors over time">
          <table>
            <caption class="hidden">Calls by the first error they met, over time</caption>
            <thead>
              <tr>
                <th scope="col">from</th><th scope="col" class="n">calls</th><th scope="col" class="n">failed</th>
                ${tags.map(([tag]) => html`<th scope="col" class="n" key=${tag}>${tag}</th>`)}
              </tr>
            </thead>
            <tbody>
              ${withErrors.map(
                (bucket) => html`<tr key=${bucket.at}>
                  <th scope="row">${pointOf(bucket.at)}</th>
                  <td class="n">${count(bucket.calls)}</td><td class="n">${count(bucket.failed)}</td>
                  ${tags.map(([tag]) => html`<td class="n" key=${tag}>${count(bucket.errors[tag] ?? 0)}</td>`)}
                </tr>`
              )}
            </tbody>
          </table>
        </div>
      </details>`
    }
  </figure>`
}

export const ByAttempt = ({ totals }: { readonly totals: ReportRow }): VNode => {
  const { first, later, second, third } = totals.servedBy
  const rows = [
    ["1st attempt", first, "ok"],
    ["2nd", second, "ok again"],
    ["3rd", third, "ok again"],
    ["later", later, "ok again"],
    ["failed", totals.failed + totals.defects, "failed"],
    ["interrupted", totals.interrupted, "calls"]
  ] as const
  return html`<section class="card" aria-labelledby="served">
    <h2 id="served">Which attempt answered</h2>
    <table class="bars">
      <caption class="hidden">Calls by the attempt that answered</caption>
      <thead class="hidden">
        <tr><th scope="col">end</th><th scope="col">share</th><th scope="col">calls</th></tr>
      </thead>
      <tbody>
        ${rows.map(
          ([name, calls, kind]) => html`<tr key=${name}>
            <th scope="row">${name}</th>
            <td class="share">
              <svg width="100%" height="10" aria-hidden="true">
                <rect class="rail" width="100%" height="10" />
                <rect class=${kind} width="${totals.calls === 0 ? 0 : (100 * calls) / totals.calls}%" height="10" />
              </svg>
              <span class="rate">${percent(calls, totals.calls)}</span>
            </td>
            <td class="n">${count(calls)}</td>
          </tr>`
        )}
      </tbody>
    </table>
    <dl class="a-call">
      ${(
        [
          ["cost, one attempt", totals.normal],
          ["cost, more attempts", totals.retried]
        ] as const
      ).map(
        ([name, { usdPerCall }]) => html`<div key=${name}>
          <dt>${name}</dt>
          <dd>${usdPerCall === undefined ? "no cost known" : `${usd(usdPerCall, 0)} a call`}</dd>
        </div>`
      )}
    </dl>
  </section>`
}
