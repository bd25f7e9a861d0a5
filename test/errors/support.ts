import { Duration } from "effect"
import * as Classify from "../../src/errors/Classify.js"
import * as LlmError from "../../src/errors/LlmError.js"

export const meta: Classify.Meta = { provider: "openai", model: "m", status: 400, headers: {}, now: 0 }

/** A response with a failing status; a body that is no text is sent as JSON. */
export const respond = (status: number, body: unknown, headers: Record<string, string> = {}, provider = "openai") =>
  Classify.response({
    ...meta,
    provider,
    status,
    headers,
    body: typeof body === "string" ? body : JSON.stringify(body)
  })

/** The tag of an error, whether it is retried and falls back, and its delivery. */
export const verdict = (error: LlmError.LlmError) =>
  [error._tag, LlmError.isRetryable(error), LlmError.fallbackOf(error), error.delivery] as const

export const hintOf = ({ hint }: LlmError.LlmError): number | undefined => hint && Duration.toMillis(hint)
