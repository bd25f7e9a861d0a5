/**
 * The limit of the wait for the rest of an answer that is over.
 *
 * Some servers send the last piece of an answer and leave the connection open, without the end of the protocol. After a
 * finish reason the rest may take {@link graceMillis}; then, or if any other limit ends the wait, the answer is taken
 * for whole.
 *
 * @since 0.2.0
 */

import { Timeout } from "../../errors/LlmError.js"
import * as Deadline from "../../policies/Deadline.js"

/**
 * The longest wait after a finish reason, in milliseconds. What may come is the usage and the mark of the end, which
 * servers send at once.
 *
 * @internal
 */
export const graceMillis = 5000

/**
 * A limit that is set when the answer is over. Each wait for bytes reads it.
 *
 * @internal
 */
export class EndLimit implements Deadline.Limit {
  /** The end of the grace, in milliseconds. */
  private own = Number.POSITIVE_INFINITY
  readonly phase = "idle"
  expired?: NonNullable<Deadline.Limit["expired"]>
  asked?: NonNullable<Deadline.Limit["asked"]>

  constructor(readonly outer: Deadline.Limit) {}

  get at(): number {
    return Math.min(this.own, this.outer.at)
  }

  /** The answer is over, as far as the stream told. Only the first time counts: pings may come for ever. */
  over(now: number): void {
    if (this.own === Number.POSITIVE_INFINITY) this.own = now + graceMillis
  }

  /** It is not, after all: more came. */
  goOn(): void {
    this.own = Number.POSITIVE_INFINITY
  }

  error(): Timeout {
    return new Timeout({
      provider: this.asked?.provider ?? "steadfast",
      message: "the connection stayed open after the answer",
      delivery: "unknown",
      phase: this.phase
    })
  }

  /** Whether this limit or one around it ended the wait. If so, that is forgotten: the answer is whole. */
  lapsed(): boolean {
    if (Deadline.expired(this) === undefined) return false
    for (let limit: Deadline.Limit | undefined = this; limit !== undefined; limit = limit.outer) delete limit.expired
    return true
  }
}
