/**
 * Tool calls whose pieces are being read.
 *
 * @since 0.2.0
 */

import * as ErrorMessage from "../../errors/ErrorMessage.js"
import { InvalidResponse } from "../../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFields from "./WireFields.js"

/**
 * How a tool call shows that it is whole: `given` by its reader, which settles it, `text` if its JSON text closes its
 * object, `next` if something comes after it.
 *
 * @since 0.2.0
 * @category models
 */
export type Proof = "given" | "text" | "next"

/**
 * A tool call whose pieces are being read.
 *
 * @since 0.2.0
 * @category models
 */
export interface OpenCall {
  /** The provider's id; empty if it has none. */
  id: string
  name: string
  /** The pieces of the arguments' JSON. */
  readonly pieces: Array<string>
  /** The arguments, if they came as a value. Pieces count before it. */
  value: unknown
  /** What goes back with the call. */
  reply: unknown
  proof: Proof
  /** Whether the wire closed it, so that something may come after it. */
  closed: boolean
  /** The name of the call in errors: the field that it came in. */
  readonly field: string
}

/**
 * Whether the arguments are a closed object.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isWhole = (call: OpenCall): boolean => {
  if (call.pieces.length === 0) return Json.object(call.value) === call.value && Object.keys(call.value).length > 0
  const last = call.pieces[call.pieces.length - 1] as string
  return last.trimEnd().endsWith("}") && typeof Json.parse(call.pieces.join("")) === "object"
}

/**
 * Parsed arguments. A text that is not JSON is an `InvalidResponse`.
 *
 * @since 0.2.0
 * @category getters
 */
export const argumentsOf = (context: WireFields.Exchange, { name, pieces, value }: OpenCall): unknown => {
  const text = pieces.join("").trim()
  const parsed = text === "" ? (value ?? {}) : Json.parse(text)
  if (parsed !== undefined && Json.isDeep(parsed)) {
    return new InvalidResponse(
      WireFields.errorFields(context, `the arguments of tool call ${name} are nested too deep`)
    )
  }
  if (parsed !== undefined) return parsed
  const message = `the arguments of tool call ${name} are no JSON: ${text}`
  return new InvalidResponse(WireFields.errorFields(context, ErrorMessage.clean(message, context.secrets)))
}
