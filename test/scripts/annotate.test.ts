import { transform } from "esbuild"
import { assert, describe, it } from "vitest"
import { annotate } from "../../scripts/annotate.js"

const marked = (code: string): string => annotate(code, "").code.replaceAll("/* @__PURE__ */", "#")

describe("annotate", () => {
  it("marks the calls that run when a module loads", () => {
    assert.strictEqual(marked("const a = f(g(1), new Map())"), "const a = # f(# g(1), # new Map())")
    assert.strictEqual(marked("const a = { b: f() }, c = [g()]"), "const a = { b: # f() }, c = [# g()]")
    assert.strictEqual(marked('class A extends Tag("A")(f()) {}'), 'class A extends # Tag("A")(# f()) {}')
    assert.strictEqual(marked("export const a = b.c(d).pipe(e())"), "export const a = # b.c(d).pipe(# e())")
    assert.strictEqual(marked("class A { static a = f(); b = g() }"), "class A { static a = # f(); b = g() }")
  })

  it("leaves statements, bodies of functions and what is marked already", () => {
    for (const code of [
      "map.set(f(), 1)",
      "const a = () => f()",
      "function a(b = f()) { return g() }",
      "class A { b() { return f() } }",
      "const a = /* @__PURE__ */ f()"
    ]) {
      assert.strictEqual(annotate(code, "").code, code)
    }
  })

  it("lets bundlers leave out what is not used", async () => {
    const code = 'export const a = pipe(struct({ b: text() }), named("c"))\n'
    const shaken = async (source: string) =>
      (await transform(source.replace("export ", ""), { treeShaking: true, format: "esm" })).code
    assert.notStrictEqual(await shaken(code), "")
    assert.strictEqual(await shaken(annotate(code, "").code), "")
  })

  it("moves the source map along", async () => {
    const source = "export const a: number = f(1), b = [g(), 2]\nexport const c = 3, d = h()\n"
    const built = await transform(source, { loader: "ts", sourcemap: true, format: "esm" })
    const { mappings } = JSON.parse(built.map)
    const moved = annotate(built.code, mappings)
    assert.notStrictEqual(moved.code, built.code)
    // Each segment points at the same words in both codes, and at none of the marks.
    const words = (code: string, map: string) => {
      const lines = code.split("\n")
      return map.split(";").map((line, index) =>
        segmentsOf(line).map((column) => {
          const rest = lines[index]?.slice(column) ?? ""
          assert.isFalse(rest.startsWith("/*"))
          return rest.replaceAll("/* @__PURE__ */ ", "")
        })
      )
    }
    assert.deepStrictEqual(words(moved.code, moved.mappings), words(built.code, mappings))
  })
})

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** The columns of a line's segments. */
const segmentsOf = (line: string): ReadonlyArray<number> => {
  let column = 0
  return line.split(",").flatMap((segment) => {
    if (segment === "") return []
    let value = 0
    for (let i = 0; ; i++) {
      const digit = digits.indexOf(segment[i] ?? "A")
      value += (digit & 31) << (5 * i)
      if (digit < 32) break
    }
    column += value & 1 ? -(value >> 1) : value >> 1
    return [column]
  })
}
