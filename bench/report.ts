/** Tables of what was measured. */
import { type Column, type Figures, type Goal, mean, type Table, type Unit, units } from "./case.js"

/** Prints rows under a title, the first column to the left. */
export const printTable = (title: string, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const widths = rows.reduce<Array<number>>(
    (all, row) => row.map((cell, column) => Math.max(all[column] ?? 0, cell.length)),
    []
  )
  const line = (row: ReadonlyArray<string>) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join("  ")
      .trimEnd()
  console.log(`\n${title}\n${rows.map(line).join("\n")}`)
}

/** A row of a table: the figures of each round. */
export interface Row {
  readonly name: string
  readonly base?: string | undefined
  readonly goals?: ReadonlyArray<Goal> | undefined
  readonly rounds: ReadonlyArray<Figures>
}

const usual: ReadonlyArray<Column> = [
  { head: "CPU µs", figure: "cpu", show: "mean" },
  { head: "± %", figure: "cpu", show: "spread", digits: 1 },
  { head: "ratio", figure: "cpu", show: "ratio" },
  { head: "added", figure: "cpu", show: "added" },
  { head: "wall µs", figure: "wall", show: "mean" },
  { head: "allocated", figure: "bytes", show: "mean", unit: "KiB", digits: 1 },
  { head: "warm-up", figure: "warmed", show: "mean", digits: 0 },
  { head: "calls", figure: "calls", show: "mean", digits: 0 }
]

/** The same with what a call takes where nothing is allocated in the old space at once. */
const withoutPretenuring: ReadonlyArray<Column> = [
  ...usual.slice(0, 4),
  { head: "not pretenured", figure: "cpu, not pretenured", show: "mean" },
  { head: "ratio", figure: "cpu, not pretenured", show: "ratio" },
  ...usual.slice(4)
]

const number = (value: number, digits = Math.abs(value) < 10 ? 2 : 1): string =>
  value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })

/** The mean of a figure over the rounds of a row. */
const meanOf = (row: Row | undefined, figure: string): number =>
  mean(row?.rounds.map((figures) => figures[figure] ?? Number.NaN) ?? [])

/** Half of what lies between the least and the most of the rounds, in per cent of their mean. */
const spreadOf = (row: Row, figure: string): number => {
  const values = row.rounds.map((figures) => figures[figure] ?? Number.NaN)
  return (50 * (Math.max(...values) - Math.min(...values))) / mean(values)
}

/** A goal, and what came of it. */
export interface Verdict {
  readonly name: string
  readonly text: string
  readonly reached: string
  readonly met: boolean
}

const verdict = (row: Row, rows: ReadonlyMap<string, Row>, goal: Goal, unit: Unit | undefined): Verdict => {
  const value = meanOf(row, goal.figure)
  const reached = goal.against === undefined ? value : value / meanOf(rows.get(goal.against), goal.figure)
  const met = reached <= (goal.most ?? Number.POSITIVE_INFINITY) && reached >= (goal.least ?? 0)
  const shown = (value: number) => {
    if (goal.against !== undefined) return `${number(value, 2)}×`
    return unit === undefined ? number(value) : `${number(value / units[unit], 0)} ${unit}`
  }
  const bound = goal.most === undefined ? `≥ ${shown(goal.least ?? 0)}` : `≤ ${shown(goal.most)}`
  return { name: row.name, text: `${bound} ${met ? "met" : "MISSED"}`, reached: shown(reached), met }
}

/** Prints a table with its goals, and gives them back. */
export const print = (table: Table, measured: ReadonlyArray<Row>, twice: boolean): ReadonlyArray<Verdict> => {
  const columns = table.columns ?? (twice ? withoutPretenuring : usual)
  const rows = new Map(measured.map((row) => [row.name, row]))
  const verdicts: Array<Verdict> = []
  const cell = (row: Row, { digits, figure, show, unit }: Column): string => {
    const value = meanOf(row, figure)
    if (Number.isNaN(value)) return ""
    if (show === "mean")
      return unit === undefined ? number(value, digits) : `${number(value / units[unit], digits)} ${unit}`
    if (show === "spread") return row.rounds.length > 1 ? number(spreadOf(row, figure), digits) : ""
    const base = row.base ?? table.base
    if (base === undefined || base === row.name) return ""
    const against = meanOf(rows.get(base), figure)
    return show === "ratio" ? `${number(value / against, 2)}×` : number(value - against)
  }
  const line = (row: Row): ReadonlyArray<string> => {
    const reached = (row.goals ?? []).map((goal) =>
      verdict(row, rows, goal, columns.find(({ figure }) => figure === goal.figure)?.unit)
    )
    verdicts.push(...reached)
    return [row.name, ...columns.map((column) => cell(row, column)), reached.map(({ text }) => text).join("; ")]
  }
  const ratioTo = table.base === undefined ? "" : `; ratio and added against: ${table.base}`
  printTable(table.title + ratioTo, [["", ...columns.map(({ head }) => head), "goals"], ...measured.map(line)])
  if (table.note !== undefined) console.log(table.note)
  return verdicts
}
