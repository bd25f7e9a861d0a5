/**
 * Variables of the environment that override the `defaults` of a file, whatever the file is.
 *
 * A time without a unit is in seconds, as in `RetryPolicy.config`; `500ms`, `30s`, `2m` and `30 seconds` have one.
 *
 * @since 0.2.0
 */

import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { Defaults } from "./FileSchema.js"
import { closest, type Path, show } from "./Problem.js"
import type * as Report from "./Report.js"
import { issuesOf } from "./SchemaWalk.js"
import * as Variables from "./Variables.js"

interface Variable {
  /** The second name and those after it mean the same. */
  readonly names: readonly [string, ...ReadonlyArray<string>]
  /** Where it stands in `defaults`. */
  readonly path: readonly [string] | readonly [string, string]
  readonly read: (text: string) => unknown
  readonly expected?: string
}

const number = (text: string): unknown => (text === "" || Number.isNaN(Number(text)) ? text : Number(text))

const retries = (text: string): unknown => {
  const count = number(text)
  return typeof count === "number" ? count + 1 : count
}

const time = (unit: "seconds" | "millis") => (text: string) =>
  typeof number(text) === "number" ? `${Number(text)} ${unit}` : Variables.duration(text)

const factor = (text: string): unknown =>
  text === "exponential" ? 2 : text === "fixed" || text === "constant" ? 1 : number(text)

const jitter = (text: string): unknown =>
  /^(?:true|yes|on|1)$/i.test(text) ? "full" : /^(?:false|no|off|0)$/i.test(text) ? "none" : text

const list = (text: string): unknown =>
  text
    .split(",")
    .map((one) => one.trim())
    .filter((one) => one !== "")

const seconds = 'a time in seconds, or with a unit as in "30s"'

const variables: ReadonlyArray<Variable> = [
  {
    names: ["LLM_MAX_RETRIES", "LLM_NUM_RETRIES", "LLM_RETRIES"],
    path: ["retry", "maxAttempts"],
    read: retries,
    expected: "a whole number of retries from 0 to 99"
  },
  { names: ["LLM_MAX_ATTEMPTS", "LLM_RETRY_MAX_ATTEMPTS"], path: ["retry", "maxAttempts"], read: number },
  {
    names: ["LLM_TIMEOUT", "LLM_REQUEST_TIMEOUT"],
    path: ["timeout", "attempt"],
    read: time("seconds"),
    expected: seconds
  },
  { names: ["LLM_TIMEOUT_MS", "LLM_REQUEST_TIMEOUT_MS"], path: ["timeout", "attempt"], read: time("millis") },
  { names: ["LLM_FIRST_TOKEN_TIMEOUT"], path: ["timeout", "firstToken"], read: time("seconds"), expected: seconds },
  { names: ["LLM_IDLE_TIMEOUT"], path: ["timeout", "idle"], read: time("seconds"), expected: seconds },
  { names: ["LLM_DEADLINE", "LLM_TOTAL_TIMEOUT"], path: ["deadline"], read: time("seconds"), expected: seconds },
  {
    names: ["LLM_RETRY_BACKOFF", "LLM_RETRY_BACKOFF_FACTOR"],
    path: ["retry", "backoffFactor"],
    read: factor,
    expected: "exponential, fixed or a factor from 1 to 10"
  },
  {
    names: ["LLM_RETRY_DELAY", "LLM_RETRY_INITIAL_DELAY", "LLM_RETRY_BASE_DELAY"],
    path: ["retry", "initialDelay"],
    read: time("seconds"),
    expected: seconds
  },
  {
    names: ["LLM_RETRY_DELAY_MS", "LLM_RETRY_INITIAL_DELAY_MS"],
    path: ["retry", "initialDelay"],
    read: time("millis")
  },
  { names: ["LLM_RETRY_MAX_DELAY"], path: ["retry", "maxDelay"], read: time("seconds"), expected: seconds },
  { names: ["LLM_RETRY_MAX_DELAY_MS"], path: ["retry", "maxDelay"], read: time("millis") },
  { names: ["LLM_RETRY_JITTER"], path: ["retry", "jitter"], read: jitter, expected: "true, false, full or none" },
  { names: ["LLM_FALLBACK_MODELS", "LLM_FALLBACK_MODEL"], path: ["fallbacks"], read: list }
]

const known = variables.flatMap(({ names }) => names)

/**
 * What the environment sets, and the variable of each setting by its path in `defaults`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Overrides {
  readonly defaults: Defaults
  readonly variableOf: (path: Path) => string | undefined
}

const nested = (path: Variable["path"], value: unknown): unknown => {
  const [first, second] = path
  return { [first]: second === undefined ? value : { [second]: value } }
}

const decode = Schema.decodeUnknownEither(Defaults, { errors: "all", onExcessProperty: "error" })

/**
 * Reads the variables.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = (env: Variables.Env, report: Report.Report): Overrides => {
  const set = new Map<string, { readonly name: string; readonly text: string }>()
  let defaults: Defaults = {}
  for (const { expected, names, path, read } of variables) {
    const place = path.join(".")
    for (const name of names) {
      const text = Variables.valueOf(env, name)?.trim()
      if (text === undefined) continue
      const other = set.get(place)
      if (other !== undefined) {
        if (other.text !== text) report.addVariable(name, `it left out, as ${other.name} says the same`, show(text))
        continue
      }
      const decoded = decode(nested(path, read(text)))
      if (Either.isLeft(decoded)) {
        const wanted = expected ?? issuesOf(Defaults, decoded.left)[0]?.expected ?? "another value"
        report.addVariable(name, wanted, show(text))
        continue
      }
      set.set(place, { name, text })
      defaults = overlay(defaults, decoded.right)
      report.note(`${name} sets defaults.${place}`)
    }
  }
  for (const name of Object.keys(env)) {
    if (!/^LLM_(?:MAX|NUM|RETR|TIMEOUT|REQUEST|FALLBACK|DEADLINE)/.test(name) || known.includes(name)) continue
    const near = closest(name, known)
    if (near !== undefined) report.note(`the variable ${name} is not known (did you mean ${near}?)`)
  }
  return { defaults, variableOf: (path) => set.get(path.join("."))?.name }
}

/**
 * Policies laid over others, option by option.
 *
 * @since 0.2.0
 * @category combinators
 */
export const overlay = (below: Defaults, above: Defaults): Defaults => ({
  ...below,
  ...above,
  ...(below.retry !== undefined && above.retry !== undefined ? { retry: { ...below.retry, ...above.retry } } : {}),
  ...(below.timeout !== undefined && above.timeout !== undefined
    ? { timeout: { ...below.timeout, ...above.timeout } }
    : {})
})
