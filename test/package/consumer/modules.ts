import { Effect, Redacted } from "effect"
import type * as Barrel from "effect-steadfast"
import * as Anthropic from "effect-steadfast/Anthropic"
import * as Chat from "effect-steadfast/Chat"
import * as ChatModel from "effect-steadfast/ChatModel"
import * as Gemini from "effect-steadfast/Gemini"
import type { LlmError } from "effect-steadfast/LlmError"
import * as OpenAi from "effect-steadfast/OpenAi"
import * as OpenAiResponses from "effect-steadfast/OpenAiResponses"
import * as RetryPolicy from "effect-steadfast/RetryPolicy"

const apiKey = Redacted.make("sk-test")

const models = Effect.all({
  chat: OpenAi.make({ model: "gpt-4o-mini", apiKey }),
  thinking: OpenAiResponses.make({ model: "gpt-5", apiKey }),
  claude: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
  gemini: Gemini.make({ model: "gemini-2.5-flash", apiKey })
})

const request = Chat.prompt("Hello", { providerOptions: { openai: { background: true }, anthropic: { top_k: 5 } } })

// @ts-expect-error: the fields of a provider are known
Chat.prompt("Hello", { providerOptions: { openai: { background: "yes" } } })

// One type, wherever it comes from.
export const assistant = Effect.map(
  models,
  ({ chat, claude, gemini, thinking }): Barrel.ChatModel.ChatModel =>
    thinking.pipe(
      ChatModel.timeout({ attempt: "30 seconds" }),
      ChatModel.retry(RetryPolicy.standard),
      ChatModel.orElse(claude),
      ChatModel.orElse(gemini),
      ChatModel.orElse(chat)
    )
)

export const answer: Effect.Effect<Chat.Response, LlmError, ChatModel.ChatModel> = ChatModel.generate(request)
