/**
 * The facts of an error for the annotations of a log line.
 *
 * @since 0.2.0
 */

import type { LlmError } from "./LlmError.js"

/**
 * Provider, model, tag, message, status and request id; unknown facts are absent. The message is `error_message`,
 * because loggers write the line itself as `message`.
 *
 * @since 0.2.0
 * @category getters
 */
export const factsOf = ({ _tag, message, model, provider, requestId, status }: LlmError): Record<string, unknown> => ({
  provider,
  ...(model === undefined ? {} : { model }),
  error: _tag,
  error_message: message,
  ...(status === undefined ? {} : { status }),
  ...(requestId === undefined ? {} : { request_id: requestId })
})
