import { existsSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { assert, describe, it } from "vitest"
import { anchorsOf, docsPages, linesOf, linksOf, pages, read, root, sources } from "./blocks.js"

const longest = 120

describe("README", () => {
  it("fits on three screens", () => {
    assert.isAtMost(read("README.md").trimEnd().split("\n").length, 150)
  })

  it("links every page of docs/", () => {
    assert.includeMembers([...linksOf("README.md")], [...docsPages])
  })
})

describe("links", () => {
  it.each(pages)("of %s lead somewhere", (page) => {
    const broken = linksOf(page).filter((link) => {
      const [path = "", anchor] = link.split("#")
      const file = path === "" ? page : normalize(join(dirname(page), path))
      if (!existsSync(join(root, file))) return true
      return anchor !== undefined && file.endsWith(".md") && !anchorsOf(file).includes(anchor)
    })
    assert.deepStrictEqual(broken, [])
  })
})

describe("the pages of docs/", () => {
  // An overview has no options and no neighbours.
  const overviews = ["docs/simulation.md", "docs/conversations.md", "docs/runtimes.md"]
  const policies = docsPages.filter((page) => !overviews.includes(page))

  it.each(policies)("%s has an example, options, three gotchas, the order, and the code", (page) => {
    const text = read(page)
    assert.include(text, "```ts")
    for (const heading of ["## Options", "## Gotchas", "## Order", "## Code"]) assert.include(text, heading)
    const gotchas = text.split("## Gotchas")[1]?.split("\n## ")[0] ?? ""
    assert.isAtLeast(gotchas.split("\n").filter((line) => line.startsWith("- ")).length, 3)
  })
})

describe("the sources", () => {
  /** The formatter breaks code where it can; a literal it cannot. */
  const isLiteral = (line: string): boolean => /^\s*(?!\/[/*])(?:[/"'`]|.*[`])/.test(line) && !/^\s*\*/.test(line)

  it(`have no line over ${longest} columns that could be broken`, () => {
    const long = sources.flatMap((file) =>
      linesOf(file).flatMap((line, index) =>
        line.length > longest && !isLiteral(line) ? [`${file}:${index + 1}: ${line.length} columns`] : []
      )
    )
    assert.deepStrictEqual(long, [])
  })
})
