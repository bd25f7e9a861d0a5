/**
 * What calls leave behind: metrics and their export.
 *
 * @since 0.2.0
 */

export * as Telemetry from "./Telemetry.js"
