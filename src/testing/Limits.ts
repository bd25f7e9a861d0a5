/**
 * The rate limits of a faulty provider: a token bucket for requests and one for tokens, per key. Pure.
 *
 * With limits, every response has true rate limit headers (OpenAI's or Anthropic's; Gemini has none), and a request
 * that a bucket cannot cover gets the 429 of its format with the exact time to wait. A refused request takes no step of
 * the script and costs nothing.
 *
 * Gotcha: tokens are words here, as in the usage of replies, unless a reply sets its own `usage`.
 *
 * @since 0.1.0
 */

import * as Duration from "effect/Duration"
import * as Fault from "./Fault.js"
import type * as Step from "./Step.js"
import * as ErrorDetails from "./wire/ErrorDetails.js"
import * as Wire from "./wire/Wire.js"

/**
 * A bucket that refills evenly.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limit {
  /** The size of the bucket, and its refill per `window`. */
  readonly limit: number
  /** The time in which an empty bucket is full again. Default one minute. */
  readonly window?: Duration.DurationInput | undefined
}

/**
 * The limits of each key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Limits {
  /** Requests. Default no limit. */
  readonly requests?: Limit | undefined
  /** Tokens of prompts and answers together. Default no limit. */
  readonly tokens?: Limit | undefined
}

type Scope = "requests" | "tokens"

interface Bucket {
  readonly level: number
  readonly at: number
}

/**
 * The buckets of each key: a level, and the time of that level in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export type State = ReadonlyMap<string, Partial<Record<Scope, Bucket>>>

/**
 * The decision about a request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Verdict {
  /** Rate limit headers for the response. */
  readonly headers: Readonly<Record<string, string>>
  /** The error to answer with; `undefined` for an admitted request. */
  readonly refusal: Step.HttpError | undefined
}

const scopes: ReadonlyArray<Scope> = ["requests", "tokens"]

const perMilli = (limit: Limit): number => limit.limit / Duration.toMillis(limit.window ?? "1 minute")

const refill = (limit: Limit, bucket: Bucket | undefined, now: number): number =>
  bucket === undefined ? limit.limit : Math.min(limit.limit, bucket.level + (now - bucket.at) * perMilli(limit))

// Levels are sums of fractions; a rounding error must not refuse a request.
const epsilon = 1e-6

/**
 * The cost of a step: one request, and the tokens of the prompt and of the answer.
 *
 * @since 0.1.0
 * @category decisions
 */
export const costOf = (step: Step.Step, request: Wire.WireRequest): Readonly<Record<Scope, number>> => {
  const reply = step._tag === "Reply" ? step : step._tag === "ErrorEvent" ? step.reply : undefined
  const usage = reply === undefined ? undefined : Wire.usageOf(reply, request)
  return { requests: 1, tokens: usage === undefined ? 0 : usage.inputTokens + usage.outputTokens }
}

const headersOf = (
  provider: Step.Provider,
  now: number,
  levels: ReadonlyArray<{ readonly scope: Scope; readonly limit: Limit; readonly level: number }>
): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const { level, limit, scope } of levels) {
    const remaining = String(Math.max(0, Math.floor(level + epsilon)))
    const full = Math.ceil((limit.limit - level) / perMilli(limit) - epsilon)
    if (provider === "openai") {
      headers[`x-ratelimit-limit-${scope}`] = String(limit.limit)
      headers[`x-ratelimit-remaining-${scope}`] = remaining
      headers[`x-ratelimit-reset-${scope}`] = ErrorDetails.goDuration(full)
    } else if (provider === "anthropic") {
      headers[`anthropic-ratelimit-${scope}-limit`] = String(limit.limit)
      headers[`anthropic-ratelimit-${scope}-remaining`] = remaining
      headers[`anthropic-ratelimit-${scope}-reset`] = new Date(now + full).toISOString()
    }
  }
  return headers
}

/**
 * Admits or refuses a request. A request that costs more than a whole bucket gets the error `too-large`.
 *
 * @since 0.1.0
 * @category decisions
 */
export const admit = (
  limits: Limits,
  state: State,
  request: Wire.WireRequest,
  cost: Readonly<Record<Scope, number>>,
  now: number
): readonly [Verdict, State] => {
  const key = request.key ?? ""
  const buckets = state.get(key) ?? {}
  const provider = Wire.providerOf(request.format)
  const levels = scopes.flatMap((scope) => {
    const limit = limits[scope]
    return limit === undefined ? [] : [{ scope, limit, level: refill(limit, buckets[scope], now) }]
  })
  const tooLarge = levels.some(({ limit, scope }) => cost[scope] > limit.limit)
  const waits = levels.map(({ level, limit, scope }) => ({
    scope,
    wait: Math.ceil((cost[scope] - level - epsilon) / perMilli(limit))
  }))
  const longest = waits.reduce((a, b) => (b.wait > a.wait ? b : a), { scope: "requests" as Scope, wait: 0 })
  const refused = tooLarge || longest.wait > 0
  const after = refused ? levels : levels.map((entry) => ({ ...entry, level: entry.level - cost[entry.scope] }))
  const headers = headersOf(provider, now, after)
  if (refused) {
    const refusal = tooLarge
      ? Fault.error("too-large", { status: 429 })
      : Fault.rateLimited({ retryAfter: longest.wait, scope: longest.scope })
    return [{ headers, refusal }, state]
  }
  const updated = Object.fromEntries(after.map(({ level, scope }) => [scope, { level, at: now }]))
  return [{ headers, refusal: undefined }, new Map(state).set(key, updated)]
}
