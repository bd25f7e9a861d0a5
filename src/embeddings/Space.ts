/**
 * The space of a model's vectors: vectors of two spaces cannot be compared, even if they have the same length.
 *
 * A space is a name, by custom of the model and the length of its vectors: `text-embedding-3-small/1536`. Models that
 * stand in for each other must have the same one. It is known for the models of OpenAI and Gemini; for others the
 * application states it.
 *
 * @since 0.2.0
 */

import * as Attempt from "../calls/Attempt.js"

/**
 * The vectors' length of models by their names, from the providers' documentation:
 * https://platform.openai.com/docs/guides/embeddings and https://ai.google.dev/gemini-api/docs/embeddings.
 */
const lengths: ReadonlyMap<string, number> = new Map([
  ["text-embedding-3-small", 1536],
  ["text-embedding-3-large", 3072],
  ["text-embedding-ada-002", 1536],
  ["gemini-embedding-001", 3072],
  ["gemini-embedding-2-preview", 3072],
  ["gemini-embedding-2", 3072]
])

/** The model's own name: without the collection or the maker before it. */
const bare = (model: string): string => model.slice(model.lastIndexOf("/") + 1)

/**
 * The space of a model; `undefined` if it is not known.
 *
 * @since 0.2.0
 * @category getters
 */
export const known = (model: string, dimensions?: number): string | undefined => {
  const length = lengths.get(bare(model))
  return length === undefined ? undefined : `${bare(model)}/${dimensions ?? length}`
}

/**
 * The length of the vectors that a space names; `undefined` if it names none.
 *
 * @since 0.2.0
 * @category getters
 */
export const lengthOf = (space: string | undefined): number | undefined => {
  const found = space === undefined ? undefined : /\/(\d+)$/.exec(space)?.[1]
  return found === undefined ? undefined : Number(found)
}

/**
 * What tells the space of a model: its name, or else the targets.
 *
 * @since 0.2.0
 * @category models
 */
export interface Spaced {
  readonly name: string
  readonly space: string | undefined
  readonly targets: ReadonlyArray<Attempt.Target>
}

const placeOf = (target: Attempt.Target): string => `${Attempt.groupOf(target)} ${target.model}`

/** Without names, only the same model at the same place surely has the same space. */
const isSame = (a: Spaced, b: Spaced): boolean =>
  a.space !== undefined || b.space !== undefined
    ? a.space === b.space
    : new Set([...a.targets, ...b.targets].map(placeOf)).size === 1

const words = ({ name, space }: Spaced): string =>
  `${name} of ${space === undefined ? "an unknown space" : `the space "${space}"`}`

/**
 * Throws a `RangeError` unless all models have the space of the first. `where` names the combinator.
 *
 * @since 0.2.0
 * @category errors
 */
export const check = (models: ReadonlyArray<Spaced>, where: string): void => {
  const [first, ...others] = models
  if (first === undefined) return
  const other = others.find((model) => !isSame(first, model))
  if (other === undefined) return
  const remedy =
    first.space === undefined || other.space === undefined
      ? ". If their vectors can be compared, state the same `space` for both"
      : ""
  throw new RangeError(
    `${where}: found ${words(first)} and ${words(other)}, expected models of one space, ` +
      `because vectors of two cannot be compared${remedy}`
  )
}
