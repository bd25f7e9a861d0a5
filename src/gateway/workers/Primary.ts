/**
 * The primary: it starts the workers and holds what they share, but serves no request itself.
 *
 * @since 0.2.0
 */

import cluster, { type Worker } from "node:cluster"
import { type AddressInfo, createServer } from "node:net"
import * as Data from "effect/Data"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import type { Config } from "../config/Resolved.js"
import { ListenError } from "../GatewayServer.js"
import * as Launch from "../Launch.js"
import * as Observed from "../Observed.js"
import * as Budgets from "./Budgets.js"
import * as Memory from "./Memory.js"
import * as Port from "./Port.js"
import * as Queues from "./Queues.js"
import * as Reports from "./Reports.js"
import * as Restarts from "./Restarts.js"
import * as Seats from "./Seats.js"
import * as States from "./States.js"

/**
 * The workers die as fast as they are started.
 *
 * @since 0.2.0
 * @category errors
 */
export class WorkersDied extends Data.TaggedError("WorkersDied")<{ readonly message: string }> {}

/** After `server.drain` a worker has so long to write its log, in milliseconds. Then it is killed. */
const lastMillis = 5000

/** After the first worker serves, the others have so long until the gateway is told of. */
const startTime = "10 seconds"

/** A free port for all workers: a worker that is started later must find the same. */
const freePort = (host: string): Effect.Effect<number, ListenError> =>
  Effect.async((resume) => {
    const server = createServer()
    server.once("error", (cause) => resume(Effect.fail(new ListenError({ host, port: 0, cause }))))
    server.listen({ host, port: 0 }, () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resume(Effect.succeed(port)))
    })
  })

/** What all workers share, and the lines to them. */
const shared = () => {
  const ports = new Set<Port.Port>()
  const others = (port: Port.Port) => [...ports].filter((other) => other !== port)
  const tell = (op: string, body?: unknown): void => {
    for (const port of ports) port.note(op, body)
  }
  const states = States.table()
  const queues = Queues.make((ready) => tell("ready-at", ready))
  const budgets = Budgets.make()
  const seats = Seats.make()
  const memory = Memory.make(others)
  const reports = Reports.make(() => ports, seats.used)

  /** Serves a worker on a line. Returns what to do when it is gone. */
  const serve = (port: Port.Port): (() => void) => {
    states.serve(port)
    budgets.serve(port)
    const ends = [queues.serve(port), seats.serve(port), reports.serve(port)]
    memory.serve(port)
    ports.add(port)
    return () => {
      ports.delete(port)
      port.close()
      for (const end of ends) end()
    }
  }
  return { serve, tell, reload: memory.clear }
}

interface Started {
  readonly worker: Worker
  readonly ready: Deferred.Deferred<string>
  readonly isReady: () => boolean
  readonly ended: Deferred.Deferred<string>
}

const endOf = (code: number | null, signal: string | null): string =>
  signal === null ? `ended with code ${code}` : `was ended by ${signal}`

const ignore = (): void => {}

/** Starts a worker. */
const fork = ({ serve }: ReturnType<typeof shared>, port: number): Effect.Effect<Started> =>
  Effect.gen(function* () {
    const ready = yield* Deferred.make<string>()
    const ended = yield* Deferred.make<string>()
    return yield* Effect.sync(() => {
      const worker = cluster.fork()
      const line = Port.make((message) => {
        if (worker.isConnected()) worker.send(message as object, ignore)
      })
      // A line that breaks is told by the end of the worker.
      worker.on("error", ignore)
      worker.on("message", line.receive)
      line.on("start", Schema.Undefined, (_, reply) => reply({ port }))
      let isReady = false
      line.on("ready", Schema.String, (url) => {
        isReady = true
        Effect.runFork(Deferred.succeed(ready, url))
      })
      const end = serve(line)
      worker.once("exit", (code, signal) => {
        end()
        Effect.runFork(Deferred.succeed(ended, endOf(code, signal)))
      })
      return { worker, ready, isReady: () => isReady, ended }
    })
  })

/**
 * Runs until it is interrupted; then all workers end in order. Fails if the first worker does not start, or if workers
 * die again and again.
 *
 * @internal
 */
export const run = <E>(options: Launch.Options<E>, workers: number) =>
  Effect.gen(function* () {
    const config = yield* options.read
    return yield* Effect.provide(serving(options, config, workers), Observed.logging(config.observability))
  })

const serving = <E>(options: Launch.Options<E>, first: Config, workers: number) =>
  Effect.gen(function* () {
    let config = first
    const { host = config.server.host, port: wanted = config.server.port } = options
    const port = wanted === 0 ? yield* freePort(host) : wanted
    // Workers accept connections themselves: one that the primary hands to a worker that dies would hang. To be set
    // before the rest, which freezes it.
    cluster.schedulingPolicy = cluster.SCHED_NONE
    cluster.setupPrimary({ serialization: "advanced" })
    const all = shared()
    const running = new Set<Started>()
    let stops = false
    let deaths = Restarts.none

    const serving = (): number => [...running].filter(({ isReady }) => isReady()).length
    const start = Effect.tap(fork(all, port), (started) =>
      Effect.sync(() => {
        running.add(started)
      })
    )
    /** Waits for the end of a worker. */
    const end = (started: Started): Effect.Effect<string> =>
      Effect.tap(Deferred.await(started.ended), () =>
        Effect.sync(() => {
          running.delete(started)
        })
      )
    /** Keeps a worker alive: it is started again when it ends. */
    const keep = (started: Started, before = Restarts.none): Effect.Effect<never, WorkersDied> =>
      Effect.gen(function* () {
        const how = yield* end(started)
        if (stops) return yield* Effect.never
        const now = performance.now()
        deaths = Restarts.died(deaths, now)
        const own = Restarts.died(before, now)
        const { pid } = started.worker.process
        if (Restarts.isHopeless(deaths, workers, serving())) {
          return yield* new WorkersDied({ message: `worker ${pid} ${how}; too many have died, giving up` })
        }
        const wait = Restarts.waitOf(own)
        yield* Effect.logError(`worker ${pid} ${how}; another one starts in ${wait} ms`)
        yield* Effect.sleep(wait)
        return yield* Effect.flatMap(start, (next) => keep(next, own))
      })

    /** Ends all workers, each within its time to drain. */
    const drain = Effect.suspend(() => {
      stops = true
      all.tell("stop")
      const rest = Effect.forEach([...running], ({ ended }) => Deferred.await(ended), { concurrency: "unbounded" })
      const limit = Duration.sum(config.server.drain, Duration.millis(lastMillis))
      return Effect.map(Effect.timeoutOption(rest, limit), (ended) => {
        if (Option.isSome(ended)) return
        for (const { worker } of running) worker.process.kill("SIGKILL")
      })
    })
    // A signal to reload must not end a gateway that is stopping.
    const queue = yield* Launch.reloads(options.file)
    const stopping = Effect.suspend(() => Effect.logInfo(`stopping: ${running.size} workers`))
    yield* Effect.addFinalizer(() => (running.size === 0 ? Effect.void : Effect.zipRight(stopping, drain)))

    const one = yield* start
    const url = yield* Effect.raceFirst(
      Deferred.await(one.ready),
      Effect.flatMap(end(one), (how) => new WorkersDied({ message: `the first worker ${how}` }))
    )
    const rest = yield* Effect.forEach(Array.from({ length: workers - 1 }), () => start)
    const announced = Effect.gen(function* () {
      const all = Effect.forEach(rest, ({ ready }) => Deferred.await(ready), { concurrency: "unbounded" })
      yield* Effect.timeoutOption(all, startTime)
      yield* Effect.logInfo(`gateway: ${url}, ${workers} workers`)
      yield* Launch.summary(config)
    })
    const reloading = Effect.flatMap(Queue.take(queue), (why) =>
      Effect.gen(function* () {
        // Each worker reads the file itself; one that cannot be read is not passed on.
        const next = yield* options.read
        all.tell("reload", why)
        all.reload()
        yield* Launch.changed(config, next, why)
        config = next
      }).pipe(Launch.notReloaded(why))
    )
    const kept = Effect.forEach([one, ...rest], (started) => keep(started), { concurrency: "unbounded", discard: true })
    return yield* Effect.raceFirst(kept, Effect.zipRight(announced, Effect.forever(reloading)))
  }).pipe(Effect.scoped)
