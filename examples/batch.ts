// A batch survives an outage and a restart: 400 rows, 32 at a time. Each answer is written at once, so a run resumes.
import { appendFileSync, existsSync, mkdtempSync, readFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Fiber, Logger, LogLevel } from "effect"
import { Chat, OpenAi, Resilient, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const up = { script: [Reply.text("a summary", { delay: "40 millis" })] }
const down = { script: [Fault.status(503)] }
const rows = Array.from({ length: 400 }, (_, row) => ({ id: `row-${row}`, text: `Document ${row}` }))

/** Summarizes the rows that the file lacks, and appends each answer as a line of JSON. */
const summarize = (file: string) =>
  Effect.gen(function* () {
    const lines = existsSync(file) ? readFileSync(file, "utf8").trim().split("\n") : []
    const done = new Set(lines.map((line) => JSON.parse(line).id))
    const open = rows.filter(({ id }) => !done.has(id))
    console.log(`${done.size} of ${rows.length} rows are done, ${open.length} to do`)
    const model = yield* Resilient.make(yield* OpenAi.make({ model: "gpt-4o-mini" }), {
      retry: RetryPolicy.patient,
      deadline: "30 minutes"
    })
    let answered = 0
    const one = ({ id, text }: (typeof rows)[number]) =>
      Effect.map(model.generate(Chat.prompt(`Summarize: ${text}`)), (answer) => {
        appendFileSync(file, `${JSON.stringify({ id, summary: answer.text })}\n`)
        answered += 1
      })
    const progress = Effect.repeatN(
      Effect.delay(
        Effect.sync(() => console.log(`  ${done.size + answered} of ${rows.length}`)),
        "1 second"
      ),
      60
    )
    yield* Effect.raceFirst(Effect.forEach(open, one, { concurrency: 32, discard: true }), progress)
    console.log(`all ${done.size + answered} rows are done`)
  })

const program = Effect.gen(function* () {
  const provider = yield* FaultyProvider.FaultyProvider
  const file = join(mkdtempSync(join(tmpdir(), "batch-")), "summaries.jsonl")
  console.log("The first run is stopped after a fifth of a second:")
  const first = yield* Effect.fork(summarize(file))
  yield* Effect.sleep("200 millis")
  yield* Fiber.interrupt(first)

  console.log("The second run goes on, and the model goes down for three seconds:")
  yield* Effect.forkDaemon(Effect.delay(provider.become(down), "100 millis"))
  yield* Effect.forkDaemon(Effect.delay(provider.become(up), "3100 millis"))
  yield* summarize(file)

  const requests = yield* provider.requests
  const written = new Set(readFileSync(file, "utf8").trim().split("\n")).size
  console.log(`${written} lines in the file, ${requests.length} requests for ${rows.length} rows`)
})

const quiet = Logger.withMinimumLogLevel(LogLevel.None)
await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer(up)), quiet))
