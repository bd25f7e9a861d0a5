/**
 * What a client may say about one request by headers, within the bounds of the configuration.
 *
 * | header | meaning |
 * |---|---|
 * | `x-steadfast-max-attempts` | the most attempts at each target, the first one included |
 * | `x-steadfast-timeout-ms` | the longest time of the whole call, in milliseconds |
 * | `x-steadfast-no-fallback` | `true`: no other target is asked |
 * | `x-steadfast-trace-id` | a trace of the client's: 32 hexadecimal digits; `traceparent` is read too |
 * | `x-steadfast-label-NAME` | a label of the call in records and reports |
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Tracer from "effect/Tracer"
import { InvalidRequest } from "../errors/LlmError.js"
import type { Model } from "./config/Resolved.js"

/**
 * Headers of a request, names in lower case.
 *
 * @since 0.2.0
 * @category models
 */
export type Headers = Readonly<Record<string, string | ReadonlyArray<string> | undefined>>

/**
 * What one request asks for.
 *
 * @since 0.2.0
 * @category models
 */
export interface Controls {
  readonly maxAttempts: number | undefined
  /** In milliseconds. */
  readonly timeout: number | undefined
  readonly noFallback: boolean
  readonly parent: Tracer.ExternalSpan | undefined
  readonly labels: Readonly<Record<string, string>> | undefined
}

/**
 * A request that says nothing of its own.
 *
 * @since 0.2.0
 * @category constants
 */
export const none: Controls = {
  maxAttempts: undefined,
  timeout: undefined,
  noFallback: false,
  parent: undefined,
  labels: undefined
}

const prefix = "x-steadfast-"
const labelPrefix = "x-steadfast-label-"

/**
 * The first value of a header.
 *
 * @since 0.2.0
 * @category getters
 */
export const one = (headers: Headers, name: string): string | undefined => {
  const value = headers[name]
  return typeof value === "string" ? value : value?.[0]
}

const wrong = (name: string, found: string, expected: string): InvalidRequest =>
  new InvalidRequest({
    provider: "steadfast",
    message: `${name}: found ${JSON.stringify(found.slice(0, 100))}, expected ${expected}`,
    delivery: "not-sent"
  })

const whole = (headers: Headers, name: string, expected: string): number | undefined | InvalidRequest => {
  const text = one(headers, name)
  if (text === undefined) return undefined
  const value = /^\d{1,12}$/.test(text.trim()) ? Number(text) : 0
  return value >= 1 ? value : wrong(name, text, expected)
}

/** Ids of zeros alone are none, and so is the version `ff`. */
const traceparent = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-|$)/

/** A trace whose last half can be the id of a span. */
const ownTrace = /^[\da-f]{16}(?!0{16})[\da-f]{16}$/

/** The client's span, in which the call's span shall stand. */
const parentOf = (headers: Headers): Tracer.ExternalSpan | undefined | InvalidRequest => {
  const trace = one(headers, `${prefix}trace-id`)
  if (trace !== undefined) {
    const traceId = trace.trim().toLowerCase().replaceAll("-", "")
    if (!ownTrace.test(traceId)) return wrong(`${prefix}trace-id`, trace, "32 hexadecimal digits, not all of them 0")
    return Tracer.externalSpan({ traceId, spanId: traceId.slice(16), sampled: true })
  }
  // Somebody else's header: one that cannot be read is left alone.
  const found = traceparent.exec(one(headers, "traceparent") ?? "")
  if (found === null) return undefined
  const [, traceId = "", spanId = "", flags = "00"] = found
  return Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 })
}

const labelsOf = (headers: Headers): Controls["labels"] => {
  let labels: Record<string, string> | undefined
  for (const name in headers) {
    if (!name.startsWith(labelPrefix) || name.length === labelPrefix.length) continue
    labels ??= {}
    labels[name.slice(labelPrefix.length)] = one(headers, name) ?? ""
  }
  return labels
}

/** Whether a request says anything of its own. */
const speaks = (headers: Headers): boolean => {
  for (const name in headers) if (name.startsWith(prefix) || name === "traceparent") return true
  return false
}

/**
 * What a request asks for, or the refusal of the first header that is wrong. More than the bounds allow is cut to them.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = (headers: Headers, bounds: Model["bounds"]): Controls | InvalidRequest => {
  if (!speaks(headers)) return none
  const attempts = whole(headers, `${prefix}max-attempts`, "a whole number from 1")
  if (attempts instanceof InvalidRequest) return attempts
  const timeout = whole(headers, `${prefix}timeout-ms`, "milliseconds, a whole number from 1")
  if (timeout instanceof InvalidRequest) return timeout
  const fallback = one(headers, `${prefix}no-fallback`)?.trim().toLowerCase()
  if (fallback !== undefined && !/^(?:true|false|1|0)$/.test(fallback)) {
    return wrong(`${prefix}no-fallback`, fallback, "true or false")
  }
  const parent = parentOf(headers)
  if (parent instanceof InvalidRequest) return parent
  return {
    maxAttempts: attempts === undefined ? undefined : Math.min(attempts, bounds.maxAttempts),
    timeout: timeout === undefined ? undefined : Math.min(timeout, Duration.toMillis(bounds.timeout)),
    noFallback: fallback === "true" || fallback === "1",
    parent,
    labels: labelsOf(headers)
  }
}
