/**
 * Counts the tokens of a request that is not sent.
 *
 * Anthropic counts for itself, where a target of the model is there; else the count is our estimate, and a header says
 * so.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as RequestBody from "../http/RequestBody.js"
import * as Tokens from "../policies/spend/Tokens.js"
import * as Chats from "./Chats.js"
import * as Controls from "./Controls.js"
import type { Exchange } from "./Exchange.js"
import type * as ModelTable from "./ModelTable.js"
import * as Need from "./Need.js"
import * as Passing from "./Passing.js"
import type { Relay } from "./Passthrough.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"

type CountRoute = Extract<Route, { readonly _tag: "CountTokens" }>

const estimated = { "x-steadfast-estimated": "true" }

/** A body that asks for an answer of one token: the APIs that count want no limit, those that answer do. */
const asAnswer = (json: unknown): unknown =>
  typeof json === "object" && json !== null && !Array.isArray(json) ? { max_tokens: 1, ...json } : json

/** Gemini's clients may put the whole request into a field of its own. */
const asGenerate = (json: unknown): unknown => {
  const inner = (json as { readonly generateContentRequest?: unknown } | null)?.generateContentRequest
  return inner ?? json
}

/**
 * Answers with the number of tokens.
 *
 * @since 0.2.0
 * @category responding
 */
export const handle = (exchange: Exchange, { dialect, model }: CountRoute, relay: Relay): undefined =>
  exchange.body(({ json, text }) => {
    const { now, request } = exchange
    const body = dialect === "anthropic" ? asAnswer(json) : asGenerate(json)
    const read = RequestBody.read(dialect, body, { model, stream: false })
    const named = read instanceof InvalidRequest ? Passing.modelIn(body, model) : read.model
    if (named === undefined) return exchange.invalid(read as InvalidRequest)
    const entry = Chats.entryOf(exchange, named, "chat")
    if ("status" in entry) return exchange.refuse(entry)
    // What is answered unread is counted unread.
    const passing =
      read instanceof InvalidRequest
        ? Passing.unread({ dialect }, read, { json: body, text }, entry, now.config.providers, request.headers)
        : { asked: read }
    if (passing instanceof InvalidRequest) return exchange.invalid(passing)
    const { request: asked } = passing.asked
    exchange.enter(Need.free, () => counted(exchange, dialect, { asked, entry, json }, relay))
  })

const counted = (
  exchange: Exchange,
  dialect: CountRoute["dialect"],
  { asked, entry, json }: { readonly asked: Chat.Request; readonly entry: ModelTable.Entry; readonly json: unknown },
  relay: Relay
): undefined => {
  const { now, response } = exchange
  const tokens = Tokens.estimate(asked)
  const count = (): undefined => {
    const found = dialect === "anthropic" ? { input_tokens: tokens } : { totalTokens: tokens }
    Respond.json(response, 200, found, estimated)
  }
  const target =
    dialect === "anthropic"
      ? entry.config.targets.find(({ provider }) => now.config.providers.get(provider)?.kind === "anthropic")
      : undefined
  const provider = target && now.config.providers.get(target.provider)
  if (target === undefined || provider === undefined) return count()
  relay(
    exchange,
    {
      provider,
      model: target.model,
      operation: "count-tokens",
      path: "/messages/count_tokens",
      body: Buffer.from(JSON.stringify({ ...(json as object), model: target.model })),
      isSafe: true
    },
    Controls.none,
    count
  )
}
