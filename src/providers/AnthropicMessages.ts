/**
 * Anthropic Messages, the wire format of `Anthropic`.
 *
 * System messages become `system`, tool results become blocks of a user message, neighbours of the same role become one
 * message. `seed` has no counterpart; of `metadata` only `user_id` is sent; a JSON answer without a schema is asked for
 * in words.
 *
 * Gotchas: a stream ends with a stop reason *and* `message_stop`. A model that thinks wants its signed thoughts back
 * with the tool calls that followed them: a {@link WireFormat.Memory} keeps them.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import { InvalidRequest, InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

/**
 * `max_tokens` if neither the request nor the options set it: every model allows it, and most answers fit into it.
 *
 * @since 0.1.0
 * @category facts
 */
export const defaultMaxTokens = 4096

/** Signed thoughts, by the id of the first tool call after them. */
type Thoughts = WireFormat.Memory<ReadonlyArray<Json.Json>>

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

const encodeImage = (part: Chat.ImagePart): Json.Json => {
  const image = WireFormat.image(part)
  return {
    type: "image",
    source:
      "url" in image
        ? { type: "url", url: image.url }
        : { type: "base64", media_type: image.mediaType, data: image.data }
  }
}

const encodeText = (text: string): Json.Json => ({ type: "text", text })

/** The blocks of a message, without empty text of an assistant, which the API refuses. */
const encodeBlocks = (message: Exclude<Chat.Message, { role: "system" }>, thoughts: Thoughts): Array<Json.Json> => {
  switch (message.role) {
    case "user":
      return typeof message.content === "string"
        ? [encodeText(message.content)]
        : message.content.map((part) => (part.type === "text" ? encodeText(part.text) : encodeImage(part)))
    case "assistant": {
      const calls = message.toolCalls ?? []
      return [
        ...(thoughts.get(calls[0]?.id ?? "") ?? []),
        ...(message.content === "" ? [] : [encodeText(message.content)]),
        ...calls.map(({ id, name, arguments: input }) => ({ type: "tool_use", id, name, input: input ?? {} }))
      ]
    }
    case "tool":
      return [{ type: "tool_result", tool_use_id: message.toolCallId, content: message.content }]
  }
}

const encodeMessages = (messages: Chat.Request["messages"], thoughts: Thoughts) => {
  const system: Array<string> = []
  const turns: Array<{ readonly role: "user" | "assistant"; readonly content: Array<Json.Json> }> = []
  for (const message of messages) {
    if (message.role === "system") {
      system.push(message.content)
      continue
    }
    const role = message.role === "assistant" ? "assistant" : "user"
    const content = encodeBlocks(message, thoughts)
    const last = turns[turns.length - 1]
    if (last?.role === role) last.content.push(...content)
    else if (content.length > 0) turns.push({ role, content })
  }
  return { system, turns }
}

const encodeChoice = (choice: Chat.Request["toolChoice"]): unknown =>
  choice === undefined
    ? undefined
    : typeof choice === "object"
      ? { type: "tool", name: choice.name }
      : { type: choice === "required" ? "any" : choice }

const encode =
  (provider: string, model: string, maxTokens: number | undefined, thoughts: Thoughts) =>
  (request: Chat.Request, streaming: boolean): Json.Json | InvalidRequest => {
    const { system, turns } = encodeMessages(request.messages, thoughts)
    if (turns.length === 0) {
      return new InvalidRequest({
        provider,
        model,
        message: "messages: found only system messages, expected one of a user",
        delivery: "not-sent"
      })
    }
    const { responseFormat } = request
    if (responseFormat?.type === "json") system.push("Answer with one JSON value and nothing else.")
    const options = request.providerOptions?.[provider] ?? {}
    // Thoughts count as answer: `max_tokens` must be larger than their budget.
    const thinking = Json.count(Json.object(options.thinking).budget_tokens) ?? 0
    const userId = request.metadata?.user_id
    return Json.merge(
      Json.compact({
        model,
        max_tokens: request.maxTokens ?? maxTokens ?? defaultMaxTokens + thinking,
        system: system.length === 0 ? undefined : system.join("\n\n"),
        messages: turns,
        temperature: request.temperature,
        top_p: request.topP,
        stop_sequences: request.stop,
        metadata: userId === undefined ? undefined : { user_id: userId },
        output_config:
          responseFormat?.type === "json-schema"
            ? { format: { type: "json_schema", schema: responseFormat.schema } }
            : undefined,
        tools: request.tools?.map(({ name, description, parameters, strict }) =>
          Json.compact({ name, description, input_schema: parameters, strict })
        ),
        tool_choice: encodeChoice(request.toolChoice),
        stream: streaming ? true : undefined
      }),
      options
    )
  }

// -----------------------------------------------------------------------------
// decode
// -----------------------------------------------------------------------------

/** Anthropic counts the cached tokens apart from `input_tokens`. */
const decodeUsage = (usage: Json.Json): Chat.Usage | undefined => {
  const input = Json.count(usage.input_tokens)
  const output = Json.count(usage.output_tokens)
  if (input === undefined && output === undefined) return undefined
  const cached = Json.count(usage.cache_read_input_tokens)
  const written = Json.count(usage.cache_creation_input_tokens)
  return WireFormat.usage((input ?? 0) + (cached ?? 0) + (written ?? 0), output, cached, undefined)
}

/** Whether a block goes back with the tool calls after it: signed thoughts do. */
const isThought = (block: Json.Json): boolean =>
  block.type === "redacted_thinking" || (block.type === "thinking" && Json.text(block.signature) !== undefined)

const keep = (thoughts: Thoughts, blocks: ReadonlyArray<Json.Json>, call: Chat.ToolCall | undefined): void => {
  if (blocks.length > 0 && call !== undefined) thoughts.set(call.id, blocks)
}

const decode =
  (thoughts: Thoughts) =>
  (body: Json.Json, context: WireFormat.Exchange): Chat.Response | LlmError => {
    if (!Array.isArray(body.content)) return WireFormat.missing(context, "content", body.content, "an array")
    const blocks = body.content.map(Json.object)
    const text: Array<string> = []
    const reasoning: Array<string> = []
    const toolCalls: Array<Chat.ToolCall> = []
    for (const [index, block] of blocks.entries()) {
      const refuse = (field: string) =>
        WireFormat.missing(context, `content[${index}].${field}`, block[field], "a string")
      switch (block.type) {
        case "text":
          if (typeof block.text !== "string") return refuse("text")
          text.push(block.text)
          break
        case "thinking":
          reasoning.push(Json.string(block.thinking) ?? "")
          break
        case "tool_use":
          if (typeof block.name !== "string") return refuse("name")
          toolCalls.push({
            id: Json.text(block.id) ?? `call_${index}`,
            name: block.name,
            arguments: block.input ?? {}
          })
      }
    }
    keep(thoughts, blocks.filter(isThought), toolCalls[0])
    return {
      ...WireFormat.origin(context, body.id, body.model),
      text: text.join(""),
      ...Json.optional("reasoning", reasoning.join("")),
      toolCalls,
      finishReason: WireFormat.finishReason(Json.string(body.stop_reason), toolCalls.length),
      ...Json.optional("usage", decodeUsage(Json.object(body.usage)))
    }
  }

/** A block of a stream between its start and its stop. */
interface OpenBlock {
  readonly start: Json.Json
  readonly index: number
  /** The JSON of a tool call, or the text of a thought. */
  readonly pieces: Array<string>
  signature: unknown
}

const decoder =
  (thoughts: Thoughts) =>
  (context: WireFormat.Exchange): StreamDecoder.Decoder => {
    const open = new Map<unknown, OpenBlock>()
    const kept: Array<Json.Json> = []
    const calls: Array<Chat.ToolCall> = []
    let started = false
    let inside: StreamDecoder.Cursor["inside"] = "nothing"
    let done = false
    let finish: string | undefined
    let usage: Json.Json = {}
    let progress = 0

    const start = (message: Json.Json, out: Array<Chat.Event>): void => {
      if (!started) out.push({ _tag: "Start", ...WireFormat.origin(context, message.id, message.model) })
      started = true
    }

    /** Counts are cumulative: a newer count replaces the older, but `null` does not. */
    const count = (update: Json.Json): void => {
      for (const key of Object.keys(update))
        if (Json.count(update[key]) !== undefined) usage = { ...usage, [key]: update[key] }
    }

    const addText = (_tag: "TextDelta" | "ReasoningDelta", text: unknown, out: Array<Chat.Event>): void => {
      if (typeof text !== "string" || text === "") return
      inside = _tag === "TextDelta" ? "text" : "reasoning"
      out.push({ _tag, text })
    }

    const begin = (data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
      const block = Json.object(data.content_block)
      if (block !== data.content_block) {
        return WireFormat.missing(context, "content_block_start.content_block", data.content_block, "an object")
      }
      if (block.type === "tool_use" && typeof block.name !== "string") {
        return WireFormat.missing(context, "content_block_start.content_block.name", block.name, "a string")
      }
      progress++
      open.set(data.index, {
        start: block,
        index: Json.count(data.index) ?? open.size,
        pieces: [],
        signature: block.signature
      })
      if (block.type === "tool_use") inside = "tool-call"
      if (block.type === "text") addText("TextDelta", block.text, out)
      if (block.type === "thinking") addText("ReasoningDelta", block.thinking, out)
      return undefined
    }

    const delta = (data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
      const change = Json.object(data.delta)
      const { type: _, ...pieces } = change
      if (Object.values(pieces).some((piece) => piece !== "" && piece != null)) progress++
      const refuse = (field: string) =>
        WireFormat.missing(context, `content_block_delta.delta.${field}`, change[field], "a string")
      const block = open.get(data.index)
      switch (change.type) {
        case "text_delta":
          if (typeof change.text !== "string") return refuse("text")
          addText("TextDelta", change.text, out)
          return undefined
        case "thinking_delta":
          if (typeof change.thinking !== "string") return refuse("thinking")
          block?.pieces.push(change.thinking)
          addText("ReasoningDelta", change.thinking, out)
          return undefined
        case "signature_delta":
          if (block !== undefined) block.signature = change.signature
          return undefined
        case "input_json_delta":
          if (typeof change.partial_json !== "string") return refuse("partial_json")
          if (block === undefined) {
            return WireFormat.missing(
              context,
              "content_block_delta.index",
              data.index,
              "that of a block that has started"
            )
          }
          block.pieces.push(change.partial_json)
      }
      return undefined
    }

    const close = (block: OpenBlock, out: Array<Chat.Event>): LlmError | undefined => {
      const { start, pieces } = block
      if (start.type === "tool_use") {
        const json = pieces.join("")
        const call = WireFormat.toolCall(context, {
          id: Json.text(start.id) ?? `call_${block.index}`,
          name: Json.string(start.name) ?? "",
          // some servers send the whole input with the start
          arguments: json === "" ? start.input : json
        })
        if (call instanceof InvalidResponse) return call
        calls.push(call)
        out.push({ _tag: "ToolCall", ...call })
        return undefined
      }
      const thought: Json.Json =
        start.type === "thinking"
          ? {
              type: "thinking",
              thinking: (Json.string(start.thinking) ?? "") + pieces.join(""),
              signature: block.signature
            }
          : start
      if (isThought(thought)) kept.push(thought)
      return undefined
    }

    /** The end of the message closes its open blocks. */
    const stop = (out: Array<Chat.Event>): LlmError | undefined => {
      done = true
      for (const block of open.values()) {
        const error = close(block, out)
        if (error !== undefined) return error
      }
      keep(thoughts, kept, calls[0])
      return undefined
    }

    const read = (type: unknown, data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
      switch (type) {
        case "message_start": {
          const message = Json.object(data.message)
          start(message, out)
          count(Json.object(message.usage))
          return undefined
        }
        case "content_block_start":
          start({}, out)
          return begin(data, out)
        case "content_block_delta":
          start({}, out)
          return delta(data, out)
        case "content_block_stop": {
          const block = open.get(data.index)
          open.delete(data.index)
          return block === undefined ? undefined : close(block, out)
        }
        case "message_delta": {
          const reason = Json.string(Json.object(data.delta).stop_reason)
          if (Classify.finishReason(reason) !== "none") finish = reason
          count(Json.object(data.usage))
          return undefined
        }
        case "message_stop":
          return stop(out)
      }
      return undefined
    }

    return {
      push: (event, out) => WireFormat.event(context, event, (data) => read(data.type ?? event.event, data, out)),
      done: () => done,
      end: (out) => {
        if (!done) return undefined
        if (finish === undefined) {
          return inside !== "nothing"
            ? undefined
            : WireFormat.missing(context, "message_delta.delta.stop_reason", undefined, "an answer")
        }
        WireFormat.finish(out, decodeUsage(usage), WireFormat.finishReason(finish, calls.length))
        return undefined
      },
      cursor: () => ({ inside: finish === undefined ? inside : "end", usage: decodeUsage(usage) }),
      progress: () => progress
    }
  }

/**
 * The Messages API. `maxTokens` is for requests that do not set it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  maxTokens: number | undefined,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => {
  const thoughts: Thoughts = WireFormat.memory()
  return {
    encode: encode(provider, model, maxTokens, thoughts),
    decode: decode(thoughts),
    decoder: decoder(thoughts),
    limits
  }
}
