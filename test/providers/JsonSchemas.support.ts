/** JSON schemas seen from outside: a small validator, the rules of the providers once more, and schemas by chance. */
import { FastCheck as fc, Schema } from "effect"

export type Node = Readonly<Record<string, unknown>>
export type Provider = "openai" | "anthropic" | "gemini"

export const isNode = (u: unknown): u is Node => typeof u === "object" && u !== null && !Array.isArray(u)
const list = (u: unknown): ReadonlyArray<unknown> => (Array.isArray(u) ? u : [])
const nodes = (u: unknown): ReadonlyArray<readonly [string, unknown]> => (isNode(u) ? Object.entries(u) : [])

// -----------------------------------------------------------------------------
// values
// -----------------------------------------------------------------------------

const isOfType = (value: unknown, type: unknown): boolean => {
  if (type === "null") return value === null
  if (type === "array") return Array.isArray(value)
  if (type === "object") return isNode(value)
  if (type === "integer") return Number.isInteger(value)
  return typeof value === type
}

const opened = (node: Node, root: Node): Node => {
  if (typeof node.$ref !== "string") return node
  const found = isNode(root.$defs)
    ? root.$defs[node.$ref.replace("#/$defs/", "").replaceAll("~1", "/").replaceAll("~0", "~")]
    : undefined
  if (!isNode(found)) throw new Error(`no definition for ${node.$ref}`)
  return opened(found, root)
}

/** Whether a value is valid: the keywords that providers take, and no other. */
export const isValid = (value: unknown, given: Node, root: Node = given): boolean => {
  const node = opened(given, root)
  const inner = (one: unknown, at: unknown): boolean => isNode(at) && isValid(one, at, root)
  if (node.type !== undefined && ![node.type].flat().some((type) => isOfType(value, type))) return false
  if (node.enum !== undefined && !list(node.enum).includes(value)) return false
  if (node.anyOf !== undefined && !list(node.anyOf).some((one) => inner(value, one))) return false
  if (typeof value === "string") return typeof node.pattern !== "string" || new RegExp(node.pattern, "u").test(value)
  if (typeof value === "number") {
    return (
      (typeof node.minimum !== "number" || value >= node.minimum) &&
      (typeof node.maximum !== "number" || value <= node.maximum)
    )
  }
  if (Array.isArray(value)) {
    const members = list(node.prefixItems)
    return (
      (typeof node.minItems !== "number" || value.length >= node.minItems) &&
      (typeof node.maxItems !== "number" || value.length <= node.maxItems) &&
      value.every((one, index) => {
        const at = members[index] ?? node.items
        return at === undefined || inner(one, at)
      })
    )
  }
  if (!isNode(value)) return true
  const fields = isNode(node.properties) ? node.properties : {}
  return (
    list(node.required).every((key) => Object.hasOwn(value, String(key))) &&
    Object.entries(value).every(([key, one]) => {
      if (Object.hasOwn(fields, key)) return inner(one, fields[key])
      const others = node.additionalProperties
      return others === undefined || others === true || (others !== false && inner(one, others))
    })
  )
}

/** The value as a model writes it: `null` for each field that is required and absent. */
export const filled = (value: unknown, given: Node, root: Node = given): unknown => {
  const node = opened(given, root)
  if (Array.isArray(node.anyOf)) {
    const written = node.anyOf.map((one) => [one, filled(value, one, root)] as const)
    return written.find(([one, whole]) => isValid(whole, one, root))?.[1] ?? value
  }
  if (Array.isArray(value)) {
    return value.map((one, index) => {
      const at = list(node.prefixItems)[index] ?? node.items
      return isNode(at) ? filled(one, at, root) : one
    })
  }
  if (!isNode(value)) return value
  const fields = isNode(node.properties) ? node.properties : {}
  const absent = list(node.required).filter((key) => !Object.hasOwn(value, String(key)))
  return Object.fromEntries([
    ...Object.entries(value).map(([key, one]) => {
      const at = fields[key] ?? node.additionalProperties
      return [key, isNode(at) ? filled(one, at, root) : one]
    }),
    ...absent.map((key) => [key, null])
  ])
}

// -----------------------------------------------------------------------------
// rules
// -----------------------------------------------------------------------------

const common = "type properties required additionalProperties items anyOf enum $ref $defs title description format"

/** The keywords of each provider's own page. */
const keywords: Readonly<Record<Provider, ReadonlySet<string>>> = {
  openai: new Set(
    `${common} pattern multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems`.split(" ")
  ),
  anthropic: new Set(`${common} minItems default`.split(" ")),
  gemini: new Set(`${common} prefixItems minimum maximum minItems maxItems`.split(" "))
}

/** What a schema does against the rules of a provider. */
export const breaches = (schema: Node, provider: Provider): ReadonlyArray<string> => {
  const found: Array<string> = []
  const strict = provider !== "gemini"
  const walk = (u: unknown, path: string): void => {
    if (!isNode(u)) return void found.push(`${path} is no schema`)
    for (const key of Object.keys(u)) if (!keywords[provider].has(key)) found.push(`${path} has ${key}`)
    if (u.$ref !== undefined && Object.keys(u).length > 1) found.push(`${path} has words beside $ref`)
    if (strict && u.$ref === undefined && u.type === undefined && u.anyOf === undefined)
      found.push(`${path} is anything`)
    if ([u.type].flat().includes("object")) {
      const fields = Object.keys(isNode(u.properties) ? u.properties : {})
      const required = list(u.required)
      if (strict && u.additionalProperties !== false) found.push(`${path} is open`)
      if (provider === "openai" && fields.some((key) => !required.includes(key)))
        found.push(`${path} has optional fields`)
      if (required.some((key) => !fields.includes(String(key)))) found.push(`${path} requires what it has not`)
    }
    if (provider === "anthropic" && Number(u.minItems ?? 0) > 1) found.push(`${path} has minItems ${u.minItems}`)
    if (provider === "gemini" && list(u.enum).some((one) => !/string|number/.test(typeof one) && one !== null)) {
      found.push(`${path} has an enum of other values`)
    }
    for (const key of ["properties", "$defs"]) for (const [name, one] of nodes(u[key])) walk(one, `${path}.${name}`)
    for (const key of ["anyOf", "prefixItems"])
      list(u[key]).forEach((one, index) => void walk(one, `${path}(${index})`))
    if (u.items !== undefined) walk(u.items, `${path}[]`)
    if (typeof u.additionalProperties === "object") walk(u.additionalProperties, `${path}.*`)
  }
  walk(schema, "root")
  if (schema.type !== "object") found.push("the root is no object")
  return found
}

// -----------------------------------------------------------------------------
// schemas
// -----------------------------------------------------------------------------

/** A schema, whether its JSON may be null, and whether it is an object. */
export interface Made {
  readonly schema: Schema.Schema<unknown, unknown>
  readonly nullable: boolean
  readonly object: boolean
}

const made = (schema: Schema.Schema.All, nullable = false, object = false): Made => ({
  schema: schema as Schema.Schema<unknown, unknown>,
  nullable,
  object
})

const Text = Schema.String.annotations({ identifier: "app/Text", description: "words" })

interface Tree {
  readonly label: string
  readonly kids: ReadonlyArray<Tree>
  readonly next?: Tree | undefined
}

const Tree: Schema.Schema<Tree> = Schema.Struct({
  label: Schema.NonEmptyString,
  kids: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree)).pipe(Schema.maxItems(2)),
  next: Schema.optional(Schema.suspend((): Schema.Schema<Tree> => Tree))
}).annotations({ identifier: "Tree" })

class Point extends Schema.Class<Point>("app/Point~1")({
  x: Schema.Int,
  y: Schema.optional(Schema.Int)
}) {}

const leaves: ReadonlyArray<Made> = [
  ...[
    Schema.String,
    Text,
    Schema.NonEmptyString,
    Schema.Boolean,
    Schema.Int,
    Schema.JsonNumber,
    Schema.Int.pipe(Schema.between(1, 5)),
    Schema.String.pipe(Schema.minLength(2), Schema.maxLength(6)),
    Schema.String.pipe(Schema.pattern(/^[a-c]+$/)),
    Schema.Literal("a", "b"),
    Schema.Literal(1),
    Schema.Literal(true),
    Schema.Enums({ Up: "up", Down: "down" } as const),
    Schema.Date,
    Schema.NumberFromString.pipe(Schema.int()),
    Schema.BigInt
  ].map((schema) => made(schema)),
  made(Schema.Null, true),
  made(Schema.Literal("x", null), true),
  made(Point, false, true),
  made(Tree, false, true)
]

const names = ["a", "b", "value", "kind of", "__x"]

/** Fields: required, optional, optional with words of its own, with a default. */
const fieldOf = ({ nullable, schema }: Made, how: number): Schema.Struct.Field => {
  if (nullable || how === 0) return schema
  if (how === 1) return Schema.optional(schema)
  if (how === 2) return Schema.optional(schema.annotations({ description: "of its own" }))
  return Schema.optionalWith(schema, { exact: true })
}

/** Schemas that Effect can make values of. */
export const schemas: fc.Arbitrary<Made> = fc.letrec<{ any: Made }>((tie) => {
  const any = tie("any")
  const struct = fc
    .array(fc.tuple(any, fc.nat({ max: 3 })), { minLength: 1, maxLength: names.length })
    .map((fields) => fields.map(([one, how], index) => [names[index] ?? "", fieldOf(one, how)] as const))
  return {
    any: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constantFrom(...leaves),
      struct.map((fields) => made(Schema.Struct(Object.fromEntries(fields)), false, true)),
      any.map(({ schema }) => made(Schema.Array(schema).pipe(Schema.maxItems(3)))),
      any.map(({ schema }) => made(Schema.NonEmptyArray(schema))),
      fc.tuple(any, any).map(([one, two]) => made(Schema.Tuple(one.schema, two.schema))),
      fc.tuple(any, any).map(([one, two]) => made(Schema.Tuple([one.schema], two.schema))),
      fc.tuple(any, any).map(([one, two]) => made(Schema.Tuple(one.schema, Schema.optionalElement(two.schema)))),
      any.map(({ schema }) => made(Schema.Record({ key: Schema.String, value: schema }), false, true)),
      any.map(({ schema }) => made(Schema.NullOr(schema), true)),
      // Members that no value is of both of: else the decoder's own choice counts, whatever the answer was.
      fc
        .tuple(struct, struct)
        .map(([one, two]) =>
          made(
            Schema.Union(
              Schema.Struct({ ...Object.fromEntries(one), tag: Schema.Literal("one") }),
              Schema.Struct({ ...Object.fromEntries(two), tag: Schema.Literal("two") })
            )
          )
        )
    )
  }
}).any
