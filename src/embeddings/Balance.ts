/**
 * One embedding model of several interchangeable members: {@link balance} over models, {@link pooled} over the keys of
 * one provider. The engine is that of chat (`calls/balance`).
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as Balanced from "../calls/balance/Balance.js"
import * as Members from "../calls/balance/Members.js"
import type * as KeyPool from "../policies/balance/KeyPool.js"
import type * as Embedding from "./Embedding.js"
import { type About, compose, type EmbeddingModel, isEmbeddingModel, spacedOf, TypeId } from "./Model.js"
import * as Parts from "./Parts.js"
import * as Space from "./Space.js"

/**
 * A model, alone or with its weight and cost.
 *
 * @since 0.2.0
 * @category options
 */
export type BalanceMember = Balanced.Member<EmbeddingModel>

/**
 * The options of {@link balance}.
 *
 * @since 0.2.0
 * @category options
 */
export interface BalanceOptions extends Balanced.Options<Embedding.Request> {}

const namedOf = (model: EmbeddingModel): Balanced.Named => ({ name: model.name, about: model[TypeId] })

/** Every request may be sent again: an embedding changes nothing. */
const requests = { unable: undefined, isOnce: undefined }

const affinityOf = ({ affinity }: Pick<BalanceOptions, "affinity">) => ({
  affinity: affinity && ((part: Parts.Part) => affinity(part.request))
})

/** One model of members of one space. */
const several = (
  models: ReadonlyArray<EmbeddingModel>,
  members: Members.Members<Parts.Part>,
  name: string,
  where: string
): EmbeddingModel => {
  Space.check(models.map(spacedOf), where)
  const all = models.map((model) => model[TypeId])
  const { limits, space } = all.reduce<Pick<About, "limits" | "space">>(
    (a, b) => ({
      limits: Parts.narrower(a.limits, b.limits),
      space: a.space
    }),
    all[0] as About
  )
  const asks = all.map(({ ask }) => ask)
  return compose({
    name,
    ask: Members.asking(members, Members.queuesOf(members), asks),
    about: { ...Members.about(members, all), limits, space }
  })
}

/**
 * One model of several of the same space. Each part goes to a member that takes traffic, chosen by the strategy. If the
 * member's breaker refuses, the same attempt asks the next member. Any other error is the result of the attempt; a
 * `retry` outside chooses again.
 *
 * Throws a `RangeError` that names the option, the value found and the values expected; also for members of two spaces.
 *
 * @since 0.2.0
 * @category combinators
 */
export const balance = (members: ReadonlyArray<BalanceMember>, options: BalanceOptions = {}): EmbeddingModel => {
  const where = "EmbeddingModel.balance"
  const given = members.map((member) => (isEmbeddingModel(member) ? { model: member } : member))
  const models = given.map(({ model }) => model)
  const all = given.map(({ model, ...member }) => ({ ...member, ...namedOf(model) }))
  return several(
    models,
    Balanced.balanced(all, { ...options, ...affinityOf(options) }, requests, where),
    [...new Set(models.map(({ name }) => name))].join(" + "),
    where
  )
}

/**
 * One model over the keys of a pool: `make` builds the model of each key. If a key is refused, out of credit or over
 * its limit, it is left out and the same attempt goes on with another key at once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const pooled = <E, R>(
  pool: KeyPool.KeyPool,
  make: (apiKey: Redacted.Redacted) => Effect.Effect<EmbeddingModel, E, R>,
  options: Pick<BalanceOptions, "affinity"> = {}
): Effect.Effect<EmbeddingModel, E, R> =>
  Effect.map(
    Effect.forEach(pool.keys, ({ apiKey }) => make(apiKey)),
    (models) =>
      several(
        models,
        Balanced.pooled(pool, models.map(namedOf), affinityOf(options), requests),
        (models[0] as EmbeddingModel).name,
        "EmbeddingModel.pooled"
      )
  )
