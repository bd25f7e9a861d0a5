/**
 * A check of answers that travels with a request, and runs inside of the attempt.
 *
 * An answer that fails its check is the error of that attempt. So every policy sees it: it is retried, it falls back,
 * its tokens are counted, and the record shows it. The next attempt is told of the error by `ask`.
 *
 * @since 0.2.0
 */

import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type { InvalidResponse } from "../../errors/LlmError.js"
import * as Answer from "../Answer.js"
import type * as Chat from "../Chat.js"
import type { Json } from "../JsonSchema.js"
import * as Layers from "../stream/Layers.js"
import * as Pull from "../stream/Pull.js"
import * as Source from "../stream/Source.js"

/**
 * A check of answers.
 *
 * @since 0.2.0
 * @category models
 */
export interface AnswerCheck {
  /** The request of the next attempt; another one if an earlier answer failed the check, and the model is told so. */
  readonly ask: (request: Chat.Request) => Chat.Request
  /** Fails if the answer is not what was asked for. */
  readonly check: (response: Chat.Response) => Effect.Effect<unknown, InvalidResponse>
}

const key: unique symbol = Symbol.for("steadfast/AnswerCheck")

/**
 * The check is with the format that it is about. It is no part of the request's data: JSON has no word of it, and a
 * copy of the request carries it on.
 */
type Carrying = Chat.Request["responseFormat"] & { readonly [key]?: AnswerCheck }

/**
 * A format whose answers are checked.
 *
 * @internal
 */
export const format = (name: string, schema: Json, check: AnswerCheck): Chat.Request["responseFormat"] => {
  const carrying: Carrying = { type: "json-schema", name, schema, strict: true, [key]: check }
  return carrying
}

/**
 * The check of a request, if it has one.
 *
 * @internal
 */
export const of = ({ responseFormat }: Chat.Request): AnswerCheck | undefined =>
  responseFormat === undefined ? undefined : (responseFormat as Carrying)[key]

/**
 * Checks a whole answer.
 *
 * @internal
 */
export const checked = (check: AnswerCheck, response: Chat.Response): Effect.Effect<Chat.Response, InvalidResponse> =>
  Effect.as(check.check(response), response)

/**
 * Checks a streamed answer before its `Finish` is given on. The events before it are given on as they come.
 *
 * @internal
 */
export const source = (check: AnswerCheck, self: Source.Source): Source.Source =>
  Source.map(self, (pull) => {
    const answer = Answer.make()
    /** The error of an answer whose last events were given on before. */
    let wrong: InvalidResponse | undefined
    const next = Pull.layered(pull, (exit) => {
      if (Exit.isFailure(exit)) return exit
      const events = Chunk.toReadonlyArray(exit.value)
      answer.add(events)
      if (events[events.length - 1]?._tag !== "Finish") return exit
      return Effect.matchEffect(check.check(answer.response()), {
        onSuccess: () => exit,
        onFailure: (error) => {
          const before = events.slice(0, -1)
          if (before.length === 0) return Exit.fail(Option.some(error))
          wrong = error
          return Exit.succeed(Layers.toChunk(before))
        }
      })
    })
    return Pull.make(() => (wrong === undefined ? Pull.nextOf(next) : Exit.fail(Option.some(wrong))))
  })
