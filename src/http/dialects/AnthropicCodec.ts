/**
 * Answers in Anthropic's Messages.
 *
 * Gotchas: a client of Messages reads a usage in every answer, so that an unknown one is told as zeros. The signatures
 * of thoughts come with the end of an answer, when their blocks are closed: only a whole answer has them.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as Frames from "./Frames.js"

const wire = "anthropic"

const reasons: { readonly [K in Chat.FinishReason]: string } = {
  stop: "end_turn",
  length: "max_tokens",
  "tool-calls": "tool_use",
  other: "end_turn"
}

/** `input_tokens` are those that the cache neither gave nor took. */
const usageOf = (usage: Chat.Usage | undefined): object => {
  const { cachedInputTokens: cached, cacheWriteHourTokens: hour, cacheWriteTokens: written } = usage ?? {}
  return {
    input_tokens: Math.max(0, (usage?.inputTokens ?? 0) - (cached ?? 0) - (written ?? 0)),
    output_tokens: usage?.outputTokens ?? 0,
    cache_read_input_tokens: cached ?? null,
    cache_creation_input_tokens: written ?? null,
    ...(hour === undefined
      ? {}
      : {
          cache_creation: {
            ephemeral_1h_input_tokens: hour,
            ephemeral_5m_input_tokens: Math.max(0, (written ?? hour) - hour)
          }
        })
  }
}

/** The input of a call is an object. */
const inputOf = (call: Chat.ToolCall): unknown => call.arguments ?? {}

const messageOf = (names: Frames.Names, content: ReadonlyArray<unknown>, reason: string | null, usage: object) => ({
  id: names.id,
  type: "message",
  role: "assistant",
  model: names.model,
  content,
  stop_reason: reason,
  stop_sequence: null,
  usage
})

const start = (index: number, block: object): string =>
  Frames.named("content_block_start", { type: "content_block_start", index, content_block: block })

const delta = (index: number, change: object): string =>
  Frames.named("content_block_delta", { type: "content_block_delta", index, delta: change })

const stop = (index: number): string => Frames.named("content_block_stop", { type: "content_block_stop", index })

const writer =
  (origin: Origin) =>
  (names: Frames.Names): Frames.Writer => {
    const blocks = Frames.blocks({
      start: (index, kind) =>
        start(index, kind === "text" ? { type: kind, text: "" } : { type: kind, thinking: "", signature: "" }),
      delta: (index, kind, text) =>
        delta(index, kind === "text" ? { type: "text_delta", text } : { type: "thinking_delta", thinking: text }),
      stop
    })
    return {
      first: () =>
        Frames.named("message_start", {
          type: "message_start",
          message: messageOf(names, [], null, usageOf(undefined))
        }),
      text: (text) => blocks.piece("text", text),
      reasoning: (text) => blocks.piece("thinking", text),
      toolCall: (call) => {
        const [closed, index] = blocks.next()
        const begun = start(index, { type: "tool_use", id: call.id, name: call.name, input: {} })
        const whole = delta(index, { type: "input_json_delta", partial_json: Frames.argumentsOf(call) })
        return `${closed}${begun}${whole}${stop(index)}`
      },
      finish: ({ reason }, usage) =>
        [
          blocks.close(),
          Frames.named("message_delta", {
            type: "message_delta",
            delta: { stop_reason: reasons[reason], stop_sequence: null },
            usage: usageOf(usage)
          }),
          Frames.named("message_stop", { type: "message_stop" })
        ].join(""),
      fail: (error) => {
        const { code, message, type } = ErrorResponse.factsOf(error, { ...origin, dialect: "anthropic" })
        const { requestId } = origin
        const id = requestId === undefined ? undefined : { request_id: requestId }
        return Frames.named("error", { type: "error", error: { type, message, code }, ...id })
      },
      failsLate: true
    }
  }

/** The blocks of an answer: as they came, if they came in this wire and say what the answer says. */
const blocksOf = ({ providerData, reasoning, text, toolCalls }: Chat.Response): ReadonlyArray<unknown> => {
  const { content } = Frames.replyOf(providerData, wire)
  const calls = [...toolCalls]
  if (Array.isArray(content)) {
    const blocks = content.map((block) => {
      if (block?.type !== "tool_use") return block
      const call = calls.shift()
      return call === undefined ? block : { ...block, input: inputOf(call) }
    })
    if (calls.length === 0) return blocks
  }
  return [
    ...(reasoning === undefined ? [] : [{ type: "thinking", thinking: reasoning, signature: "" }]),
    ...(text === "" ? [] : [{ type: "text", text }]),
    ...toolCalls.map((call) => ({ type: "tool_use", id: call.id, name: call.name, input: inputOf(call) }))
  ]
}

/**
 * The codec of Messages.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codec: Codec = {
  encoder: (origin) => Frames.encoder(origin, writer(origin)),
  body: (answer, origin) =>
    messageOf(Frames.namesOf(origin, answer), blocksOf(answer), reasons[answer.finishReason], usageOf(answer.usage))
}
