/**
 * Which step a request gets: a script in order, seeded random rates, or either of them by key, model or format. Pure.
 *
 * The state is how many requests each behaviour has served, nothing else: the random fate of the i-th request is a
 * function of the seed and i, so a run can be repeated, and reordering what comes before does not change it.
 *
 * @since 0.1.0
 */
import * as Reply from "./Reply.js"
import type * as Step from "./Step.js"
import type * as Wire from "./wire/Wire.js"

/**
 * Random faults. One number is drawn for each request; the first rule whose share of [0, 1) it falls in is served, and
 * `otherwise` (default `Reply.text("ok")`) when it falls in none. `seed` defaults to 0.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rates {
  readonly seed?: number | undefined
  readonly rules: ReadonlyArray<{ readonly probability: number; readonly fault: Step.Step }>
  readonly otherwise?: Step.Step | undefined
}

/**
 * What a provider does with the requests that come to it, one step each.
 *
 * - `script`: the first steps, in order.
 * - `rates`: what comes after the script, for ever.
 * - `onExhausted`: what comes after the script when there are no rates. `"repeat"` (default): its last step again and
 *   again, so that `[Fault.status(503)]` is an outage and `[…, Reply.text("hi")]` a recovery; `"cycle"`: from the
 *   start; or a step. Without a script it is `Reply.text("ok")`.
 *
 * @since 0.1.0
 * @category models
 */
export interface Behaviour {
  readonly script?: ReadonlyArray<Step.Step> | undefined
  readonly onExhausted?: "repeat" | "cycle" | Step.Step | undefined
  readonly rates?: Rates | undefined
}

/**
 * A behaviour for some requests: those that match everything that is given. A string matches the whole, a `RegExp` any
 * part. Each rule keeps its own place in its own script.
 *
 * @since 0.1.0
 * @category models
 */
export interface Rule extends Behaviour {
  readonly model?: string | RegExp | undefined
  readonly key?: string | RegExp | undefined
  readonly format?: Wire.Format | undefined
  readonly stream?: boolean | undefined
}

/**
 * The behaviour of a provider: that of the first rule that matches, else its own.
 *
 * @since 0.1.0
 * @category models
 */
export interface Options extends Behaviour {
  readonly rules?: ReadonlyArray<Rule> | undefined
}

/**
 * How many requests each rule has served, in their order, and last how many none of them has.
 *
 * @since 0.1.0
 * @category models
 */
export type State = ReadonlyArray<number>

/**
 * What a request gets: a step, and the position of the rule that gave it, `undefined` for the provider's own behaviour.
 *
 * @since 0.1.0
 * @category models
 */
export interface Choice {
  readonly step: Step.Step
  readonly rule: number | undefined
}

/**
 * A number in [0, 1) from a seed and a position: one round of the splitmix32 generator, whose state is a counter and
 * can therefore be jumped to.
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

const stepAt = (behaviour: Behaviour, position: number): Step.Step => {
  const script = behaviour.script ?? []
  const scripted = script[position]
  if (scripted !== undefined) return scripted
  if (behaviour.rates !== undefined) return draw(behaviour.rates, position - script.length)
  const then = behaviour.onExhausted ?? "repeat"
  if (typeof then === "object") return then
  return script[then === "cycle" ? position % script.length : script.length - 1] ?? ok
}

const fits = (pattern: string | RegExp | undefined, value: string | undefined): boolean =>
  pattern === undefined ||
  // Not `test`: a global RegExp would remember where it was.
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
  return [
    { step: stepAt(rules[found] ?? options, position), rule: found === -1 ? undefined : found },
    state.map((served, i) => (i === slot ? position + 1 : served))
  ]
}
