/**
 * One call in full.
 *
 * @since 0.2.0
 */

import { scaleLinear } from "d3-scale"
import { html } from "htm/preact"
import type { VNode } from "preact"
import { useEffect, useRef } from "preact/hooks"
import type { Said } from "../DashboardQuality.js"
import type { Whole as Record } from "../DashboardQuery.js"
import { millis, pointOf, time, timeOfDay, usd } from "./format.js"
import { type Change, useApi } from "./state.js"

type Attempt = Record["attempts"][number]

/** The times of an attempt, from the begin of the call. The wait for our own gates comes last before it is sent. */
export const partsOf = (attempt: Attempt, callStart: number) => {
  const start = attempt.startedAt - callStart
  const queue = Math.max(0, start - (attempt.queuedMillis ?? 0))
  return {
    backoff: Math.max(0, queue - (attempt.retry?.delayMillis ?? 0)),
    queue,
    start,
    end: start + attempt.durationMillis
  }
}

const Bars = ({ record }: { readonly record: Record }): VNode => {
  const { attempts, durationMillis, startedAt } = record
  const x = scaleLinear(
    [0, Math.max(1, durationMillis, ...attempts.map((one) => partsOf(one, startedAt).end))],
    [0, 100]
  )
  const line = 26
  const height = attempts.length * line
  const bar = (kind: string, from: number, to: number, y: number) =>
    to > from &&
    html`<rect class=${kind} x="${x(from)}%" width="${Math.max(0.4, x(to) - x(from))}%" y=${y} height="14" />`
  return html`<svg class="bars" width="100%" height=${height + 24} role="img" aria-labelledby="bars-title bars-desc">
    <title id="bars-title">Attempts over the time of the call</title>
    <desc id="bars-desc">The list below tells the same in words.</desc>
    ${x.ticks(4).map(
      (tick, index) => html`<g key=${tick}>
        <line class="rule" x1="${x(tick)}%" x2="${x(tick)}%" y1="0" y2=${height} />
        <text x="${x(tick)}%" y=${height + 16} text-anchor=${index === 0 ? "start" : x(tick) > 95 ? "end" : "middle"}>
          ${millis(tick)}
        </text>
      </g>`
    )}
    ${attempts.map((attempt, index) => {
      const { backoff, end, queue, start } = partsOf(attempt, startedAt)
      const y = index * line + 6
      const kind = attempt.outcome === "success" ? "ok" : attempt.outcome === "interrupted" ? "calls" : "failed"
      return html`<g key=${index}>
        ${bar("backoff", backoff, queue, y)} ${bar("queue", queue, start, y)}
        ${bar(kind, start, Math.max(end, start + 0.001), y)}
        ${
          attempt.firstTokenMillis !== undefined &&
          html`<line class="first" x1="${x(start + attempt.firstTokenMillis)}%" x2="${x(start + attempt.firstTokenMillis)}%"
            y1=${y - 3} y2=${y + 17} />`
        }
      </g>`
    })}
  </svg>`
}

/** What the bars of a call show. */
const kindsOf = ({ attempts }: Record): ReadonlyArray<readonly [kind: string, name: string]> => {
  const some = (kind: string, name: string, is: (attempt: Attempt) => boolean) =>
    attempts.some(is) ? ([[kind, name]] as const) : []
  return [
    ...some("backoff", "backoff", ({ retry }) => (retry?.delayMillis ?? 0) > 0),
    ...some("queue", "queue", ({ queuedMillis }) => (queuedMillis ?? 0) > 0),
    ...some("ok", "answered", ({ outcome }) => outcome === "success"),
    ...some("failed", "failed", ({ outcome }) => outcome === "failure" || outcome === "defect"),
    ...some("calls", "interrupted", ({ outcome }) => outcome === "interrupted"),
    ...some("token", "first token", ({ firstTokenMillis }) => firstTokenMillis !== undefined)
  ]
}

const ends: Readonly<globalThis.Record<string, string>> = {
  success: "answered",
  failure: "failed",
  interrupted: "interrupted",
  defect: "died of a defect"
}

const facts = (all: ReadonlyArray<readonly [string, unknown]>): VNode => html`<dl class="facts">
  ${all
    .filter(([, value]) => value !== undefined && value !== "")
    .map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
</dl>`

/** The cost in words: what is not known is told. */
const costOf = ({ error, usage, usd: cost }: Attempt): string => {
  if (cost !== undefined) return usd(cost, 0)
  if (usage !== undefined) return "unknown: no price"
  return error !== undefined && error.delivery !== "unknown" ? "none: refused" : "unknown: no usage was told"
}

const tokens = ({ usage }: Attempt): string | undefined =>
  usage === undefined ? undefined : `${usage.inputTokens} in, ${usage.outputTokens} out`

const One = ({ attempt, number }: { readonly attempt: Attempt; readonly number: number }): VNode => {
  const { error, fallback, hedge, outcome, retry } = attempt
  return html`<li>
    <h3>
      <span class="number">${number}</span> ${attempt.provider}/${attempt.model}
      <span class="mark ${outcome === "success" ? "good" : outcome === "interrupted" ? "" : "bad"}">
        ${outcome === "success" ? "✓" : outcome === "interrupted" ? "⊘" : "✕"} ${attempt.status ?? ""}${" "}
        ${error?._tag ?? ends[outcome]}
      </span>
    </h3>
    ${error !== undefined && html`<p class="message">${error.message}</p>`}
    ${facts([
      ["ran", millis(attempt.durationMillis)],
      ["first token after", attempt.firstTokenMillis === undefined ? undefined : millis(attempt.firstTokenMillis)],
      ["backoff before", retry === undefined ? undefined : `${millis(retry.delayMillis)}: ${retry.reason}`],
      ["queue before", attempt.queuedMillis === undefined ? undefined : millis(attempt.queuedMillis)],
      ["fallback from", fallback === undefined ? undefined : `${fallback.from}: ${fallback.reason}`],
      ["hedge", hedge === true ? "beside the attempt before it" : undefined],
      ["tokens", tokens(attempt)],
      ["cost", costOf(attempt)],
      ["ended by", attempt.finishReason],
      ["request id", attempt.requestId === undefined ? undefined : html`<code>${attempt.requestId}</code>`],
      ["key", attempt.key === undefined ? undefined : html`<code>${attempt.key}</code>`]
    ])}
  </li>`
}

const opinionOf = ({ kind, name, score }: Said): VNode => {
  if (kind === "thumbs") {
    return score >= 0.5
      ? html`<b class="good"><span aria-hidden="true">▲</span> thumbs up</b>`
      : html`<b class="bad"><span aria-hidden="true">▼</span> thumbs down</b>`
  }
  if (kind === "escalated") {
    return score > 0 ? html`<b class="bad"><span aria-hidden="true">!</span> escalated</b>` : html`<b>not escalated</b>`
  }
  return html`${name} <b>${Math.round(score * 1000) / 1000}</b>`
}

const Feedback = ({
  said
}: {
  readonly said: ReadonlyArray<Said>
}): VNode => html`<ul class="said" aria-label="Feedback">
  ${said.map((one) => html`<li key=${one.name}>${opinionOf(one)} <small>${time(one.at)}</small></li>`)}
</ul>`

const Whole = ({ change, record }: { readonly change: Change; readonly record: Record }): VNode => html`
  ${facts([
    ["began", `${pointOf(record.startedAt).split(" ").slice(0, 2).join(" ")} ${timeOfDay(record.startedAt)}`],
    ["took", millis(record.durationMillis)],
    ["end", `${ends[record.outcome]}${record.error === undefined ? "" : `: ${record.error._tag}`}`],
    ["call", html`<code>${record.id}</code>`]
  ])}
  ${
    Object.keys(record.labels ?? {}).length > 0 &&
    html`<p class="labels">
      ${Object.entries(record.labels ?? {}).map(
        ([name, value]) => html`<button key=${name} type="button" title="Show only calls with this label"
          onClick=${() => change({ call: undefined, labels: { [name]: value } })}>${name}: ${value}</button>`
      )}
    </p>`
  }
  ${record.feedback.length > 0 && html`<${Feedback} said=${record.feedback} />`}
  ${
    record.attempts.length === 0
      ? html`<p class="none">Nothing was sent${record.error === undefined ? "" : `: ${record.error.message}`}.</p>`
      : html`<ul class="legend">
            ${kindsOf(record).map(([kind, name]) => html`<li key=${kind}><i class="swatch ${kind}" />${name}</li>`)}
          </ul>
          <${Bars} record=${record} />
          <ol class="attempts">
            ${record.attempts.map((attempt, index) => html`<${One} key=${index} attempt=${attempt} number=${index + 1} />`)}
          </ol>`
  }`

/** A dialog: it holds the focus while it is open, and closes by Escape. */
export const Timeline = ({ change, id }: { readonly change: Change; readonly id: string }): VNode => {
  const dialog = useRef<HTMLDialogElement>(null)
  const { data, problem } = useApi<Record>(`calls/${encodeURIComponent(id)}`, undefined)
  useEffect(() => {
    dialog.current?.showModal()
    return () => {
      // The row that opened it; if others have pushed it out of the list, the list.
      const row = [...document.querySelectorAll<HTMLElement>("[data-call]")].find((one) => one.dataset.call === id)
      ;(row ?? document.getElementById("calls"))?.focus()
    }
  }, [id])
  const close = () => change({ call: undefined })
  const outside = (event: Event) => event.target === dialog.current && close()
  return html`<dialog ref=${dialog} aria-labelledby="timeline" onClose=${close} onClick=${outside}>
    <div class="inside">
      <div class="head">
        <h2 id="timeline">${data === undefined ? "Call" : data.name}</h2>
        <button type="button" class="close" onClick=${close}>Close</button>
      </div>
      ${
        problem !== undefined
          ? html`<p class="problem" role="alert">${problem}</p>`
          : data === undefined
            ? html`<p class="none">Loading …</p>`
            : html`<${Whole} record=${data} change=${change} />`
      }
    </div>
  </dialog>`
}
