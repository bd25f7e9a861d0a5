/**
 * `npm run runtimes`: what a caller sees of every case of `runtimes/Cases.ts`, on every runtime and client, measured with
 * the package as it is built, and written to `docs/runtimes.md`. The runtimes come from the npm registry, into a
 * temporary folder that is kept for the next time.
 */
import { execFileSync } from "node:child_process"
import { mkdirSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { build } from "esbuild"
import { page, type Row } from "./runtimes/Page.js"
import { measuredBy, start } from "./runtimes/Servers.js"

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))
const folder = join(tmpdir(), "steadfast-runtimes")
const packages = [
  "node20@npm:node@20",
  "node22@npm:node@22",
  "node24@npm:node@24",
  "node26@npm:node@26",
  "bun@1",
  "deno@2"
]

const runtimes: ReadonlyArray<readonly [name: string, command: string, args: ReadonlyArray<string>]> = [
  ["Node", "node20/bin/node", []],
  ["Node", "node22/bin/node", []],
  ["Node", "node24/bin/node", []],
  ["Node", "node26/bin/node", []],
  ["Bun", ".bin/bun", []],
  ["Deno", ".bin/deno", ["run", "--allow-all", "--quiet"]]
]

mkdirSync(folder, { recursive: true })
execFileSync("npm", ["install", "--prefix", folder, "--no-audit", "--no-fund", "--no-save", ...packages], {
  stdio: ["ignore", "ignore", "inherit"]
})

const subject = here("runtimes/.out/Subject.mjs")
await build({
  entryPoints: [here("runtimes/Subject.ts")],
  outfile: subject,
  bundle: true,
  packages: "external",
  platform: "node",
  format: "esm",
  // The package as it is built, and not its sources, which `paths` name.
  tsconfigRaw: {}
})

const rows: Array<Row> = []
for (const [name, bin, args] of runtimes) {
  const command = join(folder, "node_modules", bin)
  const version = /\d+\.\d+\.\d+/.exec(execFileSync(command, ["--version"], { encoding: "utf8" }))?.[0] ?? "?"
  // Servers of their own: no runtime finds what another has left.
  const { places, stop } = await start()
  try {
    rows.push({ name, version, measured: await measuredBy(command, [...args, subject], places, here("..")) })
  } finally {
    await stop()
  }
  console.log(`${name} ${version}`)
}
writeFileSync(here("../docs/runtimes.md"), page(rows))
process.exit(0)
