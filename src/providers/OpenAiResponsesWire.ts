/**
 * The wire format of OpenAI's Responses API, for `OpenAiResponses`.
 *
 * A request becomes a list of input items and an answer is a list of output items; in a stream every event has a
 * number. With `background: true` in the request the provider keeps the events, and a broken stream is resumed after
 * the last delivered event: nothing is generated, or paid, twice.
 *
 * Gotchas: `stop` and `seed` have no counterpart and are left out. `generate` does not send `background`, because the
 * provider would answer before the text is generated. A stream counts as kept only if the provider's response says
 * `background: true`.
 *
 * @since 0.1.0
 */

import type * as Chat from "../chat/Chat.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import { ContentFiltered, InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

const encodePart = (part: WireFormat.UserPart): Json.Json =>
  part.type === "text"
    ? { type: "input_text", text: part.text }
    : { type: "input_image", image_url: WireFormat.imageUrl(part) }

/** System messages stay where they are: `instructions` would move them all to the front. */
const encodeMessage = (message: Chat.Message): ReadonlyArray<Json.Json> => {
  switch (message.role) {
    case "system":
      return [message]
    case "user":
      return [
        {
          role: "user",
          content: typeof message.content === "string" ? message.content : message.content.map(encodePart)
        }
      ]
    case "assistant": {
      const calls = (message.toolCalls ?? []).map((call) => ({
        type: "function_call",
        call_id: call.id,
        name: call.name,
        arguments: JSON.stringify(call.arguments ?? {})
      }))
      return message.content === "" && calls.length > 0
        ? calls
        : [{ role: "assistant", content: [{ type: "output_text", text: message.content }] }, ...calls]
    }
    case "tool":
      return [{ type: "function_call_output", call_id: message.toolCallId, output: message.content }]
  }
}

const encodeFormat = (format: NonNullable<Chat.Request["responseFormat"]>): Json.Json =>
  format.type === "json"
    ? { type: "json_object" }
    : { type: "json_schema", name: format.name, schema: format.schema, strict: format.strict ?? true }

const encode =
  (provider: string, model: string) =>
  (request: Chat.Request, streaming: boolean): Json.Json => {
    const { background, ...options } = Json.object(request.providerOptions?.[provider])
    const text = {
      ...(request.responseFormat === undefined ? {} : { format: encodeFormat(request.responseFormat) }),
      ...Json.object(options.text)
    }
    return {
      ...Json.compact({
        model,
        input: request.messages.flatMap(encodeMessage),
        max_output_tokens: request.maxTokens,
        temperature: request.temperature,
        top_p: request.topP,
        metadata: request.metadata,
        // `strict` is on by default here and off in Chat Completions. Off is sent, so that both read a request alike.
        tools: request.tools?.map(({ name, description, parameters, strict }) =>
          Json.compact({ type: "function", name, description, parameters, strict: strict ?? false })
        ),
        tool_choice:
          typeof request.toolChoice === "object"
            ? { type: "function", name: request.toolChoice.name }
            : request.toolChoice,
        stream: streaming ? true : undefined,
        // This API stores answers for 30 days by default. Here only streams that may be resumed are stored, unless the
        // provider options ask for it.
        store: streaming && background === true,
        background: streaming ? background : undefined
      }),
      ...options,
      ...(Object.keys(text).length === 0 ? {} : { text })
    }
  }

// -----------------------------------------------------------------------------
// decode
// -----------------------------------------------------------------------------

const decodeUsage = (u: unknown): Chat.Usage | undefined => {
  const usage = Json.object(u)
  return WireFormat.usage(
    Json.count(usage.input_tokens),
    Json.count(usage.output_tokens),
    Json.count(Json.object(usage.input_tokens_details).cached_tokens),
    Json.count(Json.object(usage.output_tokens_details).reasoning_tokens)
  )
}

/** Joins the parts of the reasoning, which are paragraphs with their own headings. */
const paragraph = "\n\n"

const isThought = (part: Json.Json): boolean => part.type === "summary_text" || part.type === "reasoning_text"

interface Output {
  text: string
  reasoning: string
  refusal: string
  readonly toolCalls: Array<Chat.ToolCall>
}

/** The tool call in an item; `undefined` if the item is no tool call, or was cut at the token limit. */
const callOf = (
  context: WireFormat.Exchange,
  item: Json.Json,
  index: number
): Chat.ToolCall | InvalidResponse | undefined => {
  if (item.type !== "function_call" || item.status === "incomplete") return undefined
  const name = Json.string(item.name)
  if (name === undefined) return WireFormat.missing(context, `output[${index}].name`, item.name, "a string")
  if (item.arguments == null) {
    return WireFormat.missing(context, `output[${index}].arguments`, item.arguments, "a string")
  }
  return WireFormat.toolCall(context, {
    id: Json.string(item.call_id) ?? Json.string(item.id) ?? `call_${index}`,
    name,
    arguments: item.arguments
  })
}

const readOutput = (context: WireFormat.Exchange, items: unknown): Output | InvalidResponse => {
  const output: Output = { text: "", reasoning: "", refusal: "", toolCalls: [] }
  for (const [index, entry] of Json.array(items).entries()) {
    const item = Json.object(entry)
    const call = callOf(context, item, index)
    if (call instanceof InvalidResponse) return call
    if (call !== undefined) output.toolCalls.push(call)
    const reasoning = item.type === "reasoning"
    const parts = reasoning ? [...Json.array(item.summary), ...Json.array(item.content)] : Json.array(item.content)
    for (const one of parts) {
      const part = Json.object(one)
      const text = Json.string(part.text) ?? ""
      if (reasoning) output.reasoning += output.reasoning === "" ? text : paragraph + text
      else if (part.type === "refusal") output.refusal += Json.string(part.refusal) ?? text
      else if (item.type === "message") output.text += text
    }
  }
  return output
}

const refused = (context: WireFormat.Exchange, refusal: string): ContentFiltered =>
  new ContentFiltered({
    ...WireFormat.errorFields(context, `the model refused: ${refusal.slice(0, 400)}`),
    code: "refusal"
  })

const finishOf = (response: Json.Json, incomplete: boolean, toolCalls: number): Chat.FinishReason => {
  if (!incomplete) return toolCalls > 0 ? "tool-calls" : "stop"
  const reason = Json.string(Json.object(response.incomplete_details).reason)
  return Classify.finishReason(reason) === "length" ? "length" : "other"
}

const decode = (body: Json.Json, context: WireFormat.Exchange): Chat.Response | LlmError => {
  if (!Array.isArray(body.output)) return WireFormat.missing(context, "output", body.output, "an array")
  if (body.status === "queued" || body.status === "in_progress") {
    return WireFormat.missing(context, `output (${body.status})`, undefined, "a whole answer")
  }
  const output = readOutput(context, body.output)
  if (output instanceof InvalidResponse) return output
  if (output.refusal !== "") return refused(context, output.refusal)
  return {
    ...WireFormat.origin(context, body.id, body.model),
    text: output.text,
    ...Json.optional("reasoning", output.reasoning),
    toolCalls: output.toolCalls,
    finishReason: finishOf(body, body.status === "incomplete", output.toolCalls.length),
    ...Json.optional("usage", decodeUsage(body.usage))
  }
}

/** An id that is safe in a path. */
const safeId = /^[\w-]+$/

/** The output of an event depends only on events that a resumed stream sees too. */
const decoder = (context: WireFormat.Exchange, from?: StreamDecoder.Cursor): StreamDecoder.Decoder => {
  const seen = from?.resume?.after ?? -1
  /** Whether the stream is resumed: then an earlier stream delivered the beginning of the answer. */
  const resumed = seen >= 0
  const called = new Set<string>()
  let id = from?.resume?.id
  let kept = id !== undefined
  let after = seen
  let inside: StreamDecoder.Cursor["inside"] = from?.inside ?? "nothing"
  let started = resumed
  let texted = resumed
  let reasoned = resumed
  let refusal = ""
  let finish: Chat.FinishReason | undefined
  let usage: Chat.Usage | undefined
  let progress = 0

  const addText = (text: string, out: Array<Chat.Event>): void => {
    if (text === "") return
    inside = "text"
    texted = true
    out.push({ _tag: "TextDelta", text })
  }

  const addReasoning = (text: string, out: Array<Chat.Event>): void => {
    if (text === "") return
    inside = "reasoning"
    reasoned = true
    out.push({ _tag: "ReasoningDelta", text })
  }

  const addCall = (call: Chat.ToolCall, out: Array<Chat.Event>): void => {
    if (called.has(call.id)) return
    called.add(call.id)
    out.push({ _tag: "ToolCall", ...call })
  }

  /** The last event repeats the whole answer: parts that the server did not stream are read from it. */
  const complete = (response: Json.Json, incomplete: boolean, out: Array<Chat.Event>): LlmError | undefined => {
    const output = readOutput(context, response.output)
    if (output instanceof InvalidResponse) return output
    refusal = output.refusal === "" ? refusal : output.refusal
    if (refusal !== "") return refused(context, refusal)
    if (!reasoned) addReasoning(output.reasoning, out)
    if (!texted) addText(output.text, out)
    if (!resumed) for (const call of output.toolCalls) addCall(call, out)
    finish = finishOf(response, incomplete, Math.max(called.size, output.toolCalls.length))
    return undefined
  }

  const read = (type: string | undefined, data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
    const delta = Json.string(data.delta) ?? ""
    const item = Json.object(data.item)
    if (delta !== "" || data.item !== undefined || type?.includes("_call.") === true) progress++
    switch (type) {
      case "response.output_text.delta":
        addText(delta, out)
        return undefined
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        addReasoning(delta, out)
        return undefined
      case "response.reasoning_summary_part.added":
      case "response.content_part.added":
        if (reasoned && isThought(Json.object(data.part))) addReasoning(paragraph, out)
        return undefined
      case "response.refusal.delta":
        refusal += delta
        return undefined
      case "response.output_item.added":
        if (item.type === "function_call") inside = "tool-call"
        return undefined
      case "response.function_call_arguments.delta":
        inside = "tool-call"
        return undefined
      case "response.output_item.done": {
        inside = "nothing"
        const call = callOf(context, item, Json.count(data.output_index) ?? called.size)
        if (call instanceof InvalidResponse) return call
        if (call !== undefined) addCall(call, out)
        return undefined
      }
      case "response.completed":
      case "response.incomplete":
        return complete(Json.object(data.response), type === "response.incomplete", out)
      default:
        return undefined
    }
  }

  const event = (data: Json.Json, name: string | undefined, out: Array<Chat.Event>): LlmError | undefined => {
    const number = Json.count(data.sequence_number)
    if (resumed && number !== undefined && number <= seen) return undefined
    const type = Json.string(data.type) ?? name
    const response = Json.object(data.response)
    usage = decodeUsage(response.usage) ?? usage
    const error = Classify.event(context, data, name)
    if (error !== undefined) return error
    if (type === "response.cancelled") return Classify.event(context, { ...data, type: "response.failed" })
    id = Json.string(response.id) ?? id
    if (response.background === true) kept = true
    if (!started && type?.startsWith("response.") === true) {
      started = true
      out.push({ _tag: "Start", ...WireFormat.origin(context, id, response.model) })
    }
    after = number ?? after
    return read(type, data, out)
  }

  return {
    push: (sent, out) => {
      if (sent.data === "[DONE]") return undefined
      const data = Json.parse(sent.data)
      if (data === undefined) {
        return sent.stray ? undefined : WireFormat.missing(context, "data", sent.data.slice(0, 200), "JSON")
      }
      const error = sent.stray ? Classify.event(context, data, sent.event) : event(Json.object(data), sent.event, out)
      // An answer that the provider ended with an error cannot be resumed.
      if (error !== undefined) kept = false
      return error
    },
    done: () => finish !== undefined,
    end: (out) => {
      if (finish === undefined) return undefined
      WireFormat.finish(out, usage, finish)
      return undefined
    },
    cursor: () => ({ inside, usage, resume: kept && id !== undefined && safeId.test(id) ? { id, after } : undefined }),
    progress: () => progress
  }
}

/** The URL of the rest of a kept answer, or of the whole answer if no event was delivered (`after` is -1). */
const resume: WireFormat.WireFormat["resume"] = (url, { after, id }) => {
  const rest = new URL(url)
  rest.pathname += `/${id}`
  rest.searchParams.set("stream", "true")
  if (after >= 0) rest.searchParams.set("starting_after", String(after))
  return rest.href
}

/**
 * The Responses API of a provider. Its rate limit headers are those of Chat Completions.
 *
 * @since 0.1.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => ({ encode: encode(provider, model), decode, decoder, limits, resume })
