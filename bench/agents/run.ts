/**
 * The same agent on Steadfast, the AI SDK and @effect/ai: its lines, and what becomes of it when the third of its ten
 * answers fails once. Ten answers: nine pay an order back, the last one says so.
 *
 *   npm run agents
 */
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { Effect } from "effect"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import type { Shop } from "./shop.js"

interface Program {
  readonly whole: (shop: Shop) => Promise<string>
  readonly streamed: (shop: Shop) => Promise<string>
}

const programs: ReadonlyArray<readonly [name: string, file: string, program: Program]> = [
  ["Steadfast", "steadfast.ts", await import("./steadfast.js")],
  ["AI SDK", "aiSdk.ts", await import("./aiSdk.js")],
  ["@effect/ai", "effectAi.ts", await import("./effectAi.js")]
]

/** The lines of a program without imports, blank lines and its other face. */
const linesOf = (file: string): number => {
  const source = readFileSync(fileURLToPath(new URL(file, import.meta.url)), "utf8")
  const withoutStream = source.slice(0, source.indexOf("export const streamed"))
  return withoutStream.split("\n").filter((line) => line.trim() !== "" && !line.startsWith("import ")).length
}

const answer = "All nine are paid back."
const calling = (order: number) => Reply.toolCall({ name: "refund", id: `call_${order}`, arguments: { order } })
const orders = [1, 2, 3, 4, 5, 6, 7, 8, 9]

const faults: ReadonlyArray<readonly [name: string, isStream: boolean, fault: Step.Step | undefined]> = [
  ["nothing fails", false, undefined],
  ["429, come back in 1 s", false, Fault.rateLimited({ retryAfter: "1 second" })],
  ["503", false, Fault.status(503)],
  ["a body that is cut", false, Fault.resetInBody({ reply: calling(3) })],
  ["nothing fails, streamed", true, undefined],
  ["429, streamed", true, Fault.rateLimited({ retryAfter: "1 second" })],
  ["a stream that breaks off", true, Fault.resetInBody({ reply: calling(3) })],
  ["a stream that ends too early", true, Fault.earlyEnd({ reply: calling(3) })]
]

const within = (seconds: number, run: Promise<string>): Promise<string> =>
  Promise.race([
    run,
    new Promise<string>((_, reject) => setTimeout(() => reject(new Error("no end")), seconds * 1000).unref())
  ])

const outcome = (program: Program, isStream: boolean, fault: Step.Step | undefined) =>
  Effect.gen(function* () {
    const script = orders.flatMap((order) => (order === 3 && fault ? [fault, calling(order)] : [calling(order)]))
    const provider = yield* FaultyProvider.serve({ script: [...script, Reply.text(answer)] })
    const paid: Array<number> = []
    const shop: Shop = {
      baseUrl: `${provider.url}/v1`,
      refund: (order) => {
        paid.push(order)
        return "paid back"
      }
    }
    const run = within(60, isStream ? program.streamed(shop) : program.whole(shop))
    const text = yield* Effect.promise(() => run.catch((error: unknown) => `${error}`.slice(0, 70)))
    const requests = (yield* provider.requests).length
    const isDone = text === answer && new Set(paid).size === 9
    const twice = paid.length - new Set(paid).size
    const words = isDone ? "done" : `LOST after ${paid.length} orders`
    return `${words}${twice > 0 ? `, ${twice} paid twice` : ""}, ${requests} requests${isDone ? "" : ` (${text})`}`
  }).pipe(Effect.scoped)

/** The programs log as they like: here only the table is shown. */
const print = (line: string): void => void process.stdout.write(`${line}\n`)
console.log = () => {}

print("lines of the whole agent, imports left out")
for (const [name, file] of programs) print(`  ${name.padEnd(12)} ${linesOf(file)}`)
for (const [fault, isStream, step] of faults) {
  print(`the third of ten answers: ${fault}`)
  for (const [name, , program] of programs) {
    print(`  ${name.padEnd(12)} ${await Effect.runPromise(outcome(program, isStream, step))}`)
  }
}
process.exit(0)
