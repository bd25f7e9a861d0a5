/** A process of the tests that writes to a call log, or holds its lock. It says what it did, a line for each thing. */
import { createClient } from "@libsql/client"
import { Effect } from "effect"
import { Call } from "effect-steadfast"
import { CallLog } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { scriptedDay } from "./scriptedDay.js"

const [, , task = "", file = "", seed = "1"] = process.argv

const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Writes records until it is killed, and says the ids of those that are written. */
const writing = Effect.gen(function* () {
  const [observer] = yield* Call.Observers
  const log = yield* CallLog.CallLog
  const records = scriptedDay(100_000, Number(seed)).map(({ record }) => record)
  for (let from = 0; observer !== undefined && from < records.length; from += 50) {
    const some = records.slice(from, from + 50)
    yield* Effect.forEach(some, observer, { discard: true })
    yield* log.flush
    say(some.map(({ id }) => id).join(" "))
  }
}).pipe(Effect.provide(CallLogLibsql.layer({ file, batchSize: 50, keep: Number.POSITIVE_INFINITY })))

/** Holds the lock of the file for a time. */
const holding = async (): Promise<void> => {
  const client = createClient({ url: `file:${file}`, timeout: 5000 })
  const transaction = await client.transaction("write")
  say("held")
  await new Promise((resolve) => setTimeout(resolve, Number(seed)))
  await transaction.rollback()
  client.close()
}

/** Makes the tables. */
const migrating = Effect.provide(
  Effect.flatMap(CallLog.CallLog, (log) => log.flush),
  CallLogLibsql.layer({ file })
)

await (task === "hold" ? holding() : Effect.runPromise(task === "write" ? writing : migrating))
