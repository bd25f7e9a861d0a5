/**
 * Gemini's schemas, a part of OpenAPI 3.0, as JSON schemas.
 *
 * Types are in capital letters there, `nullable` is a field of its own, limits may be texts, and every name may be
 * written with underscores.
 *
 * @since 0.2.0
 */

import * as Fields from "./Fields.js"

const types: ReadonlySet<string> = new Set(["string", "number", "integer", "boolean", "array", "object", "null"])

/** The limits that are 64 bits wide, which Google writes as texts. */
const counts: ReadonlySet<string> = new Set([
  "minItems",
  "maxItems",
  "minLength",
  "maxLength",
  "minProperties",
  "maxProperties"
])

const isObject = (u: unknown): u is Fields.Json => typeof u === "object" && u !== null && !Array.isArray(u)

const each = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(each)
  return isObject(value) ? jsonSchema(value) : value
}

const typeOf = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(typeOf)
  const name = typeof value === "string" ? value.toLowerCase() : undefined
  return name !== undefined && types.has(name) ? name : undefined
}

const withNull = (schema: Fields.Json): Fields.Json => {
  const { anyOf, enum: values, type } = schema
  if (typeof type === "string" && type !== "null") {
    return { ...schema, type: [type, "null"], ...(Array.isArray(values) ? { enum: [...values, null] } : {}) }
  }
  return Array.isArray(anyOf) ? { ...schema, anyOf: [...anyOf, { type: "null" }] } : schema
}

/** One field. `undefined` where JSON schemas have no such field. */
const fieldOf = (name: string, value: unknown): unknown => {
  switch (name) {
    case "type":
      return typeOf(value)
    case "format":
      return value === "enum" ? undefined : value
    case "properties":
    case "$defs":
    case "defs":
      return isObject(value) ? Object.fromEntries(Object.entries(value).map(([key, one]) => [key, each(one)])) : value
    case "items":
    case "anyOf":
    case "prefixItems":
    case "additionalProperties":
      return each(value)
    case "nullable":
      return undefined
    default:
      return counts.has(name) && typeof value === "string" && /^\d{1,15}$/.test(value) ? Number(value) : value
  }
}

/**
 * A schema of Gemini as a JSON schema. What is one already stays as it is.
 *
 * @since 0.2.0
 * @category conversions
 */
export const jsonSchema = (given: Fields.Json): Fields.Json => {
  const entries = Object.entries(Fields.camel(given)).map(([name, value]) => [name, fieldOf(name, value)] as const)
  const schema = Object.fromEntries(entries.filter(([, value]) => value !== undefined && value !== null))
  return given.nullable === true ? withNull(schema) : schema
}
