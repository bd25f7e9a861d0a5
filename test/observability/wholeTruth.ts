/**
 * What is true of a whole day, from the providers' own logs and the application's plan. Nothing here reads a record.
 */
import type { CallRecord } from "effect-steadfast"
import type { FaultyProvider, Step } from "effect-steadfast/testing"
import type { Facts } from "./scriptedDay.js"
import { attemptMillis, numberOf, type Planned, patience, prices, type Target } from "./wholeDay.js"

export interface Usage {
  readonly input: number
  readonly output: number
  readonly cached: number
}

/** What is true of one request. */
export interface Asked {
  readonly target: Target
  readonly day: string
  readonly at: number
  readonly ended: number
  readonly streaming: boolean
  readonly outcome: CallRecord.Outcome
  /** The tag of its error. */
  readonly error: string | undefined
  readonly usage: Usage | undefined
  readonly usd: number | undefined
  readonly cost: "usd" | "free" | "unpriced" | "unknown"
  /** From the request to its first content, if that was sent. */
  readonly firstToken: number | undefined
  readonly hedge: boolean
  readonly kind: "first" | "retry" | "fallback" | "hedge"
  /** The call went over to this target with it: from where, and why. */
  readonly handoff: { readonly from: string; readonly reason: string } | undefined
}

/** What is true of one call. */
export interface Told {
  readonly call: Planned
  readonly asked: ReadonlyArray<Asked>
  readonly outcome: CallRecord.Outcome
  readonly error: string | undefined
  readonly ended: number
  readonly served: Asked | undefined
  readonly facts: Facts
}

type Logged = FaultyProvider.RecordedRequest & { readonly target: Target }

const dayOf = (millis: number): string => new Date(millis).toISOString().slice(0, 10)

const tags: Partial<Record<Step.ErrorKind, string>> = {
  "rate-limited": "RateLimited",
  "server-error": "ServerError",
  overloaded: "Overloaded",
  "content-filter": "ContentFiltered"
}

/** The error that a step is, if it was read to its end. */
const errorOf = (step: Step.Step, streaming: boolean): string | undefined => {
  switch (step._tag) {
    case "Reply":
      return step.finish === "content-filter" ? "ContentFiltered" : undefined
    case "HttpError":
    case "ErrorEvent":
      return tags[step.kind]
    case "Cut":
      return streaming ? "StreamInterrupted" : "ConnectionError"
    case "Reset":
      return "ConnectionError"
    default:
      throw new Error(`the day has no ${step._tag}`)
  }
}

const countsOf = ({ usage }: Step.Reply): Usage => ({
  input: usage?.inputTokens ?? 0,
  output: usage?.outputTokens ?? 0,
  cached: usage?.cachedTokens ?? 0
})

/** The usage that was sent: at the end of an answer, or, by Anthropic, with the begin of a stream. */
const usageOf = ({ hungUp, status, step, target }: Logged, streaming: boolean): Usage | undefined => {
  if (step === undefined || status !== 200) return undefined
  if (step._tag === "Reply" && !hungUp) return countsOf(step)
  const begun =
    step._tag === "Reply" ? step : step._tag === "Cut" || step._tag === "ErrorEvent" ? step.reply : undefined
  if (begun?._tag !== "Reply" || !streaming || !target.startsWith("anthropic")) return undefined
  return { ...countsOf(begun), output: 1 }
}

/** Whether the provider may have done work for it. A 500 tells nothing, every other refusal does. */
const mayCost = ({ step }: Logged): boolean => {
  if (step?._tag === "HttpError") return step.kind === "server-error"
  return step?._tag !== "Reset" || step.code === "ECONNRESET"
}

const firstTokenOf = ({ at, hungUpAt, step }: Logged, streaming: boolean): number | undefined => {
  const reply = step?._tag === "Cut" || step?._tag === "ErrorEvent" ? step.reply : step
  if (!streaming || reply?._tag !== "Reply") return undefined
  const after = reply.delay + reply.firstTokenDelay
  return hungUpAt === undefined || at + after < hungUpAt ? after : undefined
}

const endOf = ({ finishedAt, hungUpAt, step }: Logged): number => {
  const end = hungUpAt ?? finishedAt
  if (end === undefined) throw new Error(`a request without an end: ${step?._tag}`)
  return end
}

/** Why a client went away before the end: its time was up, its reader left, or another target had answered. */
const leftFor = (one: Logged, call: Planned): "Timeout" | "interrupted" => {
  if (call.route === "cancelled" && one.hungUpAt === call.at + patience) return "interrupted"
  if (call.route === "hedged") return "interrupted"
  if (endOf(one) - one.at === attemptMillis) return "Timeout"
  throw new Error(`nobody knows why call ${call.number} left`)
}

const priceOf = (target: Target, usage: Usage): number | undefined => {
  const price = prices[target]
  return price && (usage.input * price.input + usage.output * price.output) / 1e6
}

/** The requests of a call in their order, which a hedge may break: it comes while another runs. */
const askedOf = (call: Planned, log: ReadonlyArray<Logged>): ReadonlyArray<Asked> =>
  log.map((one, index): Asked => {
    const { streaming } = call
    const before = log[index - 1]
    const hedge = before !== undefined && endOf(before) > one.at
    const left = one.hungUp ? leftFor(one, call) : undefined
    if (one.step === undefined) throw new Error("a request that is none")
    const error = left === undefined ? errorOf(one.step, streaming) : left === "Timeout" ? left : undefined
    const usage = usageOf(one, streaming)
    const usd = usage && priceOf(one.target, usage)
    const failed = before && whyOf(before, call)
    const gone = !hedge && before !== undefined && before.target !== one.target
    return {
      target: one.target,
      day: dayOf(one.at),
      at: one.at,
      ended: endOf(one),
      streaming,
      outcome: error !== undefined ? "failure" : left === "interrupted" ? "interrupted" : "success",
      error,
      usage,
      usd,
      cost: usage !== undefined ? (usd === undefined ? "unpriced" : "usd") : mayCost(one) ? "unknown" : "free",
      firstToken: firstTokenOf(one, streaming),
      hedge,
      kind: hedge ? "hedge" : one.target !== log[0]?.target ? "fallback" : index > 0 ? "retry" : "first",
      handoff: gone ? { from: before.target, reason: failed ?? "" } : undefined
    }
  })

const whyOf = (one: Logged, call: Planned): string | undefined =>
  one.hungUp || one.step === undefined ? leftFor(one, call) : errorOf(one.step, call.streaming)

const sum = (values: ReadonlyArray<number>): number => values.reduce((all, value) => all + value, 0)

const told = (call: Planned, log: ReadonlyArray<Logged>): Told => {
  const asked = askedOf(call, log)
  const served = asked.find(({ outcome }) => outcome === "success")
  const last = asked.at(-1)
  // The loser of a hedge is interrupted too, and the winner may fail after its first content.
  const cancelled = call.route === "cancelled" && asked.some(({ outcome }) => outcome === "interrupted")
  const outcome = served !== undefined ? "success" : cancelled ? "interrupted" : "failure"
  const tries = asked.filter(({ hedge }) => !hedge)
  const number = served === undefined ? undefined : served.hedge ? 1 : tries.indexOf(served) + 1
  const useless = (one: Asked) => outcome !== "success" || one.outcome !== "success"
  const count = (cost: Asked["cost"]) => asked.filter((one) => one.cost === cost).length
  const priced = asked.some(({ usd }) => usd !== undefined)
  const unpriced = count("unpriced")
  const unknown = count("unknown")
  const [provider = "", model = ""] = call.first.split("/")
  return {
    call,
    asked,
    outcome,
    error: outcome === "failure" ? last?.error : undefined,
    ended: served?.ended ?? last?.ended ?? call.at,
    served,
    facts: {
      asked: { provider, model },
      day: dayOf(call.at),
      tenant: call.tenant,
      outcome,
      firstError: asked.find(({ error }) => error !== undefined)?.error,
      attempts: asked.length,
      retries: tries.length - 1,
      served: number,
      backoff: sum(tries.slice(1).map(({ at }, index) => at - (tries[index]?.ended ?? 0))),
      queue: (asked[0]?.at ?? call.at) - call.at,
      usd: priced || unpriced + unknown === 0 ? sum(asked.map(({ usd }) => usd ?? 0)) : undefined,
      wasted: sum(asked.map((one) => (useless(one) ? (one.usd ?? 0) : 0))),
      unpriced,
      unknown,
      input: sum(asked.map(({ usage }) => usage?.input ?? 0)),
      output: sum(asked.map(({ usage }) => usage?.output ?? 0)),
      handoffs: asked.flatMap(({ handoff, target }) =>
        handoff === undefined ? [] : [`${handoff.from} > ${target}: ${handoff.reason}`]
      )
    }
  }
}

/** The calls of a day, each with what the providers noted of it. */
export const truthsOf = (
  plan: ReadonlyArray<Planned>,
  logs: Readonly<Record<string, ReadonlyArray<FaultyProvider.RecordedRequest>>>
): ReadonlyArray<Told> => {
  const byCall = new Map<number, Array<Logged>>()
  for (const [target, requests] of Object.entries(logs)) {
    for (const request of requests) {
      const number = numberOf(request)
      const before = byCall.get(number) ?? []
      byCall.set(number, [...before, { ...request, target: target as Target }])
    }
  }
  return plan.map((call) =>
    told(
      call,
      // At one moment, the next target is asked after the first one.
      (byCall.get(call.number) ?? []).sort(
        (a, b) => a.at - b.at || Number(a.target !== call.first) - Number(b.target !== call.first)
      )
    )
  )
}
