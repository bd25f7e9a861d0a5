/**
 * What a client asked for, whatever its dialect.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"

/**
 * A decoded request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Asked {
  /** The model by the client's name for it. */
  readonly model: string
  readonly request: Chat.Request
  /** Whether the client wants the answer in pieces. */
  readonly stream: boolean
  /** Whether a stream of Chat Completions shall end with the usage. */
  readonly includeUsage: boolean
  /** The fields of the body that were neither read nor passed on, by their names: `[]` is any place in a list. */
  readonly unread: ReadonlyArray<string>
}

/**
 * The options of a decoder.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /**
   * The provider whose `providerOptions` get the fields that were not read. Default: they are left out, because they
   * may cost money (`service_tier`), or store what a client says (`store`).
   */
  readonly passTo?: string | undefined
  /** The model in the path of a request of Gemini's API. Default: the field `model` of its body. */
  readonly model?: string | undefined
  /** Whether the path of a request of Gemini's API asks for a stream. Default `false`. */
  readonly stream?: boolean | undefined
}
