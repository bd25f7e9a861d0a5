/**
 * The figures at the top.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { ReportRow } from "../CallReport.js"
import { count, millis, percent, plural, unknown, usd } from "./format.js"

const tile = (name: string, value: unknown, ...more: ReadonlyArray<unknown>): VNode => html`
  <div class="tile">
    <dt>${name}</dt>
    <dd>
      <span class="value">${value}</span>
      ${more.map((line) => html`<span class="more">${line}</span>`)}
    </dd>
  </div>`

const waits = ({ backoffMillis, queueMillis }: ReportRow): VNode => html`
  <table class="waits">
    <caption class="hidden">Time that waiting added to calls</caption>
    <thead><tr><td></td><th scope="col">p50</th><th scope="col">p95</th><th scope="col">p99</th></tr></thead>
    <tbody>
      ${[["backoff", backoffMillis] as const, ["queue", queueMillis] as const].map(
        ([name, { p50, p95, p99 }]) => html`<tr key=${name}>
          <th scope="row">${name}</th><td>${millis(p50)}</td><td>${millis(p95)}</td><td>${millis(p99)}</td>
        </tr>`
      )}
    </tbody>
  </table>`

export const Tiles = ({ totals }: { readonly totals: ReportRow }): VNode => {
  const { attempts, calls, defects, failed, interrupted, succeeded, unsent } = totals
  const missing = totals.unpriced + totals.unknown
  const priced = totals.usd > 0 && missing === 0
  const ends = [
    plural(failed, "failed", "failed"),
    ...(defects > 0 ? [plural(defects, "defect")] : []),
    ...(interrupted > 0 ? [`${count(interrupted)} interrupted`] : [])
  ]
  return html`<dl class="tiles">
    ${tile("Success", percent(succeeded, calls), ends.join(", "))}
    ${tile("Calls", count(calls), plural(attempts, "attempt"), ...(unsent > 0 ? [`${count(unsent)} sent nothing`] : []))}
    ${tile("Retry rate", calls === unsent ? unknown : percent(totals.retries.rate, 1), "needed a second attempt")}
    ${tile("Added latency", html`<${() => waits(totals)} />`)}
    ${tile("Cost", usd(totals.usd, missing), missing > 0 ? `${plural(missing, "attempt")} not counted` : `${usd(calls === 0 ? undefined : totals.usd / calls, 0)} a call`)}
    ${tile("Wasted", usd(totals.wastedUsd, missing), priced ? `${percent(totals.wastedUsd, totals.usd)} of the cost` : "on attempts without use")}
  </dl>`
}
