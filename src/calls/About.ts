/**
 * The facts about a model that are known before it is asked: its targets, and when it takes traffic.
 *
 * Chat models and embedding models have the same facts. The combinators of both read the keys of circuits and queues
 * and the groups of retry budgets here.
 *
 * @since 0.2.0
 */

import type * as LlmError from "../errors/LlmError.js"
import * as Attempt from "./Attempt.js"

/**
 * The facts about a model.
 *
 * @since 0.2.0
 * @category models
 */
export interface About<T extends Attempt.Target = Attempt.Target> {
  /** All targets that an attempt may go to, the first choice first. */
  readonly targets: readonly [T, ...ReadonlyArray<T>]
  /** The time from which the model takes traffic, in epoch milliseconds, as this process knows it; 0 for now. */
  readonly readyAt: () => number
  /** The earliest time at which the model may take traffic: before `readyAt` while a probe runs that may end soon. */
  readonly soonestAt: () => number
}

/**
 * The time of a leaf, which takes traffic at any time. One function for all leaves keeps the loop over thousands of
 * them fast.
 *
 * @since 0.2.0
 * @category getters
 */
export const always: About["readyAt"] = () => 0

/**
 * The facts about a model that asks `self` first and `that` as a fallback.
 *
 * @since 0.2.0
 * @category combinators
 */
export const either = <T extends Attempt.Target>(self: About<T>, that: About<T>): About<T> => ({
  targets: [...self.targets, ...that.targets],
  readyAt: () => Math.min(self.readyAt(), that.readyAt()),
  soonestAt: () => Math.min(self.soonestAt(), that.soonestAt())
})

/**
 * The retry-budget group of the target that failed.
 *
 * @since 0.2.0
 * @category getters
 */
export const groupIn = ({ targets }: Pick<About, "targets">, error: LlmError.LlmError): string =>
  Attempt.groupOf(
    targets.find(
      ({ model, provider }) => provider === error.provider && (error.model === undefined || model === error.model)
    ) ?? targets[0]
  )

/** The name of a target's circuit and queue, without its key. */
const placeOf = (target: Attempt.Target): string => `${Attempt.groupOf(target)} ${target.model}`

/**
 * The default key of a model's circuit and queue: provider and base URL, model name, and a hash of the API key.
 *
 * @since 0.2.0
 * @category getters
 */
export const keyOf = ({ targets: [target] }: Pick<About, "targets">): string =>
  target.key === undefined ? placeOf(target) : `${placeOf(target)} #${target.key}`

/**
 * Whether a model sends to one target with several keys, as a pool does.
 *
 * @since 0.2.0
 * @category getters
 */
export const hasManyKeys = ({ targets }: Pick<About, "targets">): boolean => {
  const keys = new Map<string, string | undefined>()
  for (const target of targets) {
    const place = placeOf(target)
    if (!keys.has(place)) keys.set(place, target.key)
    else if (keys.get(place) !== target.key) return true
  }
  return false
}
