/**
 * The entry point `effect-steadfast/observability`: the call log in SQL, reports over it, and a page.
 *
 * @since 0.2.0
 */

export * as CallLog from "./CallLog.js"
export * as CallReport from "./CallReport.js"
export * as Dashboard from "./Dashboard.js"
