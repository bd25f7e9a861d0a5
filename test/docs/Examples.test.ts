import { execFile } from "node:child_process"
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { assert, it } from "vitest"
import { type Block, blocksOf, examplesOf, pages, root, sources } from "./blocks.js"

const run = promisify(execFile)

/** Strict as the project, but an example may name a value that it does not use. */
const config = {
  extends: join(root, "tsconfig.json"),
  compilerOptions: { noUnusedLocals: false },
  include: ["**/*.ts"]
}

/** Errors of one run of the compiler over all blocks, each block a module, with the line numbers of the files they are from. */
const compile = async (blocks: ReadonlyArray<Block>): Promise<string> => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "steadfast-docs-")))
  try {
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"))
    writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module" }))
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
    for (const { file, line, code } of blocks) {
      const path = join(folder, `${file}.${line}.ts`)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, `${"\n".repeat(line - 1)}${code}\nexport {}\n`)
    }
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc")
    return await run(process.execPath, [tsc, "-p", folder, "--pretty", "false"], { cwd: folder }).then(
      () => "",
      (error: { readonly stdout?: string; readonly stderr?: string }) => `${error.stdout ?? ""}${error.stderr ?? ""}`
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

it("every TypeScript block of README and docs/ and every @example of src compiles; a wrong one is told, with its line", async () => {
  const blocks = [...pages.flatMap(blocksOf), ...sources.flatMap(examplesOf)]
  assert.isAbove(pages.flatMap(blocksOf).length, pages.length - 2)
  assert.isAbove(sources.flatMap(examplesOf).length, 10)
  const wrong = { file: "docs/wrong.md", line: 7, code: 'const n: number = "text"' }
  const errors = (await compile([...blocks, wrong])).trim().split("\n")
  assert.match(errors[0] ?? "", /docs\/wrong\.md\.7\.ts\(7,7\): error TS2322/)
  assert.deepStrictEqual(errors.slice(1), [])
}, 120_000)
