/**
 * Tells a client which models it may ask.
 *
 * @since 0.2.0
 */

import * as Capabilities from "../chat/Capabilities.js"
import { InvalidRequest } from "../errors/LlmError.js"
import type { Dialect } from "../http/Dialect.js"
import * as ModelsBody from "../http/ModelsBody.js"
import * as Fields from "../http/requests/Fields.js"
import type * as Body from "./Body.js"
import * as Current from "./Current.js"
import type { Exchange } from "./Exchange.js"
import type * as ModelTable from "./ModelTable.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"

interface Bodies {
  readonly list: (models: ReadonlyArray<ModelsBody.Model>) => object
  readonly one: (model: ModelsBody.Model) => object
}

/** Under `/v1` any client may ask, those of Gemini included: each finds what it looks for. */
const common: Bodies = {
  list: (models) => ({ ...ModelsBody.geminiList(models), ...ModelsBody.list(models) }),
  one: (model) => ({ ...ModelsBody.geminiOne(model), ...ModelsBody.one(model) })
}

const others: { readonly [K in Dialect]?: Partial<Bodies> } = {
  gemini: { list: ModelsBody.geminiList, one: ModelsBody.geminiOne },
  ollama: { list: ModelsBody.ollamaList },
  cohere: { list: ModelsBody.cohereList, one: ModelsBody.cohereOne }
}

/**
 * Answers with the list, or with one of its models.
 *
 * @since 0.2.0
 * @category responding
 */
export const handle = (exchange: Exchange, { dialect, id }: Extract<Route, { readonly _tag: "Models" }>): undefined => {
  const { client, now, request, response, telling } = exchange
  request.resume()
  const names = Current.namesFor(now, client)
  const own = others[telling.sdk === "cohere" ? telling.sdk : dialect]
  const { list, one } = { ...common, ...own }
  const modelOf = (name: string): ModelsBody.Model => ({ id: name, kind: Current.entryOf(now, name)?.kind })
  if (id === undefined) return Respond.json(response, 200, list(names.map(modelOf)))
  if (!names.includes(id)) return exchange.refuse(Refusal.unknownModel(id, names))
  Respond.json(response, 200, one(modelOf(id)))
}

/** What an Ollama client may ask of a model: all but what every target is known to refuse. */
const capabilitiesOf = ({ config, kind }: ModelTable.Entry): ReadonlyArray<string> => {
  if (kind === "embeddings") return ["embedding"]
  const takes = (name: "tools" | "images"): boolean =>
    config.targets.some((target) => Capabilities.known(target)[name] !== false)
  return ["completion", ...(takes("tools") ? ["tools"] : []), ...(takes("images") ? ["vision"] : []), "thinking"]
}

const nameIn = (json: unknown): string =>
  Fields.needed(Fields.string, Fields.needed(Fields.object, json, "body", "a JSON object").model, "model", "a string")

const shown = (exchange: Exchange, { json }: Body.Body): undefined => {
  const { client, now, response } = exchange
  const names = Current.namesFor(now, client)
  const name = Fields.reading(() => nameIn(json))
  if (name instanceof InvalidRequest) return exchange.invalid(name)
  const entry = names.includes(name) ? Current.entryOf(now, name) : undefined
  if (entry === undefined) return exchange.refuse(Refusal.unknownModel(name, names))
  Respond.json(response, 200, ModelsBody.ollamaOne({ id: name }, capabilitiesOf(entry)))
}

/**
 * Tells an Ollama client of the model in its body.
 *
 * @since 0.2.0
 * @category responding
 */
export const show = (exchange: Exchange): undefined => exchange.body((body) => shown(exchange, body))

/**
 * The version of Ollama's API that is spoken here: clients look at it to know what they may ask. The ids of calls and
 * the levels of `think` are in it.
 */
const ollamaVersion = "0.12.6"

/**
 * Tells an Ollama client the version of its API.
 *
 * @since 0.2.0
 * @category responding
 */
export const version = (exchange: Exchange): undefined => {
  exchange.request.resume()
  Respond.json(exchange.response, 200, { version: ollamaVersion })
}
