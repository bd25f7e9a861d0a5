/**
 * What calls leave behind: metrics and their export, alarms, judged answers.
 *
 * @since 0.2.0
 */

export * as Degradation from "./Degradation.js"
export * as Evaluation from "./Evaluation.js"
export * as Telemetry from "./Telemetry.js"
