/**
 * Answers a client's request for vectors.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import type * as LlmError from "../errors/LlmError.js"
import { InvalidRequest } from "../errors/LlmError.js"
import * as EmbeddingsBody from "../http/EmbeddingsBody.js"
import * as ErrorResponse from "../http/ErrorResponse.js"
import * as Tokens from "../policies/spend/Tokens.js"
import * as Ask from "./Ask.js"
import type * as Body from "./Body.js"
import * as Chats from "./Chats.js"
import * as Controls from "./Controls.js"
import * as Evidence from "./Evidence.js"
import type { Exchange } from "./Exchange.js"
import type { Failures } from "./Failures.js"
import { Ignored } from "./Ignored.js"
import type * as ModelTable from "./ModelTable.js"
import * as Need from "./Need.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"
import * as Soonest from "./Soonest.js"

const tokensOf = (input: string | ReadonlyArray<string>): number =>
  typeof input === "string" ? Tokens.ofText(input) : input.reduce((sum, text) => sum + Tokens.ofText(text), 0)

type Dialect = Extract<Route, { readonly _tag: "Embeddings" }>["dialect"]

/** A request that may be asked. */
interface Asking {
  readonly dialect: Dialect
  readonly asked: EmbeddingsBody.Asked
  readonly entry: Extract<ModelTable.Entry, { readonly kind: "embeddings" }>
  readonly controls: Controls.Controls
  readonly repeated: Parameters<Failures["find"]>[0]
}

const serve = (exchange: Exchange, dialect: Dialect, failures: Failures, { json, text }: Body.Body): undefined => {
  const { client, now, request } = exchange
  const asked = EmbeddingsBody.read(json, { dialect })
  if (asked instanceof InvalidRequest) return exchange.invalid(asked)
  const entry = Chats.entryOf(exchange, asked.model, "embeddings")
  if ("status" in entry) return exchange.refuse(entry)
  const controls = Controls.read(request.headers, entry.config.bounds)
  if (controls instanceof InvalidRequest) return exchange.invalid(controls)
  const repeated = { client: client.key.name, path: request.url ?? "", body: text, controls, sdk: exchange.telling.sdk }
  if (Chats.remembered(exchange, failures, repeated)) return
  const asking = { dialect, asked, entry, controls, repeated }
  exchange.enter(Need.vectors(now, entry, tokensOf(asked.request.input)), () => ask(exchange, asking, failures))
}

/** Asks the model, and tells its answer. */
const ask = (
  exchange: Exchange,
  { asked, controls, dialect, entry, repeated }: Asking,
  failures: Failures
): undefined => {
  const { client, id, now, response } = exchange
  const made = entry.model(Ask.allowed(client, controls))
  const model = controls.timeout === undefined ? made : EmbeddingModel.deadline(made, Duration.millis(controls.timeout))
  const watch = new Ask.Watch()
  const told = (error: LlmError.LlmError): LlmError.LlmError => Soonest.of(watch.attempts, error)
  const ignored = new Ignored("openai", asked.unread)
  const evidence = () => {
    const facts = watch.facts()
    const known = facts && { ...Evidence.headersOf(facts), ...ignored.headers(facts.servedBy, false) }
    return { "x-request-id": id, ...known }
  }
  const { name } = entry.config
  const answered = Effect.matchEffect(Ask.vectors(model, asked.request, watch, told), {
    onFailure: (error) =>
      Effect.sync(() => {
        const shown = ErrorResponse.make(error, { ...exchange.telling, verbose: now.config.server.verboseErrors })
        Respond.error(response, shown, evidence())
        failures.add(repeated, name, shown, performance.now())
      }),
    onSuccess: (answer) =>
      Effect.sync(() => {
        const { encoding, model } = asked
        Respond.json(response, 200, EmbeddingsBody.make(answer, { dialect, encoding, id, model }), evidence())
        failures.answered(name)
      })
  })
  exchange.run(answered, controls)
}

/**
 * Answers a request for vectors.
 *
 * @since 0.2.0
 * @category responding
 */
export const handle = (
  exchange: Exchange,
  { dialect }: Extract<Route, { readonly _tag: "Embeddings" }>,
  failures: Failures
): undefined => exchange.body((body) => serve(exchange, dialect, failures, body))
