/**
 * Anthropic Messages, the wire format of `Anthropic`.
 *
 * @since 0.2.0
 */

import type * as WireFormat from "../wire/WireFormat.js"
import * as AnthropicAnswer from "./AnthropicAnswer.js"
import * as AnthropicRequest from "./AnthropicRequest.js"

export { defaultMaxTokens } from "./AnthropicRequest.js"

/**
 * The Messages API. `maxTokens` is for requests that do not set it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  maxTokens: number | undefined,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => ({
  encode: AnthropicRequest.encode(provider, model, maxTokens),
  answers: { wire: "anthropic", reasonField: "message_delta.delta.stop_reason", needsEnd: true },
  reader: AnthropicAnswer.reader,
  tokensField: "max_tokens",
  limits
})
