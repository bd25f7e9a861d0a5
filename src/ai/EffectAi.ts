/**
 * Models of `@effect/ai` as models of this library, and back.
 *
 * {@link fromLanguageModel} makes a `ChatModel` of one of their models, so that retries, fallbacks, breakers, pacers
 * and records stand around it. {@link layer} and {@link toLanguageModel} make their `LanguageModel` of any model or
 * composition of ours, so that programs written for `@effect/ai` run on it unchanged. {@link llmErrorOf} finds our
 * error in one of theirs. The two sides keep text, tool calls, tool results, usage, finish reasons, ids and errors.
 *
 * Gotchas: tools run outside of the retry. A call that is retried has not delivered its answer, so no handler ran.
 * Their streams have no word for a restart: a stream runs in `strict` mode, whatever mode its model has. Their prompts
 * drop what has to go back to a provider: {@link promptOf} keeps it, and answers that call tools are remembered.
 *
 * @example
 * import { LanguageModel } from "@effect/ai"
 * import { Effect } from "effect"
 * import { ChatModel, RetryPolicy } from "effect-steadfast"
 * import { EffectAi } from "effect-steadfast/ai"
 *
 * declare const gpt: ChatModel.ChatModel
 * declare const claude: ChatModel.ChatModel
 *
 * const assistant = gpt.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.orElse(claude))
 *
 * const program = LanguageModel.generateText({ prompt: "The capital of France?" }).pipe(
 *   Effect.map((response) => response.text),
 *   Effect.provide(EffectAi.layer(assistant))
 * )
 *
 * @since 0.2.0
 */

export { llmErrorOf } from "./AiErrors.js"
export { fromLanguageModel, type Options as FromOptions } from "./FromLanguageModel.js"
export type { Settings } from "./OurRequest.js"
export { layer, type Options as ToOptions, promptOf, RequestSettings, toLanguageModel } from "./ToLanguageModel.js"
