/**
 * The page of the dashboard.
 *
 * @since 0.2.0
 */

import { html, render } from "htm/preact"
import type { VNode } from "preact"
import { useEffect, useState } from "preact/hooks"
import type { Live } from "../DashboardLive.js"
import type { Latest, Overview } from "../DashboardQuery.js"
import { ByAttempt, Errors } from "./charts.js"
import { Alarms, Degraded } from "./degraded.js"
import { percent, plural, timeOfDay } from "./format.js"
import { Now } from "./live.js"
import { Quality } from "./quality.js"
import { type Change, queryOf, type RangeName, ranges, useApi, useView, type View } from "./state.js"
import { Calls, Handoffs, Targets } from "./tables.js"
import { Tiles } from "./tiles.js"
import { Timeline } from "./timeline.js"
import { Unknowns } from "./unknowns.js"

const second = 1000

/** How often the figures change enough to be worth their query; the list of calls is quick. */
const every: Readonly<Record<RangeName, number>> = {
  "1h": 10 * second,
  "24h": 30 * second,
  "7d": 60 * second,
  "30d": 300 * second
}
const callsEvery = 5 * second
/** States are read from memory, and an open circuit is open for seconds. */
const liveEvery = 2 * second

const names: Readonly<Record<RangeName, string>> = {
  "1h": "1 hour",
  "24h": "24 hours",
  "7d": "7 days",
  "30d": "30 days"
}

const unique = (all: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(all)].sort()

const Select = ({
  any,
  name,
  onPick,
  options,
  value
}: {
  readonly any: string
  readonly name: string
  readonly onPick: (value: string | undefined) => void
  readonly options: ReadonlyArray<readonly [value: string, text: string]>
  readonly value: string | undefined
}): VNode => {
  const all =
    value === undefined || options.some(([one]) => one === value) ? options : [[value, value] as const, ...options]
  const pick = (event: Event) => onPick((event.target as HTMLSelectElement).value || undefined)
  return html`<label class=${value === undefined ? "" : "set"}>
    <span>${name}</span>
    <select onChange=${pick} value=${value ?? ""}>
      <option value="" selected=${value === undefined}>${any}</option>
      ${all.map(([one, text]) => html`<option key=${one} value=${one} selected=${one === value}>${text}</option>`)}
    </select>
  </label>`
}

const Filters = ({
  change,
  choices,
  view
}: {
  readonly change: Change
  readonly choices: Overview["choices"] | undefined
  readonly view: View
}): VNode => {
  const targets = choices?.targets ?? []
  const providers = unique(targets.map(({ provider }) => provider))
  const models = unique(
    targets
      .filter(({ provider }) => view.provider === undefined || provider === view.provider)
      .map(({ model }) => model)
  )
  const [label] = Object.entries(view.labels)
  const labels = (choices?.labels ?? []).map(
    ({ name, value }) => [JSON.stringify([name, value]), `${name}: ${value}`] as const
  )
  const same = (all: ReadonlyArray<string>) => all.map((one) => [one, one] as const)
  const pickLabel = (picked: string | undefined) =>
    change({ labels: picked === undefined ? {} : Object.fromEntries([JSON.parse(picked)]) })
  const filtered = view.provider !== undefined || view.model !== undefined || label !== undefined
  return html`<form class="filters" aria-label="Which calls" onSubmit=${(event: Event) => event.preventDefault()}>
    <fieldset class="ranges">
      <legend class="hidden">Time</legend>
      ${ranges.map(
        (range) => html`<label key=${range}>
          <input type="radio" name="range" value=${range} checked=${view.range === range}
            onChange=${() => change({ range })} />
          <span><abbr title=${names[range]}>${range.replace(/(\D)/, " $1")}</abbr></span>
        </label>`
      )}
    </fieldset>
    <${Select} name="provider" any="all" value=${view.provider} options=${same(providers)}
      onPick=${(provider: string | undefined) => change({ provider, model: undefined })} />
    <${Select} name="model" any="all" value=${view.model} options=${same(models)}
      onPick=${(model: string | undefined) => change({ model })} />
    <${Select} name="label" any="any" value=${label === undefined ? undefined : JSON.stringify(label)} options=${labels}
      onPick=${pickLabel} />
    ${
      filtered &&
      html`<button type="button" class="plain"
        onClick=${() => change({ provider: undefined, model: undefined, labels: {} })}>Show all</button>`
    }
  </form>`
}

/** What a screen reader hears when other calls are chosen; not each time that figures move. */
const useSummary = (overview: Overview | undefined, of: string | undefined): string => {
  const [said, say] = useState("")
  useEffect(() => {
    if (overview === undefined) return
    const { totals } = overview
    say(
      totals === undefined
        ? "No calls"
        : `${plural(totals.calls, "call")}, ${percent(totals.succeeded, totals.calls)} success`
    )
  }, [of])
  return said
}

const App = (): VNode => {
  const [view, change] = useView()
  const [live, setLive] = useState(true)
  const query = queryOf(view)
  const path = `overview?${query}`
  const figures = useApi<Overview>(path, live ? every[view.range] : undefined)
  const latest = useApi<Latest>(`calls?${query}${view.failed ? "&failed=1" : ""}`, live ? callsEvery : undefined)
  const [known, setKnown] = useState(true)
  const states = useApi<Live>("live", live && known ? liveEvery : undefined)
  const overview = figures.data
  const problem = figures.problem ?? latest.problem ?? states.problem
  // A process that makes no calls does not begin to.
  useEffect(() => setKnown(states.data?.known !== false), [states.data])
  const said = useSummary(overview, figures.of)
  const busy = figures.of !== path
  return html`
    <header>
      <h1>LLM calls</h1>
      <${Filters} view=${view} change=${change} choices=${overview?.choices} />
      <p class="live">
        <span>${figures.at === undefined ? "Loading …" : `as of ${timeOfDay(Math.max(figures.at, latest.at ?? 0))}`}</span>
        <button type="button" class="plain" aria-pressed=${!live} onClick=${() => setLive(!live)}>
          ${live ? "Pause" : "Paused"}
        </button>
      </p>
    </header>
    <p class="hidden" aria-live="polite">${said}</p>
    <div role="alert">
      ${problem !== undefined && html`<p class="problem">${problem}${figures.at !== undefined && live ? " – trying again" : ""}</p>`}
    </div>
    <main aria-busy=${busy} class=${busy && overview !== undefined ? "stale" : ""}>
      ${
        overview !== undefined &&
        (overview.totals === undefined
          ? html`<p class="none big">No calls in the last ${names[view.range]}${query.size > 1 ? " with these filters" : ""}.</p>
              <${Alarms} live=${states.data} />
              <${Now} live=${states.data} />
              <${Unknowns} live=${states.data} overview=${overview} />`
          : html`
            <${Tiles} totals=${overview.totals} />
            <${Alarms} live=${states.data} />
            <${Now} live=${states.data} />
            <div class="columns charts">
              <${Errors} overview=${overview} />
              <${ByAttempt} totals=${overview.totals} />
            </div>
            <div class="columns">
              <${Targets} overview=${overview} change=${change} />
              <${Handoffs} handoffs=${overview.totals.handoffs} />
            </div>
            <${Degraded} live=${states.data} overview=${overview} />
            <${Quality} scales=${overview.scales} totals=${overview.totals} />
            <${Unknowns} live=${states.data} overview=${overview} />`)
      }
      ${overview !== undefined && html`<${Calls} view=${view} change=${change} calls=${latest.data?.calls} />`}
    </main>
    ${view.call !== undefined && html`<${Timeline} key=${view.call} id=${view.call} change=${change} />`}`
}

render(html`<${App} />`, document.body)
