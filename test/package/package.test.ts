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
import { build } from "esbuild"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { exhaustive } from "../support/cases.js"

const root = fileURLToPath(new URL("../..", import.meta.url))
const consumer = fileURLToPath(new URL("consumer", import.meta.url))
// Measured at 203 kB: some 90 kB are the policies of traffic, 33 kB the tables and rules that classify what 25 providers send,
// 31 kB the four wire formats, 4 kB the transports. An app that makes a model of one provider, with retry, timeout and fallback, has 143 kB of it:
// esbuild leaves out providers that are not used, but nothing of a namespace of which something is. The bounds catch what
// must not get in: a server, SQL, a price table, Node's own modules, and whatever ties everything to everything.
const budgets = { everything: 212_000, app: 150_000 }

/** What most begin with. */
const app = (name: string): string => `
  import { Chat, ChatModel, OpenAi, RetryPolicy } from "${name}"
  import { Effect } from "effect"
  export const answer = Effect.flatMap(OpenAi.make({ model: "gpt-4o-mini" }), (model) =>
    model.pipe(
      ChatModel.timeout({ attempt: "30 seconds" }),
      ChatModel.retry(RetryPolicy.standard),
      ChatModel.orElse(model)
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
const node = "@effect/platform-node"

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
  if (exhaustive) await install(`./${tarball}`, exact("effect"), exact("@effect/platform"))
  else await link(tarball, "effect", "@effect/platform")
  installed = join(project, "node_modules", manifest(root).name)
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

describe("the package", () => {
  it("has every entry point that it names, with its types", () => {
    const { exports } = manifest(installed)
    assert.includeMembers(Object.keys(exports), [".", "./node", "./prices", "./testing", "./package.json"])
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
    assert.sameMembers(Object.keys(peerDependencies), ["effect", "@effect/platform", data, node])
    assert.deepStrictEqual(peerDependenciesMeta, { [data]: { optional: true }, [node]: { optional: true } })
    for (const name of [data, node]) {
      assert.isFalse(existsSync(join(project, "node_modules", name)), `nobody has to install ${name}`)
    }
  })

  it("holds what a user needs and no more", () => {
    const files = readdirSync(installed, { recursive: true, encoding: "utf8" })
    assert.includeMembers(files, ["README.md", "LICENSE", "CHANGELOG.md", join("src", "index.ts")])
    assert.sameMembers(readdirSync(installed), ["CHANGELOG.md", "LICENSE", "README.md", "dist", "package.json", "src"])
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

  it("makes a call in plain Node", async () => {
    assert.strictEqual(await run(project, process.execPath, "app.mjs"), "Paris. after 2 requests\n")
  })

  const sizeOf = async (contents: string): Promise<number> => {
    const bundle = await build({
      stdin: { contents, resolveDir: project },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      external: ["effect", "@effect/platform"],
      write: false
    })
    return bundle.outputFiles[0]?.contents.length ?? Number.POSITIVE_INFINITY
  }

  it("is small, and what an app does not use is left out", async () => {
    const { name } = manifest(root)
    const everything = await sizeOf(`export * from "${name}"`)
    const used = await sizeOf(app(name))
    const kilo = (size: number) => (size / 1000).toFixed(1)
    console.log(`root entry: ${kilo(everything)} kB minified, an app ${kilo(used)} kB; effect and platform left out`)
    assert.isBelow(everything, budgets.everything)
    assert.isBelow(used, budgets.app)
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
    await (exhaustive ? install(exact(data)) : link(undefined, data))
    if (exhaustive) await typeCheck("tsconfig.prices.json")
    assert.strictEqual(await run(project, process.execPath, "prices.mjs"), "0.75 undefined\n")
  })
})

describe("its transport for Node", () => {
  it("asks a server over undici", async () => {
    await (exhaustive ? install(exact(node)) : link(undefined, node))
    assert.strictEqual(await run(project, process.execPath, "node.mjs"), "Paris.\n")
  })
})
