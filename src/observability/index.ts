/**
 * What calls leave behind: metrics and their export, the call log in SQL with reports and a page, alarms, judged
 * answers.
 *
 * @since 0.2.0
 */

export * as CallLog from "./CallLog.js"
export * as CallReport from "./CallReport.js"
export * as Dashboard from "./Dashboard.js"
export * as Degradation from "./Degradation.js"
export * as Evaluation from "./Evaluation.js"
export * as Telemetry from "./Telemetry.js"
