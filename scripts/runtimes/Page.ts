/**
 * `docs/runtimes.md`, from what was measured.
 */
import { type Case, cases } from "./Cases.js"
import type { Measured } from "./Servers.js"

/** One runtime. */
export interface Row {
  readonly name: string
  readonly version: string
  readonly measured: Measured
}

const clients: Readonly<Record<string, string>> = {
  fetch: "`Transport.layerFetch`",
  undici: "`NodeTransport.layer`",
  "node:http": "platform's `NodeHttpClient.layer`",
  "node:http with an agent": "the same with the agent of [transport](transport.md#nodehttp)"
}

const short = ({ name, version }: Row): string => `${name} ${version.split(".")[0]}`

/** The sign of a cell. */
const sign = ({ expected, weaker }: Case, found: string | undefined): string =>
  found === expected ? "✓" : found !== undefined && weaker?.includes(found) === true ? "≈" : "**✗**"

const table = (client: string, rows: ReadonlyArray<Row>): string =>
  [
    `| | ${rows.map(short).join(" | ")} |`,
    `|---|${rows.map(() => ":-:|").join("")}`,
    ...cases.map((one) => {
      const signs = rows.map(({ measured }) => sign(one, measured[client]?.[one.name]))
      return `| ${one.name} | ${signs.join(" | ")} |`
    })
  ].join("\n")

/** What another sign than ✓ stands for: by case, by what was seen, where. */
const differences = (rows: ReadonlyArray<Row>, mark: string): string =>
  cases
    .flatMap((one) => {
      const where = new Map<string, Array<string>>()
      for (const client of Object.keys(clients)) {
        for (const row of rows) {
          const found = row.measured[client]?.[one.name]
          if (sign(one, found) !== mark) continue
          const words = found ?? "not measured"
          where.set(words, [...(where.get(words) ?? []), `${short(row)} ${client}`])
        }
      }
      if (where.size === 0) return []
      const why = one.why === undefined ? "" : ` ${one.why}`
      return [`- **${one.name}**.${why}`, ...[...where].map(([words, at]) => `  - \`${words}\`: ${at.join(", ")}`)]
    })
    .flatMap((line) => wrapped(line))
    .join("\n")

/** A line of a list, at most 118 columns wide. */
const wrapped = (line: string): ReadonlyArray<string> => {
  const indent = `${/^ */.exec(line)?.[0] ?? ""}  `
  const lines = [""]
  for (const word of line.split(/(?<=\S) /)) {
    const last = lines[lines.length - 1] ?? ""
    if (`${last} ${word}`.length <= 118) lines[lines.length - 1] = last === "" ? word : `${last} ${word}`
    else lines.push(`${indent}${word}`)
  }
  return lines
}

/** The page. */
export const page = (rows: ReadonlyArray<Row>): string => `# Runtimes

What a caller sees, on every runtime and HTTP client, when something happens to a request on its way. \`npm run runtimes\`
measures it with the built package against servers on this machine, and writes this page: no cell is written by hand.

Measured: ${rows.map(({ name, version }) => `${name} ${version}`).join(", ")}.
✓ as it should be; ≈ nothing false, but less than could be said; **✗** wrong. What the signs stand for is below the tables.

| what happens | what the caller should see |
|---|---|
${cases.map(({ expected, name }) => `| ${name} | ${expected} |`).join("\n")}

An error is told by its tag, its \`delivery\`, and what \`LlmError.isRetryable\` and \`LlmError.isFallbackable\` say of it. See
[errors](errors.md) for what follows from them, and [transport](transport.md) for the clients.

${Object.entries(clients)
  .map(([client, words]) => `## ${client}\n\nOver ${words}.\n\n${table(client, rows)}`)
  .join("\n\n")}

## Where it says less

${differences(rows, "≈") || "Nowhere."}

## Where it is wrong

${differences(rows, "**✗**") || "Nowhere."}
`
