import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

// Editors show the documentation of an overloaded export only where it stands on a call signature: a comment on the
// `const` is shown by none.

const root = fileURLToPath(new URL("../../src", import.meta.url))

const files = readdirSync(root, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"))

interface Combinator {
  readonly name: string
  readonly documented: boolean
}

/** The exported constants whose type is written as call signatures, and whether the first one has a comment. */
const combinators = (source: string): ReadonlyArray<Combinator> =>
  Array.from(source.matchAll(/^export const (\w+): \{\n([\s\S]*?)^\}/gm), ([, name = "", body = ""]) => ({
    name,
    documented: body.trimStart().startsWith("/**")
  }))

/** The fields of the exported interfaces whose name says that they are options, and whether each has a comment. */
const optionFields = (source: string): ReadonlyArray<Combinator> =>
  Array.from(
    source.matchAll(/^export interface (\w*(?:Options|Timeouts|Limits|Ask))\b[^{]*\{\n([\s\S]*?)^\}/gm),
    ([, name = "", body = ""]) =>
      Array.from(body.matchAll(/(\*\/\n)?^ {2}readonly (\w+)\??:/gm), ([, comment, field = ""]) => ({
        name: `${name}.${field}`,
        documented: comment !== undefined
      }))
  ).flat()

const missing = (find: (source: string) => ReadonlyArray<Combinator>): ReadonlyArray<string> =>
  files.flatMap((file) =>
    find(readFileSync(join(root, file), "utf8"))
      .filter(({ documented }) => !documented)
      .map(({ name }) => `${file}: ${name}`)
  )

describe("an editor shows documentation", () => {
  it("finds a comment on a signature, and one that is missing", () => {
    const source = "export const a: {\n  /** A. */\n  (): void\n} = f\nexport const b: {\n  (): void\n} = f\n"
    assert.deepStrictEqual(combinators(source), [
      { name: "a", documented: true },
      { name: "b", documented: false }
    ])
    const options = "export interface AOptions {\n  /** A. */\n  readonly a?: number\n  readonly b: string\n}\n"
    assert.deepStrictEqual(optionFields(options), [
      { name: "AOptions.a", documented: true },
      { name: "AOptions.b", documented: false }
    ])
    assert.isAbove(files.flatMap((file) => combinators(readFileSync(join(root, file), "utf8"))).length, 10)
  })

  it("of every combinator, on its first call signature", () => {
    assert.deepStrictEqual(missing(combinators), [])
  })

  it("of every option", () => {
    assert.deepStrictEqual(missing(optionFields), [])
  })
})
