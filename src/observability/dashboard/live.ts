/**
 * What policies know at the moment.
 *
 * @since 0.2.0
 */

import { html } from "htm/preact"
import type { VNode } from "preact"
import type { CircuitNow, KeyNow, Live, Moved, QueueNow } from "../DashboardLive.js"
import { count, millis, plural, time, timeOfDay } from "./format.js"

type Known = Extract<Live, { readonly known: true }>

/** The default names of targets and groups: provider, base URL, model, and the hash of the API key. */
const parts = /^(\S+) https?:\/\/(\S+)(?: ([^#]+?))?(?: #(\w+))?$/

/** What people call it, and where exactly it is. A name of the application's own stays as it is. */
export const named = (key: string): readonly [name: string, where: string | undefined] => {
  const [, provider, host, model, hash] = parts.exec(key) ?? []
  if (provider === undefined) return [key, undefined]
  const where = hash === undefined ? host : `${host} · key ${hash}`
  return [model === undefined ? provider : `${provider}/${model}`, where]
}

const Name = ({ of }: { readonly of: string }): VNode => {
  const [name, where] = named(of)
  return html`${name}${where !== undefined && html`<small>${where}</small>`}`
}

const names: Readonly<Record<string, string>> = { Closed: "closed", HalfOpen: "half-open", Open: "open" }

/** Shape and word tell the same as the colour. */
const signs: Readonly<Record<string, string>> = { Closed: "●", HalfOpen: "◐", Open: "○" }

const times = (n: number): string => (n === 1 ? "first time" : `${count(n)} times in a row`)

/** Whole seconds, rounded up: at "0 s" it would be over. */
const left = (ms: number): string => {
  if (ms <= 950) return millis(ms)
  return ms <= 9_000 ? `${Math.ceil(ms / 1000)} s` : millis(Math.ceil(ms / 1000) * 1000)
}

const nextOf = ({ probeInMillis, probes, state }: CircuitNow): string | undefined => {
  if (state === "HalfOpen") return `${count(probes?.[0] ?? 0)} of ${plural(probes?.[1] ?? 0, "probe")} in flight`
  if (probeInMillis === null) return "until it is reset by hand"
  if (probeInMillis === undefined) return undefined
  return probeInMillis === 0 ? "the next call probes it" : `next probe in ${left(probeInMillis)}`
}

const Circuit = ({ circuit }: { readonly circuit: CircuitNow | undefined }): VNode => {
  if (circuit === undefined) return html`<span class="none">no circuit</span>`
  const { error, openings, state, throttledMillis } = circuit
  const because = state === "Closed" ? [] : [error, openings === undefined ? undefined : times(openings)]
  const more = [
    nextOf(circuit),
    because.filter(Boolean).join(", "),
    throttledMillis && `pause asked for, ${left(throttledMillis)} left`
  ]
  return html`<span class="state ${state}"><span aria-hidden="true">${signs[state]}</span> ${names[state]}</span>
    ${more.filter(Boolean).map((line) => html`<small key=${line}>${line}</small>`)}`
}

const dimensions: Readonly<Record<string, string>> = {
  requests: "requests",
  inputTokens: "input tokens",
  outputTokens: "output tokens",
  tokens: "tokens"
}

const sources = { config: "set", headers: "from headers", learned: "learned" } as const

const windowOf = (ms: number): string =>
  ms === 60_000 ? "min" : ms === 1000 ? "s" : ms === 3_600_000 ? "h" : ms === 86_400_000 ? "day" : millis(ms)

const Limits = ({ queue }: { readonly queue: QueueNow | undefined }): VNode =>
  queue === undefined || queue.limits.length === 0
    ? html`<span class="none">${queue === undefined ? "not paced" : "none known yet"}</span>`
    : html`<ul class="limits">
        ${queue.limits.map(({ left, limit, of, source, windowMillis }) => {
          const rest = Math.max(0, Math.min(limit, left))
          return html`<li key=${of}>
            <svg width="56" height="6" aria-hidden="true">
              <rect class="rail" width="56" height="6" />
              <rect class=${rest / limit < 0.1 ? "failed" : "ok"} width=${(56 * rest) / limit} height="6" />
            </svg>
            <span>
              ${`${count(Math.floor(rest))} of ${count(Math.round(limit))} ${dimensions[of] ?? of} `}
              ${`/ ${windowOf(windowMillis)}`}
            </span>
            <small>${sources[source]}</small>
          </li>`
        })}
      </ul>`

const Queue = ({ queue }: { readonly queue: QueueNow | undefined }): VNode =>
  queue === undefined
    ? html`<span class="none">no queue</span>`
    : html`<span class=${queue.waiting > 0 ? "busy" : ""}>${count(queue.waiting)} waiting</span>
        <small>${count(queue.inFlight)} in flight</small>
        ${queue.pausedMillis !== undefined && html`<small class="bad">paused for ${left(queue.pausedMillis)}</small>`}`

interface Row {
  readonly key: string
  readonly circuit: CircuitNow | undefined
  readonly queue: QueueNow | undefined
}

/** Circuits and queues of one key in one row; two breakers with the same key make two. */
export const rowsOf = ({ circuits, queues }: Pick<Known, "circuits" | "queues">): ReadonlyArray<Row> => {
  const rest = [...queues]
  const rows = circuits.map((circuit): Row => {
    const at = rest.findIndex(({ key }) => key === circuit.key)
    return { key: circuit.key, circuit, queue: at < 0 ? undefined : rest.splice(at, 1)[0] }
  })
  return [...rows, ...rest.map((queue): Row => ({ key: queue.key, circuit: undefined, queue }))]
}

const Targets = ({ live }: { readonly live: Known }): VNode => {
  const rows = rowsOf(live)
  return rows.length === 0
    ? html`<p class="none">
        ${
          live.has.breakers || live.has.pacers
            ? "No call has been made yet."
            : "The application gave no breaker and no pacer."
        }
      </p>`
    : html`<table class="rows now">
        <caption class="hidden">Circuits and queues by target, at the moment</caption>
        <thead>
          <tr>
            <th scope="col">target</th><th scope="col">circuit</th><th scope="col">queue</th>
            <th scope="col">limits in force, and what is left</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(
            ({ circuit, key, queue }, index) => html`<tr key=${`${key} ${index}`}>
              <th scope="row"><${Name} of=${key} /></th>
              <td><${Circuit} circuit=${circuit} /></td>
              <td><${Queue} queue=${queue} /></td>
              <td><${Limits} queue=${queue} /></td>
            </tr>`
          )}
        </tbody>
      </table>`
}

const Budgets = ({ budgets }: Pick<Known, "budgets">): VNode => html`<h3>Retry budgets</h3>
  ${
    budgets.length === 0
      ? html`<p class="none">None is in use yet.</p>`
      : html`<table class="small">
          <caption class="hidden">Retries left, by provider and key group</caption>
          <thead class="hidden"><tr><th scope="col">group</th><th scope="col">retries left</th></tr></thead>
          <tbody>
            ${budgets.map(
              ({ group, left }) => html`<tr key=${group}>
                <th scope="row"><${Name} of=${group} /></th>
                <td class=${left < 1 ? "n bad" : "n"}>${left < 1 ? "empty" : `${left.toFixed(1)} left`}</td>
              </tr>`
            )}
          </tbody>
        </table>`
  }`

const Keys = ({ keys }: { readonly keys: ReadonlyArray<KeyNow> }): VNode => html`<h3>Keys</h3>
  <table class="small">
    <caption class="hidden">Keys of the pools</caption>
    <thead class="hidden">
      <tr><th scope="col">key</th><th scope="col">state</th><th scope="col">in flight</th></tr>
    </thead>
    <tbody>
      ${keys.map(
        ({ circuit, inFlight, pool }) => html`<tr key=${`${pool} ${circuit.key}`}>
          <th scope="row">${pool} <code>${circuit.key}</code></th>
          <td><${Circuit} circuit=${circuit} /></td>
          <td class="n">${count(inFlight)} in flight</td>
        </tr>`
      )}
    </tbody>
  </table>`

const shown = 5

const Moves = ({ moved, since }: { readonly moved: ReadonlyArray<Moved>; readonly since: number }): VNode => html`
  <h3 class="under">Changes of circuits</h3>
  ${
    moved.length === 0
      ? html`<p class="none">None since ${time(since)}.</p>`
      : html`<ol class="moves">
          ${moved.slice(0, shown).map(
            ({ at, error, from, key, to }, index) => html`<li key=${`${at} ${key} ${index}`}>
              <span class="at">${timeOfDay(at)}</span>
              <span title=${key}>${named(key)[0]}: ${names[from]} → <b class="state ${to}">${names[to]}</b>${error === undefined ? "" : ` (${error})`}</span>
            </li>`
          )}
        </ol>`
  }`

/** The state now; or that nobody knows it here. */
export const Now = ({ live }: { readonly live: Live | undefined }): VNode | null => {
  if (live === undefined) return null
  if (!live.known)
    return html`<section class="card now-unknown" aria-labelledby="now">
      <h2 id="now">Now</h2>
      <p>
        Live state is not known here. Circuits, queues, retry budgets and alarms live in the process that makes the
        calls; this page reads its log.
      </p>
    </section>`
  return html`<div class="columns now-columns">
    <section class="card" aria-labelledby="now">
      <h2 id="now">Now: circuits and queues of this process</h2>
      <${Targets} live=${live} />
      ${live.has.breakers && html`<${Moves} moved=${live.moved} since=${live.since} />`}
    </section>
    <section class="card side" aria-label="Budgets and keys of this process">
      <${Budgets} budgets=${live.budgets} />
      ${live.keys.length > 0 && html`<${Keys} keys=${live.keys} />`}
    </section>
  </div>`
}
