/**
 * Gemini's `generateContent` and `streamGenerateContent`.
 *
 * Differences from `Chat.Request`: system messages become `systemInstruction`, the role of the assistant is `model`, a
 * tool result names its function (which is looked up from its call), and `metadata` has no counterpart. The key goes
 * into a header, never into the URL, where proxies would log it.
 *
 * Gotchas: a stream has no terminator: it is complete if a finish reason came. A function call without an id gets one
 * made from the answer's id, so that it is unique in the conversation. From Gemini 3 on a function call carries a
 * signature that must go back with it; the model value keeps the signatures of the newest calls. A call of another
 * provider or process is sent with the placeholder that Google documents: it works, but the model loses its train of
 * thought.
 *
 * @example
 * import { Config } from "effect"
 * import { Gemini } from "effect-steadfast"
 *
 * const gemini = Gemini.make({ model: "gemini-2.5-flash", apiKey: Config.redacted("GEMINI_API_KEY") })
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
import { InvalidRequest, type LlmError } from "../errors/LlmError.js"
import * as Endpoint from "./Endpoint.js"
import * as Json from "./Json.js"
import * as WireFormat from "./WireFormat.js"

declare module "../chat/Chat.js" {
  interface ProviderOptions {
    /** Fields of the body that `Chat.Request` does not have; objects are merged with those of the request. */
    readonly gemini?: {
      readonly safetySettings?: ReadonlyArray<{ readonly category: string; readonly threshold: string }>
      readonly generationConfig?: {
        readonly thinkingConfig?: {
          readonly includeThoughts?: boolean
          readonly thinkingBudget?: number
          readonly thinkingLevel?: "minimal" | "low" | "medium" | "high"
        }
        readonly topK?: number
        readonly [field: string]: unknown
      }
      readonly cachedContent?: string
      readonly [field: string]: unknown
    }
  }
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/** The placeholder for an unknown signature; documented at https://ai.google.dev/gemini-api/docs/thought-signatures */
const noSignature = "skip_thought_signature_validator"

/** Whether a model wants signatures back: not Gemini 1 and 2. */
const asksForSignatures = (model: string): boolean => !/gemini-[12]\b/.test(model)

/** Signatures, by the id of their function call. */
type Signatures = WireFormat.Memory<string>

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

/** The media type of a file, from the extension in its URL; without one it is left out of the request. */
const mimeTypeOf = (url: string): string | undefined => {
  const extension = /\.(png|jpe?g|webp|gif|heic|heif)(?:[?#]|$)/i.exec(url)?.[1]?.toLowerCase()
  return extension && `image/${extension === "jpg" ? "jpeg" : extension}`
}

const encodePart = (part: WireFormat.UserPart): Json.Json => {
  if (part.type === "text") return { text: part.text }
  const image = WireFormat.image(part)
  return "url" in image
    ? { fileData: Json.compact({ mimeType: mimeTypeOf(image.url), fileUri: image.url }) }
    : { inlineData: { mimeType: image.mediaType, data: image.data } }
}

const encodeCalls = (
  calls: ReadonlyArray<Chat.ToolCall>,
  model: string,
  signatures: Signatures
): ReadonlyArray<Json.Json> => {
  const known: Array<string | undefined> = calls.map(({ id }) => signatures.get(id))
  // Only the first of parallel calls is signed.
  if (asksForSignatures(model) && !known.some((signature) => signature !== undefined)) known[0] = noSignature
  return calls.map(({ id, name, arguments: args }, index) =>
    Json.compact({ functionCall: { id, name, args: args ?? {} }, thoughtSignature: known[index] })
  )
}

/** The result of a function as an object, which the API requires. */
const encodeResult = (content: string): Json.Json => {
  const parsed = Json.parse(content)
  return Json.object(parsed) === parsed ? Json.object(parsed) : { output: content }
}

const encodeMessages = (messages: Chat.Request["messages"], model: string, signatures: Signatures) => {
  const system: Array<Json.Json> = []
  const contents: Array<{ readonly role: "user" | "model"; readonly parts: Array<Json.Json> }> = []
  const names = new Map<string, string>()
  let results: Array<Json.Json> | undefined
  for (const [index, message] of messages.entries()) {
    if (message.role === "tool") {
      const { content, toolCallId: id } = message
      const name = names.get(id)
      if (name === undefined)
        return `messages[${index}].toolCallId: found "${id}", expected the id of an earlier tool call`
      // The results of parallel calls belong into one content.
      if (results === undefined) {
        results = []
        contents.push({ role: "user", parts: results })
      }
      results.push({ functionResponse: { id, name, response: encodeResult(content) } })
      continue
    }
    results = undefined
    if (message.role === "system") {
      system.push({ text: message.content })
      continue
    }
    if (message.role === "user") {
      const { content } = message
      contents.push({
        role: "user",
        parts: typeof content === "string" ? [{ text: content }] : content.map(encodePart)
      })
      continue
    }
    const calls = message.toolCalls ?? []
    for (const call of calls) names.set(call.id, call.name)
    const text = message.content === "" ? [] : [{ text: message.content }]
    const parts = [...text, ...encodeCalls(calls, model, signatures)]
    if (parts.length > 0) contents.push({ role: "model", parts })
  }
  return contents.length === 0
    ? "messages: found only system messages, expected one of a user"
    : Json.compact({ systemInstruction: system.length === 0 ? undefined : { parts: system }, contents })
}

const encodeChoice = (choice: Chat.Request["toolChoice"]): unknown => {
  if (choice === undefined) return undefined
  const functionCallingConfig =
    typeof choice === "object"
      ? { mode: "ANY", allowedFunctionNames: [choice.name] }
      : { mode: choice === "required" ? "ANY" : choice.toUpperCase() }
  return { functionCallingConfig }
}

const encode =
  (provider: string, model: string, signatures: Signatures) =>
  (request: Chat.Request): Json.Json | InvalidRequest => {
    const messages = encodeMessages(request.messages, model, signatures)
    if (typeof messages === "string") {
      return new InvalidRequest({ provider, model, message: messages, delivery: "not-sent" })
    }
    const { responseFormat } = request
    const generationConfig = Json.compact({
      temperature: request.temperature,
      topP: request.topP,
      maxOutputTokens: request.maxTokens,
      stopSequences: request.stop,
      seed: request.seed,
      responseMimeType: responseFormat && "application/json",
      responseJsonSchema: responseFormat?.type === "json-schema" ? responseFormat.schema : undefined
    })
    return Json.merge(
      Json.compact({
        ...messages,
        tools: request.tools?.length
          ? [
              {
                functionDeclarations: request.tools.map(({ name, description, parameters }) =>
                  Json.compact({ name, description, parametersJsonSchema: parameters })
                )
              }
            ]
          : undefined,
        toolConfig: encodeChoice(request.toolChoice),
        generationConfig: Object.keys(generationConfig).length === 0 ? undefined : generationConfig
      }),
      request.providerOptions?.[provider] ?? {}
    )
  }

// -----------------------------------------------------------------------------
// decode
// -----------------------------------------------------------------------------

/** Gemini counts thoughts apart from the candidate, and results of built-in tools apart from the prompt. */
const decodeUsage = (u: unknown): Chat.Usage | undefined => {
  const usage = Json.object(u)
  const prompt = Json.count(usage.promptTokenCount)
  const candidate = Json.count(usage.candidatesTokenCount)
  const thoughts = Json.count(usage.thoughtsTokenCount)
  if (prompt === undefined && candidate === undefined && thoughts === undefined) return undefined
  return WireFormat.usage(
    (prompt ?? 0) + (Json.count(usage.toolUsePromptTokenCount) ?? 0),
    (candidate ?? 0) + (thoughts ?? 0),
    Json.count(usage.cachedContentTokenCount),
    thoughts
  )
}

/**
 * Reads the bodies of one answer; a stream has many. A call without an id gets one made from the answer's id and the
 * number of the call.
 */
const reader = (context: WireFormat.Exchange, signatures: Signatures) => {
  let id: string | undefined
  let model: string | undefined
  let usage: Chat.Usage | undefined
  let finish: string | undefined
  let inside: StreamDecoder.Cursor["inside"] = "nothing"
  let calls = 0
  let progress = 0

  const call = (fn: Json.Json, signature: unknown, field: string): Chat.ToolCall | LlmError => {
    if (typeof fn.name !== "string") return WireFormat.missing(context, `${field}.name`, fn.name, "a string")
    const own = Json.text(fn.id)
    const made = `call_${id === undefined ? "" : `${id}_`}${calls++}`
    if (typeof signature === "string" && (own ?? id) !== undefined) signatures.set(own ?? made, signature)
    return { id: own ?? made, name: fn.name, arguments: fn.args ?? {} }
  }

  /** Appends the content of a body to `out`. */
  const read = (body: Json.Json, out: Array<Chat.Event>): LlmError | undefined => {
    id ??= Json.text(body.responseId)
    model ??= Json.text(body.modelVersion)
    usage = decodeUsage(body.usageMetadata) ?? usage
    const candidate = Json.object(Json.array(body.candidates)[0])
    const reason = Json.string(candidate.finishReason)
    if (Classify.finishReason(reason) !== "none") finish = reason
    const field = "candidates[0].content"
    const content = Json.object(candidate.content)
    if (candidate.content != null && content !== candidate.content) {
      return WireFormat.missing(context, field, candidate.content, "an object")
    }
    if (content.parts != null && !Array.isArray(content.parts)) {
      return WireFormat.missing(context, `${field}.parts`, content.parts, "an array")
    }
    for (const [index, entry] of Json.array(content.parts).entries()) {
      const part = Json.object(entry)
      const at = `${field}.parts[${index}]`
      if (Object.values(part).some((piece) => piece !== "" && piece != null && piece !== true)) progress++
      if (part.functionCall !== undefined) {
        const made = call(Json.object(part.functionCall), part.thoughtSignature, `${at}.functionCall`)
        if (made instanceof Error) return made
        inside = "tool-call"
        out.push({ _tag: "ToolCall", ...made })
      } else if (part.text !== undefined) {
        if (typeof part.text !== "string") return WireFormat.missing(context, `${at}.text`, part.text, "a string")
        if (part.text === "") continue
        inside = part.thought === true ? "reasoning" : "text"
        out.push({ _tag: part.thought === true ? "ReasoningDelta" : "TextDelta", text: part.text })
      }
    }
    return undefined
  }

  return {
    read,
    start: () => WireFormat.origin(context, id, model),
    usage: () => usage,
    cursor: (): StreamDecoder.Cursor => ({ inside: finish === undefined ? inside : "end", usage }),
    progress: () => progress,
    finished: () => finish !== undefined,
    reason: () => WireFormat.finishReason(finish, calls)
  }
}

const decode =
  (signatures: Signatures) =>
  (body: Json.Json, context: WireFormat.Exchange): Chat.Response | LlmError => {
    const candidate = Json.object(Json.array(body.candidates)[0])
    if (candidate.content === undefined && candidate.finishReason === undefined) {
      return WireFormat.missing(context, "candidates[0].content", candidate.content, "an object")
    }
    const answer = reader(context, signatures)
    const events: Array<Chat.Event> = []
    const error = answer.read(body, events)
    if (error !== undefined) return error
    const text: Array<string> = []
    const reasoning: Array<string> = []
    const toolCalls: Array<Chat.ToolCall> = []
    for (const event of events) {
      if (event._tag === "TextDelta") text.push(event.text)
      else if (event._tag === "ReasoningDelta") reasoning.push(event.text)
      else if (event._tag === "ToolCall") toolCalls.push({ id: event.id, name: event.name, arguments: event.arguments })
    }
    return {
      ...answer.start(),
      text: text.join(""),
      ...Json.optional("reasoning", reasoning.join("")),
      toolCalls,
      finishReason: answer.reason(),
      ...Json.optional("usage", answer.usage())
    }
  }

const decoder =
  (signatures: Signatures) =>
  (context: WireFormat.Exchange): StreamDecoder.Decoder => {
    const answer = reader(context, signatures)
    let started = false
    const start = (out: Array<Chat.Event>, at: number): void => {
      if (!started) out.splice(at, 0, { _tag: "Start", ...answer.start() })
      started = true
    }
    return {
      push: (event, out) =>
        WireFormat.event(context, event, (data) => {
          const at = out.length
          const error = answer.read(data, out)
          if (out.length > at) start(out, at)
          return error
        }),
      // Usage may come after the finish reason, and no event is marked as the last.
      done: () => false,
      end: (out) => {
        if (!answer.finished()) return undefined
        start(out, out.length)
        WireFormat.finish(out, answer.usage(), answer.reason())
        return undefined
      },
      cursor: answer.cursor,
      progress: answer.progress
    }
  }

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

/**
 * The options of every provider (`Endpoint.Options`). `model` may name its collection: `gemini-2.5-flash`,
 * `tunedModels/mine`. The default `provider` is `"gemini"`, the default `baseUrl`
 * `https://generativelanguage.googleapis.com/v1beta`.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options extends Endpoint.Options {}

/**
 * A model over `generateContent`. Fails with a `ConfigError` if the key is not configured.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (
  options: Options
): Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.suspend(() => {
    const { baseUrl = "https://generativelanguage.googleapis.com/v1beta", model, provider = "gemini" } = options
    const path = (model.includes("/") ? model : `models/${model}`).split("/").map(encodeURIComponent).join("/")
    const signatures: Signatures = WireFormat.memory()
    return Endpoint.make(
      options,
      {
        provider,
        baseUrl,
        url: (baseUrl, streaming) =>
          `${baseUrl}/${path}:${streaming ? "streamGenerateContent?alt=sse" : "generateContent"}`,
        auth: (key) => ({ "x-goog-api-key": key })
      },
      {
        encode: encode(provider, model, signatures),
        decode: decode(signatures),
        decoder: decoder(signatures),
        // Gemini sends its limits only in the bodies of errors.
        limits: () => undefined
      }
    )
  })

/**
 * The application's model, made by {@link make}.
 *
 * @since 0.1.0
 * @category layers
 */
export const layer = Endpoint.layer(make)

/**
 * {@link layer} with every option from a `Config`.
 *
 * @since 0.1.0
 * @category layers
 */
export const layerConfig = Endpoint.layerConfig(make)
