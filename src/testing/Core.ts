/**
 * The part of a faulty provider that both its forms share: it takes a request, decides by script and limits, makes the
 * plan, and keeps the record. It does not wait and does not touch a connection; whoever follows the plan reports back.
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
 * How a provider behaves: see `Script.Options` for `script`, `onExhausted`, `rates` and `rules`, and `Limits` for
 * `limits`. `record: false` keeps no requests, for long benchmarks.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Script.Options {
  readonly limits?: Limits.Limits | undefined
  readonly record?: boolean | undefined
}

/**
 * One request and what became of it. Times are epoch milliseconds of the Clock.
 *
 * - `index`: its number, from 0. `at`: when it came, after its body was read.
 * - `url`: path and query. `body`: parsed where it is JSON. `key`, `headers`: in clear, for this is a test.
 * - `format`: `undefined` for a path that no format has; such a request takes no step and gets a 404.
 * - `step`: what it was served; `undefined` for a 404. `rule`: which rule gave it. `limited`: refused by `limits`.
 * - `status`: the status of the response, `undefined` as long as there were no headers.
 * - `finishedAt`: when the provider was through with it: everything sent, or the connection reset.
 * - `hungUp`, `hungUpAt`: whether and when the client went away before that.
 *
 * @since 0.1.0
 * @category models
 */
export interface RecordedRequest extends Wire.WireRequest {
  readonly index: number
  readonly at: number
  readonly step: Step.Step | undefined
  readonly rule: number | undefined
  readonly limited: boolean
  readonly status: number | undefined
  readonly finishedAt: number | undefined
  readonly hungUp: boolean
  readonly hungUpAt: number | undefined
}

/**
 * A request that is being answered: its plan, and where to report the headers, the end, or that the client went away.
 * Only the first of `finished` and `hungUp` counts.
 *
 * @since 0.1.0
 * @category models
 */
export interface Exchange {
  readonly plan: Plan.Plan
  readonly headSent: () => void
  readonly finished: (now: number) => void
  readonly hungUp: (now: number) => void
}

/**
 * What can be asked of a provider, whichever form it has.
 *
 * - `requests`: every request so far, in the order in which they came.
 * - `until`: waits until the requests fulfil a condition, without polling; for hang-ups, and calls made in the
 *   background.
 * - `become`: behaves so from now on: another script, from its start. The record goes on.
 * - `reset`: forgets all requests, and starts the script and the limits anew.
 *
 * @since 0.1.0
 * @category models
 */
export interface Control {
  readonly requests: Effect.Effect<ReadonlyArray<RecordedRequest>>
  readonly until: (
    condition: (requests: ReadonlyArray<RecordedRequest>) => boolean
  ) => Effect.Effect<ReadonlyArray<RecordedRequest>>
  readonly become: (options: Options) => Effect.Effect<void>
  readonly reset: Effect.Effect<void>
}

/**
 * @since 0.1.0
 * @category models
 */
export interface Core extends Control {
  readonly accept: (incoming: Wire.Incoming, now: number) => Exchange
}

/**
 * The text of a request body as a provider reads it: JSON where it is JSON, `undefined` where there is none.
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
  /** The answers that the provider keeps, by id. */
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

/** The answer that a request asks to be kept, with the id that it gets. */
const keep = (state: State, step: Step.Step, context: Wire.Context): State["kept"] => {
  const { body, format, stream } = context.request
  const reply = step._tag === "Cut" ? step.reply : step
  if (format !== "openai-responses" || !stream || Wire.field(body, "background") !== true) return state.kept
  if (reply._tag !== "Reply") return state.kept
  return new Map(state.kept).set(Wire.id("resp_", context.index), { reply, context })
}

const startingAfter = (url: string): number =>
  Number(new URLSearchParams(url.slice(url.indexOf("?") + 1)).get("starting_after") ?? -1)

/**
 * What to do with a request: the whole of a provider, as a function of its state.
 */
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
  const told = plan.head === undefined ? plan : { ...plan, head: withHeaders(plan.head, headers) }
  return refusal === undefined
    ? [
        { plan: told, step, rule, limited: false },
        { ...counted, script, limits, kept: keep(state, step, context) }
      ]
    : [{ plan: told, step: refusal, rule, limited: true }, counted]
}

const withHeaders = (head: NonNullable<Plan.Plan["head"]>, headers: Readonly<Record<string, string>>) => ({
  status: head.status,
  headers: { ...headers, ...head.headers }
})

/**
 * A record as it is being written: one object a request, so that a benchmark does not measure the copying of records.
 */
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
 * A provider that behaves as told.
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
