/**
 * Retry and fallback blocks with the names of other gateways, in ours: `max_attempts`, `initial_delay_ms`, `backoff`,
 * `on_status_codes`, `after_retry_exhausted`.
 *
 * @since 0.2.0
 */

import { FileKeys } from "./FileKeys.js"
import type { Path } from "./Problem.js"
import type * as Report from "./Report.js"
import * as Tree from "./Tree.js"
import * as Variables from "./Variables.js"

const snake = (key: string): string =>
  key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll("-", "_")

const numberOf = (value: unknown): number | undefined => {
  const number = typeof value === "string" && value.trim() !== "" ? Number(value) : value
  return typeof number === "number" && Number.isFinite(number) ? number : undefined
}

const truth = (value: unknown): unknown => (value === "true" ? true : value === "false" ? false : value)

const delays =
  /^(initial_delay|base_delay|min_delay|max_delay|max_hint|overloaded_delay)(_ms|_millis|_s|_secs|_seconds)?$/

const delayKeys: Readonly<Record<string, string>> = {
  initial_delay: "initialDelay",
  base_delay: "initialDelay",
  min_delay: "initialDelay",
  max_delay: "maxDelay",
  max_hint: "maxHint",
  overloaded_delay: "overloadedDelay"
}

const attemptKeys: Readonly<Record<string, number>> = {
  max_attempts: 0,
  attempts: 0,
  max_retries: 1,
  num_retries: 1,
  retries: 1
}

type Entry = readonly [key: string, value: unknown]

/** What another gateway's field is here. A text is what was expected; `undefined` means that the field is not known. */
const translate = (name: string, given: unknown): Entry | "same" | { readonly expected: string } | undefined => {
  const extra = attemptKeys[name]
  if (extra !== undefined) {
    const count = numberOf(given)
    return ["maxAttempts", count === undefined ? given : count + extra]
  }
  const [, delay, unit] = delays.exec(name) ?? []
  if (delay !== undefined) {
    const key = delayKeys[delay] as string
    if (unit === undefined) return [key, given]
    const amount = numberOf(given)
    if (amount === undefined) return { expected: `a number of ${unit.includes("m") ? "milliseconds" : "seconds"}` }
    return [key, `${amount} ${unit.includes("m") ? "millis" : "seconds"}`]
  }
  switch (name) {
    case "backoff": {
      if (given === "exponential") return "same"
      if (given === "fixed" || given === "constant") return ["backoffFactor", 1]
      const factor = numberOf(given)
      return factor === undefined ? { expected: '"exponential", "fixed" or a factor' } : ["backoffFactor", factor]
    }
    case "backoff_factor":
    case "backoff_multiplier":
    case "multiplier":
      return ["backoffFactor", numberOf(given) ?? given]
    case "on_status_codes":
    case "retry_on":
      return ["retryOn", given]
    case "give_up_on":
      return ["giveUpOn", given]
    case "on_timeout":
      if (truth(given) === true) return "same"
      return truth(given) === false ? ["giveUpOn", ["Timeout"]] : { expected: "true or false" }
    case "jitter": {
      const word = truth(given)
      if (word === true || word === "full") return ["jitter", "full"]
      if (word === false || word === "none") return ["jitter", "none"]
      return { expected: 'true, false, "full" or "none"' }
    }
    default:
      return undefined
  }
}

/**
 * A retry block in the library's words.
 *
 * @since 0.2.0
 * @category combinators
 */
export const retry = (given: unknown, at: Path, report: Report.Report): unknown => {
  if (!Tree.isFields(given)) return given
  const own = new Set(FileKeys.retry)
  const out: Tree.Fields = {}
  const foreign: Array<Entry> = []
  for (const [key, value] of Object.entries(given)) {
    if (own.has(key) && !(key === "jitter" && typeof truth(value) === "boolean")) out[key] = value
    else foreign.push([key, value])
  }
  for (const [key, value] of foreign) {
    const place = [...at, key]
    const entry = translate(snake(key), value)
    if (entry === undefined) out[key] = value
    else if (entry === "same") report.note(`${report.where(place)} is what happens without it`)
    else if ("expected" in entry) report.add(place, entry.expected)
    else {
      const [name, translated] = entry
      const to = [...at, name]
      if (key !== name && Object.hasOwn(out, name)) {
        const both = name === "giveUpOn" && Array.isArray(out[name]) && Array.isArray(translated)
        if (both) out[name] = [...(out[name] as ReadonlyArray<unknown>), ...translated]
        else report.add(place, `it left out, as ${name} says the same`)
        continue
      }
      out[name] = typeof translated === "string" ? Variables.duration(translated) : translated
      if (key !== name) report.moved(to, place)
      report.note(
        name === "retryOn"
          ? `${report.where(place)} is read as retryOn, which adds to the errors that are retried anyway`
          : `${report.where(place)} is read as ${name}${key === name ? ` ${String(translated)}` : ""}`
      )
    }
  }
  return out
}

const targetText = (item: unknown): string | undefined => {
  if (typeof item === "string") return item
  if (!Tree.isFields(item)) return undefined
  const { model, provider, target } = item
  if (typeof target === "string") return target
  if (typeof model !== "string") return undefined
  return typeof provider === "string" ? `${provider}/${model}` : model
}

/**
 * `fallback: { after_retry_exhausted: … }` as the fallbacks of the model, or as `false`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const fallback = (policies: Tree.Fields, at: Path, report: Report.Report): void => {
  const given = policies.fallback
  const place = [...at, "fallback"]
  if (given === true || given === "true") {
    report.note(`${report.where(place)} is what happens without it`)
    delete policies.fallback
  }
  if (!Tree.isFields(given)) return
  const { after_retry_exhausted: snakeCase, afterRetryExhausted: camelCase, ...rules } = given
  const after = truth(snakeCase ?? camelCase)
  if (after === undefined) return
  const key = snakeCase === undefined ? "afterRetryExhausted" : "after_retry_exhausted"
  const inner = [...place, key]
  if (Object.keys(rules).length > 0) policies.fallback = rules
  else delete policies.fallback
  if (after === true) report.note(`${report.where(inner)} is what happens without it`)
  else if (after === false) policies.fallback = false
  else if (Object.hasOwn(policies, "fallbacks")) report.add(inner, "it left out, as fallbacks says the same")
  else {
    const items = Array.isArray(after) ? after : [after]
    const fallbacks: Array<string> = []
    for (const [index, item] of items.entries()) {
      const from = Array.isArray(after) ? [...inner, index] : inner
      const text = targetText(item)
      if (text === undefined) report.add(from, "a model, a provider/model, or true")
      else report.moved([...at, "fallbacks", fallbacks.push(text) - 1], from)
    }
    policies.fallbacks = fallbacks
    report.moved([...at, "fallbacks"], inner)
    report.note(`${report.where(inner)} is read as fallbacks`)
  }
}
