/**
 * The cost of requests, in every dimension that providers count. Pure.
 *
 * Without it a request could have room in one limit and break another: each dimension is paid at once or not at all.
 *
 * @since 0.2.0
 */

/**
 * What providers count. `tokens` are input and output together, as OpenAI, Azure and Groq count; `inputTokens` and
 * `outputTokens` are counted by themselves, as Anthropic does.
 *
 * @since 0.2.0
 * @category models
 */
export type Dimension = "requests" | "tokens" | "inputTokens" | "outputTokens"

/**
 * All dimensions.
 *
 * @since 0.2.0
 * @category facts
 */
export const dimensions: ReadonlyArray<Dimension> = ["requests", "tokens", "inputTokens", "outputTokens"]

/**
 * A number for each dimension.
 *
 * @since 0.2.0
 * @category models
 */
export type Cost = { readonly [K in Dimension]: number }

/**
 * Asks a function for each dimension. All results have one shape for the engine.
 *
 * @internal
 */
export const each = <A>(f: (name: Dimension) => A): { readonly [K in Dimension]: A } => ({
  requests: f("requests"),
  tokens: f("tokens"),
  inputTokens: f("inputTokens"),
  outputTokens: f("outputTokens")
})

/**
 * The cost of so many requests with so many tokens together.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (requests: number, inputTokens: number, outputTokens: number): Cost => ({
  requests,
  tokens: inputTokens + outputTokens,
  inputTokens,
  outputTokens
})

/**
 * No cost.
 *
 * @since 0.2.0
 * @category constructors
 */
export const none: Cost = make(0, 0, 0)

/**
 * The first cost and `times` the second one.
 *
 * @since 0.2.0
 * @category combinators
 */
export const plus = (self: Cost, that: Cost, times = 1): Cost => ({
  requests: self.requests + times * that.requests,
  tokens: self.tokens + times * that.tokens,
  inputTokens: self.inputTokens + times * that.inputTokens,
  outputTokens: self.outputTokens + times * that.outputTokens
})

/**
 * The same cost without its requests.
 *
 * @since 0.2.0
 * @category combinators
 */
export const tokensOnly = (self: Cost): Cost => ({ ...self, requests: 0 })

/**
 * The same cost with a share of its tokens.
 *
 * @since 0.2.0
 * @category combinators
 */
export const scaleTokens = (self: Cost, share: number): Cost => ({
  requests: self.requests,
  tokens: self.tokens * share,
  inputTokens: self.inputTokens * share,
  outputTokens: self.outputTokens * share
})
