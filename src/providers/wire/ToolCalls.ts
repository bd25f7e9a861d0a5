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
  /** The arguments, if they came as a value or as one text. Pieces count before it. */
  value: unknown
  /** What goes back with the call. */
  reply: unknown
  proof: Proof
  /** Whether the wire said that all of it was told. */
  closed: boolean
  /** The name of the call in errors: the field that it came in. */
  readonly field: string
}

const textOf = ({ pieces, value }: OpenCall): string | undefined =>
  pieces.length > 0 ? pieces.join("") : Json.string(value)

/** What the text of arguments says: an object, also one that is encoded twice. `undefined` if it is not JSON. */
const read = (text: string): unknown => {
  const parsed = Json.parse(text)
  const inner = typeof parsed === "string" ? Json.parse(parsed) : undefined
  return Json.object(inner) === inner ? inner : parsed === null ? {} : parsed
}

/** Reads the text of arguments. Some servers send all of them again as the last piece. */
const parse = (text: string, pieces: ReadonlyArray<string>): unknown => {
  const parsed = read(text)
  if (parsed !== undefined || pieces.length < 2) return parsed
  const last = pieces[pieces.length - 1] as string
  const before = text.slice(0, -last.length)
  const again = read(last)
  return again !== undefined && (last.startsWith(before) || isSame(read(before), again)) ? again : undefined
}

const isSame = (a: unknown, b: unknown): boolean => {
  try {
    return JSON.stringify(a) === JSON.stringify(b)
  } catch {
    // Nested too deep.
    return false
  }
}

/**
 * Whether the arguments are a closed object.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isWhole = (call: OpenCall): boolean => {
  const text = textOf(call)
  const found = text === undefined ? call.value : parse(text, call.pieces)
  return Json.object(found) === found && (text === undefined ? Object.keys(found).length > 0 : text.trim() !== "null")
}

/**
 * Parsed arguments. A text that is not JSON is an `InvalidResponse`.
 *
 * @since 0.2.0
 * @category getters
 */
export const argumentsOf = (context: WireFields.Exchange, call: OpenCall): unknown => {
  const text = textOf(call)
  const parsed = text === undefined ? (call.value ?? {}) : text.trim() === "" ? {} : parse(text, call.pieces)
  if (parsed !== undefined && Json.isDeep(parsed)) {
    const message = `the arguments of tool call ${call.name} are nested too deep`
    return new InvalidResponse(WireFields.errorFields(context, ErrorMessage.clean(message, context.secrets)))
  }
  if (parsed !== undefined) return parsed
  const message = `the arguments of tool call ${call.name} are no JSON: ${text?.trim()}`
  // The model's mistake: its server is well, and stays open to others.
  return new InvalidResponse({
    ...WireFields.errorFields(context, ErrorMessage.clean(message, context.secrets)),
    code: "not-json"
  })
}
