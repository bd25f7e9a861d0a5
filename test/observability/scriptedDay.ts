/**
 * Calls by script, each with the facts that a report must find. The facts are written down where a call is made up; nothing
 * here reads a record again.
 */
import { Duration } from "effect"
import type { CallRecord, LlmError } from "effect-steadfast"
import { errorOf } from "../support/errors.js"

/** What is true of one call. */
export interface Facts {
  readonly asked: { readonly provider: string; readonly model: string }
  readonly day: string
  readonly tenant: string | undefined
  readonly outcome: CallRecord.Outcome
  readonly firstError: string | undefined
  readonly attempts: number
  readonly retries: number
  readonly served: number | undefined
  readonly backoff: number
  readonly queue: number
  readonly usd: number | undefined
  readonly wasted: number
  readonly unpriced: number
  readonly unknown: number
  readonly input: number
  readonly output: number
  readonly handoffs: ReadonlyArray<string>
}

export interface Scripted {
  readonly record: CallRecord.CallRecord
  readonly facts: Facts
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export const chance = (seed: number) => {
  let state = seed >>> 0
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

const targets = [
  { provider: "openai", model: "gpt-4o-mini" },
  { provider: "openai", model: "gpt-4o" },
  { provider: "anthropic", model: "claude-haiku-4-5" },
  { provider: "google", model: "gemini-2.5-flash" }
] as const

type Target = { readonly provider: string; readonly model: string }

const nameOf = (target: Target) => `${target.provider}/${target.model}`

const transient = ["RateLimited", "Overloaded", "ServerError", "Timeout"] as const

const statuses: Readonly<Record<string, number>> = { RateLimited: 429, Overloaded: 529, ServerError: 503 }

const tokens = { inputTokens: 120, outputTokens: 30 }

/** Dollars whose sums have no rounding. */
const price = 1 / 1024

/** The call with a number, on a day that begins at a time. */
export const scriptedCall = (index: number, seed: number, start: number, length = 86_400_000): Scripted => {
  const random = chance(seed * 1_000_003 + index)
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)] as A
  const startedAt = start + Math.floor(random() * length)
  const asked = pick(targets)
  const other = pick(targets.filter((target) => target !== asked))
  const tenant = random() < 0.2 ? undefined : `tenant-${Math.floor(random() * 5)}`
  const attempts: Array<CallRecord.AttemptRecord> = []
  let handoffs: Array<string> = []
  const facts = { backoff: 0, queue: 0, unpriced: 0, unknown: 0, wasted: 0, usd: 0, priced: 0, input: 0, output: 0 }
  let at = startedAt

  const attempt = (target: Target, more: Partial<CallRecord.AttemptRecord>): void => {
    const durationMillis = 200 + Math.floor(random() * 3000)
    const queued = random() < 0.1 ? 1 + Math.floor(random() * 2000) : undefined
    const index = attempts.length + 1
    const base = { index, ...target, startedAt: at, durationMillis, outcome: "success" as const }
    attempts.push({ ...base, ...(queued === undefined ? {} : { queuedMillis: queued }), ...more })
    facts.queue += queued ?? 0
    at += durationMillis
  }
  const counted = () => {
    facts.input += tokens.inputTokens
    facts.output += tokens.outputTokens
  }
  const paid = (): Partial<CallRecord.AttemptRecord> => {
    counted()
    facts.usd += price
    facts.priced++
    return { usage: tokens, usd: price, status: 200, finishReason: "stop" }
  }
  const failure = (target: Target): LlmError.LlmError => {
    const tag = pick(transient)
    const status = statuses[tag]
    const hint = tag === "RateLimited" ? { hint: Duration.millis(700) } : {}
    const delivery = tag === "Timeout" ? ("unknown" as const) : ("rejected" as const)
    if (tag === "Timeout") facts.unknown++
    return errorOf(tag, { ...target, delivery, ...hint, ...(status === undefined ? {} : { status }) })
  }
  const waited = (): { readonly retry: { readonly delayMillis: number; readonly reason: string } } => {
    const delayMillis = 100 + Math.floor(random() * 5000)
    facts.backoff += delayMillis
    return { retry: { delayMillis, reason: "backing off" } }
  }
  const failed = (target: Target, more: Partial<CallRecord.AttemptRecord>): LlmError.LlmError => {
    const error = failure(target)
    attempt(target, {
      outcome: "failure",
      error,
      ...(error.status === undefined ? {} : { status: error.status }),
      ...more
    })
    return error
  }
  /** Failures at one target, the later ones retries. */
  const failures = (target: Target, count: number, more: Partial<CallRecord.AttemptRecord> = {}) =>
    Array.from({ length: count }, (_, n) => failed(target, { ...more, ...(n === 0 ? {} : waited()) }))
  const scene = (): {
    readonly outcome: CallRecord.Outcome
    readonly served?: number
    readonly retries: number
    readonly error?: LlmError.LlmError
    readonly first?: LlmError.LlmError | undefined
  } => {
    const kind = random()
    if (kind < 0.7) {
      attempt(asked, paid())
      return { outcome: "success", served: 1, retries: 0 }
    }
    if (kind < 0.78) {
      const count = 1 + Math.floor(random() * 4)
      const [first] = failures(asked, count)
      const wait = waited()
      attempt(asked, { ...wait, ...paid() })
      return { outcome: "success", served: count + 1, retries: count, first }
    }
    if (kind < 0.85) {
      const count = 1 + Math.floor(random() * 2)
      const [first] = failures(asked, count)
      const fallback = { from: nameOf(asked), reason: first?._tag ?? "" }
      handoffs = [`${fallback.from} > ${nameOf(other)}: ${fallback.reason}`]
      // Sometimes the other target needs a second attempt too: no second handoff.
      const stumbles = random() < 0.3
      if (stumbles) failures(other, 1, { fallback })
      // A plain schedule does not say that it retries.
      const wait = stumbles && random() < 0.5 ? waited() : {}
      attempt(other, { fallback, ...wait, ...paid() })
      const retries = count + (stumbles ? 1 : 0)
      return { outcome: "success", served: retries + 1, retries, first }
    }
    if (kind < 0.88) {
      const all = failures(asked, 4)
      const error = all[3] as LlmError.LlmError
      return { outcome: "failure", retries: 3, error, first: all[0] }
    }
    if (kind < 0.9) {
      const error = errorOf("CircuitOpen", { ...asked, delivery: "not-sent" })
      return { outcome: "failure", retries: 0, error, first: error }
    }
    if (kind < 0.92) {
      // A hedge answers; the loser is cancelled, and its cost known or not.
      if (random() < 0.5) {
        const loser = paid()
        facts.wasted += price
        attempt(asked, { outcome: "interrupted", ...loser })
      } else {
        facts.unknown++
        attempt(asked, { outcome: "interrupted" })
      }
      attempt(other, { hedge: true, stream: true, firstTokenMillis: 80, ...paid() })
      // Sometimes another request follows in the same call: it is no retry.
      if (random() < 0.3) attempt(asked, paid())
      return { outcome: "success", served: 1, retries: 0 }
    }
    if (kind < 0.94) {
      facts.unpriced++
      counted()
      attempt(asked, { usage: tokens })
      return { outcome: "success", served: 1, retries: 0 }
    }
    if (kind < 0.96) {
      facts.unknown++
      attempt(asked, { outcome: "interrupted" })
      return { outcome: "interrupted", retries: 0 }
    }
    if (kind < 0.99) {
      // An agent: three requests in one call, the second of which needs two attempts.
      attempt(asked, paid())
      const [first] = failures(asked, 1)
      const wait = waited()
      attempt(asked, { ...wait, ...paid() })
      attempt(asked, paid())
      return { outcome: "success", served: 2, retries: 1, first }
    }
    facts.unknown++
    attempt(asked, { outcome: "defect" })
    return { outcome: "defect", retries: 0 }
  }

  const { error, first, outcome, retries, served } = scene()
  const record: CallRecord.CallRecord = {
    id: `call-${seed}-${index}`,
    name: "chat assistant",
    operation: "chat",
    ...(tenant === undefined ? {} : { labels: { tenant, feature: "support" } }),
    startedAt,
    durationMillis: at - startedAt + facts.backoff + facts.queue,
    outcome,
    ...(error === undefined ? {} : { error }),
    attempts
  }
  const uncertain = facts.unpriced + facts.unknown
  return {
    record,
    facts: {
      asked,
      day: new Date(startedAt).toISOString().slice(0, 10),
      tenant,
      outcome,
      firstError: first?._tag,
      attempts: attempts.length,
      retries,
      served,
      backoff: facts.backoff,
      queue: facts.queue,
      usd: facts.priced > 0 || uncertain === 0 ? facts.usd : undefined,
      wasted: facts.wasted,
      unpriced: facts.unpriced,
      unknown: facts.unknown,
      input: facts.input,
      output: facts.output,
      handoffs
    }
  }
}

/** Calls of one day, or of more. */
export const scriptedDay = (count: number, seed: number, days = 1): ReadonlyArray<Scripted> =>
  Array.from({ length: count }, (_, index) => scriptedCall(index, seed, Date.UTC(2026, 10, 28), days * 86_400_000))
