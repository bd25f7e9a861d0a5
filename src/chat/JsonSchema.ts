/**
 * JSON schemas in requests: of an Effect `Schema`, of `JSONSchema.make`, or written by hand.
 *
 * A request may hold a `Schema` where a JSON schema is wanted. {@link plain} writes it as JSON before the request goes
 * anywhere, so that everything below sees plain data. What one provider does not take of a JSON schema is the business
 * of its wire format.
 *
 * @since 0.2.0
 */

import * as JSONSchema from "effect/JSONSchema"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"
import { InvalidRequest } from "../errors/LlmError.js"
import { JsonObject } from "./Message.js"

/**
 * A JSON object.
 *
 * @since 0.2.0
 * @category models
 */
export type Json = { readonly [key: string]: unknown }

/**
 * A JSON schema: an Effect `Schema`, the result of `JSONSchema.make`, or a plain object.
 *
 * @since 0.2.0
 * @category models
 */
export type JsonSchema = Schema.Schema.All | JSONSchema.JsonSchema7Root | Json

/** Every `Schema` is written once. */
const written = new WeakMap<object, Json>()

/**
 * The JSON of a schema. A plain object stays the object that it is. Throws where a `Schema` has no JSON schema.
 *
 * @since 0.2.0
 * @category conversions
 */
export const of = (schema: JsonSchema): Json => {
  if (!Schema.isSchema(schema)) return schema as Json
  const known = written.get(schema)
  if (known !== undefined) return known
  const { $schema, ...json } = JSONSchema.make(Schema.make<unknown>(schema.ast), { target: "jsonSchema2020-12" })
  const made = tidy(json) as Json
  written.set(schema, made)
  return made
}

/**
 * Without the names that `JSONSchema.make` gives to what has no other form. It writes an empty `Struct`, which takes
 * any value but null, as a choice of object and array: here it is an object without fields, as a tool without
 * parameters.
 */
const tidy = (node: unknown): unknown => {
  if (Array.isArray(node)) return node.map(tidy)
  if (typeof node !== "object" || node === null) return node
  const { $id, ...rest } = node as Json
  if ($id === "/schemas/%7B%7D") return { type: "object", properties: {}, additionalProperties: false }
  const own = typeof $id === "string" && $id.startsWith("/schemas/")
  return Object.fromEntries(Object.entries(own ? rest : node).map(([key, one]) => [key, tidy(one)]))
}

/**
 * The name of a definition in a reference such as `#/$defs/name`: a JSON pointer in a URI.
 *
 * @internal
 */
export const definitionName = (reference: unknown): string | undefined => {
  const name = typeof reference === "string" ? /^#\/(?:\$defs|definitions)\/(.+)$/.exec(reference)?.[1] : undefined
  if (name === undefined) return undefined
  try {
    return decodeURIComponent(name).replace(/~1/g, "/").replace(/~0/g, "~")
  } catch {
    return name.replace(/~1/g, "/").replace(/~0/g, "~")
  }
}

const isObject = Schema.is(JsonObject)

/**
 * JSON schemas in requests that come from a file or the network: objects. In memory a `Schema` is taken too.
 *
 * @since 0.2.0
 * @category models
 */
export const JsonSchema: Schema.Schema<JsonSchema, Json> = Schema.transformOrFail(
  JsonObject,
  Schema.declare((u): u is JsonSchema => Schema.isSchema(u) || isObject(u), { identifier: "JsonSchema" }),
  {
    strict: true,
    decode: (json) => ParseResult.succeed(json),
    encode: (schema, _, ast) =>
      ParseResult.try({ try: () => of(schema), catch: (cause) => new ParseResult.Type(ast, schema, why(cause)) })
  }
)

/**
 * The first lines of what `JSONSchema.make` throws: it goes on with a hint for authors of schemas.
 *
 * @internal
 */
export const why = (cause: unknown): string => {
  const text = cause instanceof Error ? cause.message : String(cause)
  return text.split("\n").slice(0, 2).join(": ").slice(0, 300)
}

/** The fields of a request that hold schemas. */
interface Schemas {
  readonly responseFormat?: { readonly type: string; readonly schema?: JsonSchema } | undefined
  readonly tools?: ReadonlyArray<{ readonly name: string; readonly parameters: JsonSchema }> | undefined
}

/**
 * The request with plain JSON schemas; the same object if it has no other. `InvalidRequest` if a `Schema` of it has no
 * JSON schema: the error names the tool, or the response format, and the path in the schema.
 *
 * @internal
 */
export const plain = <R extends Schemas>(
  request: R,
  { model, provider }: { readonly provider: string; readonly model: string }
): R | InvalidRequest => {
  const { responseFormat, tools } = request
  const schema = responseFormat?.schema
  const isFormat = schema !== undefined && Schema.isSchema(schema)
  const isTools = tools?.some(({ parameters }) => Schema.isSchema(parameters)) === true
  if (!isFormat && !isTools) return request
  let at = "responseFormat.schema"
  try {
    const format = isFormat ? { ...responseFormat, schema: of(schema) } : responseFormat
    const listed = tools?.map((tool, index) => {
      at = `tools[${index}].parameters (${tool.name})`
      return { ...tool, parameters: of(tool.parameters) }
    })
    return { ...request, responseFormat: format, tools: listed }
  } catch (cause) {
    return new InvalidRequest({
      provider,
      model,
      message: `${at}: found a Schema without a JSON schema (${why(cause)}), expected one with`,
      delivery: "not-sent"
    })
  }
}
