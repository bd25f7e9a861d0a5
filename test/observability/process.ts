/** A process of the tests that writes to a call log, or holds its lock. It says what it did, a line for each thing. */
import { createClient } from "@libsql/client"
import { Effect, Layer } from "effect"
import { Call } from "effect-steadfast"
import { CallLog } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { clientOf } from "./databases.js"
import { scriptedCall } from "./scriptedDay.js"
import { collectGarbage } from "./support.js"

const [, , task = "", file = "", argument = "1"] = process.argv

const say = (line: string): void => void process.stdout.write(`${line}\n`)

const day = Date.UTC(2026, 10, 28)

/** Writes records until it is killed, and says how many are written. */
const writing = Effect.gen(function* () {
  const [observer] = yield* Call.Observers
  const log = yield* CallLog.CallLog
  const size = 1 + (Number(argument) % 60)
  for (let count = 0; observer !== undefined; ) {
    for (let n = 0; n < size; n++) yield* observer(scriptedCall(count++, Number(argument), day).record)
    yield* log.flush
    say(String(count))
  }
}).pipe(Effect.provide(CallLog.layerFrom(clientOf(file), { batchSize: 40, keep: Number.POSITIVE_INFINITY })))

/** Deletes all that is older than an instant, until it is killed. */
const deleting = Effect.sync(() => say("deletes")).pipe(
  Effect.zipRight(Effect.never),
  Effect.provide(CallLog.layerFrom(clientOf(file), { keep: 1 }))
)

/**
 * Hands so many records to a call log, and says what memory it took when a tenth of them was through, and at the end:
 * the heap after a collection, and the most that the process ever had.
 */
const measuring = (count: number, url: string) =>
  Effect.gen(function* () {
    const [observer] = yield* Call.Observers
    const log = yield* CallLog.CallLog
    if (observer === undefined) return
    const portion = Math.min(count / 20, 5000)
    const some = Array.from({ length: 1000 }, (_, index) => scriptedCall(index, 1, day).record)
    const heaps: Array<number> = []
    const started = performance.now()
    for (let from = 0; from < count; from += portion) {
      for (let n = 0; n < portion; n++) {
        const one = some[n % some.length]
        if (one !== undefined) yield* observer({ ...one, id: `call-${from + n}` })
      }
      if (url !== "away") yield* log.flush
      if ((from + portion) % (count / 20) === 0) heaps.push(collectGarbage() / 1e6)
    }
    const { maxRSS } = process.resourceUsage()
    const seconds = (performance.now() - started) / 1000
    say(
      JSON.stringify({
        ...(yield* log.stats),
        early: heaps[1],
        late: heaps.at(-1),
        most: Math.max(...heaps),
        rss: maxRSS / 1000,
        seconds
      })
    )
    process.exit()
  }).pipe(
    Effect.provide(
      CallLog.layerFrom(url === "away" ? Layer.fail("ECONNREFUSED") : clientOf(url), { keep: Number.POSITIVE_INFINITY })
    )
  )

/** Holds the lock of the file for a time. */
const holding = async (): Promise<void> => {
  const client = createClient({ url: `file:${file}`, timeout: 5000 })
  const transaction = await client.transaction("write")
  say("held")
  await new Promise((resolve) => setTimeout(resolve, Number(argument)))
  await transaction.rollback()
  client.close()
}

/** Makes the tables. */
const migrating = Effect.provide(
  Effect.flatMap(CallLog.CallLog, (log) => log.flush),
  CallLogLibsql.layer({ file })
)

const tasks: Readonly<Record<string, () => Promise<void>>> = {
  delete: () => Effect.runPromise(deleting),
  hold: holding,
  memory: () => Effect.runPromise(measuring(Number(argument), file)),
  migrate: () => Effect.runPromise(migrating),
  write: () => Effect.runPromise(writing)
}

await tasks[task]?.()
