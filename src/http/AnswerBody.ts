/**
 * A whole answer as the JSON body of a dialect, the inverse of what a provider's decoder reads.
 *
 * @example
 * import { Effect } from "effect"
 * import { Chat, type ChatModel } from "effect-steadfast"
 * import { AnswerBody } from "effect-steadfast/http"
 *
 * declare const model: ChatModel.ChatModel
 *
 * const body = Effect.map(model.generate(Chat.prompt("Hello")), (answer) =>
 *   AnswerBody.make("anthropic", answer, { id: "msg_1", created: 1_790_000_000 })
 * )
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import type { Dialect, Origin } from "./Dialect.js"
import { codecs } from "./dialects/Codecs.js"

/**
 * The body of an answer. `choices`, `output` and `content` are never empty where the answer says something.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (dialect: Dialect, answer: Chat.Response, origin: Origin): Readonly<Record<string, unknown>> =>
  codecs[dialect].body(answer, origin)
