/**
 * Answers in OpenAI's Chat Completions.
 *
 * A tool call is whole in one delta, because some clients refuse the pieces of one or join its repeated name. Reasoning
 * goes as `reasoning_content`, where DeepSeek's clients read it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as Frames from "./Frames.js"

const wire = "openai-chat"

/** No reason is made up: clients know only these. */
const reasons: { readonly [K in Chat.FinishReason]: string } = {
  stop: "stop",
  length: "length",
  "tool-calls": "tool_calls",
  other: "stop"
}

const usageOf = (usage: Chat.Usage): object => ({
  prompt_tokens: usage.inputTokens,
  completion_tokens: usage.outputTokens,
  total_tokens: usage.inputTokens + usage.outputTokens,
  ...(usage.cachedInputTokens === undefined && usage.cacheWriteTokens === undefined
    ? {}
    : {
        prompt_tokens_details: {
          ...(usage.cachedInputTokens === undefined ? {} : { cached_tokens: usage.cachedInputTokens }),
          ...(usage.cacheWriteTokens === undefined ? {} : { cache_write_tokens: usage.cacheWriteTokens })
        }
      }),
  ...(usage.reasoningTokens === undefined
    ? {}
    : { completion_tokens_details: { reasoning_tokens: usage.reasoningTokens } })
})

const callOf = (call: Chat.ToolCall): object => {
  const { extra_content: extra } = Frames.replyOf(call.providerData, wire)
  return { ...Frames.functionOf(call), ...(extra === undefined ? {} : { extra_content: extra }) }
}

/** What has to go back to a server of this wire, but for what the message says already. */
const backOf = (providerData: Chat.ProviderData | undefined): Readonly<Record<string, unknown>> => {
  const { extra_content: extra, reasoning_details: details } = Frames.replyOf(providerData, wire)
  return {
    ...(details === undefined ? {} : { reasoning_details: details }),
    ...(extra === undefined ? {} : { extra_content: extra })
  }
}

/** Every field that may be null is sent: some clients demand it. */
const common = { service_tier: null, system_fingerprint: null }

/** OpenRouter's client takes no null for the fingerprint of a chunk, and demands that of a whole answer. */
const ofOpenRouterChunks = { service_tier: null }

const writer =
  (origin: Origin) =>
  (names: Frames.Names): Frames.Writer => {
    const { created, includeUsage = true } = origin
    const isOpenRouter = origin.sdk === "openrouter"
    const nulls = isOpenRouter ? ofOpenRouterChunks : common
    let calls = 0
    const chunk = (choices: ReadonlyArray<object>, more: object = {}): string =>
      Frames.data({
        id: names.id,
        object: "chat.completion.chunk",
        created,
        model: names.model,
        ...nulls,
        choices,
        ...more
      })
    const choice = (delta: object, reason: string | null = null): string =>
      chunk([{ index: 0, delta, logprobs: null, finish_reason: reason }])
    return {
      first: () => choice({ role: "assistant", content: "", refusal: null }),
      text: (content) => choice({ content }),
      reasoning: (text) => choice({ reasoning_content: text }),
      toolCall: (call) => choice({ tool_calls: [{ index: calls++, ...callOf(call) }] }),
      finish: ({ providerData, reason }, usage) => {
        const back = backOf(providerData)
        return [
          Object.keys(back).length === 0 ? "" : choice(back),
          choice({}, reasons[reason]),
          includeUsage && usage !== undefined ? chunk([], { usage: usageOf(usage) }) : "",
          Frames.done
        ].join("")
      },
      fail: (error) => {
        const { code, message, param, status, type } = ErrorResponse.factsOf(error, origin)
        if (isOpenRouter) {
          return chunk([{ index: 0, delta: { content: "" }, finish_reason: "error" }], {
            error: { code: status, message }
          })
        }
        return Frames.data({ error: { message, type, param, code } })
      },
      // ai 7 asks again where the first event is an error.
      failsLate: true
    }
  }

/**
 * The codec of Chat Completions.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codec: Codec = {
  encoder: (origin) => Frames.encoder(origin, writer(origin)),
  body: (answer, origin) => {
    const { id, model } = Frames.namesOf(origin, answer)
    const { finishReason, providerData, reasoning, text, toolCalls, usage } = answer
    return {
      id,
      object: "chat.completion",
      created: origin.created,
      model,
      ...common,
      choices: [
        {
          index: 0,
          message: {
            role: "assistant",
            // Never null without calls: some clients take that for no answer, and ask again.
            content: text === "" && toolCalls.length > 0 ? null : text,
            refusal: null,
            annotations: [],
            ...(reasoning === undefined ? {} : { reasoning_content: reasoning }),
            ...backOf(providerData),
            ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(callOf) })
          },
          logprobs: null,
          finish_reason: reasons[finishReason]
        }
      ],
      ...(usage === undefined ? {} : { usage: usageOf(usage) })
    }
  }
}
