/**
 * What one process of a gateway asks the others for: places of clients, pacers, failures, and what the pages tell. A
 * gateway of one process has none of it.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Pacer from "../policies/pacer/Pacer.js"
import type * as Spend from "../policies/spend/Spend.js"
import type { ClientKey } from "./config/Resolved.js"
import type { Echo, Known } from "./Failures.js"
import type * as Refusal from "./Refusal.js"

/**
 * A place of a client, with the money that its call may spend.
 *
 * @since 0.2.0
 * @category models
 */
export interface Place {
  readonly spend: Spend.Scope | undefined
  readonly leave: () => void
}

/**
 * The places of clients, over all processes.
 *
 * @since 0.2.0
 * @category models
 */
export interface Seats {
  /** Takes a place for about so many tokens. `usd` is the most that one attempt may cost. */
  readonly enter: (
    client: ClientKey,
    ask: { readonly tokens: number; readonly usd: number },
    entered: (answer: Place | Refusal.Refusal) => void
  ) => void
}

/**
 * A process of the gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Process {
  readonly pid: number
  readonly running: number
  readonly residentBytes: number
  /** Requests of clients without limits. */
  readonly clients: Readonly<Record<string, number>>
  readonly callLog?: Readonly<Record<string, number>> | undefined
}

/**
 * All processes, and what the clients with limits use.
 *
 * @since 0.2.0
 * @category models
 */
export interface Everywhere {
  readonly processes: ReadonlyArray<Process>
  readonly clients: Readonly<Record<string, { readonly running: number; readonly usdToday?: number | undefined }>>
}

/**
 * The other processes of the gateway, as one of them asks them.
 *
 * @since 0.2.0
 * @category models
 */
export interface Shared {
  readonly pacer: (name: string, limits: Pacer.Options | undefined) => Effect.Effect<Pacer.Pacer>
  readonly seats: Seats
  /** Tells the others of failures, and gives those of the others to `known`. */
  readonly failures: (known: Known) => Echo
  /** The metrics of all processes, in the text format of Prometheus. */
  readonly metrics: Effect.Effect<string>
  readonly everywhere: Effect.Effect<Everywhere>
  /** Says how the others learn of this process. */
  readonly tells: (process: Effect.Effect<Process>) => void
}

/**
 * The other processes, where there are any.
 *
 * @since 0.2.0
 * @category context
 */
export const Shared: Context.Tag<Shared, Shared> = Context.GenericTag<Shared>("steadfast/gateway/Shared")
