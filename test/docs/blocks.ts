/** What the docs are made of: their pages, their code, their links. */
import { readdirSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"

export const root = fileURLToPath(new URL("../..", import.meta.url))

const filesIn = (folder: string, end: string): ReadonlyArray<string> =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(end))
    .map((file) => `${folder}/${file}`)
    .sort()

export const docsPages = filesIn("docs", ".md")
export const pages: ReadonlyArray<string> = ["README.md", ...docsPages]
export const sources = filesIn("src", ".ts")

export const read = (file: string): string => readFileSync(join(root, file), "utf8")

export const linesOf = (file: string): ReadonlyArray<string> => read(file).split("\n")

/** A piece of code in a file, and the number of its first line. */
export interface Block {
  readonly file: string
  readonly line: number
  readonly code: string
}

/** The TypeScript blocks of a page. */
export const blocksOf = (page: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  let open: { readonly line: number; readonly lines: Array<string> } | undefined
  for (const [index, line] of linesOf(page).entries()) {
    if (open === undefined) {
      if (/^```(?:ts|typescript)\b/.test(line)) open = { line: index + 2, lines: [] }
    } else if (line.startsWith("```")) {
      blocks.push({ file: page, line: open.line, code: open.lines.join("\n") })
      open = undefined
    } else open.lines.push(line)
  }
  if (open !== undefined) throw new Error(`${page}:${open.line}: a block of code has no end`)
  return blocks
}

/** The `@example`s of a source file. A relative import in one is meant from where the file is. */
export const examplesOf = (source: string): ReadonlyArray<Block> => {
  const blocks: Array<Block> = []
  const folder = dirname(join(root, source))
  let open: { readonly line: number; readonly lines: Array<string> } | undefined
  for (const [index, line] of linesOf(source).entries()) {
    const text = /^\s*\*(?!\/) ?(.*)$/.exec(line)?.[1]
    if (open !== undefined && (text === undefined || text.startsWith("@"))) {
      const code = open.lines
        .join("\n")
        .replaceAll(/from "(\.\.?\/[^"]+)"/g, (_, path) => `from "${join(folder, path)}"`)
      blocks.push({ file: source, line: open.line, code })
      open = undefined
    }
    if (text === "@example") open = { line: index + 2, lines: [] }
    else if (text !== undefined) open?.lines.push(text)
  }
  return blocks
}

/** The links of a page to files here, without those in code. */
export const linksOf = (page: string): ReadonlyArray<string> =>
  [
    ...read(page)
      .replaceAll(/^```.*?^```/gms, "")
      .replaceAll(/`[^`\n]*`/g, "``")
      .matchAll(/\]\(([^)\s]+)\)/g)
  ]
    .map(([, target]) => target ?? "")
    .filter((target) => !/^[a-z]+:/.test(target))

/** The anchors of a page's headings, as GitHub makes them. */
export const anchorsOf = (page: string): ReadonlyArray<string> =>
  read(page)
    .replaceAll(/^```.*?^```/gms, "")
    .split("\n")
    .flatMap((line) => /^#+ (.*)$/.exec(line)?.[1] ?? [])
    .map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
        .replaceAll(" ", "-")
    )
