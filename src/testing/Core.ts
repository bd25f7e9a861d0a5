/**
 * The part of a faulty provider that both its forms share: it takes a request, decides by script and limits, makes the
 * plan, and keeps the record. It does not wait and does not touch a connection: `FaultyProvider` and `FaultyServer`
 * follow the plan and report back.
 *
 * @since 0.1.0
 */

import * as Effect from "effect/Effect"
import * as Fault from "./Fault.js"
import * as Limits from "./Limits.js"
import * as Plan from "./Plan.js"
import * as Script from "./Script.js"
import type * as Step from "./Step.js"
import * as Wire from "./wire/Wire.js"

/**
 * The behaviour of a provider.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Script.Options {
  /** Rate limits to enforce. Default none. */
  readonly limits?: Limits.Limits | undefined
  /** Whether requests are recorded. Default `true`; `false` saves memory in long benchmarks. */
  readonly record?: boolean | undefined
}

/**
 * A request and its outcome. Times are epoch milliseconds of the Clock. `key` and `headers` are in clear text. A
 * request on a path without a wire format (`format: undefined`) takes no step of the script and gets a 404.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecordedRequest extends Wire.WireRequest {
  /** The number of the request, from 0. */
  readonly index: number
  /** When the request and its body had arrived. */
  readonly at: number
  /** The step that was served; `undefined` for a 404. */
  readonly step: Step.Step | undefined
  /** The position of the rule that gave the step; `undefined` for the provider's own behaviour. */
  readonly rule: number | undefined
  /** Whether the request was refused by `limits`. */
  readonly limited: boolean
  /** The status of the response; `undefined` until its headers are sent. */
  readonly status: number | undefined
  /** When everything was sent, or the connection was reset. */
  readonly finishedAt: number | undefined
  /** Whether the client went away before that. */
  readonly hungUp: boolean
  /** When the client went away. */
  readonly hungUpAt: number | undefined
}

/**
 * A request that is being answered: its plan, and callbacks for its progress. Of `finished` and `hungUp` only the first
 * call counts. `now` is in epoch milliseconds.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  /** The response to send. */
  readonly plan: Plan.Plan
  /** Reports that the headers were sent. */
  readonly headSent: () => void
  /** Reports that everything was sent, or that the connection was reset. */
  readonly finished: (now: number) => void
  /** Reports that the client went away. */
  readonly hungUp: (now: number) => void
}

/**
 * The controls of a faulty provider, in process or on a socket.
 *
 * @since 0.1.0
 * @category models
 */
export interface Control {
  /** All requests so far, in the order of arrival. */
  readonly requests: Effect.Effect<ReadonlyArray<RecordedRequest>>
  /** Waits until the requests fulfil a condition, without polling; for hang-ups and calls in the background. */
  readonly until: (
    condition: (requests: ReadonlyArray<RecordedRequest>) => boolean
  ) => Effect.Effect<ReadonlyArray<RecordedRequest>>
  /** Replaces the behaviour: the new script begins at its start. The record goes on. */
  readonly become: (options: Options) => Effect.Effect<void>
  /** Forgets all requests, and starts the script and the limits anew. */
  readonly reset: Effect.Effect<void>
}

/**
 * A faulty provider without a connection.
 *
 * @since 0.1.0
 * @category models
 */
export interface Core extends Control {
  /** Takes a request that arrived at `now`, in epoch milliseconds. */
  readonly accept: (incoming: Wire.Incoming, now: number) => Exchange
}

/**
 * The value of a request body: parsed JSON, the text itself if it is not JSON, or `undefined` if it is empty.
 *
 * @since 0.1.0
 * @category requests
 */
export const parseBody = (text: string): unknown => {
  if (text === "") return undefined
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

interface State {
  readonly options: Options
  readonly script: Script.State
  readonly limits: Limits.State
  readonly served: number
  /** The answers that were streamed with `background: true`, by id. */
  readonly kept: ReadonlyMap<string, Omit<Wire.Kept, "after">>
}

const start = (options: Options, served: number): State => ({
  options,
  script: Script.initial(options),
  limits: new Map(),
  served,
  kept: new Map()
})

interface Decision {
  readonly plan: Plan.Plan
  readonly step: Step.Step | undefined
  readonly rule: number | undefined
  readonly limited: boolean
}

const unknownId = (id: string): Step.Step =>
  Fault.status(404, {
    body: {
      error: { message: `Response with id '${id}' not found.`, type: "invalid_request_error", param: "id", code: null }
    }
  })

/** The kept answers, with that of this request if it asks for it (`background: true`). */
const keep = (state: State, step: Step.Step, context: Wire.Context): State["kept"] => {
  const { body, format, stream } = context.request
  const reply = step._tag === "Cut" ? step.reply : step
  if (format !== "openai-responses" || !stream || Wire.field(body, "background") !== true) return state.kept
  if (reply._tag !== "Reply") return state.kept
  return new Map(state.kept).set(Wire.id("resp_", context.index), { reply, context })
}

const startingAfter = (url: string): number =>
  Number(new URLSearchParams(url.slice(url.indexOf("?") + 1)).get("starting_after") ?? -1)

/** Decides about a request: a pure function of the provider's state. */
const decide = (state: State, request: Wire.WireRequest, now: number): readonly [Decision, State] => {
  const id = Wire.askedId(request)
  const asked = id === undefined ? undefined : state.kept.get(id)
  const kept = asked && { ...asked, after: startingAfter(request.url) }
  const context: Wire.Context = { request, index: state.served, now, kept }
  const counted = { ...state, served: state.served + 1 }
  if (request.format === undefined) {
    return [{ plan: Plan.unknownPath(context), step: undefined, rule: undefined, limited: false }, counted]
  }
  const [{ rule, step: scripted }, script] = Script.next(state.options, state.script, request)
  const lost = id !== undefined && kept === undefined && scripted._tag === "Reply"
  const step = lost ? unknownId(id) : scripted
  if (state.options.limits === undefined) {
    return [
      { plan: Plan.make(step, context), step, rule, limited: false },
      { ...counted, script, kept: keep(state, step, context) }
    ]
  }
  const cost = Limits.costOf(step, request)
  const [{ headers, refusal }, limits] = Limits.admit(state.options.limits, state.limits, request, cost, now)
  const plan = Plan.make(refusal ?? step, context)
  const limited = plan.head === undefined ? plan : { ...plan, head: withHeaders(plan.head, headers) }
  return refusal === undefined
    ? [
        { plan: limited, step, rule, limited: false },
        { ...counted, script, limits, kept: keep(state, step, context) }
      ]
    : [{ plan: limited, step: refusal, rule, limited: true }, counted]
}

const withHeaders = (head: NonNullable<Plan.Plan["head"]>, headers: Readonly<Record<string, string>>) => ({
  status: head.status,
  headers: { ...headers, ...head.headers }
})

/** A mutable record: one object per request, so that a benchmark does not measure the copying of records. */
interface Entry {
  readonly request: Wire.WireRequest
  readonly index: number
  readonly at: number
  readonly decision: Decision
  status: number | undefined
  finishedAt: number | undefined
  hungUpAt: number | undefined
}

const recorded = (entry: Entry): RecordedRequest => ({
  ...entry.request,
  index: entry.index,
  at: entry.at,
  step: entry.decision.step,
  rule: entry.decision.rule,
  limited: entry.decision.limited,
  status: entry.status,
  finishedAt: entry.finishedAt,
  hungUp: entry.hungUpAt !== undefined,
  hungUpAt: entry.hungUpAt
})

/**
 * Makes a provider with the given behaviour. Without options it answers `ok` to every request.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: Options = {}): Effect.Effect<Core> =>
  Effect.sync(() => {
    let state = start(options, 0)
    let entries: Array<Entry> = []
    const waiting = new Set<() => void>()

    const snapshot = (): ReadonlyArray<RecordedRequest> => entries.map(recorded)

    const accept = (incoming: Wire.Incoming, now: number): Exchange => {
      const request = Wire.parse(incoming)
      const index = state.served
      const [decision, after] = decide(state, request, now)
      state = after
      const entry: Entry = {
        request,
        index,
        at: now,
        decision,
        status: undefined,
        finishedAt: undefined,
        hungUpAt: undefined
      }
      if (state.options.record !== false) entries.push(entry)
      const changed = () => {
        for (const check of waiting) check()
      }
      const isOpen = () => entry.finishedAt === undefined && entry.hungUpAt === undefined
      changed()
      return {
        plan: decision.plan,
        headSent: () => {
          entry.status = decision.plan.head?.status
          changed()
        },
        finished: (at) => {
          if (!isOpen()) return
          entry.finishedAt = at
          changed()
        },
        hungUp: (at) => {
          if (!isOpen()) return
          entry.hungUpAt = at
          changed()
        }
      }
    }

    return {
      accept,
      requests: Effect.sync(snapshot),
      until: (condition) =>
        Effect.async((resume) => {
          const check = () => {
            const requests = snapshot()
            if (!condition(requests)) return
            waiting.delete(check)
            resume(Effect.succeed(requests))
          }
          waiting.add(check)
          check()
          return Effect.sync(() => {
            waiting.delete(check)
          })
        }),
      become: (behaviour) =>
        Effect.sync(() => {
          state = start(behaviour, state.served)
        }),
      reset: Effect.sync(() => {
        state = start(state.options, 0)
        entries = []
      })
    }
  })
