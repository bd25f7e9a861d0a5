/**
 * Runs a gateway from its file: reads it, listens, reloads on SIGHUP and when the file changes, and ends in order.
 *
 * @since 0.2.0
 */

import { unwatchFile, watchFile } from "node:fs"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as NodeTransport from "../node/NodeTransport.js"
import type { Config } from "./config/Resolved.js"
import * as Gateway from "./Gateway.js"
import * as GatewayServer from "./GatewayServer.js"
import * as Observed from "./Observed.js"
import * as Unpriced from "./Unpriced.js"

/**
 * The options of {@link run}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<E> {
  /** The configuration, read anew each time. */
  readonly read: Effect.Effect<Config, E>
  /** The file that is watched. Default: none. */
  readonly file?: string | undefined
  /** The address to listen on. Default: that of the configuration. */
  readonly host?: string | undefined
  /** The port, 0 for a free one. Default: that of the configuration. */
  readonly port?: number | undefined
  /**
   * When to read the file again, where another process hears of it and tells the user how the gateway is.
   *
   * @internal
   */
  readonly reloads?: Queue.Dequeue<string> | undefined
}

/** How often the file is looked at. A watch of the system misses files that are replaced. */
const watchMillis = 1000

/**
 * Tells when to read the file again.
 *
 * @internal
 */
export const reloads = (file: string | undefined): Effect.Effect<Queue.Dequeue<string>, never, Scope.Scope> =>
  Effect.gen(function* () {
    // Several changes at once are one.
    const queue = yield* Queue.sliding<string>(1)
    const onSignal = (): void => void Queue.unsafeOffer(queue, "SIGHUP")
    const onChange = (now: { readonly mtimeMs: number }, before: { readonly mtimeMs: number }): void => {
      if (now.mtimeMs !== before.mtimeMs && now.mtimeMs !== 0) Queue.unsafeOffer(queue, "the file changed")
    }
    yield* Effect.acquireRelease(
      Effect.sync(() => {
        process.on("SIGHUP", onSignal)
        if (file !== undefined) watchFile(file, { interval: watchMillis }, onChange)
      }),
      () =>
        Effect.sync(() => {
          process.off("SIGHUP", onSignal)
          if (file !== undefined) unwatchFile(file, onChange)
        })
    )
    return queue
  })

/** Settings that a running gateway keeps. */
const kept = (before: Config, next: Config): ReadonlyArray<string> =>
  [
    before.server.host !== next.server.host || before.server.port !== next.server.port ? "server.host and port" : "",
    JSON.stringify(before.server.requestTimeout) !== JSON.stringify(next.server.requestTimeout)
      ? "server.requestTimeout"
      : "",
    before.server.maxConnections !== next.server.maxConnections ? "server.maxConnections" : "",
    JSON.stringify(before.server.keepAlive) !== JSON.stringify(next.server.keepAlive) ? "server.keepAlive" : "",
    JSON.stringify(before.prices) !== JSON.stringify(next.prices) ? "prices" : "",
    // JSON shows nothing of what is redacted.
    JSON.stringify(before.observability) !== JSON.stringify(next.observability) ||
    !Equal.equals(before.observability.callLog, next.observability.callLog)
      ? "observability"
      : ""
  ].filter((name) => name !== "")

/**
 * Tells what a configuration serves.
 *
 * @internal
 */
export const summary = (config: Config): Effect.Effect<void> =>
  Effect.gen(function* () {
    const { keys, models, notes, server } = config
    const names = models.map(({ name }) => name).join(", ")
    yield* Effect.logInfo(`models: ${names}`)
    if (keys.length === 0) {
      const who = server.open ? "whoever reaches the port" : "the programs of this machine"
      yield* Effect.logWarning(`no client keys: ${who} may ask`)
    }
    for (const note of [...notes, ...(yield* Unpriced.lines(config))]) yield* Effect.logWarning(note)
  })

/**
 * Tells of a configuration that came into force.
 *
 * @internal
 */
export const changed = (before: Config, next: Config, why: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    yield* Effect.logInfo(`reloaded (${why}); running requests end by the configuration before`)
    const stays = kept(before, next)
    if (stays.length > 0) yield* Effect.logWarning(`${stays.join(", ")}: changed, and in force after a restart`)
    yield* summary(next)
  })

/**
 * A reload that failed changes nothing.
 *
 * @internal
 */
export const notReloaded =
  (why: string) =>
  <E>(self: Effect.Effect<void, E>): Effect.Effect<void> =>
    Effect.catchAllCause(self, (cause) => {
      const failure = Option.getOrUndefined(Cause.failureOption(cause))
      // A mistake in the file is told in words; a trace is for a bug.
      return Effect.logError(
        `not reloaded (${why}); the configuration before stays`,
        failure instanceof Error ? failure.message : cause
      )
    })

const reloaded = <E>(gateway: Gateway.Gateway, options: Options<E>, why: string): Effect.Effect<void> =>
  Effect.gen(function* () {
    const next = yield* options.read
    const before = gateway.config()
    yield* gateway.reload(next)
    if (options.reloads === undefined) yield* changed(before, next, why)
  }).pipe(notReloaded(why))

/**
 * Runs until it is interrupted; then no new connections are taken, running answers end within `server.drain`, and the
 * call log is written. `started` hears of the address.
 *
 * @since 0.2.0
 * @category running
 */
export const run = <E>(options: Options<E>, started?: Deferred.Deferred<GatewayServer.Running>) =>
  Effect.gen(function* () {
    const config = yield* options.read
    const serving = Effect.gen(function* () {
      const gateway = yield* Gateway.make(config)
      const running = yield* GatewayServer.listen(gateway, options)
      // A signal to reload must not end a gateway that is stopping.
      const queue = options.reloads ?? (yield* reloads(options.file))
      yield* Effect.addFinalizer(() =>
        Effect.logInfo(`stopping: ${gateway.running()} requests run`).pipe(
          Effect.zipRight(running.drain),
          Effect.zipRight(Effect.suspend(() => Effect.logInfo(`stopped: ${gateway.running()} requests broken off`)))
        )
      )
      if (options.reloads === undefined) {
        yield* Effect.logInfo(`gateway: ${running.url}`)
        yield* summary(config)
      }
      if (started !== undefined) yield* Deferred.succeed(started, running)
      return yield* Effect.forever(Effect.flatMap(Queue.take(queue), (why) => reloaded(gateway, options, why)))
    })
    const layers = Layer.merge(Observed.layer(config), NodeTransport.layer)
    return yield* Effect.provide(Effect.scoped(serving), layers)
  })
