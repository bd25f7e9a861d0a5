/**
 * JSON in the text of an answer, and what is wrong with it. Everything here is pure.
 *
 * {@link find} takes JSON that is the whole text, or the content of the text's only fence. JSON in the middle of prose
 * is not taken: the model may quote an example. {@link misfit} says where a value does not fit its schema. It names
 * paths and kinds and no value, because errors get into logs and records, and values are the answer.
 *
 * @since 0.2.0
 */

import * as ParseResult from "effect/ParseResult"
import type { Json } from "../JsonSchema.js"

// -----------------------------------------------------------------------------
// text
// -----------------------------------------------------------------------------

/**
 * The value of a text, or what is wrong with it.
 *
 * @since 0.2.0
 * @category models
 */
export type Found =
  | { readonly _tag: "Value"; readonly value: unknown }
  | { readonly _tag: "Wrong"; readonly why: string }

const fence = "```"

/** The content of a text's only fence: from the line after the first mark to the last mark. */
const fenced = (text: string): string | undefined => {
  const first = text.indexOf(fence)
  const last = text.lastIndexOf(fence)
  if (first === -1 || last === first) return undefined
  return text.slice(first + fence.length, last).replace(/^[ \t]*[\w+.-]*(?=\s|[[{"])/, "")
}

const parsed = (text: string): Found | undefined => {
  try {
    return { _tag: "Value", value: JSON.parse(text) }
  } catch {
    return undefined
  }
}

/**
 * Finds the JSON of an answer.
 *
 * @since 0.2.0
 * @category getters
 */
export const find = (text: string): Found => {
  const bare = text.replace(/^\uFEFF/, "").trim()
  if (bare === "") return { _tag: "Wrong", why: "found no text, expected JSON" }
  const whole = parsed(bare)
  if (whole !== undefined) return whole
  const inside = fenced(bare)
  const found = inside === undefined ? undefined : parsed(inside)
  if (found !== undefined) return found
  const kind = /^(?:```[\w+.-]*\s*)?[[{]/.test(bare) ? "text that begins like JSON and is none" : "text"
  return { _tag: "Wrong", why: `found ${kind} (${bare.length} characters), expected one JSON value and nothing else` }
}

// -----------------------------------------------------------------------------
// nulls
// -----------------------------------------------------------------------------

const object = (u: unknown): Json | undefined =>
  typeof u === "object" && u !== null && !Array.isArray(u) ? (u as Json) : undefined

const list = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : [])

/** A node without its reference. */
const target = (node: unknown, root: Json): Json => {
  let at = object(node) ?? {}
  for (let hops = 0; hops < 32 && typeof at.$ref === "string"; hops++) {
    const name = /^#\/\$defs\/(.+)$/.exec(at.$ref)?.[1]
    const found = name === undefined ? undefined : object(object(root.$defs)?.[unescaped(name)])
    if (found === undefined) break
    const { $ref, ...rest } = at
    at = { ...found, ...rest }
  }
  return at
}

/** A name in a JSON pointer that is a part of a URI. */
const unescaped = (name: string): string => {
  try {
    return decodeURIComponent(name).replace(/~1/g, "/").replace(/~0/g, "~")
  } catch {
    return name
  }
}

const takesNull = (node: unknown, root: Json): boolean => {
  const at = target(node, root)
  if (list(at.type).includes("null") || at.type === "null" || list(at.enum).includes(null)) return true
  if (at.anyOf !== undefined) return list(at.anyOf).some((one) => takesNull(one, root))
  return at.type === undefined && at.enum === undefined && at.const === undefined && at.properties === undefined
}

/**
 * A value without the nulls that stand for absent fields. Providers that enforce a schema want every field, so an
 * optional field is asked for as one that may be null.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withoutNulls = (value: unknown, schema: Json): unknown => {
  const walk = (value: unknown, node: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value
    const at = target(node, schema)
    if (Array.isArray(value)) {
      const items = list(at.prefixItems)
      return at.items === undefined && items.length === 0
        ? value
        : value.map((one, index) => walk(one, items[index] ?? at.items))
    }
    const branches = list(at.anyOf).map((one) => target(one, schema))
    const fields = object(at.properties) ?? object(branches.find((one) => fits(value as Json, one))?.properties)
    const required =
      at.properties === undefined ? branches.find((one) => fits(value as Json, one))?.required : at.required
    const out: Record<string, unknown> = {}
    for (const [key, one] of Object.entries(value)) {
      const field = fields !== undefined && Object.hasOwn(fields, key) ? fields[key] : at.additionalProperties
      const isOptional = fields !== undefined && Object.hasOwn(fields, key) && !list(required).includes(key)
      if (one === null && isOptional && !takesNull(field, schema)) continue
      define(out, key, walk(one, field))
    }
    return out
  }
  /** Whether an object may be of a branch: it has what the branch needs, and its literals. */
  const fits = (value: Json, branch: Json): boolean => {
    const fields = object(branch.properties)
    if (fields === undefined || !list(branch.required).every((key) => Object.hasOwn(value, String(key)))) return false
    return Object.entries(fields).every(([key, field]) => {
      const { const: only, enum: some } = target(field, schema)
      const one = value[key]
      if (one === undefined || one === null) return true
      return (only === undefined || only === one) && (some === undefined || list(some).includes(one))
    })
  }
  return walk(value, schema)
}

/** Sets an own field, whatever its name: an answer may have the field `__proto__`. */
const define = (out: Record<string, unknown>, key: string, value: unknown): void => {
  if (key !== "__proto__") out[key] = value
  else Object.defineProperty(out, key, { value, enumerable: true, configurable: true, writable: true })
}

// -----------------------------------------------------------------------------
// misfits
// -----------------------------------------------------------------------------

/** The most places that an error names. */
const maxPlaces = 3

const maxLength = 400

const kindOf = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : value === null
      ? "null"
      : Array.isArray(value)
        ? `an array of ${value.length}`
        : typeof value === "object"
          ? "an object"
          : value === ""
            ? "an empty string"
            : `a ${typeof value}`

const at = (value: unknown, path: ReadonlyArray<PropertyKey>): unknown =>
  path.reduce<unknown>((inner, key) => {
    if (typeof inner !== "object" || inner === null || !Object.hasOwn(inner, key)) return undefined
    return (inner as Record<PropertyKey, unknown>)[key]
  }, value)

const shown = (path: ReadonlyArray<PropertyKey>, root: string): string =>
  path.reduce<string>(
    (before, key) =>
      typeof key === "number"
        ? `${before}[${key}]`
        : /^[\w$]+$/.test(String(key))
          ? `${before}.${String(key)}`
          : `${before}[${JSON.stringify(String(key)).slice(0, 60)}]`,
    root
  )

/** The expectation in the message of an issue, without the value that it ends with. */
const expected = (message: string): string => {
  const one = message.replace(/\s+/g, " ")
  const asked = /^Expected (.*?), actual /.exec(one)?.[1]
  if (asked !== undefined) return `expected ${asked}`
  const into = /^Unable to (?:decode|parse) .* into (.*)$/.exec(one)?.[1]
  if (into !== undefined) return `expected a text for ${into}`
  if (/^is missing$/.test(one)) return "expected a value"
  if (/^is unexpected/.test(one)) return "expected no such field"
  return one.length > 120 ? `${one.slice(0, 120)}…` : one
}

/**
 * Where and why a value does not fit a schema: for each place the path from `root`, what was found and what was
 * expected.
 *
 * @since 0.2.0
 * @category getters
 */
export const misfit = (error: ParseResult.ParseError, value: unknown, root = "answer"): string => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
  const seen = new Map<string, string>()
  for (const { message, path } of issues) {
    const place = shown(path, root)
    const found = kindOf(at(value, path))
    const words = expected(message)
    seen.set(
      place,
      seen.has(place)
        ? `${seen.get(place)} or ${words.replace(/^expected /, "")}`
        : `${place}: found ${found}, ${words}`
    )
  }
  const places = [...seen.values()]
  const more = places.length > maxPlaces ? `; and ${places.length - maxPlaces} more` : ""
  const text = places.slice(0, maxPlaces).join("; ")
  return `${text.length > maxLength ? `${text.slice(0, maxLength)}…` : text}${more}`
}
