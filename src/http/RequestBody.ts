/**
 * A client's request body as a `Chat.Request`, for a service that speaks OpenAI's or Anthropic's API.
 *
 * It is the inverse of a provider's encoder. A wrong field is an `InvalidRequest` whose message names the field,
 * what was found and what was expected; `ErrorResponse` answers it with a 400 and the field as `param`.
 *
 * Gotchas:
 * - Fields that `Chat.Request` has no word for are not sent on unless `passTo` says to which provider: they may cost
 *   money or store what the client says. `unread` names them.
 * - The model's name is the client's word. Look it up in a list of your own, and never send it on unseen.
 * - Thoughts that a client of Chat Completions sends back (`reasoning_content`) are left out.
 *
 * @example
 * import { Effect } from "effect"
 * import type { ChatModel } from "effect-steadfast"
 * import { RequestBody } from "effect-steadfast/http"
 *
 * declare const model: ChatModel.ChatModel
 *
 * const answer = (body: unknown) =>
 *   Effect.flatMap(RequestBody.decode("openai", body), ({ request }) => model.generate(request))
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import { InvalidRequest } from "../errors/LlmError.js"
import * as AnthropicBody from "./requests/AnthropicBody.js"
import type { Asked, Options } from "./requests/Asked.js"
import * as Fields from "./requests/Fields.js"
import * as OpenAiChatBody from "./requests/OpenAiChatBody.js"

export type { Asked, Options } from "./requests/Asked.js"

/**
 * The dialects in which requests are read.
 *
 * @since 0.2.0
 * @category models
 */
export type Readable = "openai" | "anthropic"

const readers = { openai: OpenAiChatBody.read, anthropic: AnthropicBody.read } as const

/**
 * The request, or its refusal.
 *
 * @internal
 */
export const read = (dialect: Readable, body: unknown, options: Options = {}): Asked | InvalidRequest =>
  Fields.reading(() => readers[dialect](body, options))

/**
 * What a client asks for. `body` is parsed JSON; anything else is refused.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decode = (dialect: Readable, body: unknown, options: Options = {}): Effect.Effect<Asked, InvalidRequest> =>
  Effect.suspend(() => {
    const found = read(dialect, body, options)
    return found instanceof InvalidRequest ? Effect.fail(found) : Effect.succeed(found)
  })
