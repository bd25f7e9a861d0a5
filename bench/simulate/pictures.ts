/** Which pictures the report has, and of which numbers. */
import { mean, median } from "./metrics.js"
import { type Line, lineChart } from "./plot.js"
import type { Results, Row } from "./report.js"
import { loads, outage } from "./scenarios/outage.js"

export interface Picture {
  /** The group under which it stands. */
  readonly group: string
  readonly file: string
  readonly svg: string
}

/** The mean of the runs at each index of a series. */
const meanSeries = (row: Row, name: string): ReadonlyArray<number> => {
  const all = row.outcomes.flatMap(({ series }) => (series?.[name] === undefined ? [] : [series[name]]))
  return Array.from({ length: Math.max(0, ...all.map(({ length }) => length)) }, (_, index) =>
    mean(all.map((one) => one[index] ?? Number.NaN))
  )
}

/** A second edition of a policy lies on its first in a picture; the tables have both. */
const isShown = ({ policy }: Row): boolean => !/ of 2025$|, as it comes$/.test(policy.name)

const linesOf = (
  rows: ReadonlyArray<Row>,
  points: (row: Row) => ReadonlyArray<readonly [number, number]>
): ReadonlyArray<Line> =>
  rows
    .filter(isShown)
    .map((row) => ({ name: row.policy.name, points: points(row), emphasis: row.policy.kind === "ours" }))

/** Over five seconds, without which the chance of single arrivals hides the course. */
const smooth = (values: ReadonlyArray<number>): ReadonlyArray<number> =>
  values.map((_, index) => mean(values.slice(Math.max(0, index - 2), index + 3)))

const waits = (rows: ReadonlyArray<Row>): string =>
  lineChart({
    title: "A batch against a limit, with hints: how long jobs wait",
    x: { label: "wait of a job, s", from: 0, to: 120 },
    y: { label: "jobs answered within it, %", from: 0, to: 100 },
    lines: linesOf(rows, (row) => meanSeries(row, "waits").map((wait, index) => [wait, index] as const))
  })

const traffic = (rows: ReadonlyArray<Row>, kind: string): string =>
  lineChart({
    title: `Requests at a provider that is away for a minute: ${kind}`,
    x: { label: "time, s", from: 0, to: outage.to / 1000 + 60 },
    y: { label: "requests a second", from: 0, to: 35 },
    band: { from: outage.from / 1000, to: outage.to / 1000, label: "outage" },
    lines: linesOf(rows, (row) => smooth(meanSeries(row, "traffic")).map((count, second) => [second, count] as const))
  })

/** What never recovers is drawn at the top. */
const never = 600

const recovery = (results: Results, kind: string): string => {
  const at = (load: number): ReadonlyArray<Row> => results.get(`outage/${kind} · load ${load}`) ?? []
  return lineChart({
    title: `Recovery from a minute's outage: ${kind}`,
    x: { label: "load, share of the capacity", from: 0.5, to: 0.9 },
    y: { label: `seconds after its end (${never}: never)`, from: 0, to: never },
    lines: linesOf(at(0.8), ({ policy }) =>
      loads.flatMap((load) => {
        const row = at(load).find((one) => one.policy.name === policy.name)
        const values = row?.outcomes.map(({ metrics }) => Math.min(never, metrics.recovery ?? Number.NaN)) ?? []
        return values.length === 0 ? [] : [[load, median(values)] as const]
      })
    )
  })
}

/** The pictures for which there are results. */
export const pictures = (results: Results): ReadonlyArray<Picture> => {
  const of = (scenario: string, group: string, file: string, draw: (rows: ReadonlyArray<Row>) => string) => {
    const rows = results.get(scenario) ?? []
    return rows.length === 0 ? [] : [{ group, file, svg: draw(rows) }]
  }
  return [
    ...of("limits/unknown · hints · refused count", "limits", "simulation-waits.svg", waits),
    ...of("outage/fast 503 · load 0.8", "outage", "simulation-outage-503.svg", (rows) => traffic(rows, "fast 503")),
    ...of("outage/deaf black hole · load 0.8", "outage", "simulation-outage-hole.svg", (rows) =>
      traffic(rows, "deaf black hole")
    ),
    ...of("outage/deaf black hole · load 0.8", "outage", "simulation-recovery.svg", () =>
      recovery(results, "deaf black hole")
    )
  ]
}
