/**
 * The meanings of the finish and stop reasons of all providers.
 *
 * A decoder reads why an answer ended; `Classify` turns filtered, failed and malformed ends into errors.
 *
 * @example
 * import * as FinishReason from "./FinishReason.js"
 *
 * FinishReason.finishReason("end_turn") // "stop"
 *
 * @since 0.1.0
 */

import * as ProviderFacts from "./ProviderFacts.js"

/**
 * The meaning of a finish reason. `none`: the answer has not ended yet; `other`: the reason is unknown.
 *
 * @since 0.1.0
 * @category models
 */
export type FinishMeaning =
  | "stop"
  | "length"
  | "tool-calls"
  | "content-filter"
  | "error"
  | "malformed"
  | "none"
  | "other"

const FINISH: ReadonlyMap<string, FinishMeaning> = new Map(
  (
    [
      ["stop", "stop end_turn stop_sequence eos eos_token complete completed done no_error"],
      [
        "length",
        "length max_tokens max_output_tokens max_length model_length model_context_window_exceeded error_limit token_limit"
      ],
      ["tool-calls", "tool_calls tool_use tool_call function_call"],
      [
        "content-filter",
        "content_filter content_filtered safety refusal recitation blocklist prohibited_content spii language guardrail_intervened image_safety image_prohibited_content image_recitation error_toxic sensitive model_armor content_policy_violation"
      ],
      ["error", "error failed abort aborted cancelled network_error insufficient_system_resource timeout unexpected"],
      [
        "malformed",
        "malformed_function_call malformed_tool_use malformed_model_output malformed_response unexpected_tool_call too_many_tool_calls missing_thought_signature no_image"
      ],
      ["none", "null none in_progress unspecified"]
    ] as const
  ).flatMap(([meaning, reasons]) => reasons.split(" ").map((reason) => [reason, meaning] as const))
)

/** Words of ends that are errors, whatever else they say: `api_error`, `error_finish`, `network_exception`. */
const ERROR = /^error(?:_|$)|(?:error|exception|failure)$/

/** Reasons longer than this are prose. */
const MAX_LENGTH = 256

/** A reason as the table spells it: `FinishReason.MaxTokens` and `max-tokens` are `max_tokens`. */
const normal = (reason: string): string =>
  reason
    .trim()
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .toLowerCase()
    .replace(/[\s-]+/g, "_")
    .replace(/^finish_?reason[._]/, "")

/**
 * The error that a word stands for by its code. An answer that has begun is no mistake of the caller, unless the word
 * is an error of the request.
 */
const codeOf = (word: string): ProviderFacts.Kind | undefined => {
  const kind = ProviderFacts.ofCode(word, "")
  if (!ERROR.test(word)) return kind === "InvalidRequest" ? undefined : kind
  return kind ?? (word.includes("request") ? ProviderFacts.ofWeakCode(word) : undefined) ?? "ServerError"
}

const meaningOf = (word: string): FinishMeaning => {
  const known = FINISH.get(word)
  if (known !== undefined) return known
  switch (codeOf(word)) {
    case undefined:
      return "other"
    case "ContentFiltered":
      return "content-filter"
    case "InvalidResponse":
      return "malformed"
    case "ContextLengthExceeded":
      // an answer that has begun ended at the window; a prompt that is too long has none
      return ERROR.test(word) || /prompt|input|request/.test(word) ? "error" : "length"
    default:
      return "error"
  }
}

/** Meanings that a detail may give to a reason; one such as "stop" says nothing of an error before it. */
const DETAILS: ReadonlyArray<FinishMeaning> = ["length", "content-filter", "error", "malformed"]

/** The word that decides, and its meaning: the detail behind a colon, if it has one, else the first word. */
const read = (reason: string): readonly [word: string, meaning: FinishMeaning] => {
  const words = reason.length > MAX_LENGTH ? [] : reason.split(/: ?/).map(normal)
  for (let i = words.length - 1; i > 0; i--) {
    const word = words[i] ?? ""
    const meaning = meaningOf(word)
    if (DETAILS.includes(meaning)) return [word, meaning]
  }
  const word = words[0] ?? ""
  return [word, meaningOf(word)]
}

/**
 * The meaning of a finish or stop reason, in any provider's spelling and case. `null` and `""` are `"none"`. A reason
 * that is a code of an error, or says that it is one, is that error: `overloaded_error` is `"error"`.
 *
 * @since 0.1.0
 * @category facts
 */
export const finishReason = (reason: string | null | undefined): FinishMeaning =>
  reason == null || reason === "" ? "none" : (FINISH.get(reason) ?? read(reason)[1])

/**
 * The kind of error that a finish reason stands for; `undefined` for an ordinary end.
 *
 * @since 0.2.0
 * @category facts
 */
export const errorOf = (reason: string): ProviderFacts.Kind | undefined => {
  // The ordinary end of every answer.
  if (reason === "stop" || reason === "end_turn" || reason === "STOP" || reason === "completed") return undefined
  const [word, meaning] = read(reason)
  switch (meaning) {
    case "content-filter":
      return "ContentFiltered"
    case "malformed":
      return "InvalidResponse"
    case "error":
      return codeOf(word) ?? "ServerError"
    default:
      return undefined
  }
}
