/**
 * A made-up day of calls: an outage of one provider, an hour in which it is slow, a morning of rate limits, and the
 * usual rest. Chance comes from a seed, so that the same seed makes the same day.
 */
import * as Duration from "effect/Duration"
import type { AttemptRecord, CallRecord } from "../src/calls/CallRecord.js"
import * as LlmError from "../src/errors/LlmError.js"

const minute = 60_000
const hour = 60 * minute

interface Target {
  readonly provider: string
  readonly model: string
  /** Dollars for a million tokens in and out; absent if no price is known. */
  readonly price?: readonly [input: number, output: number]
  /** Milliseconds of a usual answer. */
  readonly usual: number
}

const gpt: Target = { provider: "openai", model: "gpt-4o-mini", price: [0.15, 0.6], usual: 1400 }
const claude: Target = { provider: "anthropic", model: "claude-haiku-4-5", price: [1, 5], usual: 1900 }
const gemini: Target = { provider: "gemini", model: "gemini-2.5-flash", price: [0.3, 2.5], usual: 900 }
const llama: Target = { provider: "vllm", model: "llama-3.3-70b", usual: 2600 }

interface Route {
  readonly name: string
  readonly feature: string
  readonly weight: number
  readonly targets: ReadonlyArray<Target>
}

/** What the application asks for: how often, of whom, and who comes next. */
const routes: ReadonlyArray<Route> = [
  { name: "answer", feature: "chat", weight: 55, targets: [gpt, claude] },
  { name: "summarize", feature: "reports", weight: 20, targets: [claude, gpt] },
  { name: "classify", feature: "inbox", weight: 20, targets: [gemini, gpt] },
  { name: "rewrite", feature: "editor", weight: 5, targets: [llama, claude] }
]

const tenants = ["acme", "acme", "acme", "globex", "globex", "initech"]

/** Mulberry32: small, and the same everywhere. */
const chance = (seed: number): (() => number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

type Fault = readonly [share: number, make: (target: Target, requestId: string) => LlmError.LlmError, millis: number]

const of = ({ model, provider }: Target, requestId?: string) => ({
  provider,
  model,
  ...(requestId === undefined ? {} : { requestId })
})

const limited = (target: Target, requestId: string) =>
  new LlmError.RateLimited({
    ...of(target, requestId),
    message: "Rate limit reached for requests. Please try again in 1.2s.",
    status: 429,
    scope: "requests",
    hint: Duration.millis(1200),
    delivery: "rejected"
  })
const overloaded = (target: Target, requestId: string) =>
  new LlmError.Overloaded({ ...of(target, requestId), message: "Overloaded", status: 529, delivery: "rejected" })
const broken = (target: Target, requestId: string) =>
  new LlmError.ServerError({
    ...of(target, requestId),
    message: "The server had an error while processing your request.",
    status: 503,
    delivery: "unknown"
  })
const unreachable = (target: Target) =>
  new LlmError.ConnectionError({ ...of(target), message: "connection reset", code: "ECONNRESET", delivery: "unknown" })
const late = (target: Target) =>
  new LlmError.Timeout({ ...of(target), message: "no answer in 15 s", phase: "attempt", delivery: "unknown" })
const cut = (target: Target, requestId: string) =>
  new LlmError.StreamInterrupted({
    ...of(target, requestId),
    message: "the stream ended without its end",
    status: 200,
    received: 41,
    partial: "",
    delivery: "unknown"
  })
const tooLong = (target: Target, requestId: string) =>
  new LlmError.ContextLengthExceeded({
    ...of(target, requestId),
    message: "This model's maximum context length is 128000 tokens.",
    status: 400,
    delivery: "rejected"
  })

/** What may go wrong at a target at that time of the day, in hours before its end. */
const faultsOf = ({ provider }: Target, before: number): ReadonlyArray<Fault> => {
  const usual: ReadonlyArray<Fault> = [
    [0.012, limited, 180],
    [0.004, overloaded, 250],
    [0.003, cut, 2400],
    [0.002, tooLong, 140],
    [0.001, broken, 900]
  ]
  if (provider === "openai" && before > 9.2 && before < 9.9) {
    return [[0.62, broken, 700], [0.2, unreachable, 90], ...usual]
  }
  if (provider === "openai" && before > 3.5 && before < 4.5) return [[0.16, late, 15_000], ...usual]
  if (provider === "openai" && before < 0.3) return [[0.26, limited, 180], ...usual]
  if (provider === "gemini" && before > 14 && before < 16) return [[0.24, limited, 160], ...usual]
  return usual
}

/** The fault whose share a number between 0 and 1 falls into, if it is none of the rest. */
const drawn = (faults: ReadonlyArray<Fault>, draw: number): Fault | undefined => {
  let sum = 0
  for (const fault of faults) {
    sum += fault[0]
    if (draw < sum) return fault
  }
  return undefined
}

const most = 3

/** One call: attempts at each target until one answers, as `retry` and `orElse` would make them. */
const callOf = (random: () => number, startedAt: number, before: number, id: number): CallRecord => {
  const pick = <A>(all: ReadonlyArray<A>): A => all[Math.floor(random() * all.length)] as A
  const { feature, name, targets } = pick(routes.flatMap((route) => Array<Route>(route.weight).fill(route)))
  const attempts: Array<AttemptRecord> = []
  const cancelled = random() < 0.006
  let at = startedAt
  let error: LlmError.LlmError | undefined
  let reason: LlmError.LlmError | undefined
  let from: string | undefined
  let answered = false
  for (const target of targets) {
    for (let turn = 1; turn <= most && !answered; turn++) {
      const slow = target.provider === "openai" && before > 3.5 && before < 4.5 ? 4 : 1
      const queued = random() < 0.04 * slow ? Math.round(random() * 900 * slow) : 0
      const base = 500 * 2 ** (turn - 2)
      const delay = turn === 1 ? 0 : Math.round(error?.hint ? 1200 + random() * 300 : base * (0.5 + random()))
      at += delay + queued
      const requestId = `req_${Math.floor(random() * 2 ** 40).toString(36)}`
      const fault = drawn(faultsOf(target, before), random())
      error = fault?.[1](target, requestId)
      const spent = Math.round((fault?.[2] ?? target.usual * slow) * (0.6 + random() * random() * 2))
      const durationMillis = cancelled && fault === undefined ? Math.round(spent / 3) : Math.min(spent, 15_000)
      const outcome = fault !== undefined ? "failure" : cancelled ? "interrupted" : "success"
      const inputTokens = 200 + Math.floor(random() * 2400)
      const outputTokens = 40 + Math.floor(random() * random() * 700)
      const counted = outcome === "success" || error?._tag === "StreamInterrupted"
      const usd = ((target.price?.[0] ?? 0) * inputTokens + (target.price?.[1] ?? 0) * outputTokens) / 1e6
      attempts.push({
        index: attempts.length + 1,
        provider: target.provider,
        model: target.model,
        startedAt: at,
        durationMillis,
        outcome,
        ...(error === undefined ? {} : { error }),
        ...(error?.status === undefined ? (outcome === "success" ? { status: 200 } : {}) : { status: error.status }),
        ...(error?._tag === "Timeout" || error?._tag === "ConnectionError" ? {} : { requestId }),
        ...(counted ? { usage: { inputTokens, outputTokens } } : {}),
        ...(counted && target.price !== undefined ? { usd } : {}),
        ...(queued > 0 ? { queuedMillis: queued } : {}),
        ...(turn > 1 ? { retry: { delayMillis: delay, reason: reason?._tag ?? "" } } : {}),
        ...(from === undefined ? {} : { fallback: { from, reason: reason?._tag ?? "" } }),
        ...(outcome === "success"
          ? { stream: true, firstTokenMillis: Math.round(durationMillis * 0.3), finishReason: "stop" }
          : {})
      })
      at += durationMillis
      answered = outcome !== "failure"
      if (error === undefined) break
      reason = error
      if (!LlmError.isRetryable(error)) break
    }
    if (answered || (error !== undefined && !LlmError.isFallbackable(error))) break
    from = `${target.provider}/${target.model}`
    if (error?._tag === "ContextLengthExceeded") break
  }
  return {
    id: `demo-${id}`,
    name,
    operation: "chat",
    labels: { tenant: pick(tenants), feature },
    startedAt,
    durationMillis: at - startedAt,
    outcome: attempts.at(-1)?.outcome ?? "failure",
    ...(error === undefined ? {} : { error }),
    attempts
  }
}

/** The calls of the 24 hours before a time, the first first. */
export const dayOfCalls = (seed: number, until: number): ReadonlyArray<CallRecord> => {
  const random = chance(seed)
  const records: Array<CallRecord> = []
  let at = until - 24 * hour
  for (;;) {
    // Most of them some hours before the end.
    const busy = 1 + 0.4 * Math.cos((2 * Math.PI * (at - until + 5 * hour)) / (24 * hour))
    at += (-Math.log(1 - random()) * 5_000) / busy
    if (at > until - 20_000) return records
    records.push(callOf(random, Math.round(at), (until - at) / hour, records.length + 1))
  }
}

/** What was said of a call. */
interface Opinion {
  readonly call: string
  readonly name: string
  readonly score: number
  readonly at: number
}

/** What a judge and the users say of some calls: a bit less of those that needed more than one attempt. */
export const opinionsOf = (seed: number, records: ReadonlyArray<CallRecord>): ReadonlyArray<Opinion> => {
  const random = chance(seed + 1)
  return records.flatMap((record): ReadonlyArray<Opinion> => {
    const served = record.outcome === "success"
    const again = record.attempts.length > 1
    const end = record.startedAt + record.durationMillis
    const some = (share: number, name: string, score: () => number, after: number) =>
      random() < share ? [{ call: record.id, name, score: score(), at: Math.round(end + random() * after) }] : []
    const judged = () =>
      Math.round(100 * (random() < (again ? 0.84 : 0.92) ? 1 - 0.25 * random() : 0.7 * random())) / 100
    return [
      ...(served ? some(again ? 1 : 0.05, "judge", judged, 3000) : []),
      ...some(
        served ? 0.07 : 0.3,
        "thumbs",
        () => (random() < (served ? (again ? 0.76 : 0.88) : 0.05) ? 1 : 0),
        90_000
      ),
      ...some(served ? (again ? 0.02 : 0.004) : 0.4, "escalated", () => 1, 240_000)
    ]
  })
}
