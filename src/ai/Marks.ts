/**
 * What `@effect/ai` has no field for, under our own name in its `metadata` (of answers) and `options` (of prompts).
 *
 * @since 0.2.0
 */

import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { Usage } from "../calls/CallRecord.js"
import { ProviderData } from "../chat/Message.js"

const Mark = Schema.Struct({
  /** What one wire format said that has to go back. */
  providerData: Schema.optional(ProviderData),
  /** The whole usage: theirs has no field for what was written to a cache. */
  usage: Schema.optional(Usage),
  /** The provider's id of the HTTP exchange. */
  requestId: Schema.optional(Schema.String)
})

/**
 * @internal
 */
export type Mark = typeof Mark.Type

/**
 * The name under which a {@link Mark} stands.
 *
 * @internal
 */
export const name = "steadfast"

const decode = Schema.decodeUnknownOption(Mark)

/**
 * The mark in metadata or options. What is no mark counts as none: it may have been stored by anybody.
 *
 * @internal
 */
export const read = (from: Readonly<Record<string, unknown>> | undefined): Mark =>
  from?.[name] === undefined ? {} : Option.getOrElse(decode(from[name]), () => ({}))

/**
 * Metadata or options with a mark; empty if it says nothing.
 *
 * @internal
 */
export const write = (mark: Mark): Record<string, Record<string, unknown>> => {
  const told = Object.fromEntries(Object.entries(mark).filter(([, value]) => value !== undefined))
  return Object.keys(told).length === 0 ? {} : { [name]: told }
}
