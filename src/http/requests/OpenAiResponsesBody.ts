/**
 * Reads requests of OpenAI's Responses API, the inverse of `OpenAiResponsesRequest`.
 *
 * Every request holds its whole conversation: what names an answer that the server would have stored is refused.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Asked, Options } from "./Asked.js"
import * as Fields from "./Fields.js"
import * as Leftover from "./Leftover.js"
import * as OpenAiResponsesItems from "./OpenAiResponsesItems.js"

const known = Leftover.names(
  "model input instructions tools tool_choice text reasoning max_output_tokens temperature top_p metadata stream " +
    "stream_options"
)

const knownInTool = Leftover.names("type name description parameters strict")
const knownInText = Leftover.names("format")
const knownInReasoning = Leftover.names("effort summary generate_summary")

// -----------------------------------------------------------------------------
// what is stored elsewhere
// -----------------------------------------------------------------------------

const whole = "the whole conversation in input, because answers are not stored"

/** The fields that need a memory: in which words they are refused. */
const remembered: ReadonlyArray<readonly [field: string, found: string, expected: string]> = [
  ["previous_response_id", "the id of an earlier answer", whole],
  ["conversation", "a conversation", whole],
  ["prompt", "a stored prompt", "instructions and input"]
]

const refuseRemembered = (fields: Fields.Json): void => {
  for (const [field, found, expected] of remembered)
    if (fields[field] != null) throw Fields.refusal(field, found, expected)
  if (Fields.boolean(fields.background, "background") === true) {
    throw Fields.refusal("background", "true", "false, because answers are not stored")
  }
}

/** The fields that say nothing: they ask for what is done anyway. */
const withoutDefaults = (fields: Fields.Json): Fields.Json => {
  const include = Fields.strings(fields.include, "include")?.filter((name) => name !== "reasoning.encrypted_content")
  return {
    ...fields,
    include: include?.length === 0 ? undefined : include,
    store: Fields.boolean(fields.store, "store") === false ? undefined : fields.store,
    background: undefined
  }
}

// -----------------------------------------------------------------------------
// fields
// -----------------------------------------------------------------------------

const toolOf = (entry: unknown, at: string, left: Leftover.Leftover): Chat.Tool => {
  const tool = Fields.needed(Fields.object, entry, at, "an object")
  // Tools of other types are run by OpenAI.
  Fields.needed(Fields.oneOf("function"), tool.type, `${at}.type`, "a string")
  left.lost(tool, knownInTool, "tools[]")
  return Fields.compact({
    name: Fields.needed(Fields.string, tool.name, `${at}.name`, "a string"),
    description: Fields.string(tool.description, `${at}.description`),
    parameters: Fields.object(tool.parameters, `${at}.parameters`) ?? { type: "object", properties: {} },
    strict: Fields.boolean(tool.strict, `${at}.strict`) === true ? true : undefined
  })
}

interface Choice {
  readonly choice: Chat.Request["toolChoice"]
  /** The names of the tools that may be called. */
  readonly allowed?: ReadonlySet<string>
}

const functionOf = (entry: unknown, at: string): string => {
  const tool = Fields.needed(Fields.object, entry, at, "an object")
  Fields.needed(Fields.oneOf("function"), tool.type, `${at}.type`, "a string")
  return Fields.needed(Fields.string, tool.name, `${at}.name`, "a string")
}

const choiceOf = (value: unknown): Choice => {
  const at = "tool_choice"
  if (value === undefined || value === null) return { choice: undefined }
  if (typeof value === "string") return { choice: Fields.oneOf("auto", "none", "required")(value, at) }
  const choice = Fields.needed(Fields.object, value, at, "an object")
  const type = Fields.needed(Fields.oneOf("function", "allowed_tools"), choice.type, `${at}.type`, "a string")
  if (type === "function") return { choice: { name: functionOf(choice, at) } }
  const tools = Fields.needed(Fields.array, choice.tools, `${at}.tools`, "an array")
  return {
    choice: Fields.needed(Fields.oneOf("auto", "required"), choice.mode, `${at}.mode`, "a string"),
    allowed: new Set(tools.map((tool, index) => functionOf(tool, `${at}.tools[${index}]`)))
  }
}

const formatOf = (text: Fields.Json | undefined): Chat.Request["responseFormat"] => {
  const at = "text.format"
  const format = Fields.object(text?.format, at)
  if (format === undefined) return undefined
  const types = ["text", "json_object", "json_schema"] as const
  switch (Fields.needed(Fields.oneOf(...types), format.type, `${at}.type`, "a string")) {
    case "text":
      return undefined
    case "json_object":
      return { type: "json" }
    case "json_schema":
      return Fields.compact({
        type: "json-schema" as const,
        name: Fields.needed(Fields.string, format.name, `${at}.name`, "a string"),
        schema: Fields.needed(Fields.object, format.schema, `${at}.schema`, "an object"),
        strict: Fields.boolean(format.strict, `${at}.strict`)
      })
  }
}

const reasoningOf = (reasoning: Fields.Json | undefined): Chat.Reasoning | undefined => {
  const summary = Fields.string(reasoning?.summary ?? reasoning?.generate_summary, "reasoning.summary")
  const found = Fields.compact({
    effort: Fields.effort(reasoning?.effort, "reasoning.effort"),
    summary: summary === undefined ? undefined : true
  })
  return Object.keys(found).length === 0 ? undefined : found
}

/**
 * What a client asks for; throws the refusal of the first field that is wrong.
 *
 * @since 0.2.0
 * @category decoding
 */
export const read = (body: unknown, { passTo }: Options): Asked => {
  const fields = Fields.needed(Fields.object, body, "body", "a JSON object")
  refuseRemembered(fields)
  const model = Fields.needed(Fields.string, fields.model, "model", "a string")
  const left = Leftover.make()
  left.fields(withoutDefaults(fields), known)
  const instructions = Fields.string(fields.instructions, "instructions") ?? ""
  const context = { left, provider: passTo ?? "openai", model }
  const [first, ...rest] = [
    ...(instructions === "" ? [] : [{ role: "system" as const, content: instructions }]),
    ...OpenAiResponsesItems.read(fields.input, context)
  ]
  if (first === undefined) throw Fields.refusal("input", "an empty array", "at least one item")
  const { allowed, choice } = choiceOf(fields.tool_choice)
  const tools = Fields.array(fields.tools, "tools")
    ?.map((tool, index) => toolOf(tool, `tools[${index}]`, left))
    .filter(({ name }) => allowed?.has(name) !== false)
  const text = Fields.object(fields.text, "text")
  const reasoning = Fields.object(fields.reasoning, "reasoning")
  left.fields(text ?? {}, knownInText, "text")
  left.fields(reasoning ?? {}, knownInReasoning, "reasoning")
  const { providerOptions, unread } = left.end(passTo)
  const request: Chat.Request = Fields.compact({
    messages: [first, ...rest] as const,
    tools: tools?.length === 0 ? undefined : tools,
    toolChoice: choice,
    responseFormat: formatOf(text),
    temperature: Fields.number(fields.temperature, "temperature"),
    topP: Fields.number(fields.top_p, "top_p"),
    maxTokens: Fields.integer(1)(fields.max_output_tokens, "max_output_tokens"),
    reasoning: reasoningOf(reasoning),
    metadata: Fields.words(fields.metadata, "metadata"),
    providerOptions
  })
  return { model, request, stream: Fields.boolean(fields.stream, "stream") ?? false, includeUsage: true, unread }
}
