/**
 * Answers by an Effect `Schema`: {@link generateObject} gives the decoded value, {@link streamObject} the value as it
 * grows and then the decoded one.
 *
 * The JSON schema of the `Schema` goes out with the request, each wire format writes it by its provider's rules, and
 * the answer is decoded inside of the attempt. An answer that is no JSON, does not fit or was cut at the token limit is
 * an `InvalidResponse` of that attempt, with the code `not-json`, `misfit` or `truncated`, and a message with the path,
 * what was found and what was expected. So the model's own retry and fallback hold for it, and the next attempt is told
 * what was wrong.
 *
 * A schema whose JSON is no object (a list, a union, a text) is asked for as `{ "value": … }`, because most providers
 * enforce objects alone. A `null` for an optional field counts as absent.
 *
 * @since 0.2.0
 */

import * as Chunk from "effect/Chunk"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import { dual } from "effect/Function"
import * as ParseResult from "effect/ParseResult"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Call from "../../calls/Call.js"
import { InvalidRequest, InvalidResponse, isAboutAnswer, isLlmError, type LlmError } from "../../errors/LlmError.js"
import * as Answer from "../Answer.js"
import type * as Chat from "../Chat.js"
import * as JsonSchema from "../JsonSchema.js"
import { type ChatModel, isChatModel, TypeId } from "../Model.js"
import * as AnswerCheck from "./AnswerCheck.js"
import * as JsonAnswer from "./JsonAnswer.js"
import * as PartialJson from "./PartialJson.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The options of {@link generateObject} and {@link streamObject}.
 *
 * @since 0.2.0
 * @category options
 */
export interface ObjectOptions {
  /** The name of the schema for the provider: letters, digits, `_` and `-`. Default: the schema's identifier. */
  readonly name?: string | undefined
  /**
   * Whether an attempt after a wrong answer shows the model that answer (if it has at most 4,000 characters) and what
   * was wrong with it. Default `true`.
   */
  readonly feedback?: boolean | undefined
}

/**
 * An answer, and the value that was decoded from it.
 *
 * @since 0.2.0
 * @category models
 */
export interface ObjectResponse<A> extends Chat.Response {
  readonly value: A
}

/**
 * A value that is not whole: any field, member or end of a text may be missing. An optional field may be `null`, the
 * form in which some providers leave it out.
 *
 * @since 0.2.0
 * @category models
 */
export type Growing<I> = I extends string | number | boolean | bigint | symbol | null | undefined
  ? I
  : I extends ReadonlyArray<infer T>
    ? ReadonlyArray<Growing<T>>
    : I extends object
      ? { readonly [K in keyof I]?: Growing<I[K]> | (Record<never, never> extends Pick<I, K> ? null : never) }
      : unknown

/**
 * One step of a streamed object. `Partial` is the encoded value so far, not yet checked. `Whole` comes last, with the
 * decoded value. `Reset` (in `restart` mode) says that a new attempt begins from nothing.
 *
 * @since 0.2.0
 * @category models
 */
export type ObjectEvent<A, I> =
  | { readonly _tag: "Partial"; readonly value: Growing<I> }
  | { readonly _tag: "Reset"; readonly attempt: number; readonly cause: string }
  | { readonly _tag: "Whole"; readonly value: A; readonly response: ObjectResponse<A> }

// -----------------------------------------------------------------------------
// schemas
// -----------------------------------------------------------------------------

/** What is asked for by a schema. */
interface Asked {
  readonly json: JsonSchema.Json
  /** Whether the value is the field `value` of an object. */
  readonly wrapped: boolean
  readonly name: string
}

const known = new WeakMap<object, Asked>()

const rootOf = (json: JsonSchema.Json): JsonSchema.Json => {
  const name = JsonSchema.definitionName(json.$ref)
  const found = name === undefined ? undefined : (json.$defs as Record<string, JsonSchema.Json> | undefined)?.[name]
  return found ?? json
}

const asked = (schema: Schema.Schema.All): Asked => {
  const before = known.get(schema)
  if (before !== undefined) return before
  const json = JsonSchema.of(schema)
  const wrapped = rootOf(json).type !== "object"
  const { $defs, ...value } = json
  const whole = { type: "object", properties: { value }, required: ["value"], additionalProperties: false }
  const made: Asked = {
    json: wrapped ? { ...whole, ...($defs === undefined ? {} : { $defs }) } : json,
    wrapped,
    name: nameOf(JsonSchema.definitionName(json.$ref) ?? "answer")
  }
  known.set(schema, made)
  return made
}

/** The names that OpenAI takes. */
const nameOf = (text: string): string => text.replace(/[^\w-]+/g, "_").slice(0, 64) || "answer"

// -----------------------------------------------------------------------------
// the check
// -----------------------------------------------------------------------------

/** The longest answer that the model is shown again, in characters: about 1,000 tokens. */
const maxShown = 4_000

const wrong = (response: Chat.Response, code: "not-json" | "misfit" | "truncated", message: string): InvalidResponse =>
  new InvalidResponse({
    provider: response.provider,
    model: response.model,
    requestId: response.requestId,
    code,
    message,
    delivery: "unknown"
  })

/** A request that tells of the answer before, as the next turns of the conversation. */
const corrected = (request: Chat.Request, text: string, why: string): Chat.Request => {
  const isShown = text.trim() !== "" && text.length <= maxShown
  const words = `Your ${isShown ? "" : "last "}answer does not fit: ${why}. Answer again with the whole JSON value only.`
  const [first, ...rest] = request.messages
  const turns: ReadonlyArray<Chat.Message> = [
    ...(isShown ? [{ role: "assistant", content: text } as const] : []),
    { role: "user", content: words }
  ]
  return { ...request, messages: [first, ...rest, ...turns] }
}

const isEither = <A, E, R>(self: Effect.Effect<A, E, R>): self is Either.Either<A, E> => Either.isEither(self)

interface Checker<A> extends AnswerCheck.AnswerCheck {
  /** The decoded value of an answer; of the last that was checked, without decoding it again. */
  readonly check: (response: Chat.Response) => Effect.Effect<A, InvalidResponse>
}

const checker = <A, I, R>(
  schema: Schema.Schema<A, I, R>,
  { json, wrapped }: Asked,
  feedback: boolean,
  context: <B, E>(self: Effect.Effect<B, E, R>) => Effect.Effect<B, E>,
  before: string | undefined
): Checker<A> => {
  const decode = ParseResult.decodeUnknown(schema)
  let last: { readonly text: string; readonly value: A } | undefined
  let told = before === undefined ? undefined : { text: "", why: before }

  const fail = (response: Chat.Response, code: Parameters<typeof wrong>[1], why: string) => {
    told = { text: response.text, why }
    return Effect.fail(wrong(response, code, why))
  }
  const check = (response: Chat.Response): Effect.Effect<A, InvalidResponse> => {
    const { finishReason, text, toolCalls } = response
    if (last?.text === text) return Effect.succeed(last.value)
    const found = JsonAnswer.find(text)
    // The beginning of a number is a number; of other JSON no beginning is whole.
    if (finishReason === "length" && (found._tag === "Wrong" || typeof found.value === "number")) {
      return fail(response, "truncated", `found an answer that was cut at the token limit (${text.length} characters)`)
    }
    if (found._tag === "Wrong") {
      const calls = toolCalls.length > 0 ? `found tool calls and ${found.why.replace(/^found /, "")}` : found.why
      return fail(response, "not-json", calls)
    }
    const deep = JsonAnswer.tooDeep(found.value, text)
    if (deep !== undefined) return fail(response, "misfit", deep)
    const read = (isBare: boolean): unknown => {
      const held = isBare ? { value: found.value } : found.value
      const whole = text.includes("null") ? JsonAnswer.withoutNulls(held, json) : held
      return wrapped ? (whole as { readonly value: unknown }).value : whole
    }
    const fields = wrapped && Predicate.isRecord(found.value) && "value" in found.value ? Object.keys(found.value) : []
    const value = read(wrapped && fields.length === 0)
    const onSuccess = (decoded: A): Effect.Effect<A> => {
      last = { text, value: decoded }
      return Effect.succeed(decoded)
    }
    const onFailure = (issue: ParseResult.ParseIssue) =>
      fail(response, "misfit", JsonAnswer.misfit(ParseResult.parseError(issue), value))
    // Most schemas decode at once, and most answers fit. To provide the services is to copy the context, which costs
    // more than to decode; to look for all that is wrong takes twice as long as to find that something is.
    const first: Effect.Effect<A, ParseResult.ParseIssue, R> = JsonAnswer.decoding(decode, value)
    if (isEither(first) && Either.isRight(first)) return onSuccess(first.right)
    // A member of a union may have a field `value` of its own.
    const bare = fields.length > 1 ? JsonAnswer.decoding(decode, read(true)) : undefined
    if (bare !== undefined && isEither(bare) && Either.isRight(bare)) return onSuccess(bare.right)
    const all = isEither(first)
      ? JsonAnswer.decoding(ParseResult.decodeUnknown(schema, { errors: "all" }), value)
      : first
    return Effect.matchEffect(context(all), { onFailure, onSuccess })
  }
  return {
    ask: (request) => (told === undefined || !feedback ? request : corrected(request, told.text, told.why)),
    check
  }
}

/** A request with its check, or why there can be none. */
const prepared = <A, I, R>(
  self: ChatModel,
  schema: Schema.Schema<A, I, R>,
  request: Chat.Request,
  { feedback = true, name }: ObjectOptions
): Effect.Effect<{ readonly request: Chat.Request; readonly checker: Checker<A> }, InvalidRequest, R> =>
  Effect.contextWithEffect((context) => {
    const { model, provider } = self[TypeId].targets[0]
    let what: Asked
    try {
      what = asked(schema)
    } catch (cause) {
      const message = `schema: found a Schema without a JSON schema (${JsonSchema.why(cause)}), expected one with`
      return Effect.fail(new InvalidRequest({ provider, model, message, delivery: "not-sent" }))
    }
    // A schedule around the whole effect runs it again: the answer before is known by its error.
    const before = Call.roundOf(context)?.input
    const check = checker<A, I, R>(
      schema,
      what,
      feedback,
      (effect) => Effect.provide(effect, context),
      isLlmError(before) && isAboutAnswer(before) ? before.message : undefined
    )
    const responseFormat = AnswerCheck.format(name ?? what.name, what.json, check)
    return Effect.succeed({ checker: check, request: { ...request, responseFormat } })
  })

// -----------------------------------------------------------------------------
// public
// -----------------------------------------------------------------------------

const isDataFirst = (args: IArguments): boolean => isChatModel(args[0])

export const generateObject: {
  /**
   * Asks for an answer by a schema, and gives it with its decoded `value`.
   *
   * Fails with `InvalidResponse` where an answer is no JSON, does not fit or was cut: retryable, with the path, what
   * was found and what was expected. A retry of the model tells the next attempt what was wrong.
   *
   * @since 0.2.0
   * @category destructors
   */
  <A, I, R>(
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options?: ObjectOptions
  ): (self: ChatModel) => Effect.Effect<ObjectResponse<A>, LlmError, R>
  /** Data first: asks for an answer by a schema, and gives it with its decoded `value`. */
  <A, I, R>(
    self: ChatModel,
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options?: ObjectOptions
  ): Effect.Effect<ObjectResponse<A>, LlmError, R>
} = dual(
  isDataFirst,
  <A, I, R>(
    self: ChatModel,
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options: ObjectOptions = {}
  ): Effect.Effect<ObjectResponse<A>, LlmError, R> =>
    Effect.flatMap(prepared(self, schema, request, options), ({ checker, request }) =>
      Effect.flatMap(self.generate(request), (response) =>
        Effect.map(checker.check(response), (value) => ({ ...response, value }))
      )
    )
)

/** Reads the events of one stream. */
const growing = <A, I>(checker: Checker<A>, wrapped: boolean) => {
  const answer = Answer.make()
  let reader = PartialJson.make()
  const valueOf = (): unknown => {
    const value = reader.value()
    return wrapped && Predicate.isRecord(value) ? value.value : value
  }
  return (events: ReadonlyArray<Chat.Event>): Effect.Effect<ReadonlyArray<ObjectEvent<A, I>>, InvalidResponse> => {
    answer.add(events)
    const out: Array<ObjectEvent<A, I>> = []
    let hasGrown = false
    const grown = (): void => {
      const value = hasGrown ? valueOf() : undefined
      hasGrown = false
      if (value !== undefined) out.push({ _tag: "Partial", value: value as Growing<I> })
    }
    for (const event of events) {
      if (event._tag === "TextDelta") hasGrown = reader.push(event.text) || hasGrown
      else if (event._tag === "Reset") {
        grown()
        reader = PartialJson.make()
        out.push({ _tag: "Reset", attempt: event.attempt, cause: event.cause })
      }
    }
    grown()
    if (events[events.length - 1]?._tag !== "Finish") return Effect.succeed(out)
    const response = answer.response()
    return Effect.map(checker.check(response), (value) => [
      ...out,
      { _tag: "Whole", value, response: { ...response, value } }
    ])
  }
}

export const streamObject: {
  /**
   * Asks for a streamed answer by a schema: the value as it grows, at most once for each piece of the answer, and at
   * the end the decoded one, the same that {@link generateObject} gives.
   *
   * Fails as `generateObject` does. In the mode `strict` a wrong answer is not asked for again once a part of it was
   * delivered; in the mode `restart` it is, after a `Reset`.
   *
   * @since 0.2.0
   * @category destructors
   */
  <A, I, R>(
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options?: ObjectOptions
  ): (self: ChatModel) => Stream.Stream<ObjectEvent<A, I>, LlmError, R>
  /** Data first: asks for a streamed answer by a schema. */
  <A, I, R>(
    self: ChatModel,
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options?: ObjectOptions
  ): Stream.Stream<ObjectEvent<A, I>, LlmError, R>
} = dual(
  isDataFirst,
  <A, I, R>(
    self: ChatModel,
    schema: Schema.Schema<A, I, R>,
    request: Chat.Request,
    options: ObjectOptions = {}
  ): Stream.Stream<ObjectEvent<A, I>, LlmError, R> =>
    Stream.unwrap(
      Effect.map(prepared(self, schema, request, options), ({ checker, request }) => {
        const read = growing<A, I>(checker, asked(schema).wrapped)
        return Stream.mapChunksEffect(self.stream(request), (chunk) =>
          Effect.map(read(Chunk.toReadonlyArray(chunk)), Chunk.unsafeFromArray)
        )
      })
    )
)
