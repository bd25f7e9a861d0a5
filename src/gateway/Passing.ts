/**
 * Whether a client's body goes on as it came: to the targets that speak its dialect it does.
 *
 * A body that we cannot read may still be one that such a target understands: a field of tomorrow, a part that only one
 * provider has. Then only those targets are asked.
 *
 * @since 0.2.0
 */

import * as Chat from "../chat/Chat.js"
import type * as Passage from "../chat/Passage.js"
import { InvalidRequest } from "../errors/LlmError.js"
import type { Dialect } from "../http/Dialect.js"
import * as RawFrames from "../http/RawFrames.js"
import type * as RequestBody from "../http/RequestBody.js"
import * as Answers from "../policies/spend/Answers.js"
import * as PassedBody from "../providers/http/PassedBody.js"
import * as WireJson from "../providers/wire/Json.js"
import * as Controls from "./Controls.js"
import type { Kind, Provider } from "./config/Resolved.js"
import { Ignored } from "./Ignored.js"
import type * as ModelTable from "./ModelTable.js"
import { Refused } from "./Refused.js"

const spoken: { readonly [K in Kind]: Dialect } = {
  openai: "openai",
  azure: "openai",
  faulty: "openai",
  responses: "responses",
  anthropic: "anthropic",
  gemini: "gemini"
}

/** What a client asks for, and its body on its way to targets of its own dialect, if there can be such targets. */
export interface Passing {
  readonly asked: RequestBody.Asked
  readonly passage: Passage.Passage | undefined
  readonly ignored: Ignored
  readonly refused: Refused
}

const object = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}

/** The headers that say which version and which features of an API a client speaks. */
const headersOf = (headers: Controls.Headers): Readonly<Record<string, string>> => {
  const found: Record<string, string> = {}
  for (const name of ["anthropic-version", "anthropic-beta", "openai-beta"]) {
    const value = Controls.one(headers, name)
    if (value !== undefined) found[name] = value
  }
  return found
}

/**
 * The name of the model in a body that could not be read.
 *
 * @since 0.2.0
 * @category getters
 */
export const modelIn = (json: unknown, inPath: string | undefined): string | undefined => {
  const name = inPath ?? object(json).model
  return typeof name === "string" ? name : undefined
}

/**
 * A body on its way.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (dialect: Dialect, asked: RequestBody.Asked, body: string, headers: Controls.Headers): Passing => {
  const wire = RawFrames.wires[dialect]
  const ignored = new Ignored(dialect, asked.unread)
  const refused = new Refused()
  const { request } = asked
  const passage = wire && {
    wire,
    means: PassedBody.means,
    body,
    request,
    headers: headersOf(headers),
    encoded: ignored.encoded,
    filtered: refused.filtered
  }
  return { asked, ignored, refused, passage }
}

/**
 * The same for a client of OpenRouter, which gets the usage of a stream without asking for it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const toOpenRouter = (passing: Passing): Passing => ({
  ...passing,
  asked: { ...passing.asked, includeUsage: true },
  passage: passing.passage && { ...passing.passage, openrouter: true }
})

/**
 * The most tokens of an answer that a client sets. A limit of money may lower it, and must not raise it.
 */
const mostTokens = (dialect: Dialect, body: Readonly<Record<string, unknown>>): number | undefined => {
  const config = object(body.generationConfig ?? body.generation_config)
  const limits: { readonly [K in Dialect]?: unknown } = {
    openai: body.max_completion_tokens ?? body.max_tokens,
    responses: body.max_output_tokens,
    anthropic: body.max_tokens,
    gemini: config.maxOutputTokens ?? config.max_output_tokens
  }
  const said = limits[dialect]
  return Number.isSafeInteger(said) && (said as number) > 0 ? (said as number) : undefined
}

/**
 * A body that could not be read, on its way to the targets of a model that speak its dialect; the refusal if there are
 * none, or if it is no request of this dialect at all.
 *
 * @since 0.2.0
 * @category constructors
 */
export const unread = (
  route: { readonly dialect: Dialect; readonly stream?: boolean | undefined },
  refusal: InvalidRequest,
  { json, text }: { readonly json: unknown; readonly text: string },
  { config }: ModelTable.Entry,
  providers: ReadonlyMap<string, Provider>,
  headers: Controls.Headers
): Passing | InvalidRequest => {
  const { dialect } = route
  const isSpoken = config.targets.some(({ provider }) => {
    const kind = providers.get(provider)?.kind
    return kind !== undefined && spoken[kind] === dialect
  })
  // What is nested so deep that it cannot be read may be more than the next one can bear.
  if (WireJson.isDeep(json)) return refusal
  const body = object(json)
  const said = body.messages ?? body.input ?? body.contents
  if (!isSpoken || said === undefined || said === null || (Array.isArray(said) && said.length === 0)) return refusal
  const maxTokens = mostTokens(dialect, body)
  const answers = Answers.countOf(body)
  const asked: RequestBody.Asked = {
    model: config.name,
    // It stands for the body where tokens are estimated, and is never sent.
    request: {
      ...Chat.prompt(text),
      ...(maxTokens === undefined ? {} : { maxTokens }),
      ...(answers === 1 ? {} : { providerOptions: { [dialect]: { n: answers } } })
    },
    stream: route.stream ?? body.stream === true,
    includeUsage: object(body.stream_options).include_usage === true,
    unread: []
  }
  const made = make(dialect, asked, text, headers)
  return { ...made, passage: made.passage && { ...made.passage, only: refusal } }
}
