/** The report that is true of scripted calls, computed from their facts alone. */
import type { CallReport } from "effect-steadfast/observability"
import type { Facts } from "./scriptedDay.js"

const groupOf = (by: CallReport.By, { asked, day, firstError, tenant }: Facts): string => {
  switch (by) {
    case "provider":
      return asked.provider
    case "model":
      return asked.model
    case "target":
      return `${asked.provider}/${asked.model}`
    case "day":
      return day
    case "error":
      return firstError ?? "none"
    case "all":
      return "all"
    default:
      return tenant ?? "none"
  }
}

const sum = (values: ReadonlyArray<number>): number => values.reduce((all, value) => all + value, 0)

/** The smallest value that at least so many percent are not above. */
const percentile = (values: ReadonlyArray<number>, percent: number): number => {
  const sorted = [...values].sort((a, b) => a - b)
  // Those up to the last of its equals are not above it.
  return sorted.find((value, at) => value !== sorted[at + 1] && (at + 1) * 100 >= percent * sorted.length) ?? 0
}

const percentiles = (values: ReadonlyArray<number>): CallReport.Percentiles => ({
  p50: percentile(values, 50),
  p95: percentile(values, 95),
  p99: percentile(values, 99)
})

const rowOf = (group: string, all: ReadonlyArray<Facts>): CallReport.ReportRow => {
  const count = (is: (facts: Facts) => boolean): number => all.filter(is).length
  const sent = all.filter(({ attempts }) => attempts > 0)
  const priced = (is: (served: number) => boolean): CallReport.Priced => {
    const costs = all.flatMap(({ served, usd }) =>
      served !== undefined && is(served) && usd !== undefined ? [usd] : []
    )
    return {
      calls: costs.length,
      usd: sum(costs),
      usdPerCall: costs.length === 0 ? undefined : sum(costs) / costs.length
    }
  }
  const handoffs = new Map<string, number>()
  for (const one of all.flatMap((facts) => facts.handoffs)) handoffs.set(one, (handoffs.get(one) ?? 0) + 1)
  return {
    group,
    calls: all.length,
    succeeded: count(({ outcome }) => outcome === "success"),
    failed: count(({ outcome }) => outcome === "failure"),
    interrupted: count(({ outcome }) => outcome === "interrupted"),
    defects: count(({ outcome }) => outcome === "defect"),
    unsent: all.length - sent.length,
    attempts: sum(all.map(({ attempts }) => attempts)),
    retries: {
      mean: sent.length === 0 ? 0 : sum(sent.map(({ retries }) => retries)) / sent.length,
      max: Math.max(...all.map(({ retries }) => retries)),
      rate: sent.length === 0 ? 0 : sent.filter(({ retries }) => retries > 0).length / sent.length
    },
    servedBy: {
      first: count(({ served }) => served === 1),
      second: count(({ served }) => served === 2),
      third: count(({ served }) => served === 3),
      later: count(({ served = 0 }) => served >= 4)
    },
    backoffMillis: percentiles(all.map(({ backoff }) => backoff)),
    queueMillis: percentiles(all.map(({ queue }) => queue)),
    inputTokens: sum(all.map(({ input }) => input)),
    outputTokens: sum(all.map(({ output }) => output)),
    usd: sum(all.map(({ usd = 0 }) => usd)),
    wastedUsd: sum(all.map(({ wasted }) => wasted)),
    unpriced: sum(all.map(({ unpriced }) => unpriced)),
    unknown: sum(all.map(({ unknown }) => unknown)),
    normal: priced((served) => served === 1),
    retried: priced((served) => served > 1),
    handoffs: [...handoffs]
      .map(([one, count]) => {
        const [from = "", to = "", reason = ""] = one.split(/ > |: /)
        return { from, to, reason, count }
      })
      .sort(byHandoff),
    feedback: []
  }
}

export const byHandoff = (a: CallReport.Handoff, b: CallReport.Handoff): number =>
  b.count - a.count || (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1)

export const truthOf = (by: CallReport.By, all: ReadonlyArray<Facts>): ReadonlyArray<CallReport.ReportRow> => {
  const groups = new Map<string, Array<Facts>>()
  for (const facts of all) groups.set(groupOf(by, facts), [...(groups.get(groupOf(by, facts)) ?? []), facts])
  return [...groups].map(([group, facts]) => rowOf(group, facts)).sort((a, b) => (a.group < b.group ? -1 : 1))
}

/** The sum of a figure over all. */
export const sumOf = <A>(all: ReadonlyArray<A>, f: (one: A) => number | undefined): number =>
  all.reduce((sum, one) => sum + (f(one) ?? 0), 0)

/** How many have each key; those without one are not counted. */
export const count = <A>(all: ReadonlyArray<A>, f: (one: A) => string | undefined): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const one of all) {
    const key = f(one)
    if (key !== undefined) counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}
