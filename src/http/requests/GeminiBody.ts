/**
 * Reads requests of Gemini's `generateContent` and `streamGenerateContent`, the inverse of `GeminiRequest`.
 *
 * The model and whether the answer streams stand in the path, so that they come as options. Fields are read in camel
 * case and with underscores, as the API does.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Fields from "./Fields.js"
import * as GeminiContents from "./GeminiContents.js"
import * as Leftover from "./Leftover.js"
import * as OpenApiSchemas from "./OpenApiSchemas.js"

const { list, object } = GeminiContents

const known = {
  body: Leftover.names("model contents systemInstruction tools toolConfig generationConfig"),
  config: Leftover.names(
    "temperature topP maxOutputTokens stopSequences seed responseMimeType responseSchema responseJsonSchema " +
      "thinkingConfig candidateCount"
  ),
  thinking: Leftover.names("thinkingBudget thinkingLevel includeThoughts"),
  toolConfig: Leftover.names("functionCallingConfig"),
  calling: Leftover.names("mode allowedFunctionNames"),
  declaration: Leftover.names("name description parameters parametersJsonSchema")
}

// -----------------------------------------------------------------------------
// tools
// -----------------------------------------------------------------------------

/** A schema: a JSON schema in its own field, else one of OpenAPI. */
const schemaOf = (json: unknown, open: unknown, at: readonly [json: string, open: string]): Fields.Json | undefined => {
  const found = Fields.object(json, at[0])
  if (found !== undefined) return found
  const other = Fields.object(open, at[1])
  return other === undefined ? undefined : OpenApiSchemas.jsonSchema(other)
}

const toolOf = (entry: unknown, at: string, left: Leftover.Leftover): Chat.Tool => {
  const tool = Fields.needed(object, entry, at, "an object")
  left.lost(tool, known.declaration, "tools[].functionDeclarations[]")
  const { parameters, parametersJsonSchema } = tool
  const schema = schemaOf(parametersJsonSchema, parameters, [`${at}.parametersJsonSchema`, `${at}.parameters`])
  return Fields.compact({
    name: Fields.needed(Fields.string, tool.name, `${at}.name`, "a string"),
    description: Fields.string(tool.description, `${at}.description`),
    parameters: schema ?? { type: "object", properties: {} }
  })
}

const toolsOf = (value: unknown, left: Leftover.Leftover): ReadonlyArray<Chat.Tool> =>
  (list(value, "tools") ?? []).flatMap((entry, index) => {
    const at = `tools[${index}]`
    const tool = Fields.needed(object, entry, at, "an object")
    const own = Object.keys(tool).find((name) => name !== "functionDeclarations" && tool[name] != null)
    if (own !== undefined)
      throw Fields.refusal(`${at}.${Fields.nameOf(own)}`, "a tool of Google's", "functionDeclarations")
    const at2 = `${at}.functionDeclarations`
    return (list(tool.functionDeclarations, at2) ?? []).map((one, place) => toolOf(one, `${at2}[${place}]`, left))
  })

interface Choice {
  readonly choice: Chat.Request["toolChoice"]
  /** The names of the tools that may be called. */
  readonly allowed?: ReadonlySet<string>
}

const modes = ["AUTO", "ANY", "NONE", "VALIDATED", "MODE_UNSPECIFIED"] as const

/** An enum, which some clients write in small letters. */
const upper = (value: unknown): unknown => (typeof value === "string" ? value.toUpperCase() : value)

const choiceOf = (value: unknown, left: Leftover.Leftover): Choice => {
  const at = "toolConfig.functionCallingConfig"
  const config = object(value, "toolConfig")
  const calling = object(config?.functionCallingConfig, at)
  left.fields(config ?? {}, known.toolConfig, "toolConfig")
  left.lost(calling ?? {}, known.calling, at)
  const mode = Fields.oneOf(...modes)(upper(calling?.mode), `${at}.mode`)
  const names = Fields.strings(calling?.allowedFunctionNames, `${at}.allowedFunctionNames`)
  if (mode === undefined || mode === "MODE_UNSPECIFIED") return { choice: undefined }
  if (mode === "NONE") return { choice: "none" }
  const [name, ...others] = names ?? []
  if (mode === "ANY" && name !== undefined && others.length === 0) return { choice: { name } }
  const choice = mode === "ANY" ? "required" : "auto"
  return names === undefined || mode === "AUTO" ? { choice } : { choice, allowed: new Set(names) }
}

// -----------------------------------------------------------------------------
// configuration
// -----------------------------------------------------------------------------

const levels = ["MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "THINKING_LEVEL_UNSPECIFIED"] as const
const efforts = { MINIMAL: "minimal", LOW: "low", MEDIUM: "medium", HIGH: "high", XHIGH: "xhigh" } as const

const reasoningOf = (value: unknown, left: Leftover.Leftover): Chat.Reasoning | undefined => {
  const at = "generationConfig.thinkingConfig"
  const config = object(value, at)
  if (config === undefined) return undefined
  left.lost(config, known.thinking, at)
  const level = Fields.oneOf(...levels)(upper(config.thinkingLevel), `${at}.thinkingLevel`)
  // -1 lets the model decide, which is what it does anyway.
  const budget = Fields.integer(-1)(config.thinkingBudget, `${at}.thinkingBudget`) ?? -1
  const effort = level === undefined || level === "THINKING_LEVEL_UNSPECIFIED" ? undefined : efforts[level]
  const found = Fields.compact({
    effort: effort ?? (budget === 0 ? ("none" as const) : undefined),
    budgetTokens: budget > 0 ? budget : undefined,
    summary: Fields.boolean(config.includeThoughts, `${at}.includeThoughts`)
  })
  return Object.keys(found).length === 0 ? undefined : found
}

const formatOf = (config: Fields.Json): Chat.Request["responseFormat"] => {
  const at = "generationConfig"
  const { responseJsonSchema, responseSchema } = config
  const schema = schemaOf(responseJsonSchema, responseSchema, [`${at}.responseJsonSchema`, `${at}.responseSchema`])
  const types = ["application/json", "text/plain"] as const
  const type = Fields.oneOf(...types)(config.responseMimeType, `${at}.responseMimeType`)
  if (schema !== undefined) return { type: "json-schema", name: "answer", schema }
  return type === "application/json" ? { type: "json" } : undefined
}

/** The name of a model, without the collection that Google's are in. */
const nameOf = (options: Options, fields: Fields.Json): string => {
  const model = options.model ?? Fields.string(fields.model, "model") ?? ""
  const name = model.startsWith("models/") ? model.slice("models/".length) : model
  if (name === "") throw Fields.refusal("model", "nothing", "the name of a model in the path")
  return name
}

/**
 * What a client asks for; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (body: unknown, options: Options): Asked => {
  const { passTo, stream = false } = options
  const fields = Fields.needed(object, body, "body", "a JSON object")
  const model = nameOf(options, fields)
  if (fields.cachedContent != null) {
    throw Fields.refusal("cachedContent", "the name of stored contents", "the contents themselves")
  }
  const left = Leftover.make()
  left.fields(fields, known.body)
  const context = { left, provider: passTo ?? "gemini", model }
  const turns = GeminiContents.read(fields.contents, context)
  if (turns.length === 0) throw Fields.refusal("contents", "an empty array", "at least one content")
  const [first, ...rest] = [...GeminiContents.system(fields.systemInstruction, context), ...turns] as [
    Chat.Message,
    ...Array<Chat.Message>
  ]
  const { allowed, choice } = choiceOf(fields.toolConfig, left)
  const tools = toolsOf(fields.tools, left).filter(({ name }) => allowed?.has(name) !== false)
  const config = object(fields.generationConfig, "generationConfig") ?? {}
  left.fields(config, known.config, "generationConfig")
  const field = (name: string): readonly [unknown, string] => [config[name], `generationConfig.${name}`]
  // Several answers to one request are several calls.
  const answers = Fields.integer(1)(...field("candidateCount")) ?? 1
  if (answers !== 1) throw Fields.refusal("generationConfig.candidateCount", String(answers), "1")
  const reasoning = reasoningOf(config.thinkingConfig, left)
  const { providerOptions, unread } = left.end(passTo)
  const request: Chat.Request = Fields.compact({
    messages: [first, ...rest] as const,
    tools: tools.length === 0 ? undefined : tools,
    toolChoice: choice,
    responseFormat: formatOf(config),
    temperature: Fields.number(...field("temperature")),
    topP: Fields.number(...field("topP")),
    maxTokens: Fields.integer(1)(...field("maxOutputTokens")),
    reasoning,
    stop: Fields.strings(...field("stopSequences")),
    seed: Fields.integer()(...field("seed")),
    providerOptions
  })
  return { model, request, stream, includeUsage: true, unread }
}
