/**
 * Gemini generate content: data-only events ended by CRLF, whole function calls, usage on every chunk, a chunk with a
 * finish reason last and no terminator after it. Without `alt=sse` the stream is a JSON array.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"
import * as Wire from "./Wire.js"

const finishReasons: Readonly<Record<Step.FinishReason, string>> = {
  stop: "STOP",
  length: "MAX_TOKENS",
  // Gemini has no finish reason for a function call.
  "tool-calls": "STOP",
  "content-filter": "SAFETY"
}

const usage = (reply: Step.Reply, context: Wire.Context) => {
  const counts = Wire.usageOf(reply, context.request)
  return {
    promptTokenCount: counts.inputTokens,
    candidatesTokenCount: counts.outputTokens - counts.reasoningTokens,
    totalTokenCount: counts.inputTokens + counts.outputTokens,
    ...(counts.reasoningTokens === 0 ? {} : { thoughtsTokenCount: counts.reasoningTokens }),
    ...(counts.cachedTokens === 0 ? {} : { cachedContentTokenCount: counts.cachedTokens })
  }
}

const parseArguments = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    return {}
  }
}

const functionCall = (part: Extract<Step.Part, { readonly _tag: "ToolCall" }>) => ({
  functionCall: {
    ...(part.id === undefined ? {} : { id: part.id }),
    name: part.name,
    args: parseArguments(part.arguments)
  }
})

const finishReason = (reply: Step.Reply): string => (Wire.isRefusal(reply) ? "SAFETY" : finishReasons[reply.finish])

/** The parts that are sent: a refusal has no words. */
const spoken = (reply: Step.Reply) => reply.parts.filter((part) => part._tag !== "Refusal")

type Spoken = Exclude<Step.Part, { readonly _tag: "Refusal" }>

const whole = (part: Spoken): unknown => {
  switch (part._tag) {
    case "Text":
      return { text: part.chunks.join("") }
    case "Reasoning":
      return { text: part.chunks.join(""), thought: true }
    case "ToolCall":
      return functionCall(part)
  }
}

const pieces = (part: Spoken): ReadonlyArray<unknown> => {
  switch (part._tag) {
    case "Text":
      return part.chunks.map((text) => ({ text }))
    case "Reasoning":
      return part.chunks.map((text) => ({ text, thought: true }))
    case "ToolCall":
      return [functionCall(part)]
  }
}

const tail = (reply: Step.Reply, context: Wire.Context) => ({
  usageMetadata: usage(reply, context),
  modelVersion: Wire.modelName(reply, context),
  responseId: Wire.id("", context.index)
})

const candidates = (parts: ReadonlyArray<unknown>, finishReason: string | undefined) => ({
  candidates: [
    {
      ...(parts.length === 0 ? {} : { content: { parts, role: "model" } }),
      ...(finishReason === undefined ? {} : { finishReason }),
      index: 0
    }
  ]
})

const json = (reply: Step.Reply, context: Wire.Context): unknown => ({
  ...candidates(spoken(reply).map(whole), finishReason(reply)),
  ...tail(reply, context)
})

const frames = (reply: Step.Reply, context: Wire.Context): ReadonlyArray<Wire.Frame> => {
  const end = tail(reply, context)
  // A blocked answer ends without content.
  const isBlocked = reply.finish === "content-filter" || Wire.isRefusal(reply)
  const last = candidates(isBlocked ? [] : [{ text: "" }], finishReason(reply))
  const chunks = [
    ...spoken(reply)
      .flatMap(pieces)
      .map((part) => ({ data: { ...candidates([part], undefined), ...end }, token: true })),
    { data: { ...last, ...end }, token: false }
  ]
  if (context.request.sse) {
    return chunks.map(({ data, token }) => ({ data: `data: ${JSON.stringify(data)}\r\n\r\n`, token }))
  }
  return chunks.map(({ data, token }, i) => ({
    data: `${i === 0 ? "[" : ",\r\n"}${JSON.stringify(data)}${i === chunks.length - 1 ? "]" : ""}`,
    token
  }))
}

/**
 * @since 0.1.0
 * @category rendering
 */
export const renderer: Wire.Renderer = { json, frames }
