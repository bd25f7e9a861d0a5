/**
 * The time of one target to the first sign of its answer: its first content, or what shows before it that the answer
 * comes (`Life`). `Hedging` measures both targets with it.
 *
 * @since 0.2.0
 */

import type * as Clock from "effect/Clock"
import type * as Hedge from "../../policies/Hedge.js"
import * as Times from "../../policies/Times.js"

/**
 * A stopwatch that runs.
 *
 * @internal
 */
export interface Stopwatch {
  /** The first target has answered with its first sign of life; of the second it is not known yet whether it wins. */
  readonly alive: () => void
  /** The first call reports the time of the first sign, or that there was none until now. */
  readonly stop: (answered: boolean) => void
  readonly stopped: () => boolean
}

/**
 * Measures one side from now on.
 *
 * @internal
 */
export const start = (hedge: Hedge.Hedge, side: Hedge.Side, clock: Clock.Clock): Stopwatch => {
  const began = Times.now(clock)
  let millis: number | undefined
  let stopped = false
  const time = (): number => {
    millis ??= Times.now(clock) - began
    return millis
  }
  const stop = (answered: boolean): void => {
    if (stopped) return
    stopped = true
    if (answered) hedge.answered(side, time())
    else hedge.silent(side, time())
  }
  return {
    alive: () => {
      time()
      if (side === "first") stop(true)
    },
    stop,
    stopped: () => stopped
  }
}
