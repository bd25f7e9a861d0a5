/**
 * Tolerant reading of a provider's JSON: a field of the wrong kind reads as absent, so that nothing unknown or unneeded
 * can break a good answer. What is needed and absent is for the wire format to refuse.
 *
 * @since 0.1.0
 */

/**
 * @since 0.1.0
 * @category models
 */
export type Json = Readonly<Record<string, unknown>>

const nothing: Json = {}
const none: ReadonlyArray<unknown> = []

/**
 * The value if it is an object, else an empty one.
 *
 * @since 0.1.0
 * @category getters
 */
export const object = (u: unknown): Json =>
  typeof u === "object" && u !== null && !Array.isArray(u) ? (u as Json) : nothing

/**
 * The value if it is an array, else an empty one.
 *
 * @since 0.1.0
 * @category getters
 */
export const array = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : none)

/**
 * @since 0.1.0
 * @category getters
 */
export const string = (u: unknown): string | undefined => (typeof u === "string" ? u : undefined)

/**
 * A string with something in it: servers send `""` for an id or a model that they do not have.
 *
 * @since 0.1.0
 * @category getters
 */
export const text = (u: unknown): string | undefined => (typeof u === "string" && u !== "" ? u : undefined)

/**
 * A count: a number that is whole and not negative.
 *
 * @since 0.1.0
 * @category getters
 */
export const count = (u: unknown): number | undefined =>
  typeof u === "number" && Number.isSafeInteger(u) && u >= 0 ? u : undefined

/**
 * The parsed text, or `undefined` where it is no JSON.
 *
 * @since 0.1.0
 * @category getters
 */
export const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

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
 * The field, or none where its value is `undefined` or an empty text.
 *
 * @since 0.1.0
 * @category combinators
 */
export const optional = <K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } =>
  (value === undefined || value === "" ? {} : { [key]: value }) as { readonly [P in K]?: V }

/**
 * Both objects in one: objects are merged field by field, of everything else `over` has the last word.
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
 * What was found, said shortly: for the error that names a field.
 *
 * @since 0.1.0
 * @category getters
 */
export const kindOf = (u: unknown): string =>
  u === null ? "null" : Array.isArray(u) ? "an array" : u === undefined ? "nothing" : `a ${typeof u}`
