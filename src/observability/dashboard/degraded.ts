/**
 * Targets of which the second attempt has become the common path: alarms that stand, and what the log tells.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { Live } from "../DashboardLive.js"
import type { Overview } from "../DashboardQuery.js"
import type { Counted, Period, Step, TargetSteps } from "../DashboardSeries.js"
import { timesOf, useWidth } from "./charts.js"
import { count, dayOf, millis, minuteOf, percent, plural, pointOf, time } from "./format.js"

// -----------------------------------------------------------------------------
// alarms
// -----------------------------------------------------------------------------

const kinds: Readonly<Record<string, string>> = {
  new: "new",
  chronic: "chronic",
  blip: "it was a blip",
  episode: "it was an episode"
}

/** As many as one looks through. */
const mostChanges = 5

/** A sentence, unless it begins with a name. */
const sentence = (advice: string, target: string): string =>
  advice.startsWith(target) ? advice : advice.charAt(0).toUpperCase() + advice.slice(1)

const standingOf = (live: Live | undefined) =>
  live?.known === true ? live.watched.filter(({ degraded }) => degraded) : []

/** The alarms that stand. They come first on the page, since they say what to change. */
export const Alarms = ({ live }: { readonly live: Live | undefined }): VNode | null => {
  const standing = standingOf(live)
  return standing.length === 0
    ? null
    : html`<section aria-labelledby="alarms">
        <h2 id="alarms" class="hidden">Alarms that stand</h2>
        <ul class="alarms">
          ${standing.map(
            ({ advice, figures, kind, raised, since, target }) => html`<li key=${target}>
              <h3>
                ${target}${" "}
                <span class="mark bad">
                  degraded: ${kinds[kind ?? "new"]}${since === undefined ? "" : `, since ${time(since)}`}
                </span>
              </h3>
              <p>${sentence(advice ?? "", target)}.</p>
              <small>
                ${[
                  `${percent(figures.share, 1)} of ${plural(figures.calls, "call")} in the window needed a second attempt`,
                  `p95 added ${millis(figures.addedP95Millis)}`,
                  ...(raised > 1 ? [`${count(raised)} alarms in 24 hours`] : [])
                ].join(" · ")}
              </small>
            </li>`
          )}
        </ul>
      </section>`
}

/** What the watch says in a line, and the alarms that are over. */
const Watch = ({ live }: { readonly live: Live | undefined }): VNode => {
  if (live === undefined || !live.known || !live.has.degradation) {
    return html`<p class="none">
      ${
        live?.known === true
          ? "Alarms are not known: the application gave no Degradation."
          : "Alarms are not known here: they are raised in the process that makes the calls."
      }
    </p>`
  }
  const standing = standingOf(live).length
  const over = live.changes.filter(({ _tag }) => _tag === "Cleared").slice(0, mostChanges)
  return html`<p class="watch">
      ${
        standing === 0
          ? html`<span class="state Closed"><span aria-hidden="true">●</span> No alarm stands.</span>`
          : html`<span class="state Open"><span aria-hidden="true">○</span> ${plural(standing, "alarm stands", "alarms stand")}: above.</span>`
      }
      ${` ${plural(live.watched.length, "target")} watched.`}
    </p>
    ${
      over.length > 0 &&
      html`<ol class="moves" aria-label="Alarms that are over">
        ${over.map(
          ({ advice, at, kind, target }) => html`<li key=${`${at} ${target}`}>
            <span class="at">${time(at)}</span> <span>over: ${advice} (${kinds[kind]})</span>
          </li>`
        )}
      </ol>`
    }`
}

// -----------------------------------------------------------------------------
// the log
// -----------------------------------------------------------------------------

/** Fewer calls, and a share says little. */
const few = 20

const shareOf = ({ calls, failed, later }: Counted): number => (calls === 0 ? 0 : (later + failed) / calls)

const levelOf = (step: Counted): number => {
  const share = shareOf(step)
  return share < 0.05 ? 0 : share < 0.2 ? 1 : share < 0.5 ? 2 : 3
}

const levels = ["under 5 %", "5 to 20 %", "20 to 50 %", "more"]

const describe = ({ target }: TargetSteps, step: Step): string =>
  `${target} · ${pointOf(step.at)} · ${percent(step.later + step.failed, step.calls)} of ${plural(step.calls, "call")} ` +
  `needed more than one attempt, ${count(step.failed)} failed`

const strip = 18
const gap = 26
const axis = 22

const Strips = ({ overview }: { readonly overview: Overview }): VNode => {
  const [box, width] = useWidth()
  const { again, since, stepMillis, until } = overview
  const x = (at: number) => (width * (at - since)) / (until - since)
  const height = again.length * (strip + gap)
  const cell = Math.max(1, (width * stepMillis) / (until - since) - 1)
  return html`<div ref=${box} class="plot">
    ${
      width > 0 &&
      html`<svg width=${width} height=${height + axis} role="img" aria-labelledby="again-title again-desc">
        <title id="again-title">Share of calls that needed more than one attempt, by target over time</title>
        <desc id="again-desc">The same as a table stands below.</desc>
        ${again.map((one, index) => {
          const y = index * (strip + gap)
          return html`<g key=${one.target}>
            <text class="label" x="0" y=${y + 14}>${one.target}</text>
            <text x=${width} y=${y + 14} text-anchor="end">${percent(one.later + one.failed, one.calls)}</text>
            <rect class="rail" x="0" y=${y + 20} width=${width} height=${strip} />
            ${one.steps.map(
              (step) => html`<rect key=${step.at} class="share-${levelOf(step)} ${step.calls < few ? "pale" : ""}"
                x=${x(step.at)} width=${cell} y=${y + 20} height=${strip}><title>${describe(one, step)}</title></rect>`
            )}
          </g>`
        })}
        ${timesOf({ ...overview }, width).map((tick) => {
          const at = x(tick)
          const anchor = at < 20 ? "start" : at > width - 20 ? "end" : "middle"
          return html`<g key=${tick}>
            <line class="tick" x1=${at} x2=${at} y1=${height - 5} y2=${height - 1} />
            <text x=${at} y=${height + 13} text-anchor=${anchor}>
              ${until - since > 2 * 86_400_000 ? dayOf(tick) : minuteOf(tick)}
            </text>
          </g>`
        })}
      </svg>`
    }
  </div>`
}

/** When it began and ended; the day once. */
const spanOf = ({ from, until }: Period): string =>
  dayOf(from) === dayOf(until) ? `${pointOf(from)} – ${minuteOf(until)}` : `${pointOf(from)} – ${pointOf(until)}`

const mostPeriods = 6

const Periods = ({ again }: Pick<Overview, "again">): VNode | null => {
  const all = again
    .flatMap((one) => one.periods.map((period) => ({ target: one.target, period })))
    .sort((a, b) => b.period.from - a.period.from)
  return all.length === 0
    ? html`<p class="none">In no part of this time did one call in five need a second attempt.</p>`
    : html`<h3>When one call in five needed more than one attempt</h3>
        <ol class="moves">
          ${all.slice(0, mostPeriods).map(
            ({ period, target }) => html`<li key=${`${target} ${period.from}`}>
              <span class="at">${spanOf(period)}</span>
              <span>
                ${target}: <b>${percent(period.later + period.failed, period.calls)}</b> of ${plural(period.calls, "call")}${period.reason === undefined ? "" : `, mostly ${period.reason}`}${period.failed > 0 ? `; ${count(period.failed)} failed` : ""}
              </span>
            </li>`
          )}
          ${all.length > mostPeriods && html`<li>and ${count(all.length - mostPeriods)} more</li>`}
        </ol>`
}

const Table = ({ again }: Pick<Overview, "again">): VNode => html`<details>
  <summary>As a table</summary>
  <div class="scroll" tabindex="0" role="region" aria-label="Second attempts over time">
    <table>
      <caption class="hidden">Calls that needed more than one attempt, by target over time</caption>
      <thead>
        <tr>
          <th scope="col">from</th><th scope="col">target</th><th scope="col" class="n">calls</th>
          <th scope="col" class="n">served later</th><th scope="col" class="n">failed</th>
          <th scope="col" class="n">share</th>
        </tr>
      </thead>
      <tbody>
        ${again.flatMap((one) =>
          one.steps
            .filter(({ failed, later }) => later + failed > 0)
            .map(
              (step) => html`<tr key=${`${one.target} ${step.at}`}>
                <th scope="row">${pointOf(step.at)}</th><td>${one.target}</td><td class="n">${count(step.calls)}</td>
                <td class="n">${count(step.later)}</td><td class="n">${count(step.failed)}</td>
                <td class="n">${percent(step.later + step.failed, step.calls)}</td>
              </tr>`
            )
        )}
      </tbody>
    </table>
  </div>
</details>`

export const Degraded = ({
  live,
  overview
}: {
  readonly live: Live | undefined
  readonly overview: Overview
}): VNode => html`<section class="card wide" aria-labelledby="degraded">
  <h2 id="degraded">Degradation</h2>
  <${Watch} live=${live} />
  ${
    overview.again.length > 0 &&
    html`<div class="head from-log">
        <h3>From the log: calls that needed more than one attempt</h3>
        <ul class="legend">
          ${levels.map((name, level) => html`<li key=${name}><i class="swatch share-${level}" />${name}</li>`)}
          <li><i class="swatch share-2 pale" />pale: fewer than ${few} calls</li>
        </ul>
      </div>
      <${Strips} overview=${overview} />
      <${Periods} again=${overview.again} />
      <${Table} again=${overview.again} />`
  }
</section>`
