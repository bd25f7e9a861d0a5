/**
 * The models of a configuration, by the names that clients use.
 *
 * A model is a value of the library: its targets with their policies, in the order of the file, then the models that it
 * falls back to. A request that asks for fewer attempts or no fallback, and a client that may not use all of the
 * fallbacks, get a variant, which is made once.
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as ChatModel from "../chat/ChatModel.js"
import * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import type { Config, Model, Provider } from "./config/Resolved.js"
import type { Policies } from "./Policies.js"
import * as Targets from "./Targets.js"

/**
 * What a variant may do.
 *
 * @since 0.2.0
 * @category models
 */
export interface Allowed {
  /** The most attempts at each target. Default: those of the configuration. */
  readonly maxAttempts?: number | undefined
  /** Whether targets after the first are asked. */
  readonly fallback: boolean
  /** Whether a model of the configuration may be fallen back to. */
  readonly mayAsk: (model: string) => boolean
}

/**
 * A model that clients may name.
 *
 * @since 0.2.0
 * @category models
 */
export type Entry =
  | { readonly kind: "chat"; readonly config: Model; readonly model: (allowed: Allowed) => ChatModel.ChatModel }
  | {
      readonly kind: "embeddings"
      readonly config: Model
      readonly model: (allowed: Allowed) => EmbeddingModel.EmbeddingModel
    }

/**
 * The models by name and alias.
 *
 * @since 0.2.0
 * @category models
 */
export interface ModelTable {
  readonly get: (name: string) => Entry | undefined
  readonly all: ReadonlyArray<Entry>
}

/** The retries of one target, and what goes over to the next one. */
interface Algebra<M> {
  readonly retry: (self: M, target: number, isLast: boolean, maxAttempts: number | undefined) => M
  readonly orElse: (self: M, that: M) => M
  readonly finished: (self: M) => M
}

const reduced = <M>(all: ReadonlyArray<M>, join: (self: M, that: M) => M): M => all.slice(1).reduce(join, all[0] as M)

/** The steps of one model: each is asked where those before it failed. Balanced targets are one step. */
interface Steps<M> {
  readonly steps: ReadonlyArray<M>
  readonly algebra: Algebra<M>
}

/** Makes the variants of a model, each once. */
const variants = <M>(
  { config, own }: { readonly config: Model; readonly own: Steps<M> },
  stepsOf: (model: string) => Steps<M> | undefined
): ((allowed: Allowed) => M) => {
  const made = new Map<string, M>()
  return ({ fallback, mayAsk, maxAttempts }) => {
    const names = fallback && config.fallback !== false ? config.fallbacks.filter(mayAsk) : []
    const key = `${maxAttempts ?? ""} ${fallback} ${names.join(" ")}`
    const known = made.get(key)
    if (known !== undefined) return known
    const others = names.flatMap((name) => stepsOf(name) ?? [])
    const mine = fallback && config.fallback !== false ? own.steps : own.steps.slice(0, 1)
    const all = [own, ...others].flatMap(({ algebra, steps }, group) =>
      (group === 0 ? mine : steps).map((step, index) => ({ algebra, step, index }))
    )
    const held = all.map(({ algebra, index, step }, at) =>
      algebra.retry(step, index, at === all.length - 1, maxAttempts)
    )
    const model = own.algebra.finished(reduced(held, own.algebra.orElse))
    made.set(key, model)
    return model
  }
}

/** Balanced targets are one step, which the model's own policy retries. */
const plain = { retry: undefined }

const providerOf = ({ providers }: Config, name: string): Provider => {
  const found = providers.get(name)
  // The configuration was checked.
  if (found === undefined) throw new Error(`no provider ${name}`)
  return found
}

type Made<A> = Effect.Effect<A, ConfigError.ConfigError, HttpClient.HttpClient>

const chatSteps = (config: Config, model: Model, policies: Policies): Made<Steps<ChatModel.ChatModel>> =>
  Effect.gen(function* () {
    const { balance, deadline, fallback, hedge, mode, name, targets } = model
    const leaves = yield* Effect.forEach(targets, (target) =>
      Targets.chat({ policies, model, target, provider: providerOf(config, target.provider) })
    )
    const [first, second, ...rest] = leaves
    const steps =
      balance !== undefined && leaves.length > 1
        ? [
            ChatModel.balance(
              leaves.map((leaf, index) => ({ model: leaf, weight: targets[index]?.weight })),
              { strategy: balance }
            )
          ]
        : hedge !== undefined && first !== undefined && second !== undefined
          ? [ChatModel.hedge(first, second, hedge), second, ...rest]
          : leaves
    return {
      steps,
      algebra: {
        retry: (self, index, isLast, maxAttempts) =>
          ChatModel.retry(
            self,
            Targets.retryOf(
              model,
              steps.length < leaves.length ? plain : (targets[index] ?? plain),
              isLast,
              maxAttempts
            ),
            { mode }
          ),
        orElse: (self, that) => ChatModel.orElse(self, that, { when: fallback === false ? undefined : fallback, mode }),
        finished: (self) => self.pipe(ChatModel.deadline(deadline), ChatModel.named(name))
      }
    }
  })

const vectorSteps = (config: Config, model: Model, policies: Policies): Made<Steps<EmbeddingModel.EmbeddingModel>> =>
  Effect.gen(function* () {
    const { balance, deadline, fallback, name, targets } = model
    const leaves = yield* Effect.forEach(targets, (target) =>
      Targets.vectors({ policies, model, target, provider: providerOf(config, target.provider) })
    )
    const { ContextLengthExceeded: tooLong, ...when } = fallback === false ? {} : (fallback ?? {})
    return {
      steps:
        balance !== undefined && leaves.length > 1
          ? [
              EmbeddingModel.balance(
                leaves.map((leaf, index) => ({ model: leaf, weight: targets[index]?.weight })),
                { strategy: balance }
              )
            ]
          : leaves,
      algebra: {
        retry: (self, index, isLast, maxAttempts) =>
          EmbeddingModel.retry(self, Targets.retryOf(model, targets[index] ?? plain, isLast, maxAttempts)),
        orElse: (self, that) =>
          EmbeddingModel.orElse(self, that, {
            when: typeof tooLong === "boolean" ? { ...when, ContextLengthExceeded: tooLong } : when
          }),
        finished: (self) => self.pipe(EmbeddingModel.deadline(deadline), EmbeddingModel.named(name))
      }
    }
  })

/** Makes the variant that may do everything: what cannot be put together is told when the file is read. */
const whole = ({ config, model }: Entry): Either.Either<void, ConfigError.ConfigError> =>
  Either.try({
    try: () => void model({ fallback: true, mayAsk: () => true }),
    catch: (cause) =>
      ConfigError.InvalidData(["models", config.name], cause instanceof Error ? cause.message : String(cause))
  })

/**
 * The models of a configuration. Fails with a `ConfigError` if a target cannot be made, as with a wrong base URL; also
 * where fallbacks do not fit together, as embeddings of different models.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (config: Config, policies: Policies): Made<ModelTable> =>
  Effect.gen(function* () {
    const chats = new Map<string, Steps<ChatModel.ChatModel>>()
    const vectors = new Map<string, Steps<EmbeddingModel.EmbeddingModel>>()
    for (const model of config.models) {
      if (model.kind === "chat") chats.set(model.name, yield* chatSteps(config, model, policies))
      else vectors.set(model.name, yield* vectorSteps(config, model, policies))
    }
    const byName = new Map<string, Entry>()
    const all: Array<Entry> = []
    for (const model of config.models) {
      const chat = chats.get(model.name)
      const vector = vectors.get(model.name)
      const entry: Entry | undefined =
        chat !== undefined
          ? { kind: "chat", config: model, model: variants({ config: model, own: chat }, (name) => chats.get(name)) }
          : vector !== undefined
            ? {
                kind: "embeddings",
                config: model,
                model: variants({ config: model, own: vector }, (name) => vectors.get(name))
              }
            : undefined
      if (entry === undefined) continue
      yield* whole(entry)
      all.push(entry)
      for (const name of [model.name, ...model.aliases]) byName.set(name, entry)
    }
    return { all, get: (name) => byName.get(name) }
  })
