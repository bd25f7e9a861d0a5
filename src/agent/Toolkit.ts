/**
 * Toolkits: tools and the layer of their handlers.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Tool, Toolkit } from "effect-steadfast/agent"
 *
 * const Look = Tool.make({ name: "look", parameters: Schema.Struct({ order: Schema.Int }) })
 * const tools = Toolkit.make(Look)
 * const handlers = tools.toLayer({ look: ({ order }) => Effect.succeed({ order, paid: true }) })
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as Chat from "../chat/Chat.js"
import * as JsonSchema from "../chat/JsonSchema.js"
import * as JsonAnswer from "../chat/structured/JsonAnswer.js"
import type * as Tool from "./Tool.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The handler of the tool of a name, as a requirement.
 *
 * @since 0.2.0
 * @category models
 */
export interface Handler<in out Name extends string> {
  readonly _: "steadfast/agent/Handler"
  readonly name: Name
}

/**
 * The requirements of a toolkit: a handler for each tool.
 *
 * @since 0.2.0
 * @category models
 */
export type HandlersOf<Tools extends ReadonlyArray<Tool.Any>> =
  Tools extends ReadonlyArray<infer T> ? (T extends Tool.Any ? Handler<T["name"]> : never) : never

/**
 * The handlers of tools, by name. Each gets the decoded arguments, and the call as the model made it.
 *
 * @since 0.2.0
 * @category models
 */
export type Handlers<Tools extends ReadonlyArray<Tool.Any>, R> = {
  readonly [T in Tools[number] as T["name"]]: (
    args: Tool.Parameters<T>,
    call: Chat.ToolCall
  ) => Effect.Effect<Tool.Success<T>, Tool.Failure<T>, R>
}

/**
 * Tools, and the way to give them their handlers.
 *
 * @since 0.2.0
 * @category models
 */
export interface Toolkit<Tools extends ReadonlyArray<Tool.Any>> {
  readonly tools: Tools
  /**
   * The layer of the handlers, or of an effect that makes them. What the handlers need is taken from where the layer is
   * built.
   */
  readonly toLayer: <R = never, EX = never, RX = never>(
    handlers: Handlers<Tools, R> | Effect.Effect<Handlers<Tools, R>, EX, RX>
  ) => Layer.Layer<HandlersOf<Tools>, EX, R | RX>
}

/**
 * The result of a tool's call, as the model is told.
 *
 * @since 0.2.0
 * @category models
 */
export interface Result {
  readonly content: string
  /** Whether the call failed: by the handler's error, a wrong argument, or an unknown name. */
  readonly isFailure: boolean
}

type Run = (args: unknown, call: Chat.ToolCall) => Effect.Effect<unknown, unknown>

/** A tag keeps the place where it was made, which takes longer than all else that a call of a tool needs. */
const tags = new Map<string, Context.Tag<Handler<string>, Run>>()

const handlerTag = (name: string): Context.Tag<Handler<string>, Run> => {
  const known = tags.get(name)
  if (known !== undefined) return known
  const tag = Context.GenericTag<Handler<string>, Run>(`steadfast/agent/Handler/${name}`)
  tags.set(name, tag)
  return tag
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * Puts tools together. Throws a `RangeError` if two have the same name.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <const Tools extends ReadonlyArray<Tool.Any>>(...tools: Tools): Toolkit<Tools> => {
  const names = tools.map(({ name }) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice !== undefined) throw new RangeError(`Toolkit: found two tools ${twice}, expected one of each name`)
  const toLayer: Toolkit<Tools>["toLayer"] = <R, EX, RX>(
    given: Handlers<Tools, R> | Effect.Effect<Handlers<Tools, R>, EX, RX>
  ) => {
    const making: Effect.Effect<Handlers<Tools, R>, EX, RX> = Effect.isEffect(given) ? given : Effect.succeed(given)
    const made = Effect.zipWith(making, Effect.context<R>(), (handlers, context) => {
      const byName = handlers as unknown as Readonly<
        Record<string, (args: unknown, call: Chat.ToolCall) => Effect.Effect<unknown, unknown, R>>
      >
      // The caller's context counts before that of the layer: its span, its labels, its limits.
      const run =
        (name: string): Run =>
        (args, call) =>
          Effect.mapInputContext(
            Effect.suspend(() => (byName[name] as (typeof byName)[string])(args, call)),
            (caller) => Context.merge(context, caller as Context.Context<never>)
          )
      return tools.reduce<Context.Context<never>>(
        (all, { name }) => Context.add(all, handlerTag(name), run(name)) as Context.Context<never>,
        Context.empty()
      )
    })
    return Layer.effectContext(made) as Layer.Layer<HandlersOf<Tools>, EX, R | RX>
  }
  return { tools, toLayer }
}

/**
 * The tools as a request has them.
 *
 * @since 0.2.0
 * @category conversions
 */
export const described = (tools: ReadonlyArray<Tool.Any>): ReadonlyArray<Chat.Tool> =>
  tools.map(({ description, name, parameters, strict }) => ({
    name,
    description,
    // The error of the request says that a `Schema` has no JSON schema.
    parameters: jsonOf(parameters) ?? parameters,
    strict
  }))

/** The JSON of a schema, if it has one. */
const jsonOf = (schema: Tool.Any["parameters"]): JsonSchema.Json | undefined => {
  try {
    return JsonSchema.of(schema)
  } catch {
    return undefined
  }
}

// -----------------------------------------------------------------------------
// running
// -----------------------------------------------------------------------------

const failed = (content: string): Result => ({ content: `Error: ${content}`, isFailure: true })

const text = (value: unknown): string => (typeof value === "string" ? value : (JSON.stringify(value) ?? "done"))

/**
 * Runs a call that a model made, once. What is wrong with the call, and the handler's own error, is told to the model;
 * a result that does not fit its schema is a defect.
 *
 * @since 0.2.0
 * @category destructors
 */
export const run = <const Tools extends ReadonlyArray<Tool.Any>>(
  toolkit: Toolkit<Tools>,
  call: Chat.ToolCall
): Effect.Effect<Result, never, HandlersOf<Tools>> => {
  const tool: Tool.Any | undefined = toolkit.tools.find(({ name }) => name === call.name)
  if (tool === undefined) {
    const names = toolkit.tools.map(({ name }) => name).join(", ")
    return Effect.succeed(failed(`there is no tool ${JSON.stringify(call.name)}. The tools are: ${names}`))
  }
  const schema = jsonOf(tool.parameters)
  const sent = call.arguments ?? {}
  // A provider that enforces parameters wants every field: null stands for an optional one that is absent.
  const given = schema === undefined ? sent : JsonAnswer.withoutNulls(sent, schema)
  const decoded = JsonAnswer.decoding(ParseResult.decodeUnknown(tool.parameters, { errors: "all" }), given)
  return Effect.matchEffect(decoded, {
    onFailure: (issue) => Effect.succeed(failed(JsonAnswer.misfit(ParseResult.parseError(issue), given, "arguments"))),
    onSuccess: (args) =>
      Effect.flatMap(handlerTag(tool.name), (handler) =>
        Effect.matchEffect(handler(args, call), {
          onFailure: (error) =>
            Effect.map(Effect.orDie(ParseResult.encode(tool.failure as Schema.Schema.AnyNoContext)(error)), (value) =>
              failed(text(value))
            ),
          onSuccess: (success) =>
            Effect.map(Effect.orDie(ParseResult.encode(tool.success)(success)), (value) => ({
              content: text(value),
              isFailure: false
            }))
        })
      )
  }) as Effect.Effect<Result, never, HandlersOf<Tools>>
}

/**
 * The message that answers a call.
 *
 * @since 0.2.0
 * @category conversions
 */
export const answer = (call: Chat.ToolCall, { content }: Result): Chat.Message => Chat.toolResult(call.id, content)
