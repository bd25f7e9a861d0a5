/**
 * The root entry: every module that runs anywhere, each as a namespace.
 *
 * Each is an entry point of its own too (`effect-steadfast/ChatModel`). Some bundlers, esbuild among them, keep the
 * whole of a namespace that comes from here, and only the used parts of one that comes from its own entry point.
 *
 * @since 0.1.0
 */

export * as Attempt from "./calls/Attempt.js"
export * as Call from "./calls/Call.js"
export * as CallRecord from "./calls/CallRecord.js"
export * as Resilience from "./calls/Resilience.js"
export * as Capabilities from "./chat/Capabilities.js"
export * as Chat from "./chat/Chat.js"
export * as ChatModel from "./chat/ChatModel.js"
export * as Fallback from "./chat/Fallback.js"
export * as Resilient from "./chat/Resilient.js"
export * as ChatStream from "./chat/stream/ChatStream.js"
export * as Classify from "./errors/Classify.js"
export * as LlmError from "./errors/LlmError.js"
export * as RetryHint from "./errors/RetryHint.js"
export * as KeyPool from "./policies/balance/KeyPool.js"
export * as CircuitBreaker from "./policies/circuit/CircuitBreaker.js"
export * as Deadline from "./policies/Deadline.js"
export * as Hedge from "./policies/Hedge.js"
export * as Pacer from "./policies/pacer/Pacer.js"
export * as RetryBudget from "./policies/retry/RetryBudget.js"
export * as RetryPolicy from "./policies/retry/RetryPolicy.js"
export * as Store from "./policies/Store.js"
export * as Prices from "./policies/spend/Prices.js"
export * as Spend from "./policies/spend/Spend.js"
export * as Tokens from "./policies/spend/Tokens.js"
export * as Anthropic from "./providers/Anthropic.js"
export * as Gemini from "./providers/Gemini.js"
export * as OpenAi from "./providers/OpenAi.js"
export * as OpenAiResponses from "./providers/OpenAiResponses.js"
export * as Transport from "./providers/Transport.js"
