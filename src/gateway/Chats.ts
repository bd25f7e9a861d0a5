/**
 * Answers a client's chat request: reads it, finds the model, asks it within the client's rights, and tells the answer
 * with its evidence.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Chat from "../chat/Chat.js"
import * as ChatModel from "../chat/ChatModel.js"
import type * as LlmError from "../errors/LlmError.js"
import { InvalidRequest } from "../errors/LlmError.js"
import type { Dialect } from "../http/Dialect.js"
import * as ErrorResponse from "../http/ErrorResponse.js"
import * as Framing from "../http/Framing.js"
import * as HttpReply from "../http/HttpReply.js"
import * as RequestBody from "../http/RequestBody.js"
import * as NodeReply from "../node/NodeReply.js"
import * as Ask from "./Ask.js"
import type * as Body from "./Body.js"
import * as ClientKeys from "./ClientKeys.js"
import * as Controls from "./Controls.js"
import * as Current from "./Current.js"
import * as Evidence from "./Evidence.js"
import type { Exchange } from "./Exchange.js"
import type { Failures } from "./Failures.js"
import type * as ModelTable from "./ModelTable.js"
import * as Nearby from "./Nearby.js"
import * as Need from "./Need.js"
import * as Passing from "./Passing.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"
import * as Soonest from "./Soonest.js"

type ChatRoute = Extract<Route, { readonly _tag: "Chat" }>

/**
 * Whether nobody stands between us and the client: a proxy may take a `102 Processing` for the answer, and HTTP/1.0 has
 * none.
 *
 * @internal
 */
export const isDirect = ({
  headers,
  httpVersionMinor
}: Pick<Exchange["request"], "headers" | "httpVersionMinor">): boolean =>
  httpVersionMinor > 0 && !Nearby.isProxied(headers)

/** Gemini streams a JSON array to those who do not ask for server-sent events. */
const isArray = (dialect: Dialect | undefined, url = ""): boolean =>
  dialect === "gemini" && !/[?&](?:\$|%24)?alt=sse(?:&|$)/i.test(url)

/**
 * The model that a request names, or why the client does not get it.
 *
 * @since 0.2.0
 * @category getters
 */
export const entryOf = <K extends ModelTable.Entry["kind"]>(
  { client, now }: Exchange,
  name: string,
  kind: K
): Extract<ModelTable.Entry, { readonly kind: K }> | Refusal.Refusal => {
  const entry = Current.entryOf(now, name)
  if (entry === undefined) return Refusal.unknownModel(name, Current.namesFor(now, client))
  if (!ClientKeys.mayAsk(client, entry.config.name)) return Refusal.notAllowed(name)
  if (entry.kind !== kind) return Refusal.notServed(`${name} answers ${entry.kind}, not ${kind}`)
  return entry as Extract<ModelTable.Entry, { readonly kind: K }>
}

/**
 * What a client that repeats a failed request by itself hears from memory.
 *
 * @since 0.2.0
 * @category responding
 */
export const remembered = (exchange: Exchange, failures: Failures, asked: Parameters<Failures["find"]>[0]): boolean => {
  const known = failures.find(asked, performance.now())
  if (known === undefined) return false
  exchange.after(known.wait, () =>
    Respond.error(exchange.response, known.response, { "x-steadfast-remembered": "true" })
  )
  return true
}

/** A request that may be asked. */
interface Asking {
  /** The model, as the client names it. */
  readonly named: string
  readonly entry: Extract<ModelTable.Entry, { readonly kind: "chat" }>
  readonly passing: Passing.Passing
  readonly controls: Controls.Controls
  readonly repeated: Parameters<Failures["find"]>[0]
}

/** Reads a request whose body is there, and finds its model. */
const serve = (exchange: Exchange, route: ChatRoute, failures: Failures, body: Body.Body): undefined => {
  const { json, text } = body
  const { client, now, request } = exchange
  const { dialect } = route
  const read = RequestBody.read(dialect, json, { model: route.model, stream: route.stream })
  const named = read instanceof InvalidRequest ? Passing.modelIn(json, route.model) : read.model
  if (named === undefined) return exchange.invalid(read as InvalidRequest)
  const entry = entryOf(exchange, named, "chat")
  if ("status" in entry) return exchange.refuse(entry)
  const { headers } = request
  const passing =
    read instanceof InvalidRequest
      ? Passing.unread(route, read, body, entry, now.config.providers, headers)
      : Passing.make(dialect, read, text, headers)
  if (passing instanceof InvalidRequest) return exchange.invalid(passing)
  const controls = Controls.read(headers, entry.config.bounds)
  if (controls instanceof InvalidRequest) return exchange.invalid(controls)
  const { sdk } = exchange.telling
  const features = passing.passage?.headers
  const repeated = { client: client.key.name, path: request.url ?? "", body: text, controls, features, sdk }
  if (remembered(exchange, failures, repeated)) return
  const told = sdk === "openrouter" ? Passing.toOpenRouter(passing) : passing
  const asking = { named, entry, passing: told, controls, repeated }
  exchange.enter(Need.chat(now, entry, passing.asked.request), () => ask(exchange, asking, failures))
}

/** Asks the model, and tells its answer. */
const ask = (
  exchange: Exchange,
  { controls, entry, named, passing, repeated }: Asking,
  failures: Failures
): undefined => {
  const { client, now, request, response } = exchange
  const { asked, ignored, passage, refused } = passing
  const { name } = entry.config
  const made = entry.model(Ask.allowed(client, controls))
  const model = controls.timeout === undefined ? made : ChatModel.deadline(made, Duration.millis(controls.timeout))
  const { processing, readerTimeout, verboseErrors } = now.config.server
  const watch = new Ask.Watch()
  let failed: LlmError.LlmError | undefined
  const told = (error: LlmError.LlmError): LlmError.LlmError => {
    failed = Soonest.of(watch.attempts, error)
    return failed
  }
  const telling = { ...exchange.telling, verbose: verboseErrors }
  // An answer that is to go on elsewhere cannot be somebody's own frames.
  const passed = entry.config.mode === "strict" || passage?.only !== undefined ? passage : undefined
  const raw = telling.sdk !== "mistral"
  /** A client of the model's own dialect reads itself what the model refused. */
  const readable = (error: LlmError.LlmError): Effect.Effect<Chat.Response, LlmError.LlmError> => {
    const answer = raw && passage !== undefined ? refused.answerTo(error, passage.wire) : undefined
    if (answer === undefined) return Effect.fail(error)
    watch.heard({ _tag: "Start", provider: answer.provider, model: answer.model })
    return Effect.succeed(answer)
  }
  const options = {
    ...telling,
    model: named,
    headers: () => {
      const facts = watch.facts()
      return facts === undefined
        ? {}
        : { ...Evidence.headersOf(facts), ...ignored.headers(facts.servedBy, passed !== undefined) }
    },
    trailer: () => {
      const facts = watch.facts()
      return facts && Evidence.commentOf(facts)
    },
    includeUsage: asked.includeUsage,
    framing: isArray(telling.dialect, request.url) ? Framing.array : undefined,
    readerTimeout,
    raw
  }
  const reply = asked.stream
    ? HttpReply.stream(Ask.stream(model, asked.request, watch, told), options)
    : HttpReply.answer(Effect.catchAll(Ask.answer(model, asked.request, watch, told), readable), options)
  const sink = NodeReply.sinkOf(response, { processing: processing && isDirect(request) })
  const sent = Effect.map(HttpReply.run(reply, sink), () => {
    if (failed === undefined) return failures.answered(name)
    // A stream that broke in the middle had status 200: the client got no error that could be said again.
    if (response.statusCode < 400) return undefined
    const shown = ErrorResponse.make(failed, telling)
    return failures.add(repeated, name, shown, performance.now())
  })
  exchange.run(sent, controls, passed)
}

/**
 * Answers a chat request.
 *
 * @since 0.2.0
 * @category responding
 */
export const handle = (exchange: Exchange, route: ChatRoute, failures: Failures): undefined =>
  exchange.body((body) => serve(exchange, route, failures, body))
