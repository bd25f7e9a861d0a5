/**
 * The options of all policies: one check, one wording, one schema.
 *
 * A policy lists its options once, in a {@link struct}: the allowed values, the purpose and the default of each. The
 * list provides the check of a program's options (`read`), the description of each option, and the schema that decodes
 * the same options from JSON or YAML (`schema`).
 *
 * An invalid value is refused with a `RangeError` that names the policy, the option, the value found and the value
 * expected: `Pacer: maxWait: found "-5 seconds", expected a duration of 0 or more`. The schema reports the same about
 * JSON.
 *
 * Gotchas:
 * - `read` returns durations in milliseconds. The schema returns `Duration`; in JSON they are text with a unit, because
 *   a bare number would leave the unit open.
 * - Effect reads a negative duration, or one that is not a number, as zero. Here they are refused.
 *
 * The layers above check a single value in the same way: `duration({ above: 0 }).read(input, "ChatModel.timeout:
 * attempt")`.
 *
 * @example
 * import * as PolicyOptions from "./Options.js"
 *
 * const limits = PolicyOptions.struct({
 *   ratio: PolicyOptions.optional(PolicyOptions.number({ min: 0, max: 1 }), "Retries for each first attempt", 0.1),
 *   reserve: PolicyOptions.optional(PolicyOptions.duration({ above: 0 }), "The time to earn one more", "10 seconds")
 * })
 * limits.read({ reserve: "1 minute" }, "RetryBudget") // { ratio: 0.1, reserve: 60000 }
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Inspectable from "effect/Inspectable"
import * as ParseResult from "effect/ParseResult"
import * as Schema from "effect/Schema"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The rule of one option, or of all options of a policy.
 *
 * @since 0.2.0
 * @category models
 */
export interface Rule<out Value, in Input, out S extends Schema.Struct.Field> {
  /** The schema of the option in JSON or YAML. */
  readonly schema: S
  /** The expected value in words; absent if each part has its own. */
  readonly expected?: string
  /**
   * Checks a value. Returns it as the policy uses it, durations in milliseconds. Throws a `RangeError` that begins with
   * `at`, the names of the policy and the option.
   */
  readonly read: (input: Input, at: string) => Value
}

/**
 * The bounds of a number or a duration. Without any, it must be 0 or more.
 *
 * @since 0.2.0
 * @category models
 */
export interface Bounds<in out Limit> {
  /** The least allowed value. */
  readonly min?: Limit | undefined
  /** The value must be more than this. */
  readonly above?: Limit | undefined
  /** The largest allowed value. */
  readonly max?: Limit | undefined
  /** The value must be less than this. */
  readonly below?: Limit | undefined
}

// -----------------------------------------------------------------------------
// the one wording
// -----------------------------------------------------------------------------

const show = (value: unknown): string => {
  if (typeof value === "string") return JSON.stringify(value)
  if (Duration.isDuration(value)) return Duration.format(value)
  if (Array.isArray(value) && value.length === 0) return "none"
  return typeof value === "object" && value !== null ? Inspectable.toStringUnknown(value, 0) : String(value)
}

const describe = (found: unknown, expected: string): string => `found ${show(found)}, expected ${expected}`

/**
 * The error for an invalid option. `at` names the policy and the option: `"Pacer: maxWait"`.
 *
 * @since 0.2.0
 * @category errors
 */
export const wrong = (at: string, found: unknown, expected: string): RangeError =>
  new RangeError(`${at}: ${describe(found, expected)}`)

/** Gives a schema the message of {@link wrong}. */
const worded = (expected: string) => ({
  message: ({ actual }: ParseResult.ParseIssue) => ({ message: describe(actual, expected), override: true })
})

const range = ({ above, below, max, min }: Bounds<unknown>): string => {
  if (min !== undefined && max !== undefined) return ` from ${min} to ${max}`
  const upper = max !== undefined ? ` and at most ${max}` : below !== undefined ? ` and below ${below}` : ""
  return (above === undefined ? ` of ${min ?? 0} or more` : ` above ${above}`) + upper
}

// -----------------------------------------------------------------------------
// numbers and durations
// -----------------------------------------------------------------------------

/** NaN is within no bounds. */
const within = ({ above, below, max, min = 0 }: Bounds<number>, value: number): boolean =>
  (above === undefined ? value >= min : value > above) &&
  (max === undefined || value <= max) &&
  (below === undefined || value < below)

const plain = <A>(
  expected: string,
  schema: Schema.Schema<A>,
  is: (input: unknown) => input is A
): Rule<A, A, Schema.Schema<A>> => ({
  expected,
  schema: schema.annotations(worded(expected)),
  read: (input, at) => {
    if (!is(input)) throw wrong(at, input, expected)
    return input
  }
})

/**
 * A finite number.
 *
 * @since 0.2.0
 * @category rules
 */
export const number = (
  bounds: Bounds<number> & { readonly whole?: boolean } = {}
): Rule<number, number, Schema.Schema<number>> => {
  const noun = bounds.whole ? "whole number" : (bounds.max ?? bounds.below) === undefined ? "finite number" : "number"
  const is = (input: unknown): input is number =>
    (bounds.whole ? Number.isSafeInteger : Number.isFinite)(input) && within(bounds, input as number)
  const jsonSchema = {
    type: bounds.whole ? "integer" : "number",
    minimum: bounds.above === undefined ? (bounds.min ?? 0) : undefined,
    exclusiveMinimum: bounds.above,
    maximum: bounds.max,
    exclusiveMaximum: bounds.below
  }
  return plain(`a ${noun}${range(bounds)}`, Schema.Number.pipe(Schema.filter(is, { jsonSchema })), is)
}

/** A duration in milliseconds, negative if given so; NaN for anything else. */
const millisOf = (input: unknown): number => {
  if (typeof input === "number") return input
  if (typeof input === "bigint") return Number(input) / 1e6
  if (typeof input === "string" && Number.parseFloat(input) < 0) return Number.parseFloat(input)
  if (Array.isArray(input)) return input.length === 2 ? Number(input[0]) * 1000 + Number(input[1]) / 1e6 : Number.NaN
  const decoded = Duration.decodeUnknown(input)
  return decoded._tag === "None" ? Number.NaN : Duration.toMillis(decoded.value)
}

/**
 * A duration; `finite` refuses infinity. Programs give any `Duration.DurationInput`, JSON gives text with a unit.
 *
 * @since 0.2.0
 * @category rules
 */
export const duration = (
  bounds: Bounds<number | `${number} ${Duration.Unit}`> & { readonly finite?: boolean } = {}
): Rule<number, Duration.DurationInput, Schema.Schema<Duration.Duration, string>> => {
  const limit = (input: unknown) => (input === undefined ? undefined : millisOf(input))
  const limits = {
    min: limit(bounds.min),
    above: limit(bounds.above),
    max: limit(bounds.max),
    below: limit(bounds.below)
  }
  const isOk = (millis: number): boolean => within(limits, millis) && !(bounds.finite && millis === Infinity)
  const isFinite = bounds.finite && (bounds.max ?? bounds.below) === undefined
  const words = `a ${isFinite ? "finite " : ""}duration${range(bounds)}`
  const expected = `${words}, such as "30 seconds"`
  const schema = Schema.transformOrFail(
    Schema.String,
    Schema.DurationFromSelf.pipe(Schema.filter((value) => isOk(Duration.toMillis(value)))),
    {
      strict: true,
      decode: (text, _, ast) =>
        isOk(millisOf(text))
          ? ParseResult.succeed(Duration.decode(text as Duration.DurationInput))
          : ParseResult.fail(new ParseResult.Type(ast, text)),
      encode: (value) => ParseResult.succeed(`${Duration.toMillis(value)} millis`)
    }
  )
  return {
    expected,
    schema: schema.annotations({ ...worded(expected), jsonSchema: { type: "string", examples: ["30 seconds"] } }),
    read: (input, at) => {
      const millis = millisOf(input)
      if (!isOk(millis)) throw wrong(at, input, words)
      return millis
    }
  }
}

// -----------------------------------------------------------------------------
// everything else
// -----------------------------------------------------------------------------

/**
 * One of several words.
 *
 * @since 0.2.0
 * @category rules
 */
export const oneOf = <const Words extends readonly [string, ...ReadonlyArray<string>]>(...words: Words) =>
  plain<Words[number]>(words.map(show).join(" or "), Schema.Literal(...words), (input): input is Words[number] =>
    words.includes(input as string)
  )

/**
 * @since 0.2.0
 * @category rules
 */
export const text = plain<string>("text", Schema.String, (input): input is string => typeof input === "string")

/**
 * @since 0.2.0
 * @category rules
 */
export const boolean = plain<boolean>(
  "true or false",
  Schema.Boolean,
  (input): input is boolean => typeof input === "boolean"
)

/**
 * One of several words, or a value by another rule.
 *
 * @since 0.2.0
 * @category rules
 */
export const either = <A, Word extends string>(other: Rule<A, A, Schema.Schema<A>>, words: ReadonlyArray<Word>) => {
  const schema = Schema.Union(other.schema, Schema.Literal(...words))
  return plain<A | Word>(`${other.expected} or ${words.map(show).join(" or ")}`, schema, Schema.is(schema))
}

/**
 * A list of at least one value, or of at least none.
 *
 * @since 0.2.0
 * @category rules
 */
export const list = <Value, Input, A, I>(
  rule: Rule<Value, Input, Schema.Schema<A, I>>,
  least: 0 | 1 = 1
): Rule<ReadonlyArray<Value>, ReadonlyArray<Input>, Schema.Schema<ReadonlyArray<A>, ReadonlyArray<I>>> => {
  const expected = least === 0 ? "a list" : "at least one"
  const array = Schema.Array(rule.schema)
  return {
    schema: least === 0 ? array : array.pipe(Schema.minItems(least, worded(expected))),
    read: (input, at) => {
      if (!Array.isArray(input) || input.length < least) throw wrong(at, input, expected)
      return input.map((one, index) => rule.read(one, `${at}[${index}]`))
    }
  }
}

/**
 * Values by name. `read` returns a map, in which no name is special.
 *
 * @since 0.2.0
 * @category rules
 */
export const record = <Value, Input, A, I>(
  rule: Rule<Value, Input, Schema.Schema<A, I>>
): Rule<
  ReadonlyMap<string, Value>,
  { readonly [name: string]: Input },
  Schema.Schema<{ readonly [name: string]: A }, { readonly [name: string]: I }>
> => ({
  schema: Schema.Record({ key: Schema.String, value: rule.schema }),
  read: (input, at) => {
    if (typeof input !== "object" || input === null || Array.isArray(input)) throw wrong(at, input, "an object")
    return new Map(Object.entries(input).map(([name, value]) => [name, rule.read(value, `${at}.${name}`)]))
  }
})

// -----------------------------------------------------------------------------
// structs
// -----------------------------------------------------------------------------

const sentence = (
  about: string,
  expected: string | undefined,
  initial?: unknown
): { readonly description: string } => ({
  description:
    (expected === undefined ? about : `${about}: ${expected}`) +
    (initial === undefined ? "." : `. Default ${show(initial)}.`)
})

export const optional: {
  /**
   * An optional option. `about` is its purpose, without a full stop; without an `initial` value it includes the
   * behaviour without the option.
   *
   * @since 0.2.0
   * @category fields
   */
  <Value, Input, S extends Schema.Schema.Any>(
    rule: Rule<Value, Input, S>,
    about: string,
    initial: NoInfer<Input>
  ): Rule<Value, Input | undefined, Schema.optional<S>>
  <Value, Input, S extends Schema.Schema.Any>(
    rule: Rule<Value, Input, S>,
    about: string
  ): Rule<Value | undefined, Input | undefined, Schema.optional<S>>
} = <Value, Input, S extends Schema.Schema.Any>(
  { expected, read, schema }: Rule<Value, Input, S>,
  about: string,
  initial?: Input
) => {
  const or = Schema.UndefinedOr(schema)
  const value = expected === undefined ? or : or.annotations(worded(expected))
  const fallback = initial === undefined ? undefined : read(initial, about)
  return {
    schema: Schema.optionalWith(value, { exact: true }).annotations(
      sentence(about, expected, initial)
    ) as unknown as Schema.optional<S>,
    read: (input: Input | undefined, at: string) => (input === undefined ? (fallback as Value) : read(input, at))
  }
}

/**
 * A required option.
 *
 * @since 0.2.0
 * @category fields
 */
export const required = <Value, Input, S extends Schema.Schema.Any>(
  { expected, read, schema }: Rule<Value, Input, S>,
  about: string
): Rule<Value, Input, Schema.propertySignature<S>> => ({
  schema: Schema.propertySignature(schema).annotations(sentence(about, expected)),
  read
})

type Fields = { readonly [Key in string]: Rule<unknown, never, Schema.Struct.Field> }

type ValueOf<F> = F extends { readonly read: (...args: never) => infer Value } ? Value : never

type InputOf<F> = F extends { readonly read: (input: infer Input, at: string) => unknown } ? Input : never

type Given<F extends Fields> = {
  readonly [Key in keyof F as undefined extends InputOf<F[Key]> ? Key : never]?: InputOf<F[Key]>
} & {
  readonly [Key in keyof F as undefined extends InputOf<F[Key]> ? never : Key]: InputOf<F[Key]>
}

/**
 * The options of a policy, or of a part of it. `read` takes the name of the policy as `at`.
 *
 * @since 0.2.0
 * @category rules
 */
export const struct = <F extends Fields>(
  fields: F
): Rule<
  { readonly [Key in keyof F]: ValueOf<F[Key]> },
  Given<F>,
  Schema.Struct<{ readonly [Key in keyof F]: F[Key]["schema"] }>
> => {
  const rules = Object.entries(fields)
  const schemas = Object.fromEntries(rules.map(([key, { schema }]) => [key, schema]))
  return {
    schema: Schema.Struct(schemas as { readonly [Key in keyof F]: F[Key]["schema"] }),
    read: (input, at) => {
      if (typeof input !== "object" || input === null) throw wrong(at, input, "an object")
      const given: Readonly<Record<string, unknown>> = input
      // A colon follows the policy, a point separates an option and its part.
      const before = at.includes(": ") ? `${at}.` : `${at}: `
      const values: Record<string, unknown> = {}
      for (const [key, rule] of rules) values[key] = rule.read(given[key] as never, before + key)
      return values as { readonly [Key in keyof F]: ValueOf<F[Key]> }
    }
  }
}
