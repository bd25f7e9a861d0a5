/**
 * OpenAI responses: named events with a `sequence_number`, items nested in a response, `response.completed` or
 * `response.incomplete` last and no `[DONE]`.
 *
 * A stream that was asked for with `background: true` is kept: `GET …/responses/{id}?stream=true&starting_after=n`
 * returns its events after number n.
 *
 * @since 0.1.0
 */

import type * as Step from "../Step.js"
import * as Wire from "./Wire.js"

const usage = (reply: Step.Reply, context: Wire.Context) => {
  const counts = Wire.usageOf(reply, context.request)
  return {
    input_tokens: counts.inputTokens,
    input_tokens_details: { cached_tokens: counts.cachedTokens, ...Wire.cacheWrites(counts.cacheWriteTokens) },
    output_tokens: counts.outputTokens,
    output_tokens_details: { reasoning_tokens: counts.reasoningTokens },
    total_tokens: counts.inputTokens + counts.outputTokens
  }
}

const isCut = (reply: Step.Reply): boolean => reply.finish === "length" || reply.finish === "content-filter"

/**
 * The response object. `output` and `usage` are filled only at the end, `error` only on failure.
 *
 * @since 0.1.0
 * @category rendering
 */
export const response = (
  reply: Step.Reply,
  context: Wire.Context,
  fields: Readonly<Record<string, unknown>> & { readonly status: string }
) => ({
  id: Wire.id("resp_", context.index),
  object: "response",
  background: Wire.field(context.request.body, "background") === true,
  created_at: Math.floor(context.now / 1000),
  error: null,
  incomplete_details: null,
  instructions: null,
  max_output_tokens: null,
  model: Wire.modelName(reply, context),
  output: [],
  parallel_tool_calls: true,
  previous_response_id: null,
  reasoning: { effort: null, summary: null },
  store: Wire.field(context.request.body, "store") ?? false,
  temperature: 1,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_p: 1,
  truncation: "disabled",
  usage: null,
  user: null,
  metadata: {},
  ...fields
})

const item = (part: Step.Part, position: number, reply: Step.Reply, context: Wire.Context) => {
  const status = isCut(reply) ? "incomplete" : "completed"
  switch (part._tag) {
    case "Text":
    case "Refusal":
      return {
        id: Wire.id("msg_", context.index, position),
        type: "message",
        status,
        role: "assistant",
        content: [part._tag === "Text" ? outputText(part.chunks.join("")) : refusal(part.chunks.join(""))]
      }
    case "Reasoning":
      return {
        id: Wire.id("rs_", context.index, position),
        type: "reasoning",
        summary: [{ type: "summary_text", text: part.chunks.join("") }]
      }
    case "ToolCall":
      return {
        id: Wire.id("fc_", context.index, position),
        type: "function_call",
        status: "completed",
        call_id: part.id ?? Wire.id("call_", context.index, position),
        name: part.name,
        arguments: part.arguments
      }
  }
}

const outputText = (text: string) => ({ type: "output_text", text, annotations: [], logprobs: [] })

const refusal = (text: string) => ({ type: "refusal", refusal: text })

const finished = (reply: Step.Reply, context: Wire.Context) =>
  response(reply, context, {
    status: isCut(reply) ? "incomplete" : "completed",
    incomplete_details: isCut(reply)
      ? { reason: reply.finish === "length" ? "max_output_tokens" : "content_filter" }
      : null,
    output: reply.parts.map((part, position) => item(part, position, reply, context)),
    usage: usage(reply, context)
  })

type Event = { readonly type: string; readonly token?: boolean } & Readonly<Record<string, unknown>>

const partEvents = (part: Step.Part, index: number, reply: Step.Reply, context: Wire.Context): Array<Event> => {
  const whole = item(part, index, reply, context)
  const at = { item_id: whole.id, output_index: index }
  const added = (fields: Readonly<Record<string, unknown>>): Event => ({
    type: "response.output_item.added",
    output_index: index,
    item: { ...whole, ...fields }
  })
  const done: Event = { type: "response.output_item.done", output_index: index, item: whole }
  switch (part._tag) {
    case "Text": {
      const text = part.chunks.join("")
      const here = { ...at, content_index: 0 }
      return [
        added({ status: "in_progress", content: [] }),
        { type: "response.content_part.added", ...here, part: outputText("") },
        ...part.chunks.map(
          (delta): Event => ({ type: "response.output_text.delta", ...here, delta, logprobs: [], token: true })
        ),
        { type: "response.output_text.done", ...here, text, logprobs: [] },
        { type: "response.content_part.done", ...here, part: outputText(text) },
        done
      ]
    }
    case "Refusal": {
      const text = part.chunks.join("")
      const here = { ...at, content_index: 0 }
      return [
        added({ status: "in_progress", content: [] }),
        { type: "response.content_part.added", ...here, part: refusal("") },
        ...part.chunks.map((delta): Event => ({ type: "response.refusal.delta", ...here, delta, token: true })),
        { type: "response.refusal.done", ...here, refusal: text },
        { type: "response.content_part.done", ...here, part: refusal(text) },
        done
      ]
    }
    case "Reasoning": {
      const text = part.chunks.join("")
      const here = { ...at, summary_index: 0 }
      return [
        added({ summary: [] }),
        { type: "response.reasoning_summary_part.added", ...here, part: { type: "summary_text", text: "" } },
        ...part.chunks.map(
          (delta): Event => ({ type: "response.reasoning_summary_text.delta", ...here, delta, token: true })
        ),
        { type: "response.reasoning_summary_text.done", ...here, text },
        { type: "response.reasoning_summary_part.done", ...here, part: { type: "summary_text", text } },
        done
      ]
    }
    case "ToolCall":
      return [
        added({ status: "in_progress", arguments: "" }),
        ...Wire.argumentPieces(part.arguments).map(
          (delta): Event => ({ type: "response.function_call_arguments.delta", ...at, delta, token: true })
        ),
        { type: "response.function_call_arguments.done", ...at, arguments: part.arguments },
        done
      ]
  }
}

/**
 * Frames of events, numbered from `from`.
 *
 * @since 0.1.0
 * @category rendering
 */
export const number = (events: ReadonlyArray<Event>, from = 0): ReadonlyArray<Wire.Frame> =>
  events.map(({ token, type, ...fields }, i) =>
    Wire.event({ type, sequence_number: from + i, ...fields }, { name: type, token: token ?? false })
  )

const json = (reply: Step.Reply, context: Wire.Context) =>
  context.kept === undefined ? finished(reply, context) : finished(context.kept.reply, context.kept.context)

const frames = (reply: Step.Reply, context: Wire.Context): ReadonlyArray<Wire.Frame> => {
  // The number of an event is its position.
  if (context.kept !== undefined) return frames(context.kept.reply, context.kept.context).slice(context.kept.after + 1)
  const started = response(reply, context, { status: "in_progress" })
  return number([
    { type: "response.created", response: started },
    { type: "response.in_progress", response: started },
    ...reply.parts.flatMap((part, index) => partEvents(part, index, reply, context)),
    { type: isCut(reply) ? "response.incomplete" : "response.completed", response: finished(reply, context) }
  ])
}

/**
 * @since 0.1.0
 * @category rendering
 */
export const renderer: Wire.Renderer = { json, frames }
