/**
 * JSON schemas by the rules of the providers that enforce them. Everything here is pure.
 *
 * No provider takes all of JSON Schema for an answer that it enforces. {@link enforced} writes a schema by such rules:
 *
 * - A keyword that is not enforced is said in the description, where the model reads it.
 * - A field that may be absent becomes one that may be null, where all fields are required.
 * - A tuple becomes a list of its members' types, and a choice by `oneOf` one by `anyOf`.
 * - A reference with words beside it is written out.
 *
 * A schema that the rules cannot hold (any field, any value, a recursion) gives no schema but the reason.
 * The answer is decoded anyway (`ChatModel.generateObject`), so a rewritten schema asks for no less than the decoder.
 *
 * @since 0.2.0
 */

import * as JsonSchema from "../../chat/JsonSchema.js"
import * as Json from "./Json.js"
import type { Rules } from "./SchemaRules.js"

// -----------------------------------------------------------------------------
// references
// -----------------------------------------------------------------------------

/** The name of a definition in a reference. */
const nameOf = ({ $ref }: Json.Json): string | undefined => JsonSchema.definitionName($ref)

const definitionsOf = (schema: Json.Json): Json.Json => ({
  ...Json.object(schema.definitions),
  ...Json.object(schema.$defs)
})

/**
 * The schema with a root that is no reference: providers want an object there.
 *
 * @since 0.2.0
 * @category combinators
 */
export const rooted = (given: JsonSchema.JsonSchema): Json.Json => {
  const { $schema, ...schema } = JsonSchema.of(given)
  const definitions = definitionsOf(schema)
  let root: Json.Json = schema
  for (let hops = 0; hops < 32; hops++) {
    const name = nameOf(root)
    const found = name === undefined ? undefined : definitions[name]
    if (found === undefined) break
    const { $ref, ...rest } = root
    root = { ...Json.object(found), ...rest }
  }
  return root
}

/** The definitions that refer to themselves, at once or through others. */
const recursive = (definitions: Json.Json): ReadonlySet<string> => {
  const edges = new Map<string, ReadonlySet<string>>()
  for (const [name, node] of Object.entries(definitions)) {
    const found = new Set<string>()
    const walk = (one: unknown): void => {
      if (Array.isArray(one)) for (const item of one) walk(item)
      else if (typeof one === "object" && one !== null) {
        const to = nameOf(one as Json.Json)
        if (to !== undefined) found.add(to)
        for (const item of Object.values(one)) walk(item)
      }
    }
    walk(node)
    edges.set(name, found)
  }
  const reaches = (from: string, to: string, seen: Set<string>): boolean =>
    [...(edges.get(from) ?? [])].some((next) => {
      if (next === to) return true
      if (seen.has(next)) return false
      seen.add(next)
      return reaches(next, to, seen)
    })
  return new Set([...edges.keys()].filter((name) => reaches(name, name, new Set())))
}

// -----------------------------------------------------------------------------
// writing
// -----------------------------------------------------------------------------

/** Thrown inside of {@link enforced} alone. */
class Impossible {
  constructor(readonly why: string) {}
}

/** The keywords that are written out below, and those that say nothing about a value. */
const structure = new Set(
  (
    "type properties required additionalProperties items prefixItems additionalItems anyOf oneOf allOf enum const $ref " +
    "$defs definitions $schema $id $anchor $comment examples propertyOrdering"
  ).split(" ")
)

/** Definitions are written out, so that a few that refer to each other may become many. OpenAI takes 5,000 fields. */
const maxNodes = 10_000

const typeOf = (value: unknown): string => (value === null ? "null" : typeof value)

/** The JSON type of all values, if they have one. */
const typeOfAll = (values: ReadonlyArray<unknown>): ReadonlyArray<string> => [
  ...new Set(values.map((value) => (Array.isArray(value) ? "array" : typeOf(value))))
]

/** A node that may also be null. */
const orNull = (node: Json.Json): Json.Json => {
  if (Array.isArray(node.anyOf)) {
    const has = node.anyOf.some((one) => Json.object(one).type === "null")
    return has ? node : { ...node, anyOf: [...node.anyOf, { type: "null" }] }
  }
  if (typeof node.type === "string" && node.type !== "null") {
    const values = Array.isArray(node.enum) ? { enum: [...node.enum, null] } : {}
    return { ...node, type: [node.type, "null"], ...values }
  }
  if (Array.isArray(node.type) || node.type === "null") {
    if (node.type === "null" || node.type.includes("null")) return node
    return { ...node, type: [...node.type, "null"] }
  }
  const { description, ...rest } = node
  return Json.compact({ description, anyOf: [rest, { type: "null" }] })
}

/**
 * A schema by the rules of a provider. `nullable`: a field that may be absent is one that may be null in it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Enforced {
  readonly schema: Json.Json
  readonly nullable: boolean
}

/**
 * A schema by the rules, or the reason why it cannot be enforced.
 *
 * @since 0.2.0
 * @category combinators
 */
export const enforced = (given: JsonSchema.JsonSchema, rules: Rules): Enforced | { readonly why: string } => {
  const known = written.get(rules) ?? new WeakMap<object, Enforced | { readonly why: string }>()
  written.set(rules, known)
  const before = known.get(given)
  if (before !== undefined) return before
  const made = write(given, rules)
  known.set(given, made)
  return made
}

/** Each schema is written once for each provider. */
const written = new WeakMap<Rules, WeakMap<object, Enforced | { readonly why: string }>>()

const write = (given: JsonSchema.JsonSchema, rules: Rules): Enforced | { readonly why: string } => {
  const root = rooted(given)
  const definitions = definitionsOf(root)
  const cycles = recursive(definitions)
  const names = new Map<string, string>()
  let nodes = 0
  let optional = 0
  let choices = 0

  /** The name of a definition in the schema: no provider says how it reads a pointer with `/` or `~` in a name. */
  const plain = (name: string): string => {
    let made = names.get(name) ?? name.replace(/[^\w.-]+/g, "_")
    if (!names.has(name)) for (const others = [...names.values()]; others.includes(made); ) made += "_"
    names.set(name, made)
    return made
  }

  const node = (u: unknown, path: string, isOptional: boolean, depth: number): Json.Json => {
    if (++nodes > maxNodes) throw new Impossible("the schema is too large without references")
    if (depth > 64) throw new Impossible(`${path} is nested too deep`)
    if (u === true) return node({}, path, isOptional, depth)
    if (u === false) throw new Impossible(`${path} takes no value`)
    const one = Json.object(u)
    const name = nameOf(one)
    if (one.$ref !== undefined) return reference(one, name, path, isOptional, depth)
    if (Array.isArray(one.allOf)) return node(merged(one, parts(one, one.allOf, path)), path, isOptional, depth + 1)
    const out: Record<string, unknown> = {}
    const words: Array<string> = []
    for (const [key, value] of Object.entries(one)) {
      if (structure.has(key)) continue
      const fits =
        rules.keywords.has(key) &&
        (key !== "format" || rules.formats.has(String(value))) &&
        (key !== "minItems" || Number(value) <= rules.maxMinItems)
      if (fits) out[key] = value
      else if (key !== "title" && key !== "default") words.push(`${key}: ${JSON.stringify(value)}`)
    }
    shape(one, out, words, path, depth)
    if (words.length > 0) {
      out.description = [out.description, `(${words.join(", ")})`].filter((part) => part !== undefined).join(" ")
    }
    return out
  }

  /** The parts of a node that must be all of them. A lone reference stays one: it may be to the node itself. */
  const parts = (one: Json.Json, all: ReadonlyArray<unknown>, path: string): ReadonlyArray<Json.Json> => {
    const isAlone = all.length === 1 && one.properties === undefined
    const opened = isAlone
      ? all.map(Json.object)
      : all.map(Json.object).map((part) => {
          const name = nameOf(part)
          if (name === undefined) return part
          const { $ref, ...beside } = part
          if (cycles.has(name)) throw new Impossible(`${path} is several things at once`)
          return { ...Json.object(definitions[name]), ...beside }
        })
    const choices = [one, ...opened].filter(({ anyOf, oneOf }) => anyOf !== undefined || oneOf !== undefined)
    if (choices.length > 1) throw new Impossible(`${path} is several choices at once`)
    return opened
  }

  const reference = (
    one: Json.Json,
    name: string | undefined,
    path: string,
    isOptional: boolean,
    depth: number
  ): Json.Json => {
    const found = name === undefined ? undefined : definitions[name]
    if (name === undefined || found === undefined) throw new Impossible(`${path} refers to ${String(one.$ref)}`)
    const { $ref, ...beside } = one
    if (cycles.has(name)) {
      if (rules.recursion === "none" || (rules.recursion === "optional" && !isOptional)) {
        throw new Impossible(`${path} refers to itself`)
      }
      return { $ref: `#/$defs/${plain(name)}` }
    }
    return node({ ...Json.object(found), ...beside }, path, isOptional, depth + 1)
  }

  const shape = (
    one: Json.Json,
    out: Record<string, unknown>,
    words: Array<string>,
    path: string,
    depth: number
  ): void => {
    const branches = Array.isArray(one.anyOf) ? one.anyOf : Array.isArray(one.oneOf) ? one.oneOf : undefined
    const values = Array.isArray(one.enum) ? one.enum : one.const === undefined ? undefined : [one.const]
    if (branches !== undefined) {
      choices++
      out.anyOf = branches.map((branch, index) => node(branch, `${path}(${index})`, false, depth + 1))
    } else if (values !== undefined) {
      const types = typeOfAll(values)
      if (types.some((type) => type === "object" || type === "array")) throw new Impossible(`${path} is a fixed object`)
      out.type = one.type ?? (types.length === 1 ? types[0] : types)
      if (types.every((type) => rules.enums.has(type))) out.enum = values
      else if (types.length > 1) throw new Impossible(`${path} is one of several kinds`)
      else if (types[0] !== "null") words.push(`one of ${JSON.stringify(values)}`)
    } else if (one.type === "object" || one.properties !== undefined) object(one, out, path, depth)
    else if (one.type === "array" || one.items !== undefined || one.prefixItems !== undefined)
      array(one, out, path, depth)
    else if (one.type !== undefined) {
      if (Array.isArray(one.type)) choices++
      out.type = one.type
    } else if (!rules.anything) throw new Impossible(`${path} may be anything`)
  }

  const object = (one: Json.Json, out: Record<string, unknown>, path: string, depth: number): void => {
    const fields = Object.entries(Json.object(one.properties))
    const required = new Set(Json.array(one.required).map(String))
    const others = one.additionalProperties
    const isRecord = typeof others === "object" || (others === true && fields.length === 0)
    const patterns = Object.keys(Json.object(one.patternProperties)).length > 0
    const isOpen = isRecord || patterns || (fields.length === 0 && others === undefined && one.properties === undefined)
    if (isOpen && !rules.records) throw new Impossible(`${path} may have any field`)
    out.type = one.type ?? "object"
    const properties = fields.map(([key, value]) => {
      const isOptional = !required.has(key)
      if (isOptional) optional++
      const field = node(value, `${path}.${key}`, isOptional, depth + 1)
      return [key, isOptional && rules.allRequired ? orNull(field) : field]
    })
    // `fromEntries` makes a field of any name, also of the name `__proto__`.
    if (fields.length > 0 || !isOpen) out.properties = Object.fromEntries(properties)
    const kept = rules.allRequired
      ? fields.map(([key]) => key)
      : fields.map(([key]) => key).filter((key) => required.has(key))
    if (kept.length > 0 || rules.allRequired) out.required = kept
    if (!isOpen) out.additionalProperties = false
    else if (isRecord) {
      out.additionalProperties = others === true ? true : node(others, `${path}.*`, false, depth + 1)
    }
  }

  const array = (one: Json.Json, out: Record<string, unknown>, path: string, depth: number): void => {
    out.type = one.type ?? "array"
    // Draft 7 writes a tuple as a list of `items`.
    const members = Array.isArray(one.prefixItems) ? one.prefixItems : Array.isArray(one.items) ? one.items : []
    const rest = Array.isArray(one.items) ? one.additionalItems : one.items
    const each = (u: unknown, index: string) => node(u, `${path}[${index}]`, false, depth + 1)
    if (members.length === 0) {
      if (rest !== undefined && rest !== false) out.items = each(rest, "")
      else if (!rules.anything) throw new Impossible(`${path} may have any members`)
      return
    }
    const written = members.map((member, index) => each(member, String(index)))
    const isEnded = rest === false || rest === undefined
    if (isEnded && rules.keywords.has("maxItems")) out.maxItems = members.length
    if (rules.tuples) {
      out.prefixItems = written
      if (!isEnded) out.items = each(rest, "")
      return
    }
    const kinds = [
      ...new Map([...written, ...(isEnded ? [] : [each(rest, "")])].map((_) => [JSON.stringify(_), _])).values()
    ]
    if (kinds.length > 1) choices++
    out.items = kinds.length === 1 ? kinds[0] : { anyOf: kinds }
  }

  try {
    const { $defs, definitions: _, ...own } = root
    const whole = node(own, "the schema", false, 0)
    if (rules.objectRoot && whole.type !== "object") throw new Impossible("the schema is no object")
    const written: Record<string, Json.Json> = {}
    for (const [name, made] of names) written[made] = node(definitions[name], name, false, 0)
    if (optional > rules.most.optional)
      return { why: `it has more than ${rules.most.optional} fields that may be absent` }
    if (choices > rules.most.choices) return { why: `it has more than ${rules.most.choices} choices` }
    const schema = names.size === 0 ? whole : { ...whole, $defs: written }
    return { schema, nullable: rules.allRequired && optional > 0 }
  } catch (thrown) {
    if (thrown instanceof Impossible) return { why: thrown.why }
    throw thrown
  }
}

/** A node and all that it must also be, as one: keywords of the parts are put together, the later ones count. */
const merged = ({ allOf, ...rest }: Json.Json, parts: ReadonlyArray<Json.Json>): Json.Json => {
  const all: Record<string, unknown> = { ...rest }
  for (const { properties, required, ...others } of parts) {
    Object.assign(all, others)
    if (properties !== undefined) all.properties = { ...Json.object(all.properties), ...Json.object(properties) }
    if (required !== undefined) all.required = [...new Set([...Json.array(all.required), ...Json.array(required)])]
  }
  return all
}

// -----------------------------------------------------------------------------
// strictness
// -----------------------------------------------------------------------------

/**
 * The schema to send, and whether it is to be enforced: `strict` as `Chat.ResponseFormat` has it. `why` says why a
 * schema that was asked for as strict is not.
 *
 * @since 0.2.0
 * @category combinators
 */
export const choose = (
  given: JsonSchema.JsonSchema,
  strict: boolean | undefined,
  rules: Rules
): { readonly schema: Json.Json; readonly strict: boolean; readonly why?: string } => {
  if (strict === false) return { schema: rooted(given), strict: false }
  const found = enforced(given, rules)
  if ("why" in found) return { schema: rooted(given), strict: false, ...(strict === true ? { why: found.why } : {}) }
  // A reader who did not ask for it does not expect null where the schema has none.
  return strict === true || !found.nullable
    ? { schema: found.schema, strict: true }
    : { schema: rooted(given), strict: false }
}
