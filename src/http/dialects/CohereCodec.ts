/**
 * Answers of Cohere's `/v2/chat`.
 *
 * Gotchas: Cohere's client ends a stream at any line with `[DONE]` in it, also within a text, so that a text says it in
 * another form. A text before calls is content, and not a `tool_plan`: nobody knows that calls will follow it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as Frames from "./Frames.js"

const reasons: { readonly [K in Chat.FinishReason]: string } = {
  stop: "COMPLETE",
  length: "MAX_TOKENS",
  "tool-calls": "TOOL_CALL",
  other: "COMPLETE"
}

const usageOf = (usage: Chat.Usage | undefined): object => {
  if (usage === undefined) return {}
  const { cachedInputTokens: cached, inputTokens, outputTokens } = usage
  const tokens = { input_tokens: inputTokens, output_tokens: outputTokens }
  return {
    usage: { billed_units: tokens, tokens, ...(cached === undefined ? {} : { cached_tokens: cached }) }
  }
}

const frame = (type: string, more: object): string =>
  Frames.named(type, { type, ...more }).replaceAll("[DONE]", "[DONE\\u005d")

/** A change of the message. */
const change = (type: string, index: number, message: object): string => frame(type, { index, delta: { message } })

const writer =
  (origin: Origin) =>
  (names: Frames.Names): Frames.Writer => {
    const blocks = Frames.blocks({
      start: (index, kind) => change("content-start", index, { content: { type: kind, [kind]: "" } }),
      delta: (index, kind, text) => change("content-delta", index, { content: { [kind]: text } }),
      stop: (index) => frame("content-end", { index })
    })
    let calls = 0
    return {
      first: () =>
        frame("message-start", {
          id: names.id,
          delta: { message: { role: "assistant", content: [], tool_plan: "", tool_calls: [], citations: [] } }
        }),
      text: (text) => blocks.piece("text", text),
      reasoning: (text) => blocks.piece("thinking", text),
      toolCall: (call) => {
        const index = calls++
        const { function: whole, ...begun } = Frames.functionOf(call)
        return [
          blocks.close(),
          change("tool-call-start", index, { tool_calls: { ...begun, function: { ...whole, arguments: "" } } }),
          change("tool-call-delta", index, { tool_calls: { function: { arguments: whole.arguments } } }),
          frame("tool-call-end", { index })
        ].join("")
      },
      finish: ({ reason }, usage) =>
        [
          blocks.close(),
          frame("message-end", { id: names.id, delta: { finish_reason: reasons[reason], ...usageOf(usage) } }),
          Frames.done
        ].join(""),
      // Cohere's client fails at once at a frame without a type. One with an error in it looks like an end to some.
      fail: (error) => Frames.data({ error: ErrorResponse.factsOf(error, origin).message }),
      failsLate: false
    }
  }

/**
 * The codec of `/v2/chat`.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codec: Codec = {
  encoder: (origin) => Frames.encoder(origin, writer(origin)),
  body: (answer, origin) => {
    const { finishReason, reasoning, text, toolCalls, usage } = answer
    const thoughts = reasoning === undefined ? [] : [{ type: "thinking", thinking: reasoning }]
    const texts = text === "" && toolCalls.length > 0 ? [] : [{ type: "text", text }]
    return {
      id: Frames.namesOf(origin, answer).id,
      finish_reason: reasons[finishReason],
      message: {
        role: "assistant",
        content: [...thoughts, ...texts],
        ...(toolCalls.length === 0 ? {} : { tool_calls: toolCalls.map(Frames.functionOf) })
      },
      ...usageOf(usage)
    }
  }
}
