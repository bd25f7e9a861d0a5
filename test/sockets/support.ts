import { HttpClient } from "@effect/platform"
import { assert, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Layer, Logger, Scope } from "effect"
import { FaultyProvider, type Step } from "effect-steadfast/testing"
import { clients, modelAt } from "./clients.js"

export { clients, modelAt }

const quiet = Logger.remove(Logger.defaultLogger)

/**
 * One test on a real socket for each client.
 */
export const onEveryClient = (
  name: string,
  test: () => Effect.Effect<void, unknown, HttpClient.HttpClient | Scope.Scope>
): void => {
  for (const [client, layer] of clients) {
    it.scopedLive(`${name} (${client})`, () => Effect.provide(test(), Layer.merge(layer, quiet)))
  }
}

/**
 * A server with these steps, and a model that asks it.
 */
export const served = (...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const server = yield* FaultyProvider.serve({ script })
    return { server, model: yield* modelAt(server.url) }
  })

/**
 * Milliseconds. A client that hangs up takes one or two; without a hang-up a server waits without end. Half of the shortest
 * time after which a model here gives up by itself, which leaves room for a busy machine.
 */
export const patience = 30_000

/**
 * The server is through with every request, or saw its client hang up, before long.
 */
export const nobodyOnTheLine = (server: FaultyProvider.Control) =>
  server
    .until((requests) => requests.every((request) => request.hungUp || request.finishedAt !== undefined))
    .pipe(
      Effect.timeoutFail({ duration: patience, onTimeout: () => new Error("a request was left open") }),
      Effect.orDie
    )

/**
 * Interrupts once the server has been asked and `ready`, and tells after how many milliseconds it saw the hang-up.
 */
export const hangUp = (
  server: FaultyProvider.Control,
  effect: Effect.Effect<unknown, unknown>,
  ready: Effect.Effect<void> = Effect.asVoid(server.until((requests) => requests.length > 0))
) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(effect)
    yield* ready
    const left = yield* Clock.currentTimeMillis
    yield* Fiber.interruptFork(fiber)
    const [request] = yield* nobodyOnTheLine(server)
    assert.isTrue(request?.hungUp)
    return (request?.hungUpAt ?? Number.POSITIVE_INFINITY) - left
  })
