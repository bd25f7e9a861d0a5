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
      ["stop", "stop end_turn stop_sequence eos eos_token complete completed done finish_reason_stop"],
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
      ["none", "null none in_progress finish_reason_unspecified"]
    ] as const
  ).flatMap(([meaning, reasons]) => reasons.split(" ").map((reason) => [reason, meaning] as const))
)

/**
 * The meaning of a finish or stop reason, in any provider's spelling and case. `null` and `""` are `"none"`.
 *
 * @since 0.1.0
 * @category facts
 */
export const finishReason = (reason: string | null | undefined): FinishMeaning =>
  reason == null || reason === ""
    ? "none"
    : (FINISH.get(reason) ?? (reason.length > 64 ? "other" : (FINISH.get(reason.toLowerCase()) ?? "other")))
