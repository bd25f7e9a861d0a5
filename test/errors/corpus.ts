/** Runs recorded failures through the classifier: `npm run corpus -- FILE`, the project's own by default. */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { evaluate, misses, parseCase } from "./evaluate.js"

const file = process.argv[2] ?? fileURLToPath(new URL("../fixtures/errors.jsonl", import.meta.url))
const wrong = { class: 0, retryable: 0, hint: 0 }
let total = 0
let exact = 0
let unreadable = 0

readFileSync(file, "utf8")
  .split("\n")
  .forEach((line, index) => {
    if (line.trim() === "") return
    try {
      const test = parseCase(line)
      const got = evaluate(test)
      total++
      if (got.label === test.expected) exact++
      for (const miss of misses(test, got)) {
        wrong[miss.what]++
        console.log(`${test.id}: ${miss.what}: expected ${miss.expected}, got ${miss.got}`)
      }
    } catch (error) {
      unreadable++
      console.log(`line ${index + 1}: ${error instanceof Error ? error.message : String(error)}`)
    }
  })

const share = (misses: number): string =>
  `${total - misses}/${total} (${total === 0 ? "–" : ((100 * (total - misses)) / total).toFixed(1)} %)`

console.log(`cases      ${total}${unreadable > 0 ? `, and ${unreadable} unreadable lines` : ""}`)
console.log(`class      ${share(wrong.class)}, of them ${exact} the first choice`)
console.log(`retryable  ${share(wrong.retryable)}`)
console.log(`hint       ${share(wrong.hint)}`)
process.exitCode = wrong.class + wrong.retryable + wrong.hint + unreadable > 0 ? 1 : 0
