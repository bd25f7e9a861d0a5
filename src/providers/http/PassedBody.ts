/**
 * The body and the headers of a request that is sent on as its client sent it. Pure.
 *
 * Only the name of the model is replaced. A stream of Chat Completions asks for its usage, too, because the record of
 * the attempt needs it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type * as Passage from "../../chat/Passage.js"
import * as LlmError from "../../errors/LlmError.js"
import * as JsonMembers from "../wire/JsonMembers.js"
import * as Relay from "../wire/Relay.js"
import type * as WireFormat from "../wire/WireFormat.js"

/**
 * A body that is sent on.
 *
 * @internal
 */
export interface PassedBody {
  readonly body: string
  /** Whether the answer may be made later, and has to be fetched. */
  readonly later: boolean
}

type Format = Pick<WireFormat.WireFormat, "answers" | "later" | "streamUsage" | "tokensField">

/** The body of a passage is read once: it may be large, and it is sent with each attempt. */
const read = new WeakMap<Passage.Passage, ReturnType<typeof JsonMembers.read>>()

const membersOf = (passage: Passage.Passage): ReturnType<typeof JsonMembers.read> => {
  if (!read.has(passage)) read.set(passage, JsonMembers.read(passage.body))
  return read.get(passage)
}

/** The text of a member of the body. */
const textOf = (passage: Passage.Passage, name: string): string | undefined => {
  const members = membersOf(passage)
  return members && JsonMembers.last(passage.body, members, name)
}

/** The client's `stream_options` that ask for the usage; `undefined` if they do already. */
const askingUsage = (passage: Passage.Passage): string | undefined => {
  const given = textOf(passage, "stream_options") ?? "{}"
  const members = JsonMembers.read(given)
  if (members === undefined) return '{"include_usage":true}'
  const isAsked = JsonMembers.last(given, members, "include_usage") === "true"
  return isAsked ? undefined : JsonMembers.set(given, members, { include_usage: "true" })
}

/**
 * How the answer is relayed to the client of a passage; `undefined` if the client speaks another wire.
 *
 * @internal
 */
export const relay = (passage: Passage.Passage, { answers: { wire } }: Format): Relay.Relaying | undefined => {
  if (passage.wire !== wire) return undefined
  const dropsNulls = wire === "openai-chat" && passage.openrouter === true
  const dropsUsage = wire === "openai-chat" && !dropsNulls && askingUsage(passage) !== undefined
  const options = { wire, dropsUsage, dropsNulls }
  return { ...options, filtered: passage.filtered, frames: (seen) => Relay.make(options, seen) }
}

/** Whether a request is that of the passage, but for the most tokens of its answer: a limit of spending sets those. */
const isLimited = (own: Chat.Request, request: Chat.Request): boolean => {
  const fields = new Set([...Object.keys(own), ...Object.keys(request)] as Array<keyof Chat.Request>)
  fields.delete("maxTokens")
  for (const field of fields) if (own[field] !== request[field]) return false
  return request.maxTokens !== undefined
}

/** The field of the most tokens: the one that the client uses, else that of the target. */
const tokensIn = (passage: Passage.Passage, field: string): string =>
  ["max_completion_tokens", "max_tokens", "max_output_tokens"].find((name) => textOf(passage, name) !== undefined) ??
  field

/**
 * The client's body for a target; `undefined` if the request has to be encoded, and the error of a body that nobody
 * could read if it cannot be.
 *
 * @internal
 */
export const make = (
  passage: Passage.Passage,
  request: Chat.Request,
  { answers: { wire }, later, streamUsage, tokensField }: Format,
  { model, provider }: { readonly provider: string; readonly model: string },
  streaming: boolean
): PassedBody | LlmError.InvalidRequest | undefined => {
  const { body, only } = passage
  const isSame = passage.request === request
  const limited = !isSame && tokensField !== undefined && isLimited(passage.request, request) ? tokensField : undefined
  const members = passage.wire === wire && (isSame || limited !== undefined) ? membersOf(passage) : undefined
  // The path of a request to Gemini names the model, and whether the answer is a stream.
  const isGemini = wire === "gemini"
  if (members === undefined || (!isGemini && (textOf(passage, "stream") === "true") !== streaming)) {
    return only && LlmError.override(only, { provider, model, fallbackable: true, delivery: "not-sent" })
  }
  if (isGemini) return { body, later: false }
  const isLater = later !== undefined && textOf(passage, "background") === "true"
  const options = streaming && streamUsage === true ? askingUsage(passage) : undefined
  const tokens = limited === undefined ? {} : { [tokensIn(passage, limited)]: String(request.maxTokens) }
  return {
    body: JsonMembers.set(body, members, { model: JSON.stringify(model), stream_options: options, ...tokens }),
    later: isLater
  }
}

/** What a client may say of the API itself; of these the first two hold over those of the target. */
const ofClients = ["anthropic-version", "anthropic-beta", "openai-beta"]

/**
 * The headers of a request with those of the client. The client's version holds; features are joined; no other header
 * of the client is sent on.
 *
 * @internal
 */
export const headers = (
  own: Readonly<Record<string, string>>,
  given: Passage.Passage["headers"] = {}
): Readonly<Record<string, string>> => {
  const out: Record<string, string> = { ...own }
  for (const name of ofClients) {
    const value = given[name]
    if (value === undefined) continue
    const before = out[name]
    if (before === undefined || name === "anthropic-version") out[name] = value
    else if (name === "anthropic-beta") out[name] = joined(before, value)
  }
  return out
}

const joined = (before: string, value: string): string =>
  [...new Set(`${before},${value}`.split(",").map((one) => one.trim()))].filter((one) => one !== "").join(",")

/**
 * How a provider passes a body on. A passage brings it, so that an application without one does not load it.
 *
 * @internal
 */
export interface Means {
  readonly make: typeof make
  readonly relay: typeof relay
  readonly headers: typeof headers
}

/**
 * @internal
 */
export const means: Means = { make, relay, headers }
