/** Processes of the tests. They run from one bundle: a loader would take longer to start than they live. */
import { type ChildProcess, spawn } from "node:child_process"
import { mkdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"

export const root = fileURLToPath(new URL("../..", import.meta.url))

/** Where its imports are found. */
const folder = join(root, "node_modules", ".cache", `steadfast-${process.pid}`)

/** The entry points, from the sources. */
const alias = (): Record<string, string> => {
  const { exports, name } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly name: string
    readonly exports: Readonly<Record<string, string | { readonly default: string }>>
  }
  return Object.fromEntries(
    Object.entries(exports).flatMap(([entry, target]) =>
      typeof target === "string"
        ? []
        : [[name + entry.slice(1), join(root, target.default.replace("dist", "src").replace(/\.js$/, ".ts"))]]
    )
  )
}

/** The script of `process.ts`, which starts as fast as Node does. */
export const bundle = async (): Promise<{ readonly script: string; readonly remove: () => void }> => {
  mkdirSync(folder, { recursive: true })
  const script = join(folder, "process.mjs")
  await build({
    entryPoints: [join(root, "test/observability/process.ts")],
    outfile: script,
    bundle: true,
    platform: "node",
    format: "esm",
    // All but the drivers is in it: to find and read a thousand files takes longer than the rest.
    external: ["@libsql/client", "pg", "pg-*"],
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url)' },
    alias: alias(),
    logLevel: "warning"
  })
  return { script, remove: () => rmSync(folder, { recursive: true, force: true }) }
}

export const startScript = (script: string, ...args: ReadonlyArray<string>): ChildProcess =>
  spawn(process.execPath, [script, ...args], { cwd: root, env: { ...process.env, NODE_OPTIONS: "", NO_COLOR: "1" } })

export interface Ended {
  readonly stdout: string
  readonly stderr: string
  readonly code: number | null
}

export const ended = (child: ChildProcess): Promise<Ended> =>
  new Promise((resolve) => {
    let [stdout, stderr] = ["", ""]
    child.stdout?.on("data", (chunk) => {
      stdout += chunk
    })
    child.stderr?.on("data", (chunk) => {
      stderr += chunk
    })
    child.on("close", (code) => resolve({ stdout, stderr, code }))
  })

/** Resolves when the process has said so many lines. */
export const lines = (child: ChildProcess, count: number): Promise<void> =>
  new Promise((resolve, reject) => {
    let seen = 0
    let errors = ""
    child.stdout?.on("data", (chunk) => {
      seen += String(chunk).split("\n").length - 1
      if (seen >= count) resolve()
    })
    child.stderr?.on("data", (chunk) => {
      errors += chunk
    })
    child.on("close", () => reject(new Error(`it ended after ${seen} lines: ${errors}`)))
  })
