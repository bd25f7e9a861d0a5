/**
 * Answers that a provider makes in the background: starts one, and asks for it until it is there.
 *
 * An answer is started once. If asking fails with an error that may pass, it is asked again; the same answer would be
 * paid twice if it were started again. So the error that ends the asking is not retryable. An interruption, which the
 * end of a time limit is too, cancels the answer at the provider.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as LlmError from "../../errors/LlmError.js"
import * as TimeLimit from "../../policies/TimeLimit.js"

/**
 * The state of an answer: still being made, or at its end, which may be an error.
 *
 * @since 0.2.0
 * @category models
 */
export type State<A> = { readonly id: string } | End<A>

/**
 * The end of an answer.
 *
 * @since 0.2.0
 * @category models
 */
export interface End<A> {
  readonly end: Effect.Effect<A, LlmError.LlmError>
}

/**
 * The requests about an answer.
 *
 * @since 0.2.0
 * @category models
 */
export interface Requests<A> {
  readonly start: Effect.Effect<State<A>, LlmError.LlmError>
  /** Fails only if the state of the answer is still unknown. */
  readonly ask: (id: string) => Effect.Effect<State<A>, LlmError.LlmError>
  readonly cancel: (id: string) => Effect.Effect<unknown, LlmError.LlmError>
}

/** The first wait, its growth, and the longest. An answer in the background takes seconds to many minutes. */
const firstMillis = 1000
const growth = 1.5
const longestMillis = 10_000

/** The longest hint of a server that is kept: nobody waits longer for a question. */
const longestHint = Duration.minutes(1)

/** So many failures in a row end the asking: with the waits between them more than 10 s without an answer. */
const mostFailures = 5

/** How long a cancellation may take; nobody waits for it. */
const cancelMillis = 5000

const asking = <A>(requests: Requests<A>, id: string): Effect.Effect<End<A>, LlmError.LlmError> =>
  Effect.gen(function* () {
    let wait = firstMillis
    let pause = Duration.millis(wait)
    let failures = 0
    while (true) {
      yield* Effect.sleep(pause)
      const state = yield* Effect.either(requests.ask(id))
      if (state._tag === "Right" && "end" in state.right) return state.right
      failures = state._tag === "Right" ? 0 : failures + 1
      wait = Math.min(longestMillis, wait * growth)
      pause = Duration.millis(wait)
      if (state._tag === "Right") continue
      const error = state.left
      if (!LlmError.isRetryable(error) || failures === mostFailures) {
        // The answer was started, whatever became of the last question.
        return yield* Effect.fail(LlmError.override(error, { retryable: false, delivery: "unknown" }))
      }
      if (error.hint !== undefined) pause = Duration.min(error.hint, longestHint)
    }
  })

/**
 * Starts an answer and waits for its end, under the limits in force.
 *
 * @since 0.2.0
 * @category constructors
 */
export const answer = <A>(requests: Requests<A>): Effect.Effect<A, LlmError.LlmError> =>
  TimeLimit.kept(
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(restore(requests.start), (state) => {
        if ("end" in state) return restore(state.end)
        const cancel = Effect.ignore(Effect.timeout(Effect.interruptible(requests.cancel(state.id)), cancelMillis))
        const asked = Effect.onExit(restore(asking(requests, state.id)), (exit) =>
          Exit.isFailure(exit) ? Effect.forkDaemon(cancel) : Effect.void
        )
        return Effect.flatMap(asked, ({ end }) => restore(end))
      })
    )
  )
