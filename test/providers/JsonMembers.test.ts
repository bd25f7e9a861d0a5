import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as JsonMembers from "../../src/providers/wire/JsonMembers.js"
import { cases } from "../support/cases.js"

const name = fc.oneof(
  fc.constantFrom("model", "mod\\u0065l", "stream", "__proto__", "a", "\\\\", '\\"model\\"'),
  fc.string({ maxLength: 4 }).map((text) => JSON.stringify(text).slice(1, -1))
)

const blank = fc.constantFrom("", " ", "\n", "\t \r\n")

const string = fc.oneof(
  fc.string({ maxLength: 6 }).map((text) => JSON.stringify(text)),
  fc.constantFrom('"\\\\"', '"{\\"model\\":1}"', '"]}"', '"\\\\\\""', '"é😀"')
)

const scalar = fc.oneof(string, fc.constantFrom("0", "-1.50e+2", "true", "null"))

/** Texts of objects, with all that may stand in them between their members. */
const { object } = fc.letrec<{ value: string; object: string; array: string }>((tie) => ({
  value: fc.oneof({ maxDepth: 3 }, scalar, tie("object"), tie("array")),
  object: fc
    .tuple(blank, fc.array(fc.tuple(blank, name, blank, blank, tie("value"), blank), { maxLength: 4 }), blank)
    .map(([before, members, after]) => {
      const written = members.map(([a, name, b, c, value, d]) => `${a}"${name}"${b}:${c}${value}${d}`)
      return `${before}{${written.length === 0 ? " " : written.join(",")}}${after}`
    }),
  array: fc
    .array(fc.tuple(blank, tie("value"), blank), { maxLength: 3 })
    .map((items) => `[${items.map((item) => item.join("")).join(",")}]`)
}))

const membersOf = (text: string) => JsonMembers.read(text) ?? assert.fail("no object")

const set = (text: string, changes: Readonly<Record<string, string | undefined>>) =>
  JsonMembers.set(text, membersOf(text), changes)

const numRuns = cases(20_000, 500)

/** The text without the values of the members of a name. */
const without = (text: string, name: string): string => {
  let out = ""
  let done = 0
  for (const member of JsonMembers.read(text) ?? []) {
    if (member.name !== name) continue
    out += text.slice(done, member.from)
    done = member.to
  }
  return out + text.slice(done)
}

describe("a member that is set", () => {
  it("is set as in the parsed object, and every other byte stays", () => {
    fc.assert(
      fc.property(object, fc.string(), (text, model) => {
        const changed = set(text, { model: JSON.stringify(model), stream: undefined })
        assert.deepStrictEqual(JSON.parse(changed), { ...JSON.parse(text), model })
        const had = JsonMembers.read(text)?.some(({ name }) => name === "model")
        assert.strictEqual(
          without(changed, "model"),
          had
            ? without(text, "model")
            : text.replace(
                "{",
                JSON.parse(text) && Object.keys(JSON.parse(text)).length > 0 ? '{"model":,' : '{"model":'
              )
        )
      }),
      { numRuns }
    )
  })

  it("is told by its last value", () => {
    fc.assert(
      fc.property(object, (text) => {
        const members = membersOf(text)
        const parsed = new Map(Object.entries(JSON.parse(text)))
        assert.sameMembers([...new Set(members.map(({ name }) => name))], [...parsed.keys()])
        for (const [name, value] of parsed) {
          assert.deepStrictEqual(JSON.parse(JsonMembers.last(text, members, name) ?? ""), value)
        }
      }),
      { numRuns }
    )
  })

  it("is set together with others", () => {
    fc.assert(
      fc.property(object, (text) => {
        const changed = set(text, { model: '"m"', b: "[1]", stream: "{}" })
        assert.deepStrictEqual(JSON.parse(changed), { ...JSON.parse(text), model: "m", b: [1], stream: {} })
      }),
      { numRuns }
    )
  })

  it("is in no text but that of an object", () => {
    for (const text of ["", "[1]", '"{}"', "null"]) assert.isUndefined(JsonMembers.read(text))
  })

  it("is found in a large body at once", () => {
    const text = `{"a":"${'\\"'.repeat(500_000)}","b":[${"{},".repeat(100_000)}1],"model":"x"}`
    assert.strictEqual(set(text, { model: '"y"' }), text.replace('"x"', '"y"'))
  })
})
