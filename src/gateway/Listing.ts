/**
 * Tells a client which models it may ask.
 *
 * @since 0.2.0
 */

import type { Dialect } from "../http/Dialect.js"
import * as ModelsBody from "../http/ModelsBody.js"
import * as Current from "./Current.js"
import type { Exchange } from "./Exchange.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"

/** Under `/v1` any client may ask, those of Gemini included: each finds what it looks for. */
const listOf = (dialect: Dialect, models: ReadonlyArray<ModelsBody.Model>) =>
  dialect === "gemini"
    ? ModelsBody.geminiList(models)
    : { ...ModelsBody.geminiList(models), ...ModelsBody.list(models) }

const oneOf = (dialect: Dialect, model: ModelsBody.Model) =>
  dialect === "gemini" ? ModelsBody.geminiOne(model) : { ...ModelsBody.geminiOne(model), ...ModelsBody.one(model) }

/**
 * Answers with the list, or with one of its models.
 *
 * @since 0.2.0
 * @category responding
 */
export const handle = (exchange: Exchange, { dialect, id }: Extract<Route, { readonly _tag: "Models" }>): undefined => {
  const { client, now, response } = exchange
  exchange.request.resume()
  const names = Current.namesFor(now, client)
  if (id === undefined) {
    const models = names.map((name) => ({ id: name }))
    return Respond.json(response, 200, listOf(dialect, models))
  }
  if (!names.includes(id)) return exchange.refuse(Refusal.unknownModel(id, names))
  Respond.json(response, 200, oneOf(dialect, { id }))
}
