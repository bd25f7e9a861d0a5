/**
 * The observers of ended calls.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { CallRecord } from "./CallRecord.js"

/**
 * Gets the record of each call that ends.
 *
 * @since 0.2.0
 * @category models
 */
export type Observer = (record: CallRecord) => Effect.Effect<void>

/**
 * The observers of ended calls.
 *
 * @since 0.1.0
 * @category context
 */
export class Observers extends Context.Reference<Observers>()("steadfast/Call/Observers", {
  defaultValue: (): ReadonlyArray<Observer> => []
}) {}

/**
 * One list for all layers that are built together. Each of them gives this list: side by side in `Layer.merge` the last
 * one would hide the others.
 */
const together: Layer.Layer<never> = Layer.effectContext(
  Effect.map(Observers, (outer) => Context.make(Observers, [...outer]) as Context.Context<never>)
)

/**
 * Adds an observer. If it dies, a warning is logged and the call is unaffected. The call waits for it, and nothing
 * interrupts it: work that takes time belongs into a queue and a fiber of its own.
 *
 * @since 0.1.0
 * @category layers
 */
export const observe = (observer: Observer): Layer.Layer<never> =>
  Layer.scopedContext(
    Effect.flatMap(Observers, (shared) => {
      const list = shared as Array<Observer>
      return Effect.as(
        Effect.acquireRelease(
          Effect.sync(() => list.push(observer)),
          () => Effect.sync(() => list.splice(list.indexOf(observer), 1))
        ),
        Context.make(Observers, list) as Context.Context<never>
      )
    })
  ).pipe(Layer.provide(together))
