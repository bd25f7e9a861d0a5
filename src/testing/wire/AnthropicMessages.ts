/**
 * Anthropic messages: named events, content blocks that start and stop, a ping, `message_stop` last. A refusal is a
 * stop reason, not an error.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"
import * as Wire from "./Wire.js"

const stopReasons: Readonly<Record<Step.FinishReason, string>> = {
  stop: "end_turn",
  length: "max_tokens",
  "tool-calls": "tool_use",
  "content-filter": "refusal"
}

// A signature is opaque base64; clients send it back unread.
const signature = "c3RlYWRmYXN0LXNpZ25hdHVyZQ=="

const usage = (reply: Step.Reply, context: Wire.Context) => {
  const counts = Wire.usageOf(reply, context.request)
  return {
    input_tokens: counts.inputTokens - counts.cachedTokens - counts.cacheWriteTokens,
    cache_creation_input_tokens: counts.cacheWriteTokens,
    cache_creation: {
      ephemeral_5m_input_tokens: counts.cacheWriteTokens - counts.cacheWriteHourTokens,
      ephemeral_1h_input_tokens: counts.cacheWriteHourTokens
    },
    cache_read_input_tokens: counts.cachedTokens,
    output_tokens: counts.outputTokens,
    service_tier: "standard"
  }
}

const parseInput = (json: string): unknown => {
  try {
    return JSON.parse(json)
  } catch {
    // Broken arguments cannot be part of a JSON body; only a stream can carry them.
    return {}
  }
}

const stopReason = (reply: Step.Reply): string => (Wire.isRefusal(reply) ? "refusal" : stopReasons[reply.finish])

const block = (part: Step.Part, position: number, context: Wire.Context): Readonly<Record<string, unknown>> => {
  switch (part._tag) {
    case "Text":
    case "Refusal":
      return { type: "text", text: part.chunks.join("") }
    case "Reasoning":
      return { type: "thinking", thinking: part.chunks.join(""), signature }
    case "ToolCall":
      return {
        type: "tool_use",
        id: part.id ?? Wire.id("toolu_", context.index, position),
        name: part.name,
        input: parseInput(part.arguments)
      }
  }
}

const message = (reply: Step.Reply, context: Wire.Context, fields: Readonly<Record<string, unknown>>) => ({
  id: Wire.id("msg_", context.index),
  type: "message",
  role: "assistant",
  model: Wire.modelName(reply, context),
  ...fields
})

const json = (reply: Step.Reply, context: Wire.Context): unknown =>
  message(reply, context, {
    content: reply.parts.map((part, position) => block(part, position, context)),
    stop_reason: stopReason(reply),
    stop_sequence: null,
    usage: usage(reply, context)
  })

const named = (
  type: string,
  fields: Readonly<Record<string, unknown>>,
  options: { readonly token?: boolean } = {}
): Wire.Frame => Wire.event({ type, ...fields }, { name: type, ...options })

/**
 * A `ping` event, which has no content.
 *
 * @since 0.1.0
 * @category rendering
 */
export const ping: Wire.Frame = named("ping", {})

const blockFrames = (part: Step.Part, index: number, context: Wire.Context): ReadonlyArray<Wire.Frame> => {
  const delta = (fields: Readonly<Record<string, unknown>>, token: boolean): Wire.Frame =>
    named("content_block_delta", { index, delta: fields }, { token })
  const start = (fields: Readonly<Record<string, unknown>>): Wire.Frame =>
    named("content_block_start", { index, content_block: { ...block(part, index, context), ...fields } })
  const stop = named("content_block_stop", { index })
  switch (part._tag) {
    case "Text":
    case "Refusal":
      return [start({ text: "" }), ...part.chunks.map((text) => delta({ type: "text_delta", text }, true)), stop]
    case "Reasoning":
      return [
        start({ thinking: "", signature: "" }),
        ...part.chunks.map((thinking) => delta({ type: "thinking_delta", thinking }, true)),
        delta({ type: "signature_delta", signature }, false),
        stop
      ]
    case "ToolCall":
      return [
        start({ input: {} }),
        delta({ type: "input_json_delta", partial_json: "" }, false),
        ...Wire.argumentPieces(part.arguments).map((piece) =>
          delta({ type: "input_json_delta", partial_json: piece }, true)
        ),
        stop
      ]
  }
}

const frames = (reply: Step.Reply, context: Wire.Context): ReadonlyArray<Wire.Frame> => {
  const counts = usage(reply, context)
  const blocks = reply.parts.map((part, index) => blockFrames(part, index, context))
  const [first, ...rest] = blocks.flat()
  return [
    named("message_start", {
      message: message(reply, context, {
        content: [],
        stop_reason: null,
        stop_sequence: null,
        usage: { ...counts, output_tokens: Math.min(1, counts.output_tokens) }
      })
    }),
    // The first ping comes right after the first block has begun.
    ...(first === undefined ? [ping] : [first, ping, ...rest]),
    named("message_delta", {
      delta: { stop_reason: stopReason(reply), stop_sequence: null },
      usage: { output_tokens: counts.output_tokens }
    }),
    named("message_stop", {})
  ]
}

/**
 * Renders replies as Anthropic messages.
 *
 * @since 0.1.0
 * @category rendering
 */
export const renderer: Wire.Renderer = { json, frames }
