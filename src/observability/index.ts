/**
 * The entry point `effect-steadfast/observability`: the call log in SQL, and reports over it.
 *
 * @since 0.2.0
 */

export * as CallLog from "./CallLog.js"
export * as CallReport from "./CallReport.js"
