/**
 * OpenAI chat completions, and the many servers that speak it: data-only events, a role chunk first, the usage chunk
 * only when `stream_options.include_usage` asks for it, `[DONE]` last.
 *
 * Thoughts are in `reasoning_content`, a field of DeepSeek: OpenAI itself sends no thoughts in this format.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"
import * as Wire from "./Wire.js"

const finishReasons: Readonly<Record<Step.FinishReason, string>> = {
  stop: "stop",
  length: "length",
  "tool-calls": "tool_calls",
  "content-filter": "content_filter"
}

const usage = (reply: Step.Reply, context: Wire.Context) => {
  const counts = Wire.usageOf(reply, context.request)
  return {
    prompt_tokens: counts.inputTokens,
    completion_tokens: counts.outputTokens,
    total_tokens: counts.inputTokens + counts.outputTokens,
    prompt_tokens_details: {
      cached_tokens: counts.cachedTokens,
      ...Wire.cacheWrites(counts.cacheWriteTokens),
      audio_tokens: 0
    },
    completion_tokens_details: {
      reasoning_tokens: counts.reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0
    }
  }
}

const envelope = (object: string, reply: Step.Reply, context: Wire.Context) => ({
  id: Wire.id("chatcmpl-", context.index),
  object,
  created: Math.floor(context.now / 1000),
  model: Wire.modelName(reply, context)
})

const tools = (reply: Step.Reply) => reply.parts.filter((part) => part._tag === "ToolCall")

const toolId = (call: { readonly id?: string | undefined }, context: Wire.Context, item: number): string =>
  call.id ?? Wire.id("call_", context.index, item)

const json = (reply: Step.Reply, context: Wire.Context): unknown => {
  const text = Wire.join(reply, "Text")
  const thoughts = Wire.join(reply, "Reasoning")
  const calls = tools(reply)
  return {
    ...envelope("chat.completion", reply, context),
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: text === "" && (calls.length > 0 || Wire.isRefusal(reply)) ? null : text,
          ...(thoughts === "" ? {} : { reasoning_content: thoughts }),
          ...(calls.length === 0
            ? {}
            : {
                tool_calls: calls.map((call, item) => ({
                  id: toolId(call, context, item),
                  type: "function",
                  function: { name: call.name, arguments: call.arguments }
                }))
              }),
          refusal: Wire.isRefusal(reply) ? Wire.join(reply, "Refusal") : null,
          annotations: []
        },
        logprobs: null,
        finish_reason: finishReasons[reply.finish]
      }
    ],
    usage: usage(reply, context),
    service_tier: "default",
    system_fingerprint: "fp_0000000000"
  }
}

const deltas = (reply: Step.Reply, context: Wire.Context): ReadonlyArray<unknown> => {
  const calls = tools(reply)
  const ofPart = (part: Step.Part): ReadonlyArray<unknown> => {
    switch (part._tag) {
      case "Text":
        return part.chunks.map((content) => ({ content }))
      case "Reasoning":
        return part.chunks.map((reasoning_content) => ({ reasoning_content }))
      case "Refusal":
        return part.chunks.map((refusal) => ({ refusal }))
      case "ToolCall": {
        const index = calls.indexOf(part)
        const id = toolId(part, context, index)
        return [
          { tool_calls: [{ index, id, type: "function", function: { name: part.name, arguments: "" } }] },
          ...Wire.argumentPieces(part.arguments).map((piece) => ({
            tool_calls: [{ index, function: { arguments: piece } }]
          }))
        ]
      }
    }
  }
  return reply.parts.flatMap(ofPart)
}

const frames = (reply: Step.Reply, context: Wire.Context): ReadonlyArray<Wire.Frame> => {
  const base = {
    ...envelope("chat.completion.chunk", reply, context),
    service_tier: "default",
    system_fingerprint: "fp_0000000000"
  }
  const includeUsage = Wire.field(Wire.field(context.request.body, "stream_options"), "include_usage") === true
  const chunk = (delta: unknown, options: { readonly token?: boolean; readonly finish?: string } = {}): Wire.Frame =>
    Wire.event(
      {
        ...base,
        choices: [{ index: 0, delta, logprobs: null, finish_reason: options.finish ?? null }],
        ...(includeUsage ? { usage: null } : {})
      },
      { token: options.token ?? false }
    )
  return [
    chunk({ role: "assistant", content: "", refusal: null }),
    ...deltas(reply, context).map((delta) => chunk(delta, { token: true })),
    chunk({}, { finish: finishReasons[reply.finish] }),
    ...(includeUsage ? [Wire.event({ ...base, choices: [], usage: usage(reply, context) })] : []),
    done
  ]
}

/**
 * The end of a stream: `data: [DONE]`.
 *
 * @since 0.1.0
 * @category rendering
 */
export const done: Wire.Frame = { data: "data: [DONE]\n\n", token: false }

/**
 * @since 0.1.0
 * @category rendering
 */
export const renderer: Wire.Renderer = { json, frames }
