/**
 * `npm run bench`, or `npm run bench -- retry call` for some of it. What is measured is bundled code, as it is shipped: a
 * runner of TypeScript gives every function its name again each time that it is made.
 */
import { cpus } from "node:os"
import * as call from "./call.js"
import * as composition from "./composition.js"
import * as retry from "./retry.js"
import * as steps from "./steps.js"
import * as streams from "./streams.js"
import * as traffic from "./traffic.js"

const all = { steps, retry, composition, traffic, call, streams }
const asked = process.argv.slice(2)

console.log(`Node ${process.version}, ${cpus()[0]?.model ?? "unknown processor"}; lower deciles of interleaved rounds`)
for (const [name, { run }] of Object.entries(all)) {
  if (asked.length === 0 || asked.includes(name)) await run()
}
