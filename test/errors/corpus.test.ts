import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { evaluate, misses, parseCase } from "./evaluate.js"

const lines = readFileSync(fileURLToPath(new URL("../fixtures/errors.jsonl", import.meta.url)), "utf8")
  .split("\n")
  .filter((line) => line.trim() !== "")
const cases = lines.map(parseCase)

describe("recorded failures", () => {
  it("are named once each", () => {
    assert.strictEqual(new Set(cases.map((test) => test.id)).size, cases.length)
  })

  for (const test of cases) {
    it(test.id, () => assert.deepStrictEqual(misses(test, evaluate(test)), []))
  }

  it("say why a line is no case", () => {
    assert.throws(() => parseCase("{"), /JSON/)
    assert.throws(() => parseCase("[]"), /not an object/)
    assert.throws(() => parseCase('{"kind":"smoke"}'), /unknown kind smoke/)
  })
})
