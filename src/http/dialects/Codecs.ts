/**
 * The codec of each dialect.
 *
 * @since 0.2.0
 */

import type { Codec, Dialect } from "../Dialect.js"
import * as Anthropic from "./AnthropicCodec.js"
import * as Cohere from "./CohereCodec.js"
import * as Gemini from "./GeminiCodec.js"
import * as Ollama from "./OllamaCodec.js"
import * as OpenAiChat from "./OpenAiChatCodec.js"
import * as OpenAiResponses from "./OpenAiResponsesCodec.js"

/**
 * The codecs by their dialect.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codecs: { readonly [K in Dialect]: Codec } = {
  openai: OpenAiChat.codec,
  responses: OpenAiResponses.codec,
  anthropic: Anthropic.codec,
  gemini: Gemini.codec,
  ollama: Ollama.chat,
  "ollama-generate": Ollama.generate,
  cohere: Cohere.codec
}
