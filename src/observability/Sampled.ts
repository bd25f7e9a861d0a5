/**
 * Finds the answer of a call that may be judged, and its record: around an effect and around a stream.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Call from "../calls/Call.js"
import type { CallRecord } from "../calls/CallRecord.js"

/**
 * The options of {@link sampled}.
 *
 * @since 0.2.0
 * @category options
 */
export interface SampledOptions<in A> {
  /** The question, for the judge. */
  readonly input: unknown
  /** What of the answer is for the judge; read only when it is judged. Default: the whole. */
  readonly output?: ((answer: A) => unknown) | undefined
}

/**
 * The options of {@link sampledStream}.
 *
 * @since 0.2.0
 * @category options
 */
export interface SampledStreamOptions<in A> {
  /** The question, for the judge. */
  readonly input: unknown
  /** What of the elements is for the judge; read only when it is judged. Default: all of them. */
  readonly output?: ((elements: ReadonlyArray<A>) => unknown) | undefined
}

/**
 * Set around the judge, whose calls are never sampled.
 *
 * @internal
 */
export class Judging extends Context.Reference<Judging>()("steadfast/Evaluation/Judging", {
  defaultValue: () => false
}) {}

/**
 * What is held of a call; the answer is read by the judge's fiber.
 *
 * @internal
 */
export interface Pair {
  readonly input: unknown
  readonly output: () => unknown
}

/**
 * What becomes of a question and its answer: held until the record of the open call is there, or decided with a record.
 *
 * @internal
 */
export interface Gate {
  readonly isClosed: () => boolean
  readonly hold: (id: string, pair: Pair) => void
  readonly decide: (record: CallRecord, pairs: ReadonlyArray<Pair>) => Effect.Effect<void>
}

/**
 * The two combinators of an evaluation.
 *
 * @internal
 */
export const make = ({ decide, hold, isClosed }: Gate) => {
  const sampled = <A, E, R>(self: Effect.Effect<A, E, R>, given: SampledOptions<A>): Effect.Effect<A, E, R> => {
    const { input, output } = given
    const pairOf = (answer: A): Pair => ({ input, output: () => (output === undefined ? answer : output(answer)) })
    return Effect.withFiberRuntime<A, E, R>(({ currentContext }) => {
      if (isClosed() || Context.get(currentContext, Judging)) return self
      const call = Call.peek(currentContext, Call.CurrentCall)
      if (call !== undefined) return Effect.tap(self, (answer) => Effect.sync(() => hold(call.id, pairOf(answer))))
      // The call is opened inside: the last one that succeeded there has the answer.
      let last: CallRecord | undefined
      const look = (record: CallRecord) =>
        Effect.sync(() => {
          if (record.outcome === "success") last = record
        })
      const looked = Effect.provideService(self, Call.Observers, [
        ...Context.get(currentContext, Call.Observers),
        look
      ]) as Effect.Effect<A, E, R>
      return Effect.tap(looked, (answer) => (last === undefined ? Effect.void : decide(last, [pairOf(answer)])))
    })
  }

  const sampledStream = <A, E, R>(
    self: Stream.Stream<A, E, R>,
    given: SampledStreamOptions<A>
  ): Stream.Stream<A, E, R> => {
    const { input, output } = given
    return Stream.unwrap(
      Effect.withFiberRuntime<Stream.Stream<A, E, R>>(({ currentContext }) => {
        if (isClosed() || Context.get(currentContext, Judging)) return Effect.succeed(self)
        let elements: Array<A> = []
        const pair = (): Pair => {
          const all = elements
          return { input, output: () => (output === undefined ? all : output(all)) }
        }
        const seen = Stream.mapChunks(self, (chunk) => {
          for (const element of chunk) elements.push(element)
          return chunk
        })
        const call = Call.peek(currentContext, Call.CurrentCall)
        if (call !== undefined) {
          return Effect.succeed(Stream.concat(seen, Stream.execute(Effect.sync(() => hold(call.id, pair())))))
        }
        // The call is opened inside, and its record comes when the stream has closed it. What a failed one delivered
        // is no part of the answer.
        const look = (record: CallRecord) =>
          Effect.suspend(() => {
            const told = decide(record, [pair()])
            elements = []
            return told
          })
        const observers = [...Context.get(currentContext, Call.Observers), look]
        return Effect.succeed(Stream.provideService(seen, Call.Observers, observers) as Stream.Stream<A, E, R>)
      })
    )
  }

  return { sampled, sampledStream }
}
