/**
 * What requests cost, in everything that providers count. Pure.
 *
 * @since 0.2.0
 */

/**
 * What is counted: `tokens` are input and output together, as OpenAI, Azure and Groq count; `inputTokens` and
 * `outputTokens` are counted by themselves, as Anthropic does.
 *
 * @since 0.2.0
 * @category models
 */
export type Dimension = "requests" | "tokens" | "inputTokens" | "outputTokens"

/**
 * All of them.
 *
 * @since 0.2.0
 * @category facts
 */
export const dimensions: ReadonlyArray<Dimension> = ["requests", "tokens", "inputTokens", "outputTokens"]

/**
 * So much of each.
 *
 * @since 0.2.0
 * @category models
 */
export type Cost = { readonly [K in Dimension]: number }

/**
 * What so many requests take with so many tokens.
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
 * Nothing.
 *
 * @since 0.2.0
 * @category constructors
 */
export const none: Cost = make(0, 0, 0)

/**
 * The sum of the one and `times` the other.
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
 * The same without its requests.
 *
 * @since 0.2.0
 * @category combinators
 */
export const tokensOnly = (self: Cost): Cost => ({ ...self, requests: 0 })

/**
 * The same with a share of its tokens.
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
