/**
 * Reads the fields of a client's request. Each error names the field, what was found and what was expected.
 *
 * Gotchas: a reader throws the `InvalidRequest`, because it stands deep in lists, and {@link reading} catches it.
 * `null` is the same as no value, because clients send it for what they do not set.
 *
 * @since 0.2.0
 */

import * as ErrorMessage from "../../errors/ErrorMessage.js"
import * as JsonText from "../../errors/JsonText.js"
import { InvalidRequest } from "../../errors/LlmError.js"

/**
 * A JSON object.
 *
 * @since 0.2.0
 * @category models
 */
export type Json = Readonly<Record<string, unknown>>

/**
 * The type of a value in words.
 *
 * @since 0.2.0
 * @category getters
 */
export const kindOf = (u: unknown): string =>
  u === null || u === undefined
    ? "nothing"
    : Array.isArray(u)
      ? "an array"
      : typeof u === "object"
        ? "an object"
        : `a ${typeof u}`

/**
 * The name of a field as it is shown: `?` for one that no API has, which may hold anything.
 *
 * @since 0.2.0
 * @category getters
 */
export const nameOf = (name: string): string => (/^[\w-]{1,64}$/.test(name) ? name : "?")

/** What a short value is, and the type of a longer one: no prompt gets into an error. */
const shown = (u: unknown): string =>
  typeof u === "number" || typeof u === "boolean"
    ? String(u)
    : typeof u === "string" && u.length <= 40
      ? `"${ErrorMessage.clean(u)}"`
      : kindOf(u)

/**
 * The error of a field.
 *
 * @since 0.2.0
 * @category errors
 */
export const refusal = (field: string, found: string, expected: string): InvalidRequest =>
  new InvalidRequest({
    provider: "steadfast",
    message: `${field}: found ${found}, expected ${expected}`,
    code: "invalid_request",
    delivery: "not-sent"
  })

/**
 * The value that a function reads, or the refusal that it throws.
 *
 * @since 0.2.0
 * @category constructors
 */
export const reading = <A>(read: () => A): A | InvalidRequest => {
  try {
    return read()
  } catch (error) {
    if (error instanceof InvalidRequest) return error
    throw error
  }
}

/** A reader of one field: `undefined` where there is none. */
type Reader<A> = (value: unknown, field: string) => A | undefined

/** A reader of values that pass a check. */
const of =
  <A>(is: (u: unknown) => boolean, expected: string): Reader<A> =>
  (value, field) => {
    if (value === undefined || value === null) return undefined
    if (!is(value)) throw refusal(field, kindOf(value), expected)
    return value as A
  }

const isObject = (u: unknown): boolean => typeof u === "object" && u !== null && !Array.isArray(u)

/**
 * @since 0.2.0
 * @category readers
 */
export const object = of<Json>(isObject, "an object")

/**
 * @since 0.2.0
 * @category readers
 */
export const array = of<ReadonlyArray<unknown>>(Array.isArray, "an array")

/**
 * @since 0.2.0
 * @category readers
 */
export const string = of<string>((u) => typeof u === "string", "a string")

/**
 * @since 0.2.0
 * @category readers
 */
export const boolean = of<boolean>((u) => typeof u === "boolean", "true or false")

/**
 * @since 0.2.0
 * @category readers
 */
export const number = of<number>((u) => typeof u === "number" && Number.isFinite(u), "a number")

/**
 * A whole number, from `least` on.
 *
 * @since 0.2.0
 * @category readers
 */
export const integer =
  (least: number = Number.MIN_SAFE_INTEGER): Reader<number> =>
  (value, field) => {
    const found = number(value, field)
    if (found === undefined || (Number.isSafeInteger(found) && found >= least)) return found
    throw refusal(
      field,
      shown(found),
      least === Number.MIN_SAFE_INTEGER ? "a whole number" : `a whole number from ${least} on`
    )
  }

/**
 * One of some words.
 *
 * @since 0.2.0
 * @category readers
 */
export const oneOf =
  <const Words extends ReadonlyArray<string>>(...words: Words): Reader<Words[number]> =>
  (value, field) => {
    const found = string(value, field)
    if (found === undefined || words.includes(found)) return found
    throw refusal(field, shown(found), `one of ${words.map((word) => `"${word}"`).join(", ")}`)
  }

/**
 * The value of a field that has to be there.
 *
 * @since 0.2.0
 * @category readers
 */
export const needed = <A>(read: Reader<A>, value: unknown, field: string, expected: string): A => {
  const found = read(value, field)
  if (found === undefined) throw refusal(field, "nothing", expected)
  return found
}

/**
 * The object without the fields that are `undefined`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const compact = <A extends object>(fields: A): { [K in keyof A]: Exclude<A[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof A]: Exclude<A[K], undefined>
  }

/**
 * The texts of a content that is a string or a list of text parts. A refusal is the text of its part.
 *
 * @since 0.2.0
 * @category readers
 */
export const texts = (value: unknown, field: string, types: ReadonlyArray<string> = ["text"]): string => {
  if (value === undefined || value === null) return ""
  if (typeof value === "string") return value
  if (!Array.isArray(value)) throw refusal(field, kindOf(value), "a string or an array of parts")
  return value
    .map((entry, index) => {
      const at = `${field}[${index}]`
      const part = needed(object, entry, at, "an object")
      const type = needed(oneOf(...types), part.type, `${at}.type`, "a string")
      const name = type === "refusal" ? type : "text"
      return needed(string, part[name], `${at}.${name}`, "a string")
    })
    .join("")
}

/**
 * Parsed JSON of an object, as calls of tools have it.
 *
 * @since 0.2.0
 * @category readers
 */
export const parsed = (text: string, field: string): Json => {
  if (text.trim() === "") return {}
  let found: unknown
  try {
    found = JSON.parse(text)
  } catch {
    throw refusal(field, "text that is no JSON", "the JSON of an object")
  }
  return needed(object, shallow(found, field), field, "the JSON of an object")
}

/**
 * The base64 in a `data:` URL, and its media type; `undefined` for another URL.
 *
 * @since 0.2.0
 * @category getters
 */
export const inline = (url: string): { readonly data: string; readonly mediaType: string } | undefined => {
  const head = /^data:([^;,]{1,100})(?:;[^,;]{0,100})?;base64,/i.exec(url)
  return head === null ? undefined : { data: url.slice(head[0].length), mediaType: head[1] ?? "" }
}

/**
 * The value, if it is not nested too deep to be read and written again.
 *
 * @since 0.2.0
 * @category readers
 */
export const shallow = (value: unknown, field: string): unknown => {
  if (JsonText.isDeep(value)) throw refusal(field, "more than 500 levels", "JSON that is not nested so deep")
  return value
}

const efforts = ["none", "minimal", "low", "medium", "high", "xhigh", "max"] as const

/**
 * The effort of reasoning. `max` is the largest that `Chat.Reasoning` has a word for.
 *
 * @since 0.2.0
 * @category readers
 */
export const effort = (value: unknown, field: string) => {
  const found = oneOf(...efforts)(value, field)
  return found === "max" ? "xhigh" : found
}

/**
 * Texts, one or more; no value where there is none.
 *
 * @since 0.2.0
 * @category readers
 */
export const strings: Reader<ReadonlyArray<string>> = (value, field) => {
  const found = stop(array(value, field), field)
  return found?.length === 0 ? undefined : found
}

/**
 * Texts that end an answer: one, or a list.
 *
 * @since 0.2.0
 * @category readers
 */
export const stop: Reader<ReadonlyArray<string>> = (value, field) =>
  typeof value === "string"
    ? [value]
    : array(value, field)?.map((entry, index) => needed(string, entry, `${field}[${index}]`, "a string"))

/**
 * Texts by name, as metadata has them.
 *
 * @since 0.2.0
 * @category readers
 */
export const words: Reader<Readonly<Record<string, string>>> = (value, field) => {
  const found = object(value, field)
  if (found === undefined) return undefined
  return Object.fromEntries(
    Object.entries(found).map(([key, one]) => [key, needed(string, one, `${field}.${nameOf(key)}`, "a string")])
  )
}

/**
 * An object with the names of its fields in camel case: Google's APIs take `inline_data` for `inlineData`.
 *
 * @since 0.2.0
 * @category conversions
 */
export const camel = (fields: Json): Json => {
  if (!Object.keys(fields).some((name) => name.includes("_"))) return fields
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      name.replace(/(?<=[a-z0-9])_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()),
      value
    ])
  )
}
