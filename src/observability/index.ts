/**
 * What the records of calls tell, over time.
 *
 * @since 0.2.0
 */

export * as Degradation from "./Degradation.js"
export * as Evaluation from "./Evaluation.js"
