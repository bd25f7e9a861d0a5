import { Telemetry } from "effect-steadfast/observability"
import { assert, describe, it } from "vitest"
import { read } from "../docs/blocks.js"

const page = read("docs/telemetry.md")

/** The rows of the table under a heading that begins with a cell. */
const rowsOf = (heading: string): ReadonlyArray<ReadonlyArray<string>> =>
  (page.split(`\n| ${heading} |`)[1] ?? "")
    .split("\n\n")[0]
    ?.split("\n")
    .slice(2)
    .map((row) => row.replace(/^\| (.*) \|$/, "$1").split(" | ")) ?? []

const code = (text: string): string => `\`${text}\``

describe("the table of metrics", () => {
  it("is the same in the docs", () => {
    assert.deepStrictEqual(
      rowsOf("name | kind"),
      Object.values<Telemetry.Definition>(Telemetry.table).map((definition) => [
        code(definition.name),
        definition.kind,
        code(definition.unit),
        code(Telemetry.prometheusName(definition)),
        definition.description,
        [...definition.attributes.map(code), ...(definition.labels ? ["labels"] : [])].join(", ")
      ])
    )
    assert.deepStrictEqual(
      rowsOf("attribute"),
      Object.entries(Telemetry.attributes).map(([name, meaning]) => [code(name), meaning])
    )
  })

  it("explains each attribute, and no other", () => {
    const used = new Set(Object.values(Telemetry.table).flatMap(({ attributes }): ReadonlyArray<string> => attributes))
    assert.sameMembers(Object.keys(Telemetry.attributes), [...used])
  })

  it("has names, units and buckets that keep to the rules", () => {
    const all = Object.values<Telemetry.Definition>(Telemetry.table)
    assert.strictEqual(new Set(all.map(({ name }) => name)).size, all.length)
    assert.strictEqual(new Set(all.map(Telemetry.prometheusName)).size, all.length)
    for (const { boundaries, kind, name, unit } of all) {
      assert.match(name, /^(?:gen_ai\.client\.inference|steadfast)\.[a-z_.]+$/)
      assert.match(unit, /^(?:s|1|\{\w+\})$/)
      assert.strictEqual(boundaries !== undefined, kind === "histogram", name)
      assert.deepStrictEqual(boundaries, boundaries && [...boundaries].sort((a, b) => a - b), name)
    }
  })
})
