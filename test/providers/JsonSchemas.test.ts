import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Arbitrary, Effect, FastCheck as fc, Redacted, Schema } from "effect"
import { Anthropic, Chat, ChatModel, Gemini, OpenAi } from "effect-steadfast"
import { FaultyProvider, Reply } from "effect-steadfast/testing"
import * as JsonSchemas from "../../src/providers/wire/JsonSchemas.js"
import * as SchemaRules from "../../src/providers/wire/SchemaRules.js"
import { cases, seed } from "../support/cases.js"
import { breaches, filled, isNode, isValid, type Node, type Provider, schemas } from "./JsonSchemas.support.js"
import { at, law } from "./support.js"

const providers: ReadonlyArray<Provider> = ["openai", "anthropic", "gemini"]

const rules = { openai: SchemaRules.openai, anthropic: SchemaRules.anthropic, gemini: SchemaRules.gemini }

const enforced = (schema: Schema.Schema.All | Node, provider: Provider) =>
  JsonSchemas.enforced(schema as Schema.Schema.All, rules[provider])

/** What goes out for one field of a struct, or why nothing does. */
const written = (field: Schema.Struct.Field, provider: Provider): unknown => {
  const found = enforced(Schema.Struct({ x: field }), provider)
  return "why" in found ? found.why : at(found.schema, "properties", "x")
}

class Person extends Schema.Class<Person>("Person")({
  name: Schema.NonEmptyString,
  age: Schema.optional(Schema.Int)
}) {}

interface Tree {
  readonly kids: ReadonlyArray<Tree>
}
const Tree: Schema.Schema<Tree> = Schema.Struct({
  kids: Schema.Array(Schema.suspend((): Schema.Schema<Tree> => Tree))
}).annotations({ identifier: "Tree" })

interface Chain {
  readonly next?: Chain | undefined
}
const Chain: Schema.Schema<Chain> = Schema.Struct({
  next: Schema.optional(Schema.suspend((): Schema.Schema<Chain> => Chain))
}).annotations({ identifier: "Chain" })

const int = { title: "int", description: "an integer", type: "integer" }
const full = { title: "nonEmptyString", description: "a non empty string (minLength: 1)", type: "string" }
const person = { type: "object", additionalProperties: false, properties: { name: full, age: int }, required: ["name"] }
const bounds = { title: "between(1, 5)", description: "a number between 1 and 5" }
const string = { type: "string" }

/** A field, and what goes out for it: one node for all, or one for each provider. */
const table: Record<string, readonly [Schema.Struct.Field, unknown, unknown?, unknown?]> = {
  "a text": [Schema.String, string],
  optional: [Schema.optional(Schema.String), { type: ["string", "null"] }, string, string],
  "optional with words": [
    Schema.optional(Schema.Int).annotations({ description: "years" }),
    { ...int, description: "years", type: ["integer", "null"] },
    { ...int, description: "years" },
    { ...int, description: "years" }
  ],
  nullable: [Schema.NullOr(Schema.String), { anyOf: [string, { type: "null" }] }],
  "optional and nullable": [Schema.optional(Schema.NullOr(Schema.String)), { anyOf: [string, { type: "null" }] }],
  literals: [Schema.Literal("a", "b"), { type: "string", enum: ["a", "b"] }],
  "an optional literal": [
    Schema.optional(Schema.Literal("a")),
    { type: ["string", "null"], enum: ["a", null] },
    { type: "string", enum: ["a"] },
    { type: "string", enum: ["a"] }
  ],
  "the literal true": [
    Schema.Literal(true),
    { type: "boolean", enum: [true] },
    { type: "boolean", enum: [true] },
    { type: "boolean", description: "(one of [true])" }
  ],
  "literals of several kinds": [
    Schema.Literal("a", 1, null),
    { anyOf: [{ type: "string", enum: ["a"] }, { type: "number", enum: [1] }, { type: "null" }] }
  ],
  union: [Schema.Union(Schema.String, Schema.Boolean), { anyOf: [string, { type: "boolean" }] }],
  array: [Schema.Array(Schema.String), { type: "array", items: string }],
  "an array of two or more": [
    Schema.Array(Schema.String).pipe(Schema.minItems(2)),
    { type: "array", items: string, minItems: 2, title: "minItems(2)", description: "an array of at least 2 item(s)" },
    {
      type: "array",
      items: string,
      title: "minItems(2)",
      description: "an array of at least 2 item(s) (minItems: 2)"
    },
    { type: "array", items: string, minItems: 2, title: "minItems(2)", description: "an array of at least 2 item(s)" }
  ],
  tuple: [
    Schema.Tuple(Schema.String, Schema.Boolean),
    { type: "array", minItems: 2, maxItems: 2, items: { anyOf: [string, { type: "boolean" }] } },
    { type: "array", description: "(minItems: 2)", items: { anyOf: [string, { type: "boolean" }] } },
    { type: "array", minItems: 2, maxItems: 2, prefixItems: [string, { type: "boolean" }] }
  ],
  "a tuple of one kind": [Schema.Tuple([Schema.String], Schema.String), { type: "array", minItems: 1, items: string }],
  record: [
    Schema.Record({ key: Schema.String, value: Schema.Boolean }),
    "the schema.x may have any field",
    "the schema.x may have any field",
    { type: "object", additionalProperties: { type: "boolean" } }
  ],
  "a text that is not empty": [Schema.NonEmptyString, full],
  "a number between two": [
    Schema.Int.pipe(Schema.between(1, 5)),
    { ...bounds, type: "integer", minimum: 1, maximum: 5 },
    { ...bounds, type: "integer", description: `${bounds.description} (minimum: 1, maximum: 5)` },
    { ...bounds, type: "integer", minimum: 1, maximum: 5 }
  ],
  class: [
    Person,
    {
      ...person,
      properties: { name: full, age: { ...int, type: ["integer", "null"] } },
      required: ["name", "age"]
    },
    person,
    person
  ],
  "recursive in a list": [
    Tree,
    { $ref: "#/$defs/Tree" },
    "the schema.x refers to itself",
    "the schema.x refers to itself"
  ],
  "recursive in an optional field": [
    Schema.optional(Chain),
    { anyOf: [{ $ref: "#/$defs/Chain" }, { type: "null" }] },
    "the schema.x refers to itself",
    { $ref: "#/$defs/Chain" }
  ],
  "a date": [Schema.DateFromString, { ...string, description: "a string to be decoded into a Date" }],
  "an object without fields": [
    Schema.Struct({}),
    { type: "object", properties: {}, required: [], additionalProperties: false },
    { type: "object", properties: {}, additionalProperties: false },
    { type: "object", properties: {}, additionalProperties: false }
  ],
  anything: [Schema.Unknown, "the schema.x may be anything", "the schema.x may be anything", { title: "unknown" }],
  "any object": [
    Schema.Object,
    "the schema.x(0) may have any field",
    "the schema.x(0) may have any field",
    {
      anyOf: [{ type: "object" }, { type: "array" }],
      title: "object",
      description: "an object in the TypeScript meaning, i.e. the `object` type"
    }
  ]
}

describe("definitions", () => {
  it("that are kept have names which every reader of pointers reads alike", () => {
    interface Part {
      readonly parts: ReadonlyArray<Part>
    }
    const recursive = (identifier: string): Schema.Schema<Part> => {
      const own: Schema.Schema<Part> = Schema.Struct({
        parts: Schema.Array(Schema.suspend((): Schema.Schema<Part> => own))
      }).annotations({ identifier })
      return own
    }
    const found = enforced(Schema.Struct({ a: recursive("shop/Part"), b: recursive("shop~Part") }), "openai")
    if ("why" in found) return assert.fail(found.why)
    const { $defs, properties } = found.schema as Record<string, Record<string, Node>>
    assert.deepStrictEqual(Object.keys($defs ?? {}), ["shop_Part", "shop_Part_"])
    assert.deepStrictEqual(properties, { a: { $ref: "#/$defs/shop_Part" }, b: { $ref: "#/$defs/shop_Part_" } })
    assert.nestedPropertyVal($defs, "shop_Part_.properties.parts.items.$ref", "#/$defs/shop_Part_")
  })

  it("that would be written out too often are not enforced", () => {
    const twice = (to: string) => ({ a: { $ref: `#/$defs/${to}` }, b: { $ref: `#/$defs/${to}` } })
    const all = Array.from({ length: 40 }, (_, index) => [
      `level${index}`,
      { type: "object", properties: index === 39 ? {} : twice(`level${index + 1}`), required: ["a", "b"] }
    ])
    for (const provider of providers) {
      const found = enforced({ type: "object", properties: twice("level0"), $defs: Object.fromEntries(all) }, provider)
      assert.property(found, "why")
    }
  })

  it("and fields may have any name", () => {
    const schema = JSON.parse('{"type":"object","properties":{"__proto__":{"type":"string"}},"required":["__proto__"]}')
    for (const provider of providers) {
      const found = enforced(schema, provider)
      assert.include(JSON.stringify(found), '"properties":{"__proto__":{"type":"string"}}')
    }
  })
})

describe("schemas by the rules of a provider", () => {
  for (const [name, [field, ...out]] of Object.entries(table)) {
    it(name, () => {
      for (const [index, provider] of providers.entries()) {
        assert.deepStrictEqual(written(field, provider), out[index] ?? out[0], provider)
      }
    })
  }

  it("say whether null stands for absent fields, and require what the provider wants", () => {
    const schema = Schema.Struct({ a: Schema.String, b: Schema.optional(Schema.String) })
    const openai = enforced(schema, "openai")
    const anthropic = enforced(schema, "anthropic")
    assert.deepInclude(openai, { nullable: true })
    assert.deepStrictEqual(at(openai, "schema", "required"), ["a", "b"])
    assert.deepInclude(anthropic, { nullable: false })
    assert.deepStrictEqual(at(anthropic, "schema", "required"), ["a"])
  })

  it("begin with an object where the provider wants one", () => {
    const either = Schema.Union(Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.String }))
    assert.deepStrictEqual(enforced(either, "openai"), { why: "the schema is no object" })
    assert.deepStrictEqual(enforced(Schema.Array(Schema.String), "openai"), { why: "the schema is no object" })
    assert.nestedProperty(enforced(either, "anthropic"), "schema.anyOf")
  })

  it("hold all that a node must be at once, or say why not", () => {
    const part = (name: string) => ({ type: "object", properties: { [name]: string }, required: [name] })
    const $defs = { A: part("a"), B: part("b"), C: { anyOf: [string, { type: "null" }] } }
    const both = { $defs, type: "object", properties: { x: { allOf: [{ $ref: "#/$defs/A" }, { $ref: "#/$defs/B" }] } } }
    assert.deepInclude(at(enforced(both, "anthropic"), "schema", "properties", "x"), {
      properties: { a: string, b: string },
      required: ["a", "b"]
    })
    const twice = {
      $defs,
      type: "object",
      properties: { x: { allOf: [{ $ref: "#/$defs/C" }, { $ref: "#/$defs/C" }] } }
    }
    assert.deepStrictEqual(enforced(twice, "openai"), { why: "the schema.x is several choices at once" })
  })

  it("keep to Anthropic's limits of one schema", () => {
    const fields = (count: number, field: Schema.Struct.Field) =>
      Schema.Struct(Object.fromEntries(Array.from({ length: count }, (_, index) => [`f${index}`, field])))
    assert.nestedProperty(enforced(fields(24, Schema.optional(Schema.String)), "anthropic"), "schema.type")
    assert.deepStrictEqual(enforced(fields(25, Schema.optional(Schema.String)), "anthropic"), {
      why: "it has more than 24 fields that may be absent"
    })
    assert.deepStrictEqual(enforced(fields(17, Schema.NullOr(Schema.String)), "anthropic"), {
      why: "it has more than 16 choices"
    })
  })
})

describe("the law", () => {
  it("an enforced schema keeps to the rules, and excludes no value that decodes", () => {
    let written = 0
    fc.assert(
      fc.property(schemas, fc.integer(), ({ object, schema }, seed) => {
        const whole: Schema.Schema.All = object ? schema : Schema.Struct({ x: schema })
        const any = whole as Schema.Schema<unknown>
        const values = fc
          .sample(Arbitrary.make(any), { seed, numRuns: 4 })
          .map((value) => JSON.parse(JSON.stringify(Schema.encodeSync(any)(value))))
        for (const provider of providers) {
          const found = enforced(whole, provider)
          if ("why" in found) continue
          written += 1
          assert.deepStrictEqual(breaches(found.schema, provider), [])
          for (const value of values) {
            const answer = filled(value, found.schema)
            assert.isTrue(isValid(answer, found.schema), `${provider} excludes ${JSON.stringify(answer)}`)
          }
        }
      }),
      { numRuns: cases(5000, 150), seed }
    )
    assert.isAbove(written, 150)
  })

  const apiKey = Redacted.make("key-1")
  const wires = {
    openai: [OpenAi.make({ model: "gpt-4o-mini", apiKey }), ["response_format", "json_schema", "schema"]],
    anthropic: [Anthropic.make({ model: "claude-haiku-4-5", apiKey }), ["output_config", "format", "schema"]],
    gemini: [Gemini.make({ model: "gemini-2.5-flash", apiKey }), ["generationConfig", "responseJsonSchema"]]
  } as const

  law<[typeof schemas extends fc.Arbitrary<infer A> ? A : never, number]>(
    "generateObject decodes each value that is written by the schema it sent",
    [schemas, fc.integer()],
    ([{ object, schema }, seed]) =>
      Effect.gen(function* () {
        const [value] = fc.sample(Arbitrary.make(schema), { seed, numRuns: 1 })
        const encoded: unknown = JSON.parse(JSON.stringify(Schema.encodeSync(schema)(value)))
        const expected = Schema.decodeUnknownSync(schema)(encoded)
        for (const provider of providers) {
          const [make, path] = wires[provider]
          const peer = yield* FaultyProvider.make({
            script: [
              ({ body }) => {
                const sent = at(body, ...path)
                const whole = object ? encoded : { value: encoded }
                return Reply.text(JSON.stringify(isNode(sent) ? filled(whole, sent) : whole))
              }
            ]
          })
          const model = yield* Effect.provideService(make, HttpClient.HttpClient, peer.client)
          const answer = yield* ChatModel.generateObject(model, schema, Chat.prompt("hi"))
          assert.deepStrictEqual(answer.value, expected, provider)
        }
      }),
    { fastCheck: { numRuns: cases(2000, 60), seed } }
  )
})
