/** A process of the tests that writes to a call log, or holds its lock. It says what it did, a line for each thing. */
import { createClient } from "@libsql/client"
import { Effect } from "effect"
import { Call } from "effect-steadfast"
import { CallLog } from "effect-steadfast/observability"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
import { clientOf } from "./databases.js"
import { scriptedCall } from "./scriptedDay.js"

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
  migrate: () => Effect.runPromise(migrating),
  write: () => Effect.runPromise(writing)
}

await tasks[task]?.()
