/**
 * A worker: a gateway whose policies are in the primary.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import { RetryBudgets } from "../../policies/retry/RetryBudget.js"
import { KeyedStore } from "../../policies/Store.js"
import type * as GatewayServer from "../GatewayServer.js"
import * as Launch from "../Launch.js"
import { Shared } from "../Shared.js"
import * as Budgets from "./Budgets.js"
import * as Memory from "./Memory.js"
import * as Places from "./Places.js"
import * as Port from "./Port.js"
import * as RemotePacer from "./RemotePacer.js"
import * as Reports from "./Reports.js"
import * as States from "./States.js"

/** The address that the primary has chosen. */
const Start = Schema.Struct({ port: Schema.Number })

/** The first answer may wait for a primary that starts other workers. In milliseconds. */
const startMillis = 10_000

const ignore = (): void => {}

const line: Effect.Effect<Port.Port> = Effect.sync(() => {
  const port = Port.make((message) => {
    // A line that broke is told by the end of this process.
    if (process.connected) process.send?.(message, undefined, undefined, ignore)
  })
  process.on("message", port.receive)
  // A hang-up of the terminal goes to all processes: the primary passes it on.
  process.on("SIGHUP", ignore)
  return port
})

/**
 * Runs until the primary says so, or a signal comes. Without its primary a worker ends at once: that holds the port.
 *
 * @internal
 */
export const run = <E>(options: Launch.Options<E>) =>
  Effect.gen(function* () {
    const port = yield* line
    const stop = yield* Deferred.make<void>()
    const reloads = yield* Queue.sliding<string>(1)
    const started = yield* Deferred.make<GatewayServer.Running>()
    const reports = Reports.of(port)
    port.on("stop", Schema.Undefined, () => Effect.runFork(Deferred.succeed(stop, undefined)))
    port.on("reload", Schema.String, (why) => void Queue.unsafeOffer(reloads, why))
    const start = yield* Effect.orDie(port.ask("start", undefined, Start, startMillis))
    const context = Context.empty().pipe(
      Context.add(KeyedStore, States.store(port)),
      Context.add(RetryBudgets, Budgets.budgets(port)),
      Context.add(Shared, {
        pacer: RemotePacer.make(port),
        seats: Places.make(port),
        failures: Memory.echo(port),
        metrics: reports.metrics,
        everywhere: reports.everywhere,
        tells: reports.tells
      })
    )
    const ready = Effect.map(Deferred.await(started), ({ url }) => port.note("ready", url))
    yield* Effect.fork(ready)
    const serving = Launch.run({ ...options, port: start.port, reloads }, started).pipe(
      Effect.provide(context),
      Effect.annotateLogs("worker", process.pid)
    )
    const last = Effect.sync(() => {
      reports.end()
      port.flush()
    })
    yield* Effect.ensuring(Effect.raceFirst(serving, Deferred.await(stop)), last)
  }).pipe(
    Effect.zipRight(
      Effect.sync(() => {
        process.disconnect()
      })
    )
  )
