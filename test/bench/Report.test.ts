import { FastCheck as fc } from "effect"
import { assert, describe, it } from "vitest"
import { allocated, type Goal, type Table } from "../../bench/case.js"
import { print } from "../../bench/report.js"

const quietly = <A>(run: () => A): readonly [printed: string, result: A] => {
  const { log } = console
  const lines: Array<string> = []
  console.log = (line: string) => lines.push(line)
  try {
    const result = run()
    return [lines.join("\n"), result]
  } finally {
    console.log = log
  }
}

const report = (goal: Goal, ours: ReadonlyArray<number>, theirs: ReadonlyArray<number>) => {
  const rounds = (values: ReadonlyArray<number>) => values.map((cpu) => ({ cpu }))
  const table: Table = { title: "a table", base: "theirs", cases: [] }
  const rows = [
    { name: "theirs", rounds: rounds(theirs) },
    { name: "ours", goals: [goal], rounds: rounds(ours) }
  ]
  return quietly(() => print(table, rows, false))
}

describe("a table of the benchmark", () => {
  it("meets a goal exactly if the mean of the rounds, or its ratio, is within the bound", () => {
    const times = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 5 })
    const sum = (values: ReadonlyArray<number>) => values.reduce((all, value) => all + value, 0)
    fc.assert(
      fc.property(times, times, fc.integer({ min: 1, max: 40 }), fc.boolean(), (ours, theirs, tenths, isMost) => {
        const bound = tenths / 10
        const goal: Goal = { figure: "cpu", against: "theirs", ...(isMost ? { most: bound } : { least: bound }) }
        const [printed, [verdict]] = report(goal, ours, theirs)
        // Compared as products: a ratio that is the bound itself may be rounded to either side.
        const left = 10 * sum(ours) * theirs.length
        const right = tenths * sum(theirs) * ours.length
        fc.pre(left !== right)
        assert.strictEqual(verdict?.met, isMost ? left < right : left > right)
        assert.include(printed, verdict?.met === true ? "met" : "MISSED")
      })
    )
  })

  it("shows the mean, half of the range of the rounds in per cent, and the ratio to the base", () => {
    const [printed] = report({ figure: "cpu", most: 1000 }, [190, 210], [50, 50])
    const ours = printed.split("\n").find((line) => line.startsWith("ours"))
    assert.match(ours ?? "", /^ours\s+200\.0\s+5\.0\s+4\.00×\s+150\.0\s/)
  })
})

describe("bytes allocated", () => {
  it("are counted when garbage is collected meanwhile", async () => {
    const arrays = 20_000
    const kept: Array<unknown> = []
    const bytes = await allocated(async () => {
      for (let i = 0; i < arrays; i++) kept[i % 10] = new Array<number>(1000).fill(i + 0.5)
    })
    assert.isAtLeast(bytes, arrays * 8000)
    assert.isAtMost(bytes, arrays * 8000 * 1.5)
  })
})
