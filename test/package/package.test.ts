import { execFile } from "node:child_process"
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync
} from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { build, transform } from "esbuild"
import { rollup } from "rollup"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { thorough } from "../support/cases.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const consumer = fileURLToPath(new URL("consumer", import.meta.url))
// The bounds stand a little above what is measured. They catch what must not get in: a server, SQL, a price table, Node's
// own modules, and whatever ties everything to everything. Some 32 kB of every app are the tables and rules that classify
// what 25 providers send. Rollup, and Vite with it, leaves out what is not used of a namespace of the root entry; esbuild
// keeps all of it, so an app that esbuild bundles imports the modules' own entry points.
const budgets = { everything: 310_000, app: 156_500, composed: 167_500, rootByEsbuild: 209_500, rootByRollup: 162_000 }

const modules = ["Chat", "ChatModel", "OpenAi", "RetryPolicy"]

const imports = (name: string, from: "root" | "modules"): string =>
  [
    ...(from === "root"
      ? [`import { ${modules.join(", ")} } from "${name}"`]
      : modules.map((module) => `import * as ${module} from "${name}/${module}"`)),
    'import * as Effect from "effect/Effect"'
  ].join("\n")

/** What most begin with. */
const app = `
  export const answer = Effect.flatMap(OpenAi.make({ model: "gpt-4o-mini" }), (model) =>
    model.pipe(ChatModel.retry(RetryPolicy.standard)).generate(Chat.prompt("Hello"))
  )`

/** All that a program composes at first. */
const composed = `
  export const answer = Effect.flatMap(OpenAi.make({ model: "gpt-4o-mini" }), (model) =>
    model.pipe(
      ChatModel.timeout({ attempt: "30 seconds" }),
      ChatModel.retry(RetryPolicy.standard),
      ChatModel.orElse(model),
      ChatModel.deadline("90 seconds")
    ).generate(Chat.prompt("Hello"))
  )`

/** A project of somebody else, in which the package is installed from its tarball. */
let project = ""
let installed = ""

const execute = promisify(execFile)

const run = async (cwd: string, command: string, ...args: ReadonlyArray<string>): Promise<string> => {
  try {
    return (await execute(command, args, { cwd, maxBuffer: 1 << 26, env: { ...process.env, NODE_OPTIONS: "" } })).stdout
  } catch (error) {
    const { stdout = "", stderr = "" } = error as { readonly stdout?: string; readonly stderr?: string }
    throw new Error(`${command} ${args.join(" ")} failed:\n${stdout}${stderr}`)
  }
}

interface Manifest {
  readonly name: string
  readonly version: string
  readonly sideEffects: unknown
  readonly type: unknown
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly dependencies?: Readonly<Record<string, string>>
  readonly peerDependencies: Readonly<Record<string, string>>
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>
}

const manifest = (folder: string): Manifest => JSON.parse(readFileSync(join(folder, "package.json"), "utf8"))

/** What only one of the entry points needs. */
const data = "@pydantic/genai-prices"
const files = "yaml"
const node = "@effect/platform-node"
const log = ["@effect/sql", "@effect/experimental", "@effect/sql-libsql", "@libsql/client", "@effect/sql-pg"]
const telemetry = "@effect/opentelemetry"
const command = ["@effect/cli", "@effect/printer", "@effect/printer-ansi"]

/** The packages that the adapters of `effect-steadfast/ai` meet. */
const ai = ["@effect/ai", "@effect/rpc"]

/** As it is installed here. */
const exact = (name: string): string => `${name}@${manifest(join(root, "node_modules", name)).version}`

/**
 * Unpacks or links what npm would install: it asks no registry, and takes no time. What npm has to say of the ranges of the
 * peers it says where every case is run.
 */
const link = async (tarball: string | undefined, ...names: ReadonlyArray<string>): Promise<void> => {
  const modules = join(project, "node_modules")
  for (const name of names) {
    mkdirSync(dirname(join(modules, name)), { recursive: true })
    symlinkSync(realpathSync(join(root, "node_modules", name)), join(modules, name), "dir")
  }
  if (tarball === undefined) return
  const folder = join(modules, manifest(root).name)
  mkdirSync(folder)
  await run(project, "tar", "-xzf", tarball, "-C", folder, "--strip-components=1")
}

const install = (...packages: ReadonlyArray<string>): Promise<string> =>
  run(
    project,
    "npm",
    ...["install", "--prefer-offline", "--no-audit", "--no-fund", "--strict-peer-deps", "--loglevel=error"],
    ...packages
  )

const typeCheck = (config: string): Promise<string> =>
  run(project, process.execPath, join(root, "node_modules", "typescript", "bin", "tsc"), "-p", join(project, config))

beforeAll(async () => {
  project = realpathSync(mkdtempSync(join(tmpdir(), "steadfast-package-")))
  await run(root, "npm", "pack", "--silent", "--pack-destination", project)
  const tarball = readdirSync(project).find((file) => file.endsWith(".tgz"))
  cpSync(consumer, project, { recursive: true })
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true, type: "module" }))
  if (thorough) await install(`./${tarball}`, exact("effect"), exact("@effect/platform"))
  else await link(tarball, "effect", "@effect/platform")
  installed = join(project, "node_modules", manifest(root).name)
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe("the package", () => {
  it("has every entry point that it names, with its types", () => {
    const { exports } = manifest(installed)
    assert.includeMembers(Object.keys(exports), [
      ...[".", "./OpenAi", "./node", "./observability", "./prices", "./testing", "./package.json"]
    ])
    for (const [entry, conditions] of Object.entries(exports)) {
      const targets = typeof conditions === "string" ? { default: conditions } : conditions
      for (const target of Object.values(targets)) {
        assert.isTrue(existsSync(join(installed, target)), `${entry} names ${target}, which is not there`)
      }
      if (typeof conditions === "string") continue
      assert.strictEqual(Object.keys(conditions)[0], "types", `${entry}: "types" must come first`)
      assert.match(conditions.types ?? "", /\.d\.ts$/)
      assert.match(conditions.default ?? "", /\.js$/)
    }
  })

  it("is ESM without side effects, and brings nothing but itself", () => {
    const { dependencies = {}, peerDependencies, peerDependenciesMeta, sideEffects, type } = manifest(installed)
    assert.strictEqual(type, "module")
    assert.isFalse(sideEffects)
    assert.deepStrictEqual(Object.keys(dependencies), [])
    const optional = [data, files, node, telemetry, ...log, ...command, ...ai]
    assert.sameMembers(Object.keys(peerDependencies), ["effect", "@effect/platform", ...optional])
    assert.deepStrictEqual(peerDependenciesMeta, Object.fromEntries(optional.map((name) => [name, { optional: true }])))
    for (const name of optional) {
      assert.isFalse(existsSync(join(project, "node_modules", name)), `nobody has to install ${name}`)
    }
  })

  it("holds what a user needs and no more", () => {
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" })
    assert.includeMembers(files, ["README.md", "LICENSE", "CHANGELOG.md", join("src", "index.ts")])
    assert.sameMembers(readdirSync(installed), [
      "CHANGELOG.md",
      "LICENSE",
      "README.md",
      "dist",
      "grafana",
      "package.json",
      "src"
    ])
    assert.deepStrictEqual(
      files.filter((file) => /\.test\.|\btests?\b|bench|\.tsbuildinfo|\.env/.test(file)),
      []
    )
    const sources = files.filter((file) => file.startsWith("src") && file.endsWith(".ts"))
    for (const source of sources) {
      const compiled = source.replace(/^src/, "dist").replace(/\.ts$/, "")
      assert.includeMembers(files, [`${compiled}.js`, `${compiled}.d.ts`], source)
    }
  })

  it("type checks in a strict NodeNext project", async () => {
    await typeCheck("tsconfig.json")
  })

  it("has the description of each module at the head of its types", () => {
    const headOf = (file: string) =>
      /^(?:#!.*\n)?(\/\*\*[\s\S]*?\*\/)/.exec(readFileSync(join(installed, file), "utf8"))?.[1]
    const sources = readdirSync(join(installed, "src"), { recursive: true, encoding: "utf8" })
    const files = sources.filter((file) => file.endsWith(".ts"))
    assert.isAbove(files.length, 100)
    for (const file of files) {
      const head = headOf(join("src", file))
      assert.isDefined(head, `src/${file} begins with its description`)
      const types = join("dist", file.replace(/\.ts$/, ".d.ts"))
      assert.strictEqual(headOf(types), head, `${types}: a blank line after the description keeps it`)
    }
  })

  it("has an entry point for each module, which is the one of the root entry", async () => {
    assert.strictEqual(await run(project, process.execPath, "modules.mjs"), "Paris. true true\n")
  })

  it("makes a call in plain Node", async () => {
    assert.strictEqual(await run(project, process.execPath, "app.mjs"), "Paris. after 2 requests\n")
  })

  const left = /^(?:effect|@effect\/platform)(?:\/|$)/

  /** The size of a bundle by esbuild, and the modules that have a part in it. */
  const bundle = async (
    contents: string
  ): Promise<{ readonly size: number; readonly code: string; readonly parts: ReadonlyArray<string> }> => {
    const { metafile, outputFiles } = await build({
      stdin: { contents, resolveDir: project },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      external: ["effect", "@effect/platform"],
      metafile: true,
      write: false
    })
    const [output] = Object.values(metafile.outputs)
    if (output === undefined) throw new Error("esbuild wrote nothing")
    const parts = Object.entries(output.inputs).filter(([, { bytesInOutput }]) => bytesInOutput > 0)
    return {
      size: output.bytes,
      code: outputFiles[0]?.text ?? "",
      parts: parts.map(([path]) => path.replace(/^.*\/dist\//, ""))
    }
  }

  /** The size of a bundle by Rollup. */
  const rolledUp = async (contents: string): Promise<number> => {
    const bundle = await rollup({
      input: "app",
      external: left,
      plugins: [
        {
          name: "app",
          resolveId: (id) =>
            id === "app"
              ? id
              : id === manifest(root).name
                ? { id: join(installed, "dist", "index.js"), moduleSideEffects: false }
                : undefined,
          load: (id) => (id === "app" ? contents : undefined)
        }
      ],
      treeshake: { moduleSideEffects: (id) => id === "app" }
    })
    const { output } = await bundle.generate({ format: "esm" })
    await bundle.close()
    return (await transform(output[0].code, { minify: true, format: "esm" })).code.length
  }

  it("is small, and what an app does not use is left out", async () => {
    const { name } = manifest(root)
    const everything = await bundle(`export * from "${name}"`)
    const used = await bundle(imports(name, "modules") + app)
    const whole = await bundle(imports(name, "modules") + composed)
    const byEsbuild = await bundle(imports(name, "root") + composed)
    const byRollup = await rolledUp(imports(name, "root") + composed)
    const kilo = (size: number) => `${(size / 1000).toFixed(1)} kB`
    console.log(
      `minified, effect and platform left out: the root entry ${kilo(everything.size)}, ` +
        `an app with retry ${kilo(used.size)}, with timeout, deadline and fallback ${kilo(whole.size)}; ` +
        `the latter over the root entry ${kilo(byEsbuild.size)} by esbuild, ${kilo(byRollup)} by Rollup`
    )
    assert.isBelow(everything.size, budgets.everything)
    assert.isBelow(used.size, budgets.app)
    assert.isBelow(whole.size, budgets.composed)
    assert.isBelow(byEsbuild.size, budgets.rootByEsbuild)
    assert.isBelow(byRollup, budgets.rootByRollup)
    const unused =
      /Anthropic|Gemini|Responses|Balance|Selection|Choice|KeyPool|Hedg|Traffic|circuit\/|pacer\/Pacer|Spend(?:Account|Options)?\.js|Tokens/
    assert.deepStrictEqual(
      whole.parts.filter((part) => unused.test(part)),
      []
    )
    assert.isNotEmpty(everything.parts.filter((part) => unused.test(part)))
    assert.include(whole.code, "gemini-(?:2")
    assert.notInclude(used.code, "gemini-(?:2", "only a fallback asks for the table of capabilities")
  })
})

describe("its telemetry", () => {
  it("counts without the exporter of OpenTelemetry, and names it where it is missing", async () => {
    const [counted, missing] = (await run(project, process.execPath, "observability.mjs")).split("\n")
    assert.match(counted ?? "", /^steadfast_calls_total\{.*steadfast_outcome="success".*\} 1$/)
    assert.include(missing, `npm install ${telemetry}`)
  })
})

describe("its price data", () => {
  it("are asked for by name where they are not installed", async () => {
    const failed = await run(project, process.execPath, "prices.mjs").then(
      () => assert.fail("there are no price data"),
      (error: Error) => error.message
    )
    assert.include(failed, "ERR_MODULE_NOT_FOUND")
    assert.include(failed, data)
  })

  it("are found, typed and used where they are", async () => {
    await (thorough ? install(exact(data)) : link(undefined, data))
    if (thorough) await typeCheck("tsconfig.prices.json")
    assert.strictEqual(await run(project, process.execPath, "prices.mjs"), "0.75 undefined\n")
  })
})

describe("its transport for Node", () => {
  it("asks a server over undici", async () => {
    await (thorough ? install(exact(node)) : link(undefined, node))
    assert.strictEqual(await run(project, process.execPath, "node.mjs"), "Paris.\n")
  })
})

describe("its command", () => {
  it("reads a call log that the installed package wrote", async () => {
    const names = [node, ...log, ...command]
    if (thorough) await install(...names.map(exact))
    else await link(undefined, ...names.filter((name) => !existsSync(join(project, "node_modules", name))))
    await run(project, process.execPath, "log.mjs")
    const bin = join(installed, "dist", "bin.js")
    const report = JSON.parse(await run(project, process.execPath, bin, "report", "--db", "calls.db", "--json"))
    assert.strictEqual(report.rows[0]?.calls, 1)
  })
})
