import * as fc from "fast-check"
import { assert, describe, it } from "vitest"
import * as PartialJson from "../../../src/chat/structured/PartialJson.js"
import { cases, seed } from "../../support/cases.js"
import { cuts, hasGrown } from "./support.js"

const readAll = (pieces: ReadonlyArray<string>): ReadonlyArray<unknown> => {
  const reader = PartialJson.make()
  return pieces.flatMap((piece) => (reader.push(piece) ? [reader.value()] : []))
}

describe("JSON in pieces", () => {
  it("ends as JSON.parse reads it, only grows, and changes nothing that it gave", () => {
    const texts = fc
      .tuple(fc.json({ maxDepth: 5 }), fc.constantFrom(0, 1, 2))
      .map(([text, indent]) => JSON.stringify(JSON.parse(text), null, indent))
    fc.assert(
      fc.property(texts, fc.array(fc.nat(), { maxLength: 20 }), fc.boolean(), (text, places, isFenced) => {
        const sent = isFenced && /^[[{"]/.test(text) ? `\`\`\`json\n${text}\n\`\`\`` : text
        const kept: Array<readonly [unknown, string]> = []
        const reader = PartialJson.make()
        let last: unknown
        // A number at the root is whole when something follows.
        for (const piece of [...cuts(sent, places), "\n"]) {
          if (!reader.push(piece)) continue
          const value = reader.value()
          assert.isTrue(hasGrown(last, value), `${JSON.stringify(last)} became ${JSON.stringify(value)}`)
          kept.push([value, JSON.stringify(value)])
          last = value
        }
        assert.deepStrictEqual(last, JSON.parse(text))
        for (const [value, before] of kept) assert.strictEqual(JSON.stringify(value), before)
      }),
      { numRuns: cases(10_000, 300), seed }
    )
  })

  it("gives texts as they grow, and numbers, literals and keys when they are whole", () => {
    assert.deepStrictEqual(readAll(['{"na', 'me": "A', 'da", "age": 3', "6, ", '"ok": tr', "ue}"]), [
      {},
      { name: "A" },
      { name: "Ada" },
      { name: "Ada", age: 36 },
      { name: "Ada", age: 36, ok: true }
    ])
  })

  it("waits for the other half of a pair, raw and escaped", () => {
    assert.deepStrictEqual(readAll(['["\ud83d', '\ude00"]']), [[""], ["\ud83d\ude00"]])
    assert.deepStrictEqual(readAll(['["\\ud83d', '\\ude00"]']), [[""], ["\ud83d\ude00"]])
  })

  it("gives nothing for prose, and stops where the JSON breaks", () => {
    assert.deepStrictEqual(readAll(["Sure, here it is: {", '"a": 1}']), [])
    assert.deepStrictEqual(readAll(['{"a": 1, ', "oops}", '"b": 2}']), [{ a: 1 }])
    assert.deepStrictEqual(readAll(["[".repeat(10_000)]).length, 1)
  })

  it("keeps a field of the name __proto__ as a field", () => {
    const [value] = readAll(['{"__proto__": {"x": 1}}']) as [object]
    assert.isTrue(Object.hasOwn(value, "__proto__"))
    assert.strictEqual((value as { x?: number }).x, undefined)
  })
})
