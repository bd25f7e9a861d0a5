/**
 * Puts the finished page of the dashboard into `dist`: a module that holds the texts of its script and its style, in the
 * place of the one that bundles them from the sources.
 */
import { rmSync, writeFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { load } from "../src/observability/DashboardAssets.js"

const file = fileURLToPath(new URL("../dist/observability/DashboardAssets.js", import.meta.url))

const text = JSON.stringify(await load())
writeFileSync(file, `const assets = Promise.resolve(${text})\n\nexport const load = () => assets\n`)
rmSync(`${file}.map`)
