/**
 * OpenAI Chat Completions, the first wire format of `OpenAi`, which many servers speak.
 *
 * Gotchas: a stream ends with a finish reason; `[DONE]` alone is no answer. Of several choices, which `n` in the
 * provider's options asks for, the first is the answer.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import { InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

/**
 * The differences of a server that speaks Chat Completions.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  /** The server's base URL, if it is known. */
  readonly baseUrl?: string
  /** The name of the field for the most tokens of an answer. */
  readonly maxTokens: "max_tokens" | "max_completion_tokens"
  /** The name of the field for the seed. */
  readonly seed: "seed" | "random_seed"
  /** Whether usage is requested with `stream_options`; the other servers send it anyway, or refuse the field. */
  readonly streamUsage: boolean
  /** Whether a last message of the assistant is marked as the beginning of the answer. Default `false`. */
  readonly prefix?: boolean
}

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

const encodePart = (part: WireFormat.UserPart) =>
  part.type === "text" ? part : { type: "image_url", image_url: { url: WireFormat.imageUrl(part) } }

const encodeMessage = (message: Chat.Message): Json.Json => {
  switch (message.role) {
    case "system":
      return message
    case "user":
      return typeof message.content === "string"
        ? { role: "user", content: message.content }
        : { role: "user", content: message.content.map(encodePart) }
    case "assistant":
      return message.toolCalls === undefined || message.toolCalls.length === 0
        ? { role: "assistant", content: message.content }
        : {
            role: "assistant",
            content: message.content === "" ? null : message.content,
            tool_calls: message.toolCalls.map((call) => ({
              id: call.id,
              type: "function",
              function: { name: call.name, arguments: JSON.stringify(call.arguments ?? {}) }
            }))
          }
    case "tool":
      return { role: "tool", tool_call_id: message.toolCallId, content: message.content }
  }
}

/** Marks a last message of the assistant, which the model shall continue, for servers that ask for the mark. */
const encodeMessages = (messages: Chat.Request["messages"], dialect: Dialect): ReadonlyArray<Json.Json> =>
  messages.map((message, index) =>
    dialect.prefix === true && message.role === "assistant" && index === messages.length - 1
      ? { ...encodeMessage(message), prefix: true }
      : encodeMessage(message)
  )

const encodeFormat = (format: Chat.Request["responseFormat"]): unknown =>
  format === undefined
    ? undefined
    : format.type === "json"
      ? { type: "json_object" }
      : {
          type: "json_schema",
          json_schema: Json.compact({ name: format.name, schema: format.schema, strict: format.strict ?? true })
        }

const encode =
  (provider: string, model: string, dialect: Dialect) =>
  (request: Chat.Request, streaming: boolean): Json.Json => ({
    ...Json.compact({
      model,
      messages: encodeMessages(request.messages, dialect),
      [dialect.maxTokens]: request.maxTokens,
      temperature: request.temperature,
      top_p: request.topP,
      stop: request.stop,
      [dialect.seed]: request.seed,
      metadata: request.metadata,
      response_format: encodeFormat(request.responseFormat),
      tools: request.tools?.map(({ name, description, parameters, strict }) => ({
        type: "function",
        function: Json.compact({ name, description, parameters, strict })
      })),
      tool_choice:
        typeof request.toolChoice === "object"
          ? { type: "function", function: { name: request.toolChoice.name } }
          : request.toolChoice,
      stream: streaming ? true : undefined,
      stream_options: streaming && dialect.streamUsage ? { include_usage: true } : undefined
    }),
    ...request.providerOptions?.[provider]
  })

// -----------------------------------------------------------------------------
// decode
// -----------------------------------------------------------------------------

const decodeUsage = (u: unknown): Chat.Usage | undefined => {
  const usage = Json.object(u)
  return WireFormat.usage(
    Json.count(usage.prompt_tokens),
    Json.count(usage.completion_tokens),
    Json.count(Json.object(usage.prompt_tokens_details).cached_tokens) ?? Json.count(usage.prompt_cache_hit_tokens),
    Json.count(Json.object(usage.completion_tokens_details).reasoning_tokens)
  )
}

/** Content is a string, or (Mistral) a list of parts, some of which are text. */
const textOf = (content: unknown): string =>
  typeof content === "string"
    ? content
    : Json.array(content)
        .map((part) => Json.string(Json.object(part).text) ?? "")
        .join("")

const reasoningOf = (message: Json.Json): string | undefined =>
  Json.string(message.reasoning_content) ?? Json.string(message.reasoning)

const decode = (body: Json.Json, context: WireFormat.Exchange): Chat.Response | LlmError => {
  const choice = Json.object(Json.array(body.choices)[0])
  const message = Json.object(choice.message)
  if (message !== choice.message) return WireFormat.missing(context, "choices[0].message", choice.message, "an object")
  const toolCalls: Array<Chat.ToolCall> = []
  for (const [index, entry] of Json.array(message.tool_calls).entries()) {
    const call = Json.object(entry)
    const fn = Json.object(call.function)
    const name = Json.string(fn.name)
    if (name === undefined) {
      return WireFormat.missing(context, `choices[0].message.tool_calls[${index}].function.name`, fn.name, "a string")
    }
    const parsed = WireFormat.toolCall(context, {
      id: Json.text(call.id) ?? `call_${index}`,
      name,
      arguments: fn.arguments
    })
    if (parsed instanceof InvalidResponse) return parsed
    toolCalls.push(parsed)
  }
  return {
    ...WireFormat.origin(context, body.id, body.model),
    text: textOf(message.content),
    ...Json.optional("reasoning", reasoningOf(message)),
    toolCalls,
    finishReason: WireFormat.finishReason(Json.string(choice.finish_reason), toolCalls.length),
    ...Json.optional("usage", decodeUsage(body.usage))
  }
}

interface PartialCall {
  id: string
  name: string
  readonly arguments: Array<string>
}

const decoder = (context: WireFormat.Exchange): StreamDecoder.Decoder => {
  const calls = new Map<number, PartialCall>()
  let callCount = 0
  let started = false
  let inside: StreamDecoder.Cursor["inside"] = "nothing"
  let done = false
  let finish: string | undefined
  let usage: Chat.Usage | undefined
  let id: string | undefined
  let model: string | undefined
  let progress = 0

  /** Inserts `Start` before the first event, not earlier: Azure's first chunk has an empty id and model. */
  const start = (out: Array<Chat.Event>, at: number): void => {
    if (!started) out.splice(at, 0, { _tag: "Start", ...WireFormat.origin(context, id, model) })
    started = true
  }

  const addCall = (entry: Json.Json, position: number): void => {
    const index = Json.count(entry.index) ?? position
    const fn = Json.object(entry.function)
    const call = calls.get(index) ?? { id: `call_${index}`, name: "", arguments: [] }
    if (!calls.has(index) || (fn.arguments != null && fn.arguments !== "")) progress++
    calls.set(index, call)
    if (typeof entry.id === "string" && entry.id !== "") call.id = entry.id
    if (typeof fn.name === "string") call.name += call.name === fn.name ? "" : fn.name
    if (typeof fn.arguments === "string") call.arguments.push(fn.arguments)
    else if (fn.arguments != null) call.arguments.push(JSON.stringify(fn.arguments))
  }

  const finishCalls = (out: Array<Chat.Event>): LlmError | undefined => {
    for (const [index, call] of calls) {
      if (call.name === "")
        return WireFormat.missing(context, `tool_calls[${index}].function.name`, undefined, "a string")
      const parsed = WireFormat.toolCall(context, { ...call, arguments: call.arguments.join("") })
      if (parsed instanceof InvalidResponse) return parsed
      out.push({ _tag: "ToolCall", ...parsed })
      callCount++
    }
    // A server may send its finish reason twice.
    calls.clear()
    return undefined
  }

  const chunk = (data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
    id ??= Json.text(data.id)
    model ??= Json.text(data.model)
    if (data.usage != null) usage = decodeUsage(data.usage) ?? usage
    else if (data.x_groq !== undefined) usage = decodeUsage(Json.object(data.x_groq).usage) ?? usage
    // Of several choices, which `n` in the provider's options asks for, the first is the answer.
    const choice = Json.object(Json.array(data.choices).find((choice) => (Json.object(choice).index ?? 0) === 0))
    const delta = Json.object(choice.delta)
    const reasoning = reasoningOf(delta)
    if (reasoning !== undefined && reasoning !== "") {
      inside = "reasoning"
      progress++
      out.push({ _tag: "ReasoningDelta", text: reasoning })
    }
    const text = textOf(delta.content)
    if (text !== "") {
      inside = "text"
      progress++
      out.push({ _tag: "TextDelta", text })
    }
    if (Json.array(delta.reasoning_details).length > 0) progress++
    if (delta.tool_calls != null) {
      inside = "tool-call"
      Json.array(delta.tool_calls).forEach((entry, position) => {
        addCall(Json.object(entry), position)
      })
    }
    if (typeof choice.finish_reason === "string" && Classify.finishReason(choice.finish_reason) !== "none") {
      const first = finish === undefined
      finish = choice.finish_reason
      return first ? finishCalls(out) : undefined
    }
    return undefined
  }

  return {
    push: (event, out) => {
      if (event.data === "[DONE]") {
        done = true
        return undefined
      }
      return WireFormat.event(context, event, (data) => {
        if (finish !== undefined && usage !== undefined) return undefined
        const at = out.length
        const error = chunk(data, out)
        if (out.length > at) start(out, at)
        return error
      })
    },
    done: () => done,
    end: (out) => {
      if (finish === undefined) {
        return done && inside === "nothing"
          ? WireFormat.missing(context, "choices[0].finish_reason", undefined, "an answer")
          : undefined
      }
      start(out, out.length)
      WireFormat.finish(out, usage, WireFormat.finishReason(finish, callCount))
      return undefined
    },
    cursor: () => ({ inside: finish === undefined ? inside : "end", usage }),
    progress: () => progress
  }
}

/**
 * Chat Completions in the dialect of a server.
 *
 * @since 0.2.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  dialect: Dialect,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => ({ encode: encode(provider, model, dialect), decode, decoder, limits })
