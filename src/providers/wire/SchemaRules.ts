/**
 * The rules by which providers enforce a JSON schema: facts, with their sources. `JsonSchemas` writes schemas by them.
 *
 * @since 0.2.0
 */

/**
 * The rules of a provider.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rules {
  /** The keywords that it takes, beside those of structure. */
  readonly keywords: ReadonlySet<string>
  /** The formats that it takes. */
  readonly formats: ReadonlySet<string>
  /** Whether the schema itself must be an object. */
  readonly objectRoot: boolean
  /** Whether each object must require all of its fields and no other. */
  readonly allRequired: boolean
  /** Whether an object may have fields of any name (`additionalProperties` with a schema). */
  readonly records: boolean
  /** Whether it takes tuples (`prefixItems`). */
  readonly tuples: boolean
  /** Whether a schema may refer to itself: always, only where the field is optional, or never. */
  readonly recursion: "any" | "optional" | "none"
  /** Whether it takes a node without a type: any value. */
  readonly anything: boolean
  /** The values that an `enum` may have. */
  readonly enums: ReadonlySet<string>
  /** The longest list by `minItems`, if it is limited. */
  readonly maxMinItems: number
  /** The most fields that may be absent, and the most choices, in one schema. */
  readonly most: { readonly optional: number; readonly choices: number }
}

const unlimited = Number.POSITIVE_INFINITY

/**
 * The rules of OpenAI's structured outputs, which the servers with its API follow (guide "Structured model outputs",
 * "Supported schemas").
 *
 * @since 0.2.0
 * @category rules
 */
export const openai: Rules = {
  keywords: new Set(
    "title description pattern format multipleOf minimum maximum exclusiveMinimum exclusiveMaximum minItems maxItems".split(
      " "
    )
  ),
  formats: new Set("date-time time date duration email hostname ipv4 ipv6 uuid".split(" ")),
  objectRoot: true,
  allRequired: true,
  records: false,
  tuples: false,
  recursion: "any",
  anything: false,
  enums: new Set(["string", "number", "boolean", "null"]),
  maxMinItems: unlimited,
  most: { optional: unlimited, choices: unlimited }
}

/**
 * The rules of Anthropic's structured outputs (guide "Structured outputs", "JSON Schema limitations").
 *
 * @since 0.2.0
 * @category rules
 */
export const anthropic: Rules = {
  keywords: new Set("title description format minItems default".split(" ")),
  formats: new Set("date-time time date duration email hostname uri ipv4 ipv6 uuid".split(" ")),
  objectRoot: false,
  allRequired: false,
  records: false,
  tuples: false,
  recursion: "none",
  anything: false,
  enums: new Set(["string", "number", "boolean", "null"]),
  maxMinItems: 1,
  most: { optional: 24, choices: 16 }
}

/**
 * The rules of Gemini's `responseJsonSchema` and `parametersJsonSchema` (reference of `GenerationConfig`).
 *
 * @since 0.2.0
 * @category rules
 */
export const gemini: Rules = {
  keywords: new Set("title description format minimum maximum minItems maxItems".split(" ")),
  formats: new Set("date-time date time".split(" ")),
  objectRoot: false,
  allRequired: false,
  records: true,
  tuples: true,
  recursion: "optional",
  anything: true,
  enums: new Set(["string", "number"]),
  maxMinItems: unlimited,
  most: { optional: unlimited, choices: unlimited }
}
