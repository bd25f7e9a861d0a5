/**
 * Targets, handoffs and the latest calls.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { CallSummary, Handoff, ReportRow } from "../CallReport.js"
import type { Overview } from "../DashboardQuery.js"
import { count, millis, percent, time, unknown, usd } from "./format.js"
import type { Change, View } from "./state.js"

const rates = ({ calls, succeeded }: ReportRow): string => (calls > 0 && succeeded / calls < 0.95 ? "n bad" : "n")

export const Targets = ({
  change,
  overview: { choices, targets }
}: {
  readonly change: Change
  readonly overview: Overview
}): VNode => html`<section class="card" aria-labelledby="targets">
  <h2 id="targets">Targets</h2>
  <table class="rows targets">
    <caption>Calls by the target they asked first, whoever answered</caption>
    <thead>
      <tr>
        <th scope="col">target</th><th scope="col" class="n">calls</th><th scope="col" class="n">success</th>
        <th scope="col" class="n">retried</th>
        <th scope="col" class="n"><abbr title="backoff and queue, at the 95th percentile">p95 added</abbr></th>
        <th scope="col" class="n">cost</th>
      </tr>
    </thead>
    <tbody>
      ${targets.map((row) => {
        const target = choices.targets.find(({ model, provider }) => `${provider}/${model}` === row.group)
        const { backoffMillis, queueMillis } = row
        return html`<tr key=${row.group}>
          <th scope="row">
            ${
              target === undefined
                ? row.group === "none"
                  ? "no target asked"
                  : row.group
                : html`<button type="button" class="row" title="Show only these calls"
                    onClick=${() => change({ provider: target.provider, model: target.model })}>${row.group}</button>`
            }
          </th>
          <td class="n">${count(row.calls)}</td>
          <td class=${rates(row)}>${percent(row.succeeded, row.calls)}</td>
          <td class="n">${row.calls === row.unsent ? unknown : percent(row.retries.rate, 1)}</td>
          <td class="n">
            <span>${millis(backoffMillis.p95)}</span>
            ${queueMillis.p95 > 0 && html` <small>+ ${millis(queueMillis.p95)} queue</small>`}
          </td>
          <td class="n">${usd(row.usd, row.unpriced + row.unknown)}</td>
        </tr>`
      })}
    </tbody>
  </table>
</section>`

export const Handoffs = ({ handoffs }: { readonly handoffs: ReadonlyArray<Handoff> }): VNode => {
  const most = Math.max(1, ...handoffs.map((handoff) => handoff.count))
  return html`<section class="card" aria-labelledby="handoffs">
    <h2 id="handoffs">Fallbacks</h2>
    ${
      handoffs.length === 0
        ? html`<p class="none">No call went on to another target.</p>`
        : html`<table class="flow">
            <caption class="hidden">Calls that went on from one target to another</caption>
            <thead>
              <tr><th scope="col">from → to</th><th scope="col">reason</th><th scope="col" class="n">calls</th></tr>
            </thead>
            <tbody>
              ${handoffs.map(
                ({ count: calls, from, reason, to }) => html`<tr key=${`${from} ${to} ${reason}`}>
                  <th scope="row">${from} <span class="to">→ ${to}</span></th>
                  <td>${reason}</td>
                  <td class="n">
                    ${count(calls)}
                    <svg width="64" height="4" aria-hidden="true">
                      <rect class="calls" x=${64 * (1 - calls / most)} width=${(64 * calls) / most} height="4" />
                    </svg>
                  </td>
                </tr>`
              )}
            </tbody>
          </table>`
    }
  </section>`
}

/** Where a chain's marks stand: what was refused, what was cut off, what answered. */
const marks = /(✕\S+|✓|⊘)/

const kinds: Readonly<Record<string, string>> = { "✕": "mark bad", "✓": "mark good", "⊘": "mark" }

export const chain = (text: string): ReadonlyArray<unknown> =>
  text.split(marks).map((part) => {
    const kind = kinds[part[0] ?? ""]
    return kind === undefined ? part : html`<span class=${kind}>${part}</span>`
  })

export const Calls = ({
  calls,
  change,
  view
}: {
  readonly calls: ReadonlyArray<CallSummary> | undefined
  readonly change: Change
  readonly view: View
}): VNode => html`<section class="card" aria-labelledby="calls">
  <div class="head">
    <h2 id="calls" tabindex="-1">Latest calls</h2>
    <label class="check">
      <input type="checkbox" checked=${view.failed} onChange=${() => change({ failed: !view.failed })} />
      only without success
    </label>
  </div>
  ${
    calls !== undefined && calls.length === 0
      ? html`<p class="none">${view.failed ? "Every call of this time succeeded." : "No calls in this time."}</p>`
      : html`<table class="rows calls">
          <caption class="hidden">The newest calls with their attempts; each opens its timeline</caption>
          <thead>
            <tr>
              <th scope="col">began</th><th scope="col">name</th><th scope="col">attempts</th>
              <th scope="col" class="n">cost</th>
            </tr>
          </thead>
          <tbody>
            ${(calls ?? []).map(
              (call) => html`<tr key=${call.id}>
                <td class="when">${time(call.startedAt)}</td>
                <td class="name">${call.name}</td>
                <th scope="row">
                  <button type="button" class="row" data-call=${call.id} aria-haspopup="dialog"
                    onClick=${() => change({ call: call.id })}>${chain(call.chain)}</button>
                </th>
                <td class="n">${usd(call.usd, call.uncounted)}</td>
              </tr>`
            )}
          </tbody>
        </table>`
  }
</section>`
