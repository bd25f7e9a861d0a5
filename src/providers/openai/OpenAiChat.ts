/**
 * OpenAI Chat Completions, the first wire format of `OpenAi`, which many servers speak.
 *
 * Gotchas: a stream ends with a finish reason; `[DONE]` alone ends none, unless the counts came before it. Of several
 * choices, which `n` in the provider's options asks for, the first is the answer.
 *
 * @since 0.2.0
 */

import type * as WireFormat from "../wire/WireFormat.js"
import * as OpenAiChatAnswer from "./OpenAiChatAnswer.js"
import * as OpenAiChatRequest from "./OpenAiChatRequest.js"

export type { Dialect } from "./OpenAiChatRequest.js"

/**
 * Chat Completions in the dialect of a server.
 *
 * @since 0.2.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  dialect: OpenAiChatRequest.Dialect,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => ({
  encode: OpenAiChatRequest.encode(provider, model, dialect),
  answers: { wire: OpenAiChatRequest.wire, reasonField: "choices[0].finish_reason" },
  reader: OpenAiChatAnswer.reader,
  streamUsage: dialect.streamUsage,
  tokensField: dialect.maxTokens,
  limits
})
