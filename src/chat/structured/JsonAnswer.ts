/**
 * JSON in the text of an answer, and what is wrong with it. Everything here is pure.
 *
 * {@link find} takes JSON that is the whole text, or the content of the text's only fence. JSON in the middle of prose
 * is not taken: the model may quote an example. {@link misfit} says where a value does not fit its schema. It names
 * paths and kinds and no value, because errors get into logs and records, and values are the answer.
 *
 * @since 0.2.0
 */

import type * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { definitionName, type Json } from "../JsonSchema.js"

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
  // `trim` takes a byte order mark away too.
  return text
    .slice(first + fence.length, last)
    .replace(/^[ \t]*[\w+.-]*(?=\s|[[{"])/, "")
    .trim()
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

/** No answer is so deep, and a decoder that goes through a deeper one by recursion may run out of stack. */
const maxDepth = 200

/** Whether a parsed value has more levels. It goes no deeper than to find that out. */
const hasMore = (value: unknown, levels: number): boolean => {
  if (typeof value !== "object" || value === null) return false
  if (levels === 0) return true
  if (Array.isArray(value)) return value.some((one) => hasMore(one, levels - 1))
  // Without a list of the values; a parsed object inherits nothing that it would show.
  for (const key in value) if (hasMore((value as Json)[key], levels - 1)) return true
  return false
}

/**
 * Why the value of a text is nested too deep to be decoded; `undefined` if it is not.
 *
 * @since 0.2.0
 * @category getters
 */
export const tooDeep = (value: unknown, text: string): string | undefined =>
  // Each level has a mark at its begin and one at its end: most texts are too short.
  text.length > 2 * maxDepth && hasMore(value, maxDepth)
    ? `answer: found JSON of more than ${maxDepth} levels, expected fewer`
    : undefined

// -----------------------------------------------------------------------------
// nulls
// -----------------------------------------------------------------------------

const object = (u: unknown): Json | undefined =>
  typeof u === "object" && u !== null && !Array.isArray(u) ? (u as Json) : undefined

const list = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : [])

/** A node without its reference, and with all that it must also be. */
const target = (node: unknown, root: Json): Json => {
  let at = object(node) ?? {}
  for (let hops = 0; hops < 32 && (at.$ref !== undefined || at.allOf !== undefined); hops++) {
    const { $ref, allOf, ...rest } = at
    const found = object(object(root.$defs)?.[definitionName($ref) ?? ""])
    at = Object.assign({}, found, ...list(allOf), rest)
  }
  return at
}

/** The choices of a node, and of these; the node itself if it is none. */
const choicesOf = (node: unknown, root: Json, depth = 0): ReadonlyArray<Json> => {
  const at = target(node, root)
  return Array.isArray(at.anyOf) && depth < 32 ? at.anyOf.flatMap((one) => choicesOf(one, root, depth + 1)) : [at]
}

const mayBe = ({ type }: Json, ...kinds: ReadonlyArray<string>): boolean =>
  type === undefined || kinds.some((kind) => kind === type || list(type).includes(kind))

const takesNull = (node: unknown, root: Json): boolean =>
  choicesOf(node, root).some((at) => {
    const { const: only, enum: some } = at
    if (at.type !== undefined) return mayBe(at, "null")
    return only === null || list(some).includes(null) || (only === undefined && some === undefined && !at.properties)
  })

/**
 * A value without the nulls that stand for absent fields. Providers that enforce a schema want every field, so an
 * optional field is asked for as one that may be null. Of a choice the first that fits counts, one without unknown
 * fields before the others.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withoutNulls = (value: unknown, schema: Json): unknown => {
  /** Whether a value may be of a node, and whether that has all of its fields. */
  const fits = (value: unknown, at: Json, exact: boolean): boolean => {
    const { const: only, enum: some } = at
    if (only !== undefined && only !== value) return false
    if (some !== undefined && !list(some).includes(value)) return false
    if (value === null) return mayBe(at, "null")
    if (typeof value === "number") return mayBe(at, "number", "integer")
    if (typeof value !== "object") return mayBe(at, typeof value)
    if (!mayBe(at, Array.isArray(value) ? "array" : "object")) return false
    if (Array.isArray(value)) {
      const items = list(at.prefixItems)
      return value.every((one, index) => isOf(one, items[index] ?? at.items, exact))
    }
    const fields = object(at.properties) ?? {}
    const required = list(at.required)
    return (
      required.every((key) => Object.hasOwn(value, String(key))) &&
      Object.entries(value).every(([key, one]) => {
        if (!Object.hasOwn(fields, key)) return at.additionalProperties !== false || !exact
        return (one === null && !required.includes(key)) || isOf(one, fields[key], exact)
      })
    )
  }
  // Each value is held against a node once. In choices inside of choices, each choice would else double the work below.
  const known = { exact: new Map<object, Map<unknown, boolean>>(), loose: new Map<object, Map<unknown, boolean>>() }
  const isOf = (value: unknown, node: unknown, exact: boolean): boolean => {
    const look = () => choicesOf(node, schema).some((at) => fits(value, at, exact))
    if (typeof value !== "object" || value === null) return look()
    const byValue = exact ? known.exact : known.loose
    const byNode = byValue.get(value) ?? new Map<unknown, boolean>()
    byValue.set(value, byNode)
    const before = byNode.get(node)
    if (before !== undefined) return before
    const found = look()
    byNode.set(node, found)
    return found
  }
  const chosen = (value: unknown, node: unknown): Json => {
    const choices = choicesOf(node, schema)
    return choices.length < 2
      ? (choices[0] ?? {})
      : (choices.find((at) => fits(value, at, true)) ?? choices.find((at) => fits(value, at, false)) ?? {})
  }
  const walk = (value: unknown, node: unknown): unknown => {
    if (typeof value !== "object" || value === null) return value
    const at = chosen(value, node)
    if (Array.isArray(value)) {
      const items = list(at.prefixItems)
      return at.items === undefined && items.length === 0
        ? value
        : value.map((one, index) => walk(one, items[index] ?? at.items))
    }
    const fields = object(at.properties) ?? {}
    const required = list(at.required)
    const out: Record<string, unknown> = {}
    for (const [key, one] of Object.entries(value)) {
      const isField = Object.hasOwn(fields, key)
      const field = isField ? fields[key] : at.additionalProperties
      if (one === null && isField && !required.includes(key) && !takesNull(field, schema)) continue
      define(out, key, walk(one, field))
    }
    return out
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

/** The words of `JSON.parse`, which show the text, in the engines of Node, Bun and Safari. */
const isOfParser = (message: string): boolean =>
  /is not valid JSON$|JSON at position|^Unexpected end of JSON|^JSON[ .][Pp]arse/.test(message)

/** The expectation in the message of an issue, without the value that it ends with. */
const expected = (message: string, found: unknown): string => {
  const one = message.replace(/\s+/g, " ")
  const asked = /^Expected (.*?), actual /.exec(one)?.[1]
  if (asked !== undefined) return `expected ${asked}`
  const into = /^Unable to (?:decode|parse) .* into (.*)$/.exec(one)?.[1]
  if (into !== undefined) return `expected a text for ${into}`
  if (/^is missing$/.test(one)) return "expected a value"
  if (/^is unexpected/.test(one)) return "expected no such field"
  if (isOfParser(one)) return "expected JSON"
  // A filter of the application may show the value.
  const words = typeof found === "string" && found.length > 2 ? one.replaceAll(found, "…") : one
  return words.length > 120 ? `${words.slice(0, 120)}…` : words
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
    const held = at(value, path)
    const found = kindOf(held)
    const words = expected(message, held)
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

/**
 * Decodes a value. Code of a schema that throws at an odd value (`new URL(text)` in a transformation) says that the
 * value does not fit: an answer of a provider is no defect.
 *
 * @since 0.2.0
 * @category conversions
 */
export const decoding = <A, R>(
  decode: (value: unknown) => Effect.Effect<A, ParseResult.ParseIssue, R>,
  value: unknown
): Effect.Effect<A, ParseResult.ParseIssue, R> => {
  try {
    return decode(value)
  } catch (thrown) {
    const name = thrown instanceof Error ? thrown.name : typeof thrown
    return Either.left(new ParseResult.Type(Schema.Unknown.ast, value, `the schema's own code threw (${name})`))
  }
}
