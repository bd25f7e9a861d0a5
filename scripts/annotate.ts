/**
 * Marks what `tsc` built as pure, as Effect's own packages do: every call that a module makes while it loads gets a
 * `#__PURE__` comment, so that bundlers leave out the values that an application does not use.
 *
 * A call is left alone if it stands as a statement of its own, because then its effect is its purpose. Source maps move
 * along with the inserted text.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { parseAst } from "rollup/parseAst"

const mark = "/* @__PURE__ */ "

interface Node {
  readonly type: string
  readonly start: number
  readonly [field: string]: unknown
}

const isNode = (u: unknown): u is Node => typeof u === "object" && u !== null && "type" in u && "start" in u

/** The starts of the calls that run when the module loads. A mark covers a chain of calls, but not their arguments. */
const callsOf = (program: Node): ReadonlyArray<number> => {
  const starts = new Set<number>()
  const visit = (u: unknown): void => {
    if (Array.isArray(u)) u.forEach(visit)
    if (!isNode(u) || /Function|MethodDefinition|ExpressionStatement/.test(u.type)) return
    if (u.type === "PropertyDefinition" && u.static !== true) return
    if (u.type === "CallExpression" || u.type === "NewExpression") starts.add(u.start)
    for (const child of Object.values(u)) visit(child)
  }
  visit(program.body)
  return [...starts].sort((a, b) => a - b)
}

const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/** The first number of a segment of a source map, and the rest of the segment. */
const decode = (segment: string): readonly [value: number, rest: string] => {
  let value = 0
  for (let i = 0; ; i++) {
    const digit = digits.indexOf(segment[i] as string)
    value += (digit & 31) << (5 * i)
    if (digit < 32) return [value & 1 ? -(value >> 1) : value >> 1, segment.slice(i + 1)]
  }
}

const encode = (value: number): string => {
  let rest = value < 0 ? (-value << 1) | 1 : value << 1
  let text = ""
  do {
    text += digits[(rest & 31) | (rest > 31 ? 32 : 0)]
    rest >>= 5
  } while (rest > 0)
  return text
}

/** Moves the segments of a line behind the inserted marks. */
const moved = (line: string, columns: ReadonlyArray<number>): string => {
  if (columns.length === 0 || line === "") return line
  let column = 0
  let before = 0
  return line
    .split(",")
    .map((segment) => {
      const [step, rest] = decode(segment)
      column += step
      const at = column + mark.length * columns.filter((inserted) => inserted <= column).length
      const text = encode(at - before) + rest
      before = at
      return text
    })
    .join(",")
}

/** The code with its marks, and the `mappings` of its source map for it. */
export const annotate = (code: string, mappings: string): { readonly code: string; readonly mappings: string } => {
  const starts = callsOf(parseAst(code) as unknown as Node).filter((start) => !code.slice(0, start).endsWith(mark))
  const cuts = [0, ...starts]
  const columns = new Map<number, Array<number>>()
  for (const start of starts) {
    const before = code.slice(0, start).split("\n")
    const line = before.length - 1
    columns.set(line, [...(columns.get(line) ?? []), (before[line] as string).length])
  }
  return {
    code: cuts.map((cut, index) => code.slice(cut, cuts[index + 1])).join(mark),
    mappings: mappings
      .split(";")
      .map((line, index) => moved(line, columns.get(index) ?? []))
      .join(";")
  }
}

const annotateFiles = (folder: string): void => {
  for (const file of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!file.endsWith(".js")) continue
    const path = join(folder, file)
    const map = JSON.parse(readFileSync(`${path}.map`, "utf8"))
    const { code, mappings } = annotate(readFileSync(path, "utf8"), map.mappings)
    writeFileSync(path, code)
    writeFileSync(`${path}.map`, JSON.stringify({ ...map, mappings }))
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) annotateFiles("dist")
