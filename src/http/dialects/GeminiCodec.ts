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

type Part = Readonly<Record<string, unknown>>

/** The parts of an answer as they came, but for its calls; none if they came in another wire. */
const keptParts = (providerData: Chat.ProviderData | undefined): ReadonlyArray<Part> => {
  const { parts } = Frames.replyOf(providerData, wire)
  return Array.isArray(parts) ? parts.filter((part) => typeof part === "object" && part !== null) : []
}

const isText = (part: Part): boolean => typeof part.text === "string" && part.thought !== true

/**
 * The parts of an answer: as they came, with their signatures, if they say what the answer says. Its calls have their
 * own.
 */
const partsOf = ({ providerData, text, toolCalls }: Chat.Response): ReadonlyArray<object> => {
  const kept = keptParts(providerData)
  const calls = toolCalls.map(callOf)
  const texts = kept.filter(isText).map((part) => part.text)
  const called = kept.filter((part) => part.functionCall !== undefined)
  if (kept.length > 0 && texts.join("") === text && called.length === calls.length) {
    return kept.map((part) => (part.functionCall === undefined ? part : (calls.shift() ?? part)))
  }
  return [...(text === "" && calls.length > 0 ? [] : [{ text }]), ...calls]
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
      finish: ({ providerData, reason }, usage) => {
        // The signature of a streamed text stands in an empty part at its end, as in Gemini's own streams.
        const signed = keptParts(providerData).filter((part) => isText(part) && part.thoughtSignature !== undefined)
        const thoughtSignature = signed[signed.length - 1]?.thoughtSignature
        const last = { text: "", ...(thoughtSignature === undefined ? {} : { thoughtSignature }) }
        return Frames.data(bodyOf(names, [last], reasons[reason], usageOf(usage)))
      },
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
    const { finishReason, reasoning, usage } = answer
    const thoughts = reasoning === undefined ? [] : [{ text: reasoning, thought: true }]
    const parts = [...thoughts, ...partsOf(answer)]
    return bodyOf(Frames.namesOf(origin, answer), parts, reasons[finishReason], usageOf(usage))
  }
}
