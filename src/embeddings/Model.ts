/**
 * The parts of an embedding model, and the leaf, a model of one target.
 *
 * A combinator takes a model apart with {@link partsOf}, changes some parts, and puts them together with
 * {@link compose}. Policies stand around `ask`, which embeds one part of an input with one request, so that a part that
 * fails is asked for again alone. {@link compose} splits the input, and makes one call of all parts.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import { identity } from "effect/Function"
import { type Pipeable, pipeArguments } from "effect/Pipeable"
import * as Predicate from "effect/Predicate"
import type * as Facts from "../calls/About.js"
import { always } from "../calls/About.js"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import { targetName } from "../calls/CallRecord.js"
import * as LlmError from "../errors/LlmError.js"
import * as SpendScope from "../policies/spend/SpendScope.js"
import * as TimeLimit from "../policies/TimeLimit.js"
import type { Usage } from "../policies/Usage.js"
import * as Embedding from "./Embedding.js"
import * as Split from "./Parts.js"
import * as Space from "./Space.js"
import * as Vectors from "./Vectors.js"

/**
 * The key of a model's {@link Inside}.
 *
 * @since 0.2.0
 * @category symbols
 */
export const TypeId: unique symbol = Symbol.for("steadfast/EmbeddingModel")

/**
 * @since 0.2.0
 * @category symbols
 */
export type TypeId = typeof TypeId

/**
 * The facts about a model that are known before it is asked.
 *
 * @since 0.2.0
 * @category models
 */
export interface About extends Facts.About {
  /** The space of its vectors, as `text-embedding-3-small/1536`; `undefined` if it is not known. */
  readonly space: string | undefined
  /** The limits that one request keeps at each of its targets. */
  readonly limits: Embedding.Limits
}

/** Asks for the vectors of one part, with one request to each target that is asked. */
type Ask = (part: Split.Part) => Effect.Effect<Embedding.Response, LlmError.LlmError>

/** Something around all parts of a request together. */
type Around = <A>(self: Effect.Effect<A, LlmError.LlmError>) => Effect.Effect<A, LlmError.LlmError>

/**
 * The model without the call around it, for combinators.
 *
 * @since 0.2.0
 * @category models
 */
export interface Inside extends About {
  /** Embeds one part. */
  readonly ask: Ask
  /** Something around all parts of a request together: the deadline, if the outermost policy is one. */
  readonly around: Around
}

/**
 * An embedding model: one target, or a composition of models.
 *
 * @since 0.2.0
 * @category models
 */
export interface EmbeddingModel extends Pipeable {
  /** For combinators. */
  readonly [TypeId]: Inside
  /** The name in logs, spans and records. */
  readonly name: string
  /** The space of the vectors, as `text-embedding-3-small/1536`; `undefined` if it is not known. */
  readonly space: string | undefined
  /**
   * Embeds one text or many. An input that is too long for one request goes in several, `concurrency` at a time; no
   * input at all is an empty answer without a request. An error of one of several parts says which inputs it had.
   */
  readonly embed: (request: Embedding.Request) => Effect.Effect<Embedding.Response, LlmError.LlmError>
}

/**
 * The model of the application.
 *
 * @since 0.2.0
 * @category context
 */
export const EmbeddingModel: Context.Tag<EmbeddingModel, EmbeddingModel> =
  Context.GenericTag<EmbeddingModel>("steadfast/EmbeddingModel")

/**
 * @since 0.2.0
 * @category refinements
 */
export const isEmbeddingModel = (u: unknown): u is EmbeddingModel => Predicate.hasProperty(u, TypeId)

/**
 * What {@link Space.check} reads of a model.
 *
 * @internal
 */
export const spacedOf = (model: EmbeddingModel): Space.Spaced => ({
  name: model.name,
  space: model.space,
  targets: model[TypeId].targets
})

const Proto = {
  pipe() {
    // biome-ignore lint/complexity/noArguments: the shape that Effect's Pipeable has
    return pipeArguments(this, arguments)
  },
  toJSON(this: EmbeddingModel) {
    return { _id: "steadfast/EmbeddingModel", name: this.name, space: this.space }
  }
}

/**
 * The parts of a model.
 *
 * @since 0.2.0
 * @category models
 */
export interface Parts {
  /** The name in logs, spans and records. */
  readonly name: string
  /** Embeds one part. */
  readonly ask: Ask
  /** Something around all parts of a request together. Default: nothing. */
  readonly around?: Around | undefined
  /** The facts about the model. */
  readonly about: About
}

/**
 * Takes a model apart, for a combinator that changes some of its parts. What stands around all parts together is left
 * behind, because a policy outside of it is asked for each part.
 *
 * @internal
 */
export const partsOf = ({ name, [TypeId]: inside }: EmbeddingModel): Parts => ({
  name,
  ask: inside.ask,
  about: inside
})

// -----------------------------------------------------------------------------
// calls
// -----------------------------------------------------------------------------

/** The model in the name of a span: that of the only target, else the name of the composition. */
const asked = ({ about: { targets }, name }: Parts): string =>
  name === targetName(targets[0]) ? targets[0].model : name

const defaultConcurrency = 4

/** The error of a request that cannot be split, or whose settings are none. */
const refused = (
  request: Embedding.Request,
  { model, provider }: Attempt.Target,
  split: ReturnType<typeof Split.split>,
  all: number
): LlmError.LlmError | undefined => {
  const target = { provider, model, delivery: "not-sent" } as const
  const wrong = (name: string, found: unknown) =>
    new LlmError.InvalidRequest({ ...target, message: `${name}: found ${found}, expected a whole number of 1 or more` })
  for (const name of ["dimensions", "concurrency"] as const) {
    const found = request[name]
    if (found !== undefined && !(Number.isSafeInteger(found) && found >= 1)) return wrong(name, found)
  }
  if (!("index" in split)) return undefined
  const message = `input ${split.index} of ${all}: ${split.message}`
  return new LlmError.ContextLengthExceeded({ ...target, message })
}

/** An answer with vectors of two lengths, by two targets that have no stated space. */
const lengthsDiffer = ({ model, provider, vectors }: Embedding.Response): LlmError.LlmError | undefined => {
  const length = vectors[0]?.length
  const other = vectors.findIndex((vector) => vector.length !== length)
  return other < 0
    ? undefined
    : new LlmError.InvalidResponse({
        provider,
        model,
        message: `input ${other}: found a vector of ${vectors[other]?.length} numbers, the first has ${length}`,
        delivery: "unknown",
        retryable: false
      })
}

/** Embeds the parts of an input, and puts the answers together. */
const together = (
  ask: Ask,
  parts: ReadonlyArray<Split.Part>,
  concurrency = defaultConcurrency,
  all: number
): Effect.Effect<Embedding.Response, LlmError.LlmError> => {
  const [first] = parts
  if (first !== undefined && parts.length === 1) return ask(first)
  const named = (part: Split.Part) => (error: LlmError.LlmError) =>
    LlmError.override(error, { message: `${Split.words(part, all)}: ${error.message}` })
  const one = (part: Split.Part) => Effect.mapError(ask(part), named(part))
  return Effect.flatMap(Effect.forEach(parts, one, { concurrency }), (answers) => {
    const answer = Split.join(answers as [Embedding.Response, ...Array<Embedding.Response>])
    const error = lengthsDiffer(answer)
    return error === undefined ? Effect.succeed(answer) : Effect.fail(error)
  })
}

/**
 * Makes a model of parts. A request outside of a call opens its own call. `lone` is for a leaf: see `Call.Implicit`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const compose = (parts: Parts, lone = false): EmbeddingModel => {
  const { about, around = identity, ask, name } = parts
  const { limits, readyAt, soonestAt, space, targets } = about
  const { model, provider } = targets[0]
  const implicit: Call.Implicit = { lone, spanName: `embeddings ${asked(parts)}`, operation: "embeddings" }
  const whole = (request: Embedding.Request): Effect.Effect<Embedding.Response, LlmError.LlmError> => {
    const texts = Embedding.textsOf(request)
    if (texts.length === 0) return Effect.succeed({ vectors: [], provider, model })
    const split = Split.split(request, texts, limits)
    const error = refused(request, targets[0], split, texts.length)
    const asking =
      error === undefined
        ? around(together(ask, split as ReadonlyArray<Split.Part>, request.concurrency, texts.length))
        : Effect.fail(error)
    return Call.around(asking, name, implicit)
  }
  return Object.assign(Object.create(Proto), {
    [TypeId]: { ask, around, limits, readyAt, soonestAt, space, targets },
    name,
    space,
    embed: (request: Embedding.Request) => Effect.suspend(() => whole(request))
  })
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The answer of a leaf.
 *
 * @since 0.2.0
 * @category models
 */
export interface Answer {
  /** A vector for each text of the part, in their order. */
  readonly vectors: ReadonlyArray<ReadonlyArray<number>>
  /** The usage, if the provider tells one. */
  readonly usage?: Usage | undefined
  /** The model, as the provider names it in the answer. Default: as it was asked for. */
  readonly model?: string | undefined
  /** The provider's id of the answer. */
  readonly id?: string | undefined
}

/**
 * One target, and how to ask it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Leaf extends Attempt.Target {
  /** Sends one request for one part of an input. */
  readonly embed: (part: Split.Part, attempt: Attempt.Attempt) => Effect.Effect<Answer, LlmError.LlmError>
  /** The space of the vectors. Default: that of a known model and `dimensions`. */
  readonly space?: string | undefined
  /** The length of the vectors of a request without `dimensions`. Default: that of the model. */
  readonly dimensions?: number | undefined
  /** The most that one request may hold. Default: no limit. */
  readonly limits?: Embedding.Limits | undefined
  /**
   * Whether `embed` ends its waits when the limit in force is up (`TimeLimit.waiting`). Default `false`: it runs in a
   * fiber that is interrupted then.
   *
   * @internal
   */
  readonly keepsLimits?: boolean | undefined
  /** Removes secrets from ids and model names of the provider before they get into spans and records. */
  readonly shown?: ((text: string) => string) | undefined
}

const usageOf = ({ usage }: Embedding.Response): Usage | undefined => usage

/**
 * Makes a model of one target. Calls, attempts, records and spans are handled here, and vectors are checked: their
 * count, their numbers, and their length. A wrong answer is an `InvalidResponse`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (leaf: Leaf): EmbeddingModel => {
  const { dimensions, group, key, limits = {}, model, provider, shown = identity } = leaf
  const target: Attempt.Target = { provider, model, key, group, operation: "embeddings" }
  const space = leaf.space ?? Space.known(model, dimensions)
  const length = dimensions ?? Space.lengthOf(space)
  const embed: Leaf["embed"] = leaf.keepsLimits
    ? leaf.embed
    : (part, attempt) => TimeLimit.kept(leaf.embed(part, attempt))
  const once = (given: Split.Part): Effect.Effect<Embedding.Response, LlmError.LlmError> =>
    Attempt.run(target, (attempt) => {
      given.attempts++
      const { request } = given
      const part =
        dimensions === undefined || request.dimensions !== undefined
          ? given
          : { ...given, request: { ...request, dimensions } }
      return Effect.flatMap(embed(part, attempt), ({ id, model: named, usage, vectors }) => {
        const responseModel = named === undefined ? undefined : shown(named)
        attempt.note({ responseId: id === undefined ? undefined : shown(id), responseModel, usage })
        const error = Vectors.wrong(vectors, part.input.length, request.dimensions ?? length, target)
        return error === undefined
          ? Effect.succeed({ vectors, usage, provider, model: responseModel ?? model })
          : Effect.fail(error)
      })
    })
  return compose(
    {
      name: targetName(target),
      ask: (part) => {
        // An embedding has no answer in tokens.
        const hold = { provider, model, prompt: { messages: part.input }, maxTokens: 0, usage: usageOf }
        return SpendScope.attempt(hold, () => once(part))
      },
      about: { targets: [target], readyAt: always, soonestAt: always, space, limits }
    },
    true
  )
}
