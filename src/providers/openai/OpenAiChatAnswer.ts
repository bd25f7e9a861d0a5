/**
 * Reads answers in OpenAI's Chat Completions, from OpenAI and the many servers that speak it.
 *
 * A whole body has `message` where a chunk of a stream has `delta`; both are read alike. Tool calls are told apart by
 * index, id, name and the beginning of their arguments, because servers differ in which of them they send.
 *
 * @since 0.2.0
 */

import * as Classify from "../../errors/Classify.js"
import type { LlmError } from "../../errors/LlmError.js"
import type * as Assembly from "../wire/Assembly.js"
import * as Json from "../wire/Json.js"
import type * as Reader from "../wire/Reader.js"
import type * as ToolCalls from "../wire/ToolCalls.js"
import * as WireFields from "../wire/WireFields.js"

// -----------------------------------------------------------------------------
// usage
// -----------------------------------------------------------------------------

/** Counts that `Usage` holds, or that are parts of those. */
const counted = new Set([
  "prompt_tokens",
  "completion_tokens",
  "total_tokens",
  "prompt_tokens_details",
  "completion_tokens_details",
  "prompt_cache_hit_tokens",
  "prompt_cache_miss_tokens",
  "cached_tokens",
  "reasoning_tokens"
])

const countUsage = (assembly: Assembly.Assembly, u: unknown): void => {
  const usage = Json.object(u)
  if (usage !== u) return
  const prompt = Json.object(usage.prompt_tokens_details)
  const completion = Json.object(usage.completion_tokens_details)
  assembly.count({
    input: Json.count(usage.prompt_tokens),
    output: Json.count(usage.completion_tokens),
    total: Json.count(usage.total_tokens),
    cached:
      Json.count(prompt.cached_tokens) ?? Json.count(usage.prompt_cache_hit_tokens) ?? Json.count(usage.cached_tokens),
    written: Json.count(prompt.cache_write_tokens) ?? Json.count(usage.cache_creation_input_tokens),
    reasoning: Json.count(completion.reasoning_tokens) ?? Json.count(usage.reasoning_tokens)
  })
  assembly.detail("usage", WireFields.uncounted(usage, counted))
}

// -----------------------------------------------------------------------------
// tool calls
// -----------------------------------------------------------------------------

const begins = (args: unknown): boolean =>
  typeof args === "string" ? args.trimStart().startsWith("{") : Json.object(args) === args

const indexOf = (u: unknown): number | undefined =>
  Json.count(u) ?? (typeof u === "string" && /^\d{1,4}$/.test(u) ? Number(u) : undefined)

/** Whether the arguments are closed. Most pieces do not end as JSON does, so that it is seldom parsed. */
const isClosed = ({ pieces, value }: ToolCalls.OpenCall): boolean => {
  const last = pieces[pieces.length - 1]
  if (last === undefined) return Json.object(value) === value
  if (!last.trimEnd().endsWith("}")) return false
  const text = pieces.join("")
  // The next time, less is to join.
  pieces.splice(0, pieces.length, text)
  return Json.parse(text) !== undefined
}

/** Whether a piece begins another call than the open one, which has its index. */
const isAnother = (
  open: ToolCalls.OpenCall,
  id: string | undefined,
  name: string | undefined,
  args: unknown
): boolean => {
  // A fragment without a name continues a call: some servers make a new id for every fragment.
  if (name === undefined) return false
  if (id !== undefined && open.id !== "") return id !== open.id
  if (name === open.name) return begins(args) && isClosed(open)
  return open.name !== "" && (begins(args) || isClosed(open))
}

/** Collects the tool calls of an answer. */
const makeCalls = (assembly: Assembly.Assembly) => {
  /** The calls by their index, and by their id for pieces without an index. */
  const known = new Map<number | string, ToolCalls.OpenCall>()
  let last: ToolCalls.OpenCall | undefined

  /** The open call that a piece may belong to. */
  const open = (index: number | undefined, position: number, id: string | undefined, name: string | undefined) => {
    const key = index ?? (name === undefined ? id : undefined)
    const found = key === undefined ? undefined : known.get(key)
    if (found !== undefined) return found
    // A piece that names nothing continues the last call. A second one in a chunk that names a tool is another.
    const isNext = name === undefined ? index === undefined || id === undefined : index === undefined && position === 0
    return isNext ? last : undefined
  }

  return (entry: Json.Json, position: number): void => {
    // A custom tool takes any text, which is no JSON: its call has it as `input`.
    const custom = Json.object(entry.custom)
    const isCustom = custom === entry.custom
    const fn = isCustom ? custom : Json.object(entry.function)
    const index = indexOf(entry.index)
    const id = Json.text(entry.id)
    const name = Json.text(fn.name)
    const args = (isCustom ? custom.input : fn.arguments) ?? ""
    let call = open(index, position, id, name)
    if (call === undefined || isAnother(call, id, name, args)) {
      // Some servers send empty calls along with the text.
      if (id === undefined && name === undefined && args === "") return
      const field = `tool_calls[${index ?? position}]`
      call = assembly.open(isCustom ? { field: `${field}.custom`, proof: "next" } : { field: `${field}.function` })
    }
    if (index !== undefined) known.set(index, call)
    if (id !== undefined) known.set(id, call)
    last = call
    if (id !== undefined && call.id === "") call.id = id
    if (name !== undefined && name !== call.name) call.name += name
    if (entry.extra_content != null) call.reply = { extra_content: entry.extra_content }
    if (isCustom) assembly.input(call, Json.string(args) ?? "")
    else if (typeof args === "string") assembly.fragment(call, args)
    else call.value = args
  }
}

// -----------------------------------------------------------------------------
// what goes back
// -----------------------------------------------------------------------------

/** Merges the pieces of OpenRouter's reasoning details: texts are joined, other fields are replaced. */
const makeDetails = () => {
  const details: Array<Record<string, unknown>> = []
  return {
    all: details,
    add: (piece: Json.Json): void => {
      const open = details.at(-1)
      const same =
        open !== undefined && open.type === piece.type && (open.index ?? 0) === (piece.index ?? open.index ?? 0)
      if (!same || typeof open.data === "string") {
        details.push({ ...piece })
        return
      }
      for (const [key, value] of Object.entries(piece)) {
        const joined =
          (key === "text" || key === "summary") && typeof open[key] === "string" && typeof value === "string"
        if (joined) open[key] += value
        else if (value != null) open[key] = value
      }
    }
  }
}

/** The parts of a content that is a list, as Mistral's: neighbours of a type become one. */
const makeParts = () => {
  const parts: Array<{ type: "text" | "thinking"; text: string }> = []
  return {
    add: (type: "text" | "thinking", text: string): void => {
      if (text === "") return
      const open = parts.at(-1)
      if (open?.type === type) open.text += text
      else parts.push({ type, text })
    },
    thoughts: (): boolean => parts.some(({ type }) => type === "thinking"),
    all: () =>
      parts.map(({ text, type }) =>
        type === "text" ? { type, text } : { type, thinking: [{ type: "text", text }], closed: true }
      )
  }
}

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/**
 * The reader of Chat Completions.
 *
 * @since 0.2.0
 * @category constructors
 */
export const reader = (assembly: Assembly.Assembly): Reader.Reader => {
  const { context } = assembly
  const addCall = makeCalls(assembly)
  /** Tool calls of other choices: Copilot sends them in a choice of their own. */
  const others = new Map<number, Array<Json.Json>>()
  /** The other choices of a stream that have begun and not ended. */
  const running = new Set<number>()
  const thoughts: { field: "reasoning_content" | "reasoning"; pieces: Array<string> } = {
    field: "reasoning_content",
    pieces: []
  }
  let details: ReturnType<typeof makeDetails> | undefined
  let parts: ReturnType<typeof makeParts> | undefined
  let extra: unknown
  let citations: unknown

  const addParts = (content: ReadonlyArray<unknown>): void => {
    parts ??= makeParts()
    for (const entry of content) {
      const part = Json.object(entry)
      if (part.type === "thinking") {
        for (const thought of Json.array(part.thinking)) {
          const text = Json.string(Json.object(thought).text) ?? ""
          assembly.reasoning(text)
          parts.add("thinking", text)
        }
      } else if (part.type === "refusal") assembly.refusal(Json.string(part.refusal) ?? "")
      else {
        const text = Json.string(part.text) ?? ""
        assembly.text(text)
        parts.add("text", text)
      }
    }
  }

  const addReasoning = (message: Json.Json): void => {
    const field = Json.text(message.reasoning_content) === undefined ? "reasoning" : "reasoning_content"
    const text = message[field]
    if (typeof text === "string" && text !== "") {
      thoughts.field = field
      thoughts.pieces.push(text)
      assembly.reasoning(text)
    }
    if (!Array.isArray(message.reasoning_details)) return
    details ??= makeDetails()
    for (const piece of message.reasoning_details) {
      assembly.alive("reasoning")
      details.add(Json.object(piece))
    }
  }

  /** Reads a message, or a piece of one. */
  const read = (message: Json.Json): void => {
    if (message.reasoning_content != null || message.reasoning != null || message.reasoning_details != null) {
      addReasoning(message)
    }
    const { content } = message
    if (typeof content === "string") {
      assembly.text(content)
      parts?.add("text", content)
    } else if (Array.isArray(content)) addParts(content)
    if (typeof message.refusal === "string") assembly.refusal(message.refusal)
    if (Array.isArray(message.tool_calls)) {
      message.tool_calls.forEach((entry, position) => {
        addCall(Json.object(entry), position)
      })
    }
    // The form of 2023.
    if (message.function_call != null) addCall({ index: 0, function: message.function_call }, 0)
    if (message.extra_content != null) extra = message.extra_content
    if (message.annotations !== undefined) assembly.detail("annotations", message.annotations)
  }

  /** Of several choices, which `n` in the provider's options asks for, the first is the answer. */
  const choiceOf = (data: Json.Json): Json.Json => {
    const choices = Json.array(data.choices)
    const first = Json.object(choices[0])
    if (choices.length < 2 && isFirst(first)) return first
    let chosen: Json.Json | undefined
    for (const [position, entry] of choices.entries()) {
      const choice = Json.object(entry)
      if (chosen === undefined && isFirst(choice)) {
        chosen = choice
        continue
      }
      const index = indexOf(choice.index) ?? position
      if (Json.text(choice.finish_reason) !== undefined) running.delete(index)
      else if (choice.delta != null) running.add(index)
      const calls = Json.array(messageOf(choice).tool_calls)
      const known = others.get(index)
      if (known === undefined) others.set(index, calls.map(Json.object))
      else for (const call of calls) known.push(Json.object(call))
    }
    assembly.waits = running.size > 0
    return chosen ?? Json.object(undefined)
  }

  const isFirst = (choice: Json.Json): boolean => (indexOf(choice.index) ?? 0) === 0

  /** Chunks have `delta`; some servers send `message` there. */
  const messageOf = (choice: Json.Json): Json.Json => Json.object(choice.delta ?? choice.message)

  const about = (data: Json.Json, choice: Json.Json): void => {
    assembly.origin(data.id, data.model)
    if (data.usage != null) countUsage(assembly, data.usage)
    else if (choice.usage != null) countUsage(assembly, choice.usage)
    else if (data.x_groq !== undefined) countUsage(assembly, Json.object(data.x_groq).usage)
    assembly.tier(data.service_tier)
    // Perplexity sends all of them in every chunk.
    if (data.citations !== undefined) citations = data.citations
    if (choice.logprobs != null) assembly.detail("logprobs", Json.object(choice.logprobs).content)
  }

  return {
    whole: (body): LlmError | undefined => {
      const choice = choiceOf(body)
      const message = Json.object(choice.message)
      if (message !== choice.message)
        return WireFields.missing(context, "choices[0].message", choice.message, "an object")
      // Some servers leave it out; one that says null has not ended.
      if (choice.finish_reason === null) return WireFields.missing(context, "choices[0].finish_reason", null, "an end")
      about(body, choice)
      read(message)
      assembly.finish(choice.finish_reason)
      return undefined
    },
    event: (data) => {
      const choice = choiceOf(data)
      about(data, choice)
      // Some servers send the whole answer again at its end.
      const isAgain = choice.delta == null && data.object === "chat.completion" && assembly.progress > 0
      if (!isAgain) read(messageOf(choice))
      assembly.finish(choice.finish_reason)
      return undefined
    },
    failed: (data) => about(data, choiceOf(data)),
    done: () => {
      assembly.closed = true
      // Servers that send no finish reason send their counts at the end.
      if (assembly.usage() !== undefined && assembly.progress > 0) assembly.reason ??= "unstated"
    },
    ending: () => {
      assembly.detail("citations", citations)
      if (assembly.callCount > 0 || Classify.finishReason(assembly.reason) !== "tool-calls") return
      const [calls = []] = others.values()
      calls.forEach(addCall)
    },
    reply: () => {
      const back = Json.compact({
        // Servers that want reasoning back want it with tool calls; some refuse it without.
        [thoughts.field]: assembly.callCount > 0 && thoughts.pieces.length > 0 ? thoughts.pieces.join("") : undefined,
        reasoning_details: details?.all,
        content: parts?.thoughts() === true ? parts.all() : undefined,
        extra_content: extra
      })
      return Object.keys(back).length === 0 ? undefined : back
    }
  }
}
