/**
 * OpenAI: Chat Completions, and every server that speaks it, or the Responses API.
 *
 * {@link make} asks OpenAI itself; with `provider` and `baseUrl` it asks Groq, Mistral, DeepSeek, Together, Fireworks,
 * OpenRouter, xAI, vLLM, Ollama or any other; {@link azure} asks an Azure deployment. What differs between them is a
 * table of facts ({@link dialects}), not code. With `api: "responses"` the same request goes to `/responses`.
 *
 * Gotchas: the base URLs of the known providers are built in, the keys are never guessed from the environment: say
 * where a key is with `Config.redacted`. A stream ends with a finish reason; `[DONE]` alone is no answer. `stop` and
 * `seed` have no counterpart in the Responses API and are left out there. Answers are not kept by the provider
 * (`store`) unless `providerOptions` says so; with `background: true` they are, and a stream that breaks is taken up
 * where it broke.
 *
 * @example
 * import { Config } from "effect"
 * import { OpenAi } from "effect-steadfast"
 *
 * const gpt = OpenAi.make({ model: "gpt-4o-mini", apiKey: Config.redacted("OPENAI_API_KEY") })
 * const local = OpenAi.make({ provider: "ollama", model: "llama3.2" })
 * const thinking = OpenAi.make({ model: "gpt-5", api: "responses", apiKey: Config.redacted("OPENAI_API_KEY") })
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
import { InvalidResponse, type LlmError } from "../errors/LlmError.js"
import * as RetryHint from "../errors/RetryHint.js"
import type { Limits } from "../policies/pacer/RateLimits.js"
import * as Endpoint from "./Endpoint.js"
import * as Json from "./Json.js"
import * as OpenAiResponses from "./OpenAiResponses.js"
import * as WireFormat from "./WireFormat.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that the canonical request does not have; the last three are those of the Responses API. */
    readonly openai?: {
      readonly reasoning_effort?: "none" | "minimal" | "low" | "medium" | "high" | "xhigh"
      readonly service_tier?: "auto" | "default" | "flex" | "priority"
      readonly parallel_tool_calls?: boolean
      readonly presence_penalty?: number
      readonly frequency_penalty?: number
      readonly logit_bias?: Readonly<Record<string, number>>
      readonly user?: string
      readonly store?: boolean
      readonly reasoning?: {
        readonly effort?: string | null
        readonly summary?: "auto" | "concise" | "detailed" | null
      }
      readonly text?: { readonly verbosity?: "low" | "medium" | "high" }
      readonly background?: boolean
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * What a server that speaks Chat Completions does its own way.
 *
 * - `baseUrl`: where it is, if that is known.
 * - `maxTokens`, `seed`: what it calls these fields.
 * - `streamUsage`: whether it is asked for usage with `stream_options`; the others send usage unasked, or refuse the
 *   field.
 * - `prefix`: whether a last message of the assistant is marked as the beginning of the answer.
 *
 * @since 0.1.0
 * @category models
 */
export interface Dialect {
  readonly baseUrl?: string
  readonly maxTokens: "max_tokens" | "max_completion_tokens"
  readonly seed: "seed" | "random_seed"
  readonly streamUsage: boolean
  readonly prefix?: boolean
}

const plain: Dialect = { maxTokens: "max_tokens", seed: "seed", streamUsage: true }

/**
 * The known servers, from their API references.
 *
 * @since 0.1.0
 * @category facts
 */
export const dialects: ReadonlyMap<string, Dialect> = new Map<string, Dialect>([
  ["openai", { ...plain, baseUrl: "https://api.openai.com/v1", maxTokens: "max_completion_tokens" }],
  ["azure-openai", { ...plain, maxTokens: "max_completion_tokens" }],
  ["groq", { ...plain, baseUrl: "https://api.groq.com/openai/v1", maxTokens: "max_completion_tokens" }],
  [
    "mistral",
    { ...plain, baseUrl: "https://api.mistral.ai/v1", seed: "random_seed", streamUsage: false, prefix: true }
  ],
  ["deepseek", { ...plain, baseUrl: "https://api.deepseek.com/v1" }],
  ["together", { ...plain, baseUrl: "https://api.together.xyz/v1" }],
  ["fireworks", { ...plain, baseUrl: "https://api.fireworks.ai/inference/v1", streamUsage: false }],
  ["openrouter", { ...plain, baseUrl: "https://openrouter.ai/api/v1" }],
  ["xai", { ...plain, baseUrl: "https://api.x.ai/v1" }],
  ["vllm", { ...plain, baseUrl: "http://localhost:8000/v1" }],
  ["ollama", { ...plain, baseUrl: "http://localhost:11434/v1" }]
])

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

const encodePart = (part: Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>[number]) =>
  part.type === "text"
    ? part
    : {
        type: "image_url",
        image_url: { url: "url" in part ? part.url : `data:${part.mediaType};base64,${part.data}` }
      }

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

/** A last message of the assistant is one that it is to go on with; Mistral wants that said. */
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

/**
 * Usage as Chat Completions reports it; `undefined` where it does not.
 *
 * @internal
 */
export const decodeUsage = (u: unknown): Chat.Usage | undefined => {
  const usage = Json.object(u)
  const inputTokens = Json.count(usage.prompt_tokens)
  const outputTokens = Json.count(usage.completion_tokens)
  if (inputTokens === undefined && outputTokens === undefined) return undefined
  return {
    inputTokens: inputTokens ?? 0,
    outputTokens: outputTokens ?? 0,
    cachedInputTokens:
      Json.count(Json.object(usage.prompt_tokens_details).cached_tokens) ?? Json.count(usage.prompt_cache_hit_tokens),
    reasoningTokens: Json.count(Json.object(usage.completion_tokens_details).reasoning_tokens)
  }
}

/** Text is a string, or parts of which some are text (Mistral). */
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
      arguments: typeof fn.arguments === "string" ? fn.arguments : JSON.stringify(fn.arguments ?? {})
    })
    if (parsed instanceof InvalidResponse) return parsed
    toolCalls.push(parsed)
  }
  return {
    id: Json.text(body.id),
    requestId: context.requestId,
    provider: context.provider,
    model: Json.text(body.model) ?? context.model,
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
  let called = 0
  let started = false
  let inside: StreamDecoder.Cursor["inside"] = "nothing"
  let done = false
  let finish: string | undefined
  let usage: Chat.Usage | undefined
  let id: string | undefined
  let model: string | undefined

  /** Puts `Start` before the first event: Azure's first chunk, about the prompt, has an empty id and model. */
  const start = (out: Array<Chat.Event>, at: number): void => {
    if (started) return
    started = true
    out.splice(at, 0, {
      _tag: "Start",
      provider: context.provider,
      model: model ?? context.model,
      id,
      requestId: context.requestId
    })
  }

  const addCall = (entry: Json.Json, position: number): void => {
    const index = Json.count(entry.index) ?? position
    const fn = Json.object(entry.function)
    const call = calls.get(index) ?? { id: `call_${index}`, name: "", arguments: [] }
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
      called++
    }
    // A server may say its finish reason twice.
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
      out.push({ _tag: "ReasoningDelta", text: reasoning })
    }
    const text = typeof delta.content === "string" ? delta.content : textOf(delta.content)
    if (text !== "") {
      inside = "text"
      out.push({ _tag: "TextDelta", text })
    }
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
      const data = Json.parse(event.data)
      if (data === undefined) {
        return event.stray ? undefined : WireFormat.missing(context, "data", event.data.slice(0, 200), "JSON")
      }
      const error = Classify.event(context, data, event.event)
      if (error !== undefined || event.stray) return error
      if (finish !== undefined && usage !== undefined) return undefined
      const at = out.length
      const refused = chunk(Json.object(data), out)
      if (out.length > at) start(out, at)
      return refused
    },
    done: () => done,
    end: (out) => {
      if (finish === undefined) {
        return done && inside === "nothing"
          ? WireFormat.missing(context, "choices[0].finish_reason", undefined, "an answer")
          : undefined
      }
      start(out, out.length)
      if (usage !== undefined) out.push({ _tag: "Usage", usage })
      out.push({ _tag: "Finish", reason: WireFormat.finishReason(finish, called) })
      return undefined
    },
    cursor: () => ({ inside: finish === undefined ? inside : "end", usage })
  }
}

// -----------------------------------------------------------------------------
// limits
// -----------------------------------------------------------------------------

const minute = 60_000

/**
 * What the limits in the headers are per, where it is documented: all a minute, but Groq's requests, which are a day's.
 */
const windows: Readonly<Record<string, { readonly requests: number; readonly tokens: number }>> = {
  openai: { requests: minute, tokens: minute },
  "azure-openai": { requests: minute, tokens: minute },
  groq: { requests: 24 * 60 * minute, tokens: minute }
}

const limitHeaders = (what: string): WireFormat.LimitHeaders => ({
  limit: `x-ratelimit-limit-${what}`,
  remaining: `x-ratelimit-remaining-${what}`,
  reset: `x-ratelimit-reset-${what}`
})

const requestHeaders = limitHeaders("requests")
const tokenHeaders = limitHeaders("tokens")

const limits = (provider: string) => {
  const window = windows[provider]
  return (headers: WireFormat.Headers, now: number): Limits | undefined => {
    const reset = (value: string) => RetryHint.parseReset(value, provider, now)
    const requests = WireFormat.limit(headers, requestHeaders, reset, window?.requests)
    const tokens = WireFormat.limit(headers, tokenHeaders, reset, window?.tokens)
    return requests === undefined && tokens === undefined ? undefined : { requests, tokens }
  }
}

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * As for every provider (`Endpoint.Options`), and `api`: which of OpenAI's two APIs is spoken. Default `"chat"`.
 *
 * The default `provider` is `"openai"`; a name of {@link dialects} brings its base URL.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {
  readonly api?: "chat" | "responses" | undefined
}

const format = (provider: string, model: string, api: Options["api"]): WireFormat.WireFormat =>
  api === "responses"
    ? OpenAiResponses.format(provider, model, limits(provider))
    : { encode: encode(provider, model, dialects.get(provider) ?? plain), decode, decoder, limits: limits(provider) }

const path = (api: Options["api"]): string => (api === "responses" ? "/responses" : "/chat/completions")

/**
 * A model over Chat Completions, or the Responses API. Fails with a `ConfigError` where the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { api, model, provider = "openai" } = options
  return Endpoint.make(
    options,
    {
      provider,
      baseUrl: options.baseUrl ?? dialects.get(provider)?.baseUrl,
      url: (baseUrl) => baseUrl + path(api),
      auth: (key) => ({ authorization: `Bearer ${key}` })
    },
    format(provider, model, api)
  )
}

/**
 * A model behind an Azure OpenAI deployment, with Azure's own URL and `api-key` header.
 *
 * - `endpoint`: e.g. `https://my-resource.openai.azure.com`.
 * - `deployment`: the name of the deployment.
 * - `apiVersion`: Default `2024-10-21`, the newest general release. The Responses API, which is not under the
 *   deployment but under `/openai/v1`, needs none.
 *
 * @since 0.1.0
 * @category constructors
 */
export const azure = (
  options: Omit<Options, "model" | "baseUrl" | "provider"> & {
    readonly endpoint: string
    readonly deployment: string
    readonly apiVersion?: string | undefined
  }
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> => {
  const { api, deployment } = options
  const provider = "azure-openai"
  const place = api === "responses" ? "v1" : `deployments/${encodeURIComponent(deployment)}`
  const version = options.apiVersion ?? (api === "responses" ? undefined : "2024-10-21")
  const query = version === undefined ? "" : `?api-version=${version}`
  return Endpoint.make(
    { ...options, model: deployment },
    {
      provider,
      baseUrl: options.endpoint,
      url: (baseUrl) => `${baseUrl}/openai/${place}${path(api)}${query}`,
      auth: (key) => ({ "api-key": key })
    },
    format(provider, deployment, api)
  )
}

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
