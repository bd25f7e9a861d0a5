/**
 * Chooses the step for a request: a script in order, seeded random rates, or either of them by key, model or format.
 * Pure.
 *
 * The only state is the number of requests that each behaviour has served. The random step of request i is a function
 * of the seed and i, so a run can be repeated, and the order of earlier requests does not matter.
 *
 * @since 0.1.0
 */

import * as Reply from "./Reply.js"
import type * as Step from "./Step.js"
import type * as Wire from "./wire/Wire.js"

/**
 * Random faults. Each request draws a number in [0, 1). The rules divide that range by their probabilities, in order,
 * and the rule that has the number is served.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rates {
  /** The seed of the random numbers. Default 0. */
  readonly seed?: number | undefined
  /** Steps and their probabilities, from 0 to 1. */
  readonly rules: ReadonlyArray<{ readonly probability: number; readonly fault: Step.Step }>
  /** The step for the rest of the range. Default `Reply.text("ok")`. */
  readonly otherwise?: Step.Step | undefined
}

/**
 * A step, or a function that answers by the request: its model, its body, its headers.
 *
 * @since 0.2.0
 * @category models
 */
export type Answer = Step.Step | ((request: Wire.WireRequest) => Step.Step)

/**
 * The steps of a provider, one for each request. Without options every step is `Reply.text("ok")`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Behaviour {
  /** The first steps, in order. Default none. */
  readonly script?: ReadonlyArray<Answer> | undefined
  /**
   * The steps after the script, if there are no rates. `"repeat"`: its last step for ever, so that
   * `[Fault.status(503)]` is an outage and `[…, Reply.text("hi")]` a recovery; `"cycle"`: the script again; or one step
   * for ever. Default `"repeat"`.
   */
  readonly onExhausted?: "repeat" | "cycle" | Answer | undefined
  /** Random steps after the script, for ever. Default none. */
  readonly rates?: Rates | undefined
}

/**
 * A behaviour for requests that match all given fields. A string matches the whole value, a `RegExp` any part. Each
 * rule has its own script and its own place in it.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule extends Behaviour {
  /** The requested model. Default any. */
  readonly model?: string | RegExp | undefined
  /** The caller's key. Default any. */
  readonly key?: string | RegExp | undefined
  /** The wire format. Default any. */
  readonly format?: Wire.Format | undefined
  /** Whether the request asks for a stream. Default any. */
  readonly stream?: boolean | undefined
}

/**
 * The behaviour of a provider: that of the first matching rule, else its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Behaviour {
  /** Behaviours for some requests; the first matching rule counts. Default none. */
  readonly rules?: ReadonlyArray<Rule> | undefined
}

/**
 * The number of requests that each rule has served, in order; the last number is for the provider's own behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export type State = ReadonlyArray<number>

/**
 * The step for a request.
 *
 * @since 0.1.0
 * @category models
 */
export interface Choice {
  /** The step to serve. */
  readonly step: Step.Step
  /** The position of the rule that gave it; `undefined` for the provider's own behaviour. */
  readonly rule: number | undefined
}

/**
 * A number in [0, 1) from a seed and a position: one round of the splitmix32 generator. Its state is a counter, so any
 * position can be computed directly.
 *
 * @since 0.1.0
 * @category random
 */
export const random = (seed: number, position: number): number => {
  let x = (seed + Math.imul(position + 1, 0x9e3779b9)) | 0
  x = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  x = Math.imul(x ^ (x >>> 15), 0x735a2d97)
  return ((x ^ (x >>> 15)) >>> 0) / 4294967296
}

const ok = Reply.text("ok")

const draw = (rates: Rates, position: number): Step.Step => {
  let rest = random(rates.seed ?? 0, position)
  for (const { fault, probability } of rates.rules) {
    if (rest < probability) return fault
    rest -= probability
  }
  return rates.otherwise ?? ok
}

const stepAt = (behaviour: Behaviour, position: number): Answer => {
  const script = behaviour.script ?? []
  const scripted = script[position]
  if (scripted !== undefined) return scripted
  if (behaviour.rates !== undefined) return draw(behaviour.rates, position - script.length)
  const then = behaviour.onExhausted ?? "repeat"
  if (typeof then !== "string") return then
  return script[then === "cycle" ? position % script.length : script.length - 1] ?? ok
}

const fits = (pattern: string | RegExp | undefined, value: string | undefined): boolean =>
  pattern === undefined ||
  // Not `test`: a global RegExp keeps the index of its last match.
  (value !== undefined && (typeof pattern === "string" ? pattern === value : value.search(pattern) !== -1))

const matches = (rule: Rule, request: Wire.WireRequest): boolean =>
  fits(rule.model, request.model) &&
  fits(rule.key, request.key) &&
  (rule.format === undefined || rule.format === request.format) &&
  (rule.stream === undefined || rule.stream === request.stream)

/**
 * The state before the first request.
 *
 * @since 0.1.0
 * @category decisions
 */
export const initial = (options: Options): State => Array.from({ length: (options.rules?.length ?? 0) + 1 }, () => 0)

/**
 * The step of a request, and the state after it.
 *
 * @since 0.1.0
 * @category decisions
 */
export const next = (options: Options, state: State, request: Wire.WireRequest): readonly [Choice, State] => {
  const rules = options.rules ?? []
  const found = rules.findIndex((rule) => matches(rule, request))
  const slot = found === -1 ? rules.length : found
  const position = state[slot] ?? 0
  const answer = stepAt(rules[found] ?? options, position)
  return [
    { step: typeof answer === "function" ? answer(request) : answer, rule: found === -1 ? undefined : found },
    state.map((served, i) => (i === slot ? position + 1 : served))
  ]
}
