/**
 * What a client is told of its call: in headers, and at the end of a stream in a comment.
 *
 * | header | meaning |
 * |---|---|
 * | `x-steadfast-call-id` | the id of the call in logs, spans and the call log |
 * | `x-steadfast-attempts` | requests that were sent, the running one included |
 * | `x-steadfast-retries` | those at the same target again |
 * | `x-steadfast-fallbacks` | those at a next target |
 * | `x-steadfast-served-by` | the target that answered, `provider/model` |
 * | `x-steadfast-wait-ms` | the time that the call waited between attempts and for a place, in milliseconds |
 *
 * The headers of a stream are written with its first content, so that they know what was until then. The comment after
 * its end knows everything.
 *
 * @since 0.2.0
 */

import type { AttemptRecord } from "../calls/CallRecord.js"

/**
 * What is known of a call while it runs.
 *
 * @since 0.2.0
 * @category models
 */
export interface Known {
  readonly id: string
  /** Those that have begun. */
  readonly attempts: ReadonlyArray<AttemptRecord>
  /** The provider and model of an answer that has begun, as it names them. */
  readonly running?: { readonly provider: string; readonly model: string } | undefined
}

/**
 * The facts of a call.
 *
 * @since 0.2.0
 * @category models
 */
export interface Facts {
  readonly id: string
  readonly attempts: number
  readonly retries: number
  readonly fallbacks: number
  readonly servedBy: string | undefined
  readonly waitMillis: number
}

const isSame = (a: { readonly provider: string; readonly model: string }, b: AttemptRecord): boolean =>
  // A provider may name the dated version of the model that was asked.
  a.provider === b.provider && (a.model === b.model || a.model.startsWith(b.model) || a.model === b.responseModel)

/**
 * The facts of a call.
 *
 * @since 0.2.0
 * @category getters
 */
export const factsOf = ({ attempts, id, running }: Known): Facts => {
  let retries = 0
  let fallbacks = 0
  let waitMillis = 0
  for (const attempt of attempts) {
    // A retry at a next target is a retry: the record keeps the reason for which that target is asked at all.
    if (attempt.retry !== undefined) retries++
    else if (attempt.fallback !== undefined) fallbacks++
    waitMillis += (attempt.retry?.delayMillis ?? 0) + (attempt.queuedMillis ?? 0)
  }
  const by =
    attempts.findLast(({ outcome }) => outcome === "success") ??
    (running && (attempts.findLast((attempt) => isSame(running, attempt)) ?? running))
  return {
    id,
    attempts: attempts.length,
    retries,
    fallbacks,
    servedBy: by && `${by.provider}/${by.model}`,
    waitMillis: Math.round(waitMillis)
  }
}

/** A header holds what can be printed in ASCII. */
const printable = (text: string): string => text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200)

/**
 * The facts as headers.
 *
 * @since 0.2.0
 * @category encoding
 */
export const headersOf = (facts: Facts): Readonly<Record<string, string>> => ({
  "x-steadfast-call-id": facts.id,
  "x-steadfast-attempts": String(facts.attempts),
  "x-steadfast-retries": String(facts.retries),
  "x-steadfast-fallbacks": String(facts.fallbacks),
  ...(facts.servedBy === undefined ? {} : { "x-steadfast-served-by": printable(facts.servedBy) }),
  "x-steadfast-wait-ms": String(facts.waitMillis)
})

/**
 * The facts as the text of a comment.
 *
 * @since 0.2.0
 * @category encoding
 */
export const commentOf = (facts: Facts): string =>
  [
    `steadfast call=${facts.id} attempts=${facts.attempts} retries=${facts.retries} fallbacks=${facts.fallbacks}`,
    facts.servedBy === undefined ? "" : ` served-by=${printable(facts.servedBy)}`,
    ` wait-ms=${facts.waitMillis}`
  ].join("")
