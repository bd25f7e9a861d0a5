/**
 * Signs of life in a stream: pieces that add to the answer and that no reader sees yet, such as the arguments of a tool
 * call, which is delivered when it is whole, or a hidden thought.
 *
 * A layer that asks whether an answer has begun, or still comes, listens ({@link heard}) and looks at the delivered
 * content too. A layer that takes content and delivers none of it tells those around it. Comments, pings and empty
 * pieces are no life.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Call from "../../calls/Call.js"
import * as FiberInternals from "../../policies/FiberInternals.js"

/**
 * Tells the layers around a stream of life. Absent if nobody listens.
 *
 * @internal
 */
export class Life extends Context.Tag("steadfast/Life")<Life, () => void>() {}

/**
 * A context under which `onLife` is told of life, and then whoever listens further out.
 *
 * @internal
 */
export const heard = <R>(context: Context.Context<R>, onLife: () => void): Context.Context<R> => {
  const outer = Call.peek(context as Context.Context<never>, Life)
  const tell =
    outer === undefined
      ? onLife
      : () => {
          onLife()
          outer()
        }
  return FiberInternals.added(context, Life, tell)
}
