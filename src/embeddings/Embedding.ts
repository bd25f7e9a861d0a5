/**
 * The request and the answer of an embedding, as plain data.
 *
 * @since 0.2.0
 */

import type { Usage } from "../policies/Usage.js"

/**
 * The use of the vectors. A provider without tasks does not hear of it. `query` and `document` are the two sides of a
 * search; `question` is a query that is answered by documents, `code` one that looks for code.
 *
 * @since 0.2.0
 * @category models
 */
export type Task =
  | "query"
  | "document"
  | "similarity"
  | "classification"
  | "clustering"
  | "question"
  | "fact-check"
  | "code"

/**
 * Options for a single provider, by its name: fields of the body that a {@link Request} does not have.
 *
 * @since 0.2.0
 * @category models
 */
export type ProviderOptions = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>

/**
 * A request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Request {
  /** The texts, in any number. A text that stands alone is a list of one. */
  readonly input: string | ReadonlyArray<string>
  /** The length of the vectors, for models that can make shorter ones. Default: that of the model. */
  readonly dimensions?: number | undefined
  /** The use of the vectors. Default: none. */
  readonly task?: Task | undefined
  /** Options for a single provider. */
  readonly providerOptions?: ProviderOptions | undefined
  /** How many parts of a long input are asked for at the same time: 1 or more. Default 4. */
  readonly concurrency?: number | undefined
}

/**
 * The vectors, in the order of the input.
 *
 * `provider` and `model` are those that answered, of several parts the first. `usage` is the sum of all parts, and
 * absent if one of them told none.
 *
 * @since 0.2.0
 * @category models
 */
export interface Response {
  readonly vectors: ReadonlyArray<ReadonlyArray<number>>
  readonly usage?: Usage | undefined
  readonly provider: string
  readonly model: string
}

/**
 * The most that one request to a target may hold. Default for each: no limit.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** The texts of one request. */
  readonly inputs?: number | undefined
  /** The tokens of all texts of one request together. */
  readonly tokens?: number | undefined
  /** The tokens of one text. */
  readonly inputTokens?: number | undefined
  /**
   * Counts the tokens of a text. Default: an estimate on the high side, so that parts are smaller than they could be;
   * a text is then refused here only if it has more characters than any `inputTokens` tokens can have.
   */
  readonly count?: ((text: string) => number) | undefined
}

/**
 * The texts of a request.
 *
 * @since 0.2.0
 * @category getters
 */
export const textsOf = ({ input }: Request): ReadonlyArray<string> => (typeof input === "string" ? [input] : input)
