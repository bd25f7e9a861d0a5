/**
 * Tools: functions that a model may call, with typed parameters and results.
 *
 * {@link make} describes a tool. A `Toolkit` puts tools together and takes their handlers, so that what a tool does is
 * a layer, and a test may give another one. The model's arguments are decoded by `parameters`: the handler gets the
 * decoded value, and a wrong argument is told to the model.
 *
 * @example
 * import { Schema } from "effect"
 * import { Tool } from "effect-steadfast/agent"
 *
 * const Refund = Tool.make({
 *   name: "refund",
 *   description: "Pays an order back.",
 *   parameters: Schema.Struct({ order: Schema.Int, reason: Schema.String })
 * })
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"

declare const Types: unique symbol

/**
 * A tool.
 *
 * @since 0.2.0
 * @category models
 */
export interface Tool<Name extends string, Parameters, Success, Failure> {
  /** The types of its handler. There is no such field when it runs. */
  readonly [Types]?: { readonly parameters: Parameters; readonly success: Success; readonly failure: Failure }
  readonly name: Name
  readonly description: string | undefined
  /** The arguments: an object. */
  readonly parameters: Schema.Schema.AnyNoContext
  /** The result of the handler. */
  readonly success: Schema.Schema.AnyNoContext
  /** The error of the handler that is told to the model. */
  readonly failure: Schema.Schema.All
  /** Whether the provider enforces the parameters. */
  readonly strict: boolean | undefined
  /** Whether it does no harm to run a call again that was cut off. */
  readonly idempotent: boolean
}

/**
 * Any tool.
 *
 * @since 0.2.0
 * @category models
 */
export type Any = Tool<string, unknown, unknown, unknown>

/**
 * The decoded arguments of a tool.
 *
 * @since 0.2.0
 * @category models
 */
export type Parameters<T> = T extends Tool<string, infer P, infer _S, infer _F> ? P : never

/**
 * The result of a tool's handler.
 *
 * @since 0.2.0
 * @category models
 */
export type Success<T> = T extends Tool<string, infer _P, infer S, infer _F> ? S : never

/**
 * The error of a tool's handler.
 *
 * @since 0.2.0
 * @category models
 */
export type Failure<T> = T extends Tool<string, infer _P, infer _S, infer F> ? F : never

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<
  Name extends string,
  P extends Schema.Schema.AnyNoContext,
  S extends Schema.Schema.AnyNoContext,
  F extends Schema.Schema.All
> {
  /** The name that the model calls it by: letters, digits, `_` and `-`, at most 64. */
  readonly name: Name
  /** What it does and when to use it, for the model. */
  readonly description?: string | undefined
  /** The arguments: a schema of an object. */
  readonly parameters: P
  /** The result of the handler. It goes to the model as JSON; a text as it is. Default: any value. */
  readonly success?: S | undefined
  /** The error of the handler, which goes to the model as JSON. Default: the handler does not fail. */
  readonly failure?: F | undefined
  /** Whether the provider enforces the parameters, where it can. Default: the provider's. */
  readonly strict?: boolean | undefined
  /**
   * Whether a call may be run again that was cut off in an earlier run of the conversation: it may have taken effect.
   * Default `false`: then the model is told that the outcome is not known.
   */
  readonly idempotent?: boolean | undefined
}

/**
 * Describes a tool. Throws a `RangeError` for a name that providers refuse.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <
  const Name extends string,
  P extends Schema.Schema.AnyNoContext,
  S extends Schema.Schema.AnyNoContext = typeof Schema.Unknown,
  F extends Schema.Schema.All = typeof Schema.Never
>(
  options: Options<Name, P, S, F>
): Tool<Name, Schema.Schema.Type<P>, Schema.Schema.Type<S>, Schema.Schema.Type<F>> => {
  const { description, failure, idempotent = false, name, parameters, strict, success } = options
  if (!/^[\w-]{1,64}$/.test(name)) {
    throw new RangeError(`Tool: name: found ${JSON.stringify(name)}, expected 1 to 64 letters, digits, _ and -`)
  }
  return {
    name,
    description,
    parameters,
    success: success ?? Schema.Unknown,
    failure: failure ?? Schema.Never,
    strict,
    idempotent
  }
}
