/**
 * Writes requests of Gemini's `generateContent`.
 *
 * What the model refuses is left out, or replaced by the nearest that it takes. The options of the user for the
 * provider are merged in last, as they are.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as Continuation from "../../chat/stream/Continuation.js"
import { InvalidRequest } from "../../errors/LlmError.js"
import * as InWords from "../wire/InWords.js"
import * as Json from "../wire/Json.js"
import * as JsonSchemas from "../wire/JsonSchemas.js"
import * as SchemaRules from "../wire/SchemaRules.js"
import * as ToolResults from "../wire/ToolResults.js"
import * as WireFields from "../wire/WireFields.js"
import * as GeminiContents from "./GeminiContents.js"
import * as GeminiThinking from "./GeminiThinking.js"

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/** The limits of the API (reference of `GenerationConfig`). */
const maxTemperature = 2
const maxStops = 5
const isSeed = (seed: number): boolean => seed === (seed | 0)

/** The first version that calls functions and answers in JSON in the same request. */
const firstWithBoth = 300

// -----------------------------------------------------------------------------
// encode
// -----------------------------------------------------------------------------

/** A schema by Gemini's rules, or as it is if they cannot hold it. */
const schemaOf = (given: Chat.Tool["parameters"]): Json.Json => {
  const found = JsonSchemas.enforced(given, SchemaRules.gemini)
  return "schema" in found ? found.schema : JsonSchemas.rooted(given)
}

const encodeTools = ({ toolChoice, tools = [] }: Chat.Request, own: Json.Json, leftOut: Set<string>): Json.Json => {
  if (tools.some(({ strict }) => strict === true)) leftOut.add("strict tools (Gemini has none)")
  const fields = {
    tools:
      tools.length === 0
        ? undefined
        : [
            {
              functionDeclarations: tools.map(({ description, name, parameters }) =>
                Json.compact({ name, description, parametersJsonSchema: schemaOf(parameters) })
              )
            }
          ]
  }
  if (toolChoice === undefined) return fields
  const hasOwn = Json.array(own.tools).some((tool) => Json.array(Json.object(tool).functionDeclarations).length > 0)
  if (tools.length === 0 && !hasOwn) {
    leftOut.add("toolChoice (there are no tools)")
    return fields
  }
  const functionCallingConfig =
    typeof toolChoice === "object"
      ? { mode: "ANY", allowedFunctionNames: [toolChoice.name] }
      : { mode: toolChoice === "required" ? "ANY" : toolChoice.toUpperCase() }
  return { ...fields, toolConfig: { functionCallingConfig } }
}

const encodeSampling = ({ seed, stop = [], temperature, topP }: Chat.Request, leftOut: Set<string>): Json.Json => {
  const isHot = temperature !== undefined && temperature > maxTemperature
  if (isHot) leftOut.add(`temperature (${maxTemperature}, not ${temperature})`)
  if (seed !== undefined && !isSeed(seed)) leftOut.add("seed (it has more than 32 bits)")
  const stops = stop.filter((text) => text !== "").slice(0, maxStops)
  if (stops.length < stop.length) leftOut.add(`stop (at most ${maxStops}, none empty)`)
  return {
    temperature: isHot ? maxTemperature : temperature,
    topP,
    stopSequences: stops.length === 0 ? undefined : stops,
    seed: seed !== undefined && isSeed(seed) ? seed : undefined
  }
}

/** Asks in a user message for the rest of an answer that has begun, if the model does not continue it. */
const askForRest = (
  contents: ReadonlyArray<GeminiContents.Content>,
  target: { readonly provider: string; readonly model: string },
  leftOut: Set<string>
): ReadonlyArray<GeminiContents.Content> => {
  const last = contents[contents.length - 1]
  const isBegun = last?.role === "model" && last.parts[last.parts.length - 1]?.text !== undefined
  if (!isBegun || Continuation.methodOf(target) !== "turn") return contents
  leftOut.add("the beginning of the answer (a user message asks for the rest)")
  return [...contents, { role: "user", parts: [{ text: Continuation.continueText }] }]
}

/**
 * The body of a request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string) =>
  (request: Chat.Request): WireFields.Encoded | InvalidRequest => {
    const leftOut = new Set<string>()
    // A signature of another model may be refused; the documented placeholder is not.
    const isOwn = (data: Chat.ProviderData) => data.wire === "gemini" && data.model === model
    const target = { provider, model }
    const settled = ToolResults.settle(request.messages, target, leftOut)
    if (settled instanceof InvalidRequest) return settled
    const messages = WireFields.withOwnData(settled, isOwn)
    const conversation = GeminiContents.encode(messages, model, leftOut)
    if (conversation === undefined) {
      return WireFields.refusal(target, "messages: found only system messages or empty ones, expected one of a user")
    }
    const own: Json.Json = request.providerOptions?.[provider] ?? {}
    const { metadata = {}, reasoning, responseFormat: format } = request
    if (Object.keys(metadata).length > 0) leftOut.add("metadata (Gemini has none)")
    const hasTools = (request.tools ?? []).length > 0 || Json.array(own.tools).length > 0
    const inWords = hasTools && (GeminiThinking.versionOf(model) ?? firstWithBoth) < firstWithBoth
    const system = [...conversation.system]
    if (format !== undefined && inWords) {
      system.push(InWords.json(format))
      leftOut.add("responseFormat (asked for in words, because there are tools)")
    }
    const asked = inWords ? undefined : format
    const found =
      asked?.type === "json-schema" ? JsonSchemas.enforced(asked.schema, SchemaRules.gemini) : { why: "none" }
    if (asked?.type === "json-schema" && "why" in found) {
      system.push(InWords.json(asked))
      leftOut.add(`responseFormat.schema (asked for in words: ${found.why})`)
    }
    const hasOwnThinking = Json.object(own.generationConfig).thinkingConfig !== undefined
    if (hasOwnThinking && reasoning !== undefined) leftOut.add("reasoning (providerOptions have their own)")
    const generationConfig = Json.compact({
      ...encodeSampling(request, leftOut),
      maxOutputTokens: request.maxTokens,
      responseMimeType: asked && "application/json",
      responseJsonSchema: "schema" in found ? found.schema : undefined,
      thinkingConfig: hasOwnThinking ? undefined : GeminiThinking.config(reasoning, model, leftOut)
    })
    const body = Json.merge(
      Json.compact({
        systemInstruction: system.length === 0 ? undefined : { parts: system.map((text) => ({ text })) },
        contents: askForRest(conversation.contents, target, leftOut),
        ...encodeTools(request, own, leftOut),
        generationConfig: Object.keys(generationConfig).length === 0 ? undefined : generationConfig
      }),
      own
    )
    return { body, leftOut: [...leftOut] }
  }
