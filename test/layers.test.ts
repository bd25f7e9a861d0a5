import { readdirSync, readFileSync } from "node:fs"
import { dirname, join, sep } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "vitest"

const root = fileURLToPath(new URL("../src", import.meta.url))

/** From the ground up: a folder may import itself and what stands in the rows before it. */
const tiers = [
  ["errors"],
  ["policies"],
  ["calls"],
  ["chat", "embeddings"],
  ["providers", "agent", "ai"],
  ["http"],
  ["observability"],
  ["gateway"]
]

const layers = tiers.flat()

const tierOf = (folder: string): number => tiers.findIndex((tier) => tier.includes(folder))

/** The folders that the root entry loads. */
const atRoot = ["errors", "policies", "calls", "chat", "providers"]

/** The layers with an entry point of their own. */
const entries = ["http", "observability", "ai", "agent", "gateway"]

/** What may import every layer below the gateway, and is imported by the gateway alone. */
const above = ["node", "prices", "testing"]

/** Modules of a folder with an entry point of their own, because not all of them need the same packages. */
const apart = {
  "./EmbeddingModel": "embeddings/EmbeddingModel.ts",
  "./GeminiEmbeddings": "providers/GeminiEmbeddings.ts",
  "./Models": "providers/Models.ts",
  "./OpenAiEmbeddings": "providers/OpenAiEmbeddings.ts",
  "./observability/DashboardServer": "observability/DashboardServer.ts",
  "./observability/Degradation": "observability/Degradation.ts",
  "./observability/Evaluation": "observability/Evaluation.ts",
  "./observability/Telemetry": "observability/Telemetry.ts",
  "./observability/CallLogLibsql": "observability/CallLogLibsql.ts"
}

interface Import {
  readonly file: string
  readonly line: number
  readonly specifier: string
  /** The file in src that is meant; `undefined` for a package. */
  readonly target: string | undefined
  readonly typeOnly: boolean
}

const blank = (text: string) => text.replace(/[^\n]/g, " ")

/** Comments that begin a line, which is where the formatter leaves them; examples in them import too. */
const comments = /^[ \t]*(?:\/\*[\s\S]*?\*\/|\/\/.*)/gm

const statements =
  /^(?:import|export)\s+(type\s+)?(?:[\w*{}$,\s]+?\s+from\s*)?"([^"\n]+)"|\bimport\(\s*()"([^"\n]+)"\s*\)/gm

const parse = (file: string, source: string): ReadonlyArray<Import> => {
  const code = source.replace(comments, blank)
  return Array.from(code.matchAll(statements), (match) => {
    const specifier = match[2] ?? match[4] ?? ""
    return {
      file,
      line: code.slice(0, match.index).split("\n").length,
      specifier,
      target: specifier.startsWith(".")
        ? join(dirname(file), specifier).split(sep).join("/").replace(/\.js$/, ".ts")
        : undefined,
      typeOnly: match[1] !== undefined
    }
  })
}

const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.split(sep).join("/"))
  .sort()

const graph = new Map(files.map((file) => [file, parse(file, readFileSync(join(root, file), "utf8"))] as const))
const imports = [...graph.values()].flat()

const where = (one: Import) => `src/${one.file}:${one.line} imports "${one.specifier}"`
const folderOf = (file: string) => (file.includes("/") ? file.slice(0, file.indexOf("/")) : "")

const wrongWay = (one: Import): string | undefined => {
  if (one.target === undefined) return undefined
  const from = folderOf(one.file)
  const to = folderOf(one.target)
  if (from === to || from === "") return undefined
  if (to === "") return `${where(one)}: an entry point is for those outside`
  if (from === "gateway") return undefined
  if (above.includes(to)) return `${where(one)}: only the gateway imports ${to}`
  if (to === "gateway") return `${where(one)}: nothing stands above the gateway`
  if (above.includes(from)) return undefined
  return tierOf(to) < tierOf(from) ? undefined : `${where(one)}: ${from} does not stand above ${to}`
}

/** What a module loads: its imports but for those of types, which are gone when it runs. */
const reachable = (entry: string): ReadonlyArray<Import> => {
  const seen = new Set([entry])
  const found: Array<Import> = []
  for (const file of seen) {
    for (const one of graph.get(file) ?? []) {
      if (one.typeOnly) continue
      found.push(one)
      if (one.target !== undefined) seen.add(one.target)
    }
  }
  return found
}

const cycles = (): ReadonlyArray<string> => {
  const found: Array<string> = []
  const done = new Set<string>()
  const path: Array<Import> = []
  const visit = (file: string): void => {
    for (const one of graph.get(file) ?? []) {
      if (one.target === undefined || done.has(one.target)) continue
      path.push(one)
      const start = path.findIndex((step) => step.file === one.target)
      if (start >= 0) found.push(path.slice(start).map(where).join("\n  "))
      else visit(one.target)
      path.pop()
    }
    done.add(file)
  }
  for (const file of files) visit(file)
  return found
}

describe("the layers of src", () => {
  it("reads imports as they are written", () => {
    const source = [
      "/**",
      ' * import { Chat } from "effect-steadfast"',
      " */",
      'import * as Effect from "effect/Effect"',
      "import {",
      "  type A,",
      "  B",
      '} from "./B.js"',
      'import type { C } from "../errors/C.js"',
      "export {",
      "  /** {@link D} */",
      "  D",
      '} from "./D.js"',
      'import "./side.js"',
      'const late = () => import("./late.js")',
      'export const text = "nothing"',
      'const other = { from: "nowhere" }'
    ].join("\n")
    assert.deepStrictEqual(
      parse("calls/A.ts", source).map(({ line, target, typeOnly, specifier }) => [line, target ?? specifier, typeOnly]),
      [
        [4, "effect/Effect", false],
        [5, "calls/B.ts", false],
        [9, "errors/C.ts", true],
        [10, "calls/D.ts", false],
        [14, "calls/side.ts", false],
        [15, "calls/late.ts", false]
      ]
    )
  })

  it("are known", () => {
    const folders = new Set(files.map(folderOf).filter((folder) => folder !== ""))
    assert.deepStrictEqual(
      [...folders].filter((folder) => !layers.includes(folder) && !above.includes(folder)),
      [],
      "a new folder needs its place in the order"
    )
    assert.isAbove(imports.length, files.length)
  })

  it("import files that exist", () => {
    assert.deepStrictEqual(imports.filter((one) => one.target !== undefined && !graph.has(one.target)).map(where), [])
  })

  it("import downwards only", () => {
    assert.deepStrictEqual(
      imports.map(wrongWay).filter((complaint) => complaint !== undefined),
      []
    )
  })

  it("let observability read records and states, and no models", () => {
    const own = imports.filter(({ file }) => folderOf(file) === "observability")
    assert.isNotEmpty(own)
    const models = own.filter(({ target }) => target !== undefined && /^(?:chat|providers)\//.test(target))
    assert.deepStrictEqual(models.map(where), [])
  })

  it("have no cycle, not even of types", () => {
    assert.deepStrictEqual(cycles(), [])
  })

  it("need only the peers at the root entry, and nothing of Node", () => {
    const peers = /^(?:effect|@effect\/platform)(?:\/|$)/
    assert.deepStrictEqual(
      reachable("index.ts")
        .filter((one) => one.target === undefined && !peers.test(one.specifier))
        .map(where),
      []
    )
  })

  it("keep to the first five at the root entry", () => {
    const allowed = new Set(["", ...atRoot])
    assert.deepStrictEqual(
      reachable("index.ts")
        .filter((one) => one.target !== undefined && !allowed.has(folderOf(one.target)))
        .map(where),
      []
    )
  })
})

describe("the entry points", () => {
  const json = (file: string) => JSON.parse(readFileSync(fileURLToPath(new URL(`../${file}`, import.meta.url)), "utf8"))

  /** The source of each entry point that package.json names. */
  const sources: Readonly<Record<string, string>> = Object.fromEntries(
    Object.entries<string | { readonly types: string; readonly default: string }>(json("package.json").exports).flatMap(
      ([entry, target]) => {
        if (typeof target === "string") return []
        assert.strictEqual(target.types, target.default.replace(/\.js$/, ".d.ts"), entry)
        return [[entry, target.default.replace("./dist/", "").replace(/\.js$/, ".ts")]]
      }
    )
  )

  it("are the modules of the root entry, by their names, and the folders with one of their own", () => {
    const names = /^export \* as (\w+) from "\.\/(.+)\.js"$/gm
    const modules = Array.from(readFileSync(join(root, "index.ts"), "utf8").matchAll(names))
    assert.isAbove(modules.length, 20)
    assert.deepStrictEqual(sources, {
      ".": "index.ts",
      ...Object.fromEntries(modules.map(([, name, path]) => [`./${name}`, `${path}.ts`])),
      ...Object.fromEntries([...above, ...entries].map((folder) => [`./${folder}`, `${folder}/index.ts`])),
      ...apart
    })
  })

  it("are found by the compiler", () => {
    assert.deepStrictEqual(
      json("tsconfig.json").compilerOptions.paths,
      Object.fromEntries(
        Object.entries(sources).map(([entry, source]) => [`effect-steadfast${entry.slice(1)}`, [`./src/${source}`]])
      )
    )
  })
})
