/**
 * Tolerant reading of a provider's JSON: a field of the wrong type reads as absent, so that an unknown or unneeded
 * field cannot break a good answer. The wire format refuses an answer that lacks a needed field.
 *
 * @since 0.1.0
 */

export { isDeep, parse } from "../../errors/JsonText.js"

/**
 * A JSON object.
 *
 * @since 0.1.0
 * @category models
 */
export type Json = Readonly<Record<string, unknown>>

const nothing: Json = {}
const none: ReadonlyArray<unknown> = []

/**
 * The value if it is an object and no array, else an empty object.
 *
 * @since 0.1.0
 * @category getters
 */
export const object = (u: unknown): Json =>
  typeof u === "object" && u !== null && !Array.isArray(u) ? (u as Json) : nothing

/**
 * The value if it is an array, else an empty array.
 *
 * @since 0.1.0
 * @category getters
 */
export const array = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : none)

/**
 * The value if it is a string.
 *
 * @since 0.1.0
 * @category getters
 */
export const string = (u: unknown): string | undefined => (typeof u === "string" ? u : undefined)

/**
 * The value if it is a string and not empty: servers send `""` for an id or a model that they do not have.
 *
 * @since 0.1.0
 * @category getters
 */
export const text = (u: unknown): string | undefined => (typeof u === "string" && u !== "" ? u : undefined)

/**
 * The value if it is a whole number and not negative.
 *
 * @since 0.1.0
 * @category getters
 */
export const count = (u: unknown): number | undefined =>
  typeof u === "number" && Number.isSafeInteger(u) && u >= 0 ? u : undefined

/**
 * The object without the fields that are `undefined`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const compact = (fields: Json): Record<string, unknown> => {
  const out: Record<string, unknown> = {}
  for (const key in fields) if (fields[key] !== undefined) out[key] = fields[key]
  return out
}

/**
 * An object with the field, or an empty object if the value is `undefined` or `""`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const optional = <K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } =>
  (value === undefined || value === "" ? {} : { [key]: value }) as { readonly [P in K]?: V }

/**
 * Merges `over` into `base`: objects field by field; any other value of `over` replaces that of `base`.
 *
 * @since 0.1.0
 * @category combinators
 */
export const merge = (base: Json, over: Json): Json => {
  const out: Record<string, unknown> = { ...base }
  for (const key of Object.keys(over)) {
    const [before, after] = [object(out[key]), object(over[key])]
    out[key] = before !== nothing && after !== nothing ? merge(before, after) : over[key]
  }
  return out
}

/**
 * The type of a value in words, for error messages.
 *
 * @since 0.1.0
 * @category getters
 */
export const kindOf = (u: unknown): string =>
  u === null ? "null" : Array.isArray(u) ? "an array" : u === undefined ? "nothing" : `a ${typeof u}`
