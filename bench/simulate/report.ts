/** Tables in Markdown: medians over the seeds, how far they spread, and which goals are met. */
import type { Policy } from "./contract.js"
import { quantile } from "./metrics.js"
import type { Goal, Group, Metric, Outcome, Scenario } from "./scenario.js"

/** What the runs of a policy in a scenario gave, in the order of the seeds. */
export interface Row {
  readonly policy: Policy
  readonly outcomes: ReadonlyArray<Outcome>
  readonly errors: ReadonlyArray<string>
}

export type Results = ReadonlyMap<string, ReadonlyArray<Row>>

const valuesOf = (row: Row, metric: string): ReadonlyArray<number> =>
  row.outcomes.map(({ metrics }) => metrics[metric] ?? Number.NaN).filter((value) => !Number.isNaN(value))

const format = (value: number, { digits = 0 }: Pick<Metric, "digits">): string =>
  Number.isNaN(value) ? "–" : value === Number.POSITIVE_INFINITY ? "∞" : value.toFixed(digits)

/** The median, and in brackets where nine tenths of the runs lie. */
const cell = (row: Row, metric: Metric): string => {
  const values = valuesOf(row, metric.name)
  const [low = "", middle = "", high = ""] = [0.05, 0.5, 0.95].map((q) => format(quantile(values, q), metric))
  return low === high ? middle : `${middle} (${low}–${high})`
}

/** What the goal is about: the median, or the worst of all runs. */
const judged = (row: Row, goal: Goal): number => {
  const values = valuesOf(row, goal.metric)
  return goal.each !== true
    ? quantile(values, 0.5)
    : values.length === 0
      ? Number.NaN
      : goal.is === "<="
        ? Math.max(...values)
        : Math.min(...values)
}

const isMet = (row: Row, goal: Goal): boolean => {
  const value = judged(row, goal)
  return goal.is === "<=" ? value <= goal.value : value >= goal.value
}

const goalText = (goal: Goal): string =>
  `${goal.metric} ${goal.is === "<=" ? "≤" : "≥"} ${goal.value}${goal.each === true ? " in each run" : ""}`

const verdict = (row: Row, goals: ReadonlyArray<Goal>): string => {
  if (row.errors.length > 0) return `failed: ${row.errors[0]?.split("\n")[0]}`
  const missed = goals.filter((goal) => !isMet(row, goal))
  return missed.length === 0 ? "all met" : `misses ${missed.map(({ metric }) => metric).join(", ")}`
}

const line = (cells: ReadonlyArray<string>): string => `| ${cells.join(" | ")} |`

const headOf = ({ name, unit }: Metric): string => (unit === "" ? name : `${name}, ${unit}`)

const bold = (text: string, policy: Policy): string => (policy.kind === "ours" ? `**${text}**` : text)

export const table = (scenario: Scenario, rows: ReadonlyArray<Row>): string =>
  [
    line(["policy", "seeds", ...scenario.metrics.map(headOf), "goals"]),
    line(["---", ...scenario.metrics.map(() => "---:"), "---:", "---"]),
    ...rows.map((row) =>
      line([
        bold(row.policy.name, row.policy),
        String(row.outcomes.length),
        ...scenario.metrics.map((metric) => cell(row, metric)),
        verdict(row, scenario.goals)
      ])
    )
  ].join("\n")

const section = (group: Group, results: Results, plots: ReadonlyArray<string>): ReadonlyArray<string> => {
  const scenarios = group.scenarios.filter(({ id }) => (results.get(id)?.length ?? 0) > 0)
  if (scenarios.length === 0) return []
  return [
    `## ${group.title}`,
    group.about,
    ...plots,
    ...scenarios.flatMap((scenario) => [
      `### ${scenario.id}`,
      `Goals: ${scenario.goals.map(goalText).join("; ")}.`,
      table(scenario, results.get(scenario.id) ?? [])
    ])
  ]
}

/** Every goal and how ours stands, but for those that lack a part on purpose: what to read first. */
const summary = (groups: ReadonlyArray<Group>, results: Results): ReadonlyArray<string> => {
  const lines = groups.flatMap(({ scenarios }) =>
    scenarios.flatMap((scenario) =>
      (results.get(scenario.id) ?? [])
        .filter(({ policy }) => policy.kind === "ours" && policy.ablation !== true)
        .flatMap((row) =>
          scenario.goals.map((goal) => {
            const digits = scenario.metrics.find(({ name }) => name === goal.metric)?.digits ?? 0
            const found = format(judged(row, goal), { digits: Math.max(1, digits) })
            return { met: isMet(row, goal), text: line([scenario.id, row.policy.name, goalText(goal), found]) }
          })
        )
    )
  )
  if (lines.length === 0) return []
  const missed = lines.filter(({ met }) => !met)
  return [
    "## Goals",
    `Ours meets ${lines.length - missed.length} of ${lines.length} goals.`,
    ...(missed.length === 0
      ? []
      : [
          "Missed:",
          [
            line(["scenario", "policy", "goal", "found"]),
            line(["---", "---", "---", "---:"]),
            ...missed.map(({ text }) => text)
          ].join("\n")
        ])
  ]
}

const about = (results: Results): ReadonlyArray<string> => {
  const policies = new Map([...results.values()].flat().map(({ policy }) => [policy.name, policy]))
  const kinds = { ours: "ours", package: "real package", manner: "in the manner of", naive: "naive" } as const
  return [
    "## Policies",
    [
      line(["policy", "kind", "settings"]),
      line(["---", "---", "---"]),
      ...[...policies.values()].map((policy) => line([policy.name, kinds[policy.kind], policy.about]))
    ].join("\n")
  ]
}

/** The whole report; `plots` are the paths of the pictures of a group. */
export const markdown = (
  head: ReadonlyArray<string>,
  groups: ReadonlyArray<Group>,
  results: Results,
  plots: (group: Group) => ReadonlyArray<string>
): string =>
  [
    ...head,
    ...summary(groups, results),
    ...groups.flatMap((group) =>
      section(
        group,
        results,
        plots(group).map((path) => `![${group.title}](${path})`)
      )
    ),
    ...about(results)
  ]
    .join("\n\n")
    .concat("\n")
