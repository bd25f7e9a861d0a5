/**
 * LiteLLM's fallbacks and aliases, between models that are read already.
 *
 * @since 0.2.0
 */

import type { Path } from "../config/Problem.js"
import * as Tree from "../config/Tree.js"
import * as Carrier from "./Carrier.js"

/**
 * A model while the file is read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Model {
  readonly kind: "chat" | "embeddings"
  readonly targets: Array<Tree.Fields>
  readonly aliases: Array<string>
  fallbacks: Array<string>
  fallback: Tree.Fields | undefined
}

/**
 * Lists of LiteLLM: `[{ a: [b, c] }, …]`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const pairs = (value: unknown, path: Path, carrier: Carrier.Carrier) => {
  const list = Array.isArray(value) ? value : value === undefined ? [] : [value]
  return list.flatMap((one, index) => {
    if (!Tree.isFields(one)) {
      carrier.lose([...path, index], "it is no object with the model and its fallbacks")
      return []
    }
    return Object.entries(one).map(([from, to]) => ({
      from: Carrier.modelName(from),
      to: (Array.isArray(to) ? to : [to]).filter((name) => typeof name === "string").map(Carrier.modelName),
      path: [...path, index, from]
    }))
  })
}

/**
 * Whether a model falls back to another, at once or later.
 *
 * @since 0.2.0
 * @category combinators
 */
export const reaches = (from: string, to: string, models: ReadonlyMap<string, Model>): boolean =>
  from === to || (models.get(from)?.fallbacks ?? []).some((next) => reaches(next, to, models))

/**
 * Adds a fallback, unless it would lead back. Their fallbacks may go in circles.
 *
 * @since 0.2.0
 * @category combinators
 */
export const addFallback = (
  from: string,
  to: string,
  path: Path,
  models: ReadonlyMap<string, Model>,
  carrier: Carrier.Carrier
): boolean => {
  const model = models.get(from)
  const target = models.get(to)
  if (model === undefined || target === undefined) {
    carrier.lose(path, `${model === undefined ? from : to} is no model of the file`)
  } else if (model.kind !== target.kind) carrier.lose(path, "chats do not fall back to embeddings")
  else if (reaches(to, from, models)) carrier.lose(path, `${to} falls back to ${from} already: no circle`)
  else {
    if (!model.fallbacks.includes(to)) model.fallbacks.push(to)
    return true
  }
  return false
}

const onlyAfter = (tag: string): Tree.Fields => ({
  ...Object.fromEntries(
    [
      "RateLimited",
      "QuotaExhausted",
      "Overloaded",
      "ServerError",
      "Timeout",
      "ConnectionError",
      "AuthError",
      "PermissionDenied",
      "ModelNotFound",
      "InvalidResponse",
      "StreamInterrupted",
      "CircuitOpen"
    ].map((other) => [other, false])
  ),
  [tag]: true
})

/**
 * Fallbacks after one kind of error alone, for a model that has no others.
 *
 * @since 0.2.0
 * @category combinators
 */
export const special = (
  value: unknown,
  path: Path,
  tag: string,
  models: ReadonlyMap<string, Model>,
  carrier: Carrier.Carrier
): void => {
  for (const { from, path: place, to } of pairs(value, path, carrier)) {
    const model = models.get(from)
    if (model === undefined) carrier.lose(place, `${from} is no model of the file`)
    else if (model.fallbacks.length === 0 && model.targets.length === 1) {
      const added = to.filter((name) => addFallback(from, name, place, models, carrier))
      if (added.length > 0) model.fallback = onlyAfter(tag)
    } else if (to.every((name) => model.fallbacks.includes(name)) && model.fallback === undefined) {
      model.fallback = { [tag]: true }
    } else
      carrier.lose(place, `a model has one list of fallbacks, for all errors; fallback.${tag} adds this error to it`)
  }
}

/**
 * Other names of models.
 *
 * @since 0.2.0
 * @category combinators
 */
export const aliasesOf = (
  value: unknown,
  path: Path,
  models: ReadonlyMap<string, Model>,
  carrier: Carrier.Carrier
): void => {
  const taken = new Set(models.keys())
  for (const [given, to] of Object.entries(Tree.isFields(value) ? value : {})) {
    const alias = Carrier.modelName(given)
    const name = typeof to === "string" ? to : Tree.isFields(to) ? to.model : undefined
    const model = typeof name === "string" ? models.get(Carrier.modelName(name)) : undefined
    if (model === undefined) carrier.lose([...path, given], "its model is not in the file")
    else if (taken.has(alias)) carrier.lose([...path, given], "the name is taken")
    else {
      taken.add(alias)
      model.aliases.push(alias)
    }
    if (Tree.isFields(to) && to.hidden !== undefined) carrier.lose([...path, given, "hidden"], "an alias is listed")
  }
}
