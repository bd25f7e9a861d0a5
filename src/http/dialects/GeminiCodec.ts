/**
 * Answers of Gemini's `generateContent`. Each frame of a stream is a body with the next parts.
 *
 * Gotchas: the stream has no terminator: the finish reason is its end. A frame has `data:` alone, because Google's
 * client drops a block that begins otherwise.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as Frames from "./Frames.js"

const wire = "gemini"

const reasons: { readonly [K in Chat.FinishReason]: string } = {
  stop: "STOP",
  length: "MAX_TOKENS",
  "tool-calls": "STOP",
  other: "STOP"
}

/** Thoughts are counted apart from the candidate. */
const usageOf = (usage: Chat.Usage | undefined): object => {
  if (usage === undefined) return {}
  const { cachedInputTokens: cached, inputTokens, outputTokens, reasoningTokens: thoughts } = usage
  return {
    usageMetadata: {
      promptTokenCount: inputTokens,
      candidatesTokenCount: outputTokens - (thoughts ?? 0),
      totalTokenCount: inputTokens + outputTokens,
      ...(thoughts === undefined ? {} : { thoughtsTokenCount: thoughts }),
      ...(cached === undefined ? {} : { cachedContentTokenCount: cached })
    }
  }
}

const callOf = (call: Chat.ToolCall): object => {
  const { thoughtSignature } = Frames.replyOf(call.providerData, wire)
  return {
    functionCall: { id: call.id, name: call.name, args: call.arguments ?? {} },
    ...(thoughtSignature === undefined ? {} : { thoughtSignature })
  }
}

const bodyOf = (names: Frames.Names, parts: ReadonlyArray<object>, reason?: string, more: object = {}) => ({
  candidates: [
    { content: { role: "model", parts }, index: 0, ...(reason === undefined ? {} : { finishReason: reason }) }
  ],
  ...more,
  modelVersion: names.model,
  responseId: names.id
})

const writer =
  (origin: Origin) =>
  (names: Frames.Names): Frames.Writer => {
    const part = (one: object): string => Frames.data(bodyOf(names, [one]))
    return {
      first: () => "",
      text: (text) => part({ text }),
      reasoning: (text) => part({ text, thought: true }),
      toolCall: (call) => part(callOf(call)),
      finish: ({ reason }, usage) => Frames.data(bodyOf(names, [{ text: "" }], reasons[reason], usageOf(usage))),
      fail: (error) => {
        const { grpc, message, status } = ErrorResponse.factsOf(error, { ...origin, dialect: "gemini" })
        return Frames.data({ error: { code: status, message, status: grpc } })
      },
      failsLate: false
    }
  }

/**
 * The codec of `generateContent`.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codec: Codec = {
  encoder: (origin) => Frames.encoder(origin, writer(origin)),
  body: (answer, origin) => {
    const { finishReason, reasoning, text, toolCalls, usage } = answer
    const parts = [
      ...(reasoning === undefined ? [] : [{ text: reasoning, thought: true }]),
      ...(text === "" && toolCalls.length > 0 ? [] : [{ text }]),
      ...toolCalls.map(callOf)
    ]
    return bodyOf(Frames.namesOf(origin, answer), parts, reasons[finishReason], usageOf(usage))
  }
}
