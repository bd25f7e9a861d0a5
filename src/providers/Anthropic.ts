/**
 * Anthropic Messages, and the servers that speak it.
 *
 * Where the format differs from the canonical request: system messages become `system`, tool results become blocks of
 * a user message, neighbours of the same role become one message, and `max_tokens` is never left out. `seed` has no
 * counterpart; of `metadata` only `user_id` is sent; a JSON answer without a schema is asked for in words.
 *
 * Gotchas: a stream ends with a stop reason *and* `message_stop`. A model that thinks wants its signed thoughts back
 * with the tool calls that they led to: the model value keeps those of the newest calls and sends them unasked; in
 * another process they are missing, and a model that insists on them will refuse. Schemas of structured output must
 * say `additionalProperties: false`.
 *
 * @example
 * import { Config } from "effect"
 * import { Anthropic } from "effect-steadfast"
 *
 * const claude = Anthropic.make({ model: "claude-haiku-4-5", apiKey: Config.redacted("ANTHROPIC_API_KEY") })
 *
 * @since 0.1.0
 */
import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Chat from "../chat/Chat.js"
import * as ChatModel from "../chat/ChatModel.js"
import type * as StreamDecoder from "../chat/stream/StreamDecoder.js"
import * as Classify from "../errors/Classify.js"
import { InvalidRequest, InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as RetryHint from "../errors/RetryHint.js"
import type { Limits } from "../policies/pacer/RateLimits.js"
import * as Endpoint from "./Endpoint.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the Messages body that the canonical request does not have; objects are merged into what is there. */
    readonly anthropic?: {
      readonly thinking?:
        | { readonly type: "enabled"; readonly budget_tokens: number }
        | { readonly type: "adaptive" | "disabled" }
      readonly top_k?: number
      readonly service_tier?: "auto" | "standard_only"
      readonly cache_control?: { readonly type: "ephemeral"; readonly ttl?: "5m" | "1h" }
      readonly output_config?: { readonly effort?: string; readonly [field: string]: unknown }
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * The version of the API that is spoken here, sent as `anthropic-version`.
 *
 * @since 0.1.0
 * @category facts
 */
export const version = "2023-06-01"

/**
 * `max_tokens` where neither the request nor the options name it: every model allows it, most answers fit into it.
 *
 * @since 0.1.0
 * @category facts
 */
export const defaultMaxTokens = 4096

/** Signed thoughts, by the first tool call after them. */
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

/** The blocks of a message; empty text of an assistant is left out, for the API refuses it. */
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
    // Thoughts count as answer, and a budget that leaves no room for one is refused.
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
  return {
    inputTokens: (input ?? 0) + (cached ?? 0) + (Json.count(usage.cache_creation_input_tokens) ?? 0),
    outputTokens: output ?? 0,
    ...Json.optional("cachedInputTokens", cached)
  }
}

/** Whether a block must go back with the tool calls after it: only signed thoughts can. */
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
      id: Json.text(body.id),
      requestId: context.requestId,
      provider: context.provider,
      model: Json.text(body.model) ?? context.model,
      text: text.join(""),
      ...Json.optional("reasoning", reasoning.join("")),
      toolCalls,
      finishReason: WireFormat.finishReason(Json.string(body.stop_reason), toolCalls.length),
      ...Json.optional("usage", decodeUsage(Json.object(body.usage)))
    }
  }

/** A block of a stream between its start and its stop; `pieces` is the JSON of a tool call, or a thought. */
interface OpenBlock {
  readonly start: Json.Json
  readonly index: number
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

    const start = (message: Json.Json, out: Array<Chat.Event>): void => {
      if (started) return
      started = true
      out.push({
        _tag: "Start",
        provider: context.provider,
        model: Json.text(message.model) ?? context.model,
        id: Json.text(message.id),
        requestId: context.requestId
      })
    }

    /** Counts are cumulative: a newer one replaces the older, and `null` none. */
    const count = (update: Json.Json): void => {
      for (const key of Object.keys(update))
        if (Json.count(update[key]) !== undefined) usage = { ...usage, [key]: update[key] }
    }

    const say = (_tag: "TextDelta" | "ReasoningDelta", text: unknown, out: Array<Chat.Event>): void => {
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
      open.set(data.index, {
        start: block,
        index: Json.count(data.index) ?? open.size,
        pieces: [],
        signature: block.signature
      })
      if (block.type === "tool_use") inside = "tool-call"
      if (block.type === "text") say("TextDelta", block.text, out)
      if (block.type === "thinking") say("ReasoningDelta", block.thinking, out)
      return undefined
    }

    const delta = (data: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
      const change = Json.object(data.delta)
      const refuse = (field: string) =>
        WireFormat.missing(context, `content_block_delta.delta.${field}`, change[field], "a string")
      const block = open.get(data.index)
      switch (change.type) {
        case "text_delta":
          if (typeof change.text !== "string") return refuse("text")
          say("TextDelta", change.text, out)
          return undefined
        case "thinking_delta":
          if (typeof change.thinking !== "string") return refuse("thinking")
          block?.pieces.push(change.thinking)
          say("ReasoningDelta", change.thinking, out)
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
          arguments: json === "" ? JSON.stringify(start.input ?? {}) : json
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

    /** What stands open at the end of the message was closed by it. */
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
      push: (event, out) => {
        const parsed = Json.parse(event.data)
        if (parsed === undefined) {
          return event.stray ? undefined : WireFormat.missing(context, "data", event.data.slice(0, 200), "JSON")
        }
        const error = Classify.event(context, parsed, event.event)
        if (error !== undefined || event.stray) return error
        const data = Json.object(parsed)
        return read(data.type ?? event.event, data, out)
      },
      done: () => done,
      end: (out) => {
        if (!done) return undefined
        if (finish === undefined) {
          return inside !== "nothing"
            ? undefined
            : WireFormat.missing(context, "message_delta.delta.stop_reason", undefined, "an answer")
        }
        const counted = decodeUsage(usage)
        if (counted !== undefined) out.push({ _tag: "Usage", usage: counted })
        out.push({ _tag: "Finish", reason: WireFormat.finishReason(finish, calls.length) })
        return undefined
      },
      cursor: () => ({ inside: finish === undefined ? inside : "end", usage: decodeUsage(usage) })
    }
  }

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

const limitHeaders = (what: string): WireFormat.LimitHeaders => ({
  limit: `anthropic-ratelimit-${what}-limit`,
  remaining: `anthropic-ratelimit-${what}-remaining`,
  reset: `anthropic-ratelimit-${what}-reset`
})

const dimensions = {
  requests: limitHeaders("requests"),
  tokens: limitHeaders("tokens"),
  inputTokens: limitHeaders("input-tokens"),
  outputTokens: limitHeaders("output-tokens")
}

const limits = (headers: WireFormat.Headers, now: number): Limits | undefined => {
  const reset = (value: string) => RetryHint.parseReset(value, "anthropic", now)
  const requests = WireFormat.limit(headers, dimensions.requests, reset, 60_000)
  const tokens = WireFormat.limit(headers, dimensions.tokens, reset, 60_000)
  const inputTokens = WireFormat.limit(headers, dimensions.inputTokens, reset, 60_000)
  const outputTokens = WireFormat.limit(headers, dimensions.outputTokens, reset, 60_000)
  return (requests ?? tokens ?? inputTokens ?? outputTokens) === undefined
    ? undefined
    : { requests, tokens, inputTokens, outputTokens }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * As for every provider (`Endpoint.Options`), and:
 *
 * - `maxTokens`: the most tokens to answer with where the request does not say. Default {@link defaultMaxTokens}, and a
 *   budget for thinking on top.
 * - `beta`: features that are switched on by the header `anthropic-beta`.
 *
 * The default `provider` is `"anthropic"`, the default `baseUrl` `https://api.anthropic.com/v1`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {
  readonly maxTokens?: number | undefined
  readonly beta?: ReadonlyArray<string> | undefined
}

/**
 * A model over Messages. Fails with a `ConfigError` where the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.suspend(() => {
    const { baseUrl = "https://api.anthropic.com/v1", beta = [], maxTokens, model, provider = "anthropic" } = options
    const thoughts: Thoughts = WireFormat.memory()
    return Endpoint.make(
      options,
      {
        provider,
        baseUrl,
        url: (baseUrl) => `${baseUrl}/messages`,
        auth: (key) => ({ "x-api-key": key }),
        headers: {
          "anthropic-version": version,
          ...(beta.length === 0 ? {} : { "anthropic-beta": beta.join(",") })
        }
      },
      {
        encode: encode(provider, model, maxTokens, thoughts),
        decode: decode(thoughts),
        decoder: decoder(thoughts),
        limits
      }
    )
  })

/**
 * The model of the application, as {@link make} makes it.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = Endpoint.layer(make)

/**
 * The same with every option from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = Endpoint.layerConfig(make)
