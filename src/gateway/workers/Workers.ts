/**
 * A gateway of several processes on one port.
 *
 * The first process, the primary, holds the port and what all share, and starts a worker again that dies. A worker is a
 * gateway that asks the primary for places, circuits, budgets and money.
 *
 * @since 0.2.0
 */

import cluster from "node:cluster"
import * as Effect from "effect/Effect"
import type * as Launch from "../Launch.js"
import * as Primary from "./Primary.js"
import * as Worker from "./Worker.js"

/**
 * Runs as the primary, or in a process that the primary started as a worker.
 *
 * @since 0.2.0
 * @category running
 */
export const run = <E>(options: Launch.Options<E>, workers: number) =>
  Effect.if(
    Effect.sync(() => cluster.isPrimary),
    {
      onTrue: () => Primary.run(options, workers),
      onFalse: () => Worker.run(options)
    }
  )
