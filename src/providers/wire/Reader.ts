/**
 * What a wire format knows of its answers: each piece of them is read into an `Assembly`.
 *
 * @since 0.2.0
 */

import type * as StreamDecoder from "../../chat/stream/StreamDecoder.js"
import type { LlmError } from "../../errors/LlmError.js"
import type * as Json from "./Json.js"

/**
 * Reads the answers of a wire format into an `Assembly`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Reader {
  /** Reads a whole body. Returns the error if it is no answer. */
  readonly whole: (body: Json.Json) => LlmError | undefined
  /** Reads one event of a stream; `name` is its `event:` field. Returns the error if it is none. */
  readonly event: (data: Json.Json, name: string | undefined) => LlmError | undefined
  /** Whether an event holds the whole answer, so that the answer in it tells whether it is an error. */
  readonly isWhole?: ((data: Json.Json, name: string | undefined) => boolean) | undefined
  /** Called for `[DONE]`, which some servers send in every format. */
  readonly done: () => void
  /** Called once before the answer ends. */
  readonly ending?: (() => void) | undefined
  /** The data that the next request must send back with the message, if there are any. Called once, at the end. */
  readonly reply?: (() => unknown) | undefined
  /** The position from which the provider can continue the answer. Default: it cannot. */
  readonly resume?: (() => StreamDecoder.Cursor["resume"]) | undefined
  /** Called with a body or an event that is an error: the answer ended with it. Reads its counts. */
  readonly failed?: ((data: Json.Json) => void) | undefined
}
