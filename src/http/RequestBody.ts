/**
 * A client's request body as a `Chat.Request`, for a service that speaks OpenAI's APIs, Anthropic's, Gemini's,
 * Ollama's or Cohere's.
 *
 * It is the inverse of a provider's encoder. A wrong field is an `InvalidRequest` whose message names the field,
 * what was found and what was expected; `ErrorResponse` answers it with a 400 and the field as `param`.
 *
 * Gotchas:
 * - Fields that `Chat.Request` has no word for are not sent on unless `passTo` says to which provider: they may cost
 *   money or store what the client says. `unread` names them.
 * - The model's name is the client's word. Look it up in a list of your own, and never send it on unseen.
 * - Thoughts that a client of Chat Completions sends back (`reasoning_content`) are left out. The signed or encrypted
 *   ones of the other dialects are kept with the model's name as the client says it.
 * - Nothing is stored: `previous_response_id`, stored files and cached contents are refused.
 * - Images and files in results of tools go into a message of the user after them.
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
import type { Dialect } from "./Dialect.js"
import * as AnthropicBody from "./requests/AnthropicBody.js"
import type { Asked, Options } from "./requests/Asked.js"
import * as CohereBody from "./requests/CohereBody.js"
import * as Fields from "./requests/Fields.js"
import * as GeminiBody from "./requests/GeminiBody.js"
import * as OllamaBody from "./requests/OllamaBody.js"
import * as OpenAiChatBody from "./requests/OpenAiChatBody.js"
import * as OpenAiResponsesBody from "./requests/OpenAiResponsesBody.js"

export type { Asked, Options } from "./requests/Asked.js"

/**
 * The dialects in which requests are read.
 *
 * @since 0.2.0
 * @category models
 */
export type Readable = Dialect

const readers = {
  openai: OpenAiChatBody.read,
  responses: OpenAiResponsesBody.read,
  anthropic: AnthropicBody.read,
  gemini: GeminiBody.read,
  ollama: OllamaBody.readChat,
  "ollama-generate": OllamaBody.readGenerate,
  cohere: CohereBody.read
} as const

/**
 * The request, or its refusal.
 *
 * @internal
 */
export const read = (dialect: Readable, body: unknown, options: Options = {}): Asked | InvalidRequest =>
  Fields.reading(() => readers[dialect](Fields.shallow(body, "body"), options))

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
