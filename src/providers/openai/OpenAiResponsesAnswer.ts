/**
 * Reads answers of OpenAI's Responses API. The last event of a stream holds the whole answer, and is read like one:
 * what was not streamed before comes from it.
 *
 * @since 0.2.0
 */

import type * as StreamDecoder from "../../chat/stream/StreamDecoder.js"
import * as Classify from "../../errors/Classify.js"
import type { LlmError } from "../../errors/LlmError.js"
import type * as Assembly from "../wire/Assembly.js"
import * as Json from "../wire/Json.js"
import type * as Reader from "../wire/Reader.js"
import * as ToolCalls from "../wire/ToolCalls.js"
import * as WireFields from "../wire/WireFields.js"

const counted = new Set([
  "input_tokens",
  "output_tokens",
  "total_tokens",
  "input_tokens_details",
  "output_tokens_details"
])

const countUsage = (assembly: Assembly.Assembly, u: unknown): void => {
  const usage = Json.object(u)
  if (usage !== u) return
  const input = Json.object(usage.input_tokens_details)
  assembly.count({
    input: Json.count(usage.input_tokens),
    output: Json.count(usage.output_tokens),
    total: Json.count(usage.total_tokens),
    cached: Json.count(input.cached_tokens),
    written: Json.count(input.cache_write_tokens),
    reasoning: Json.count(Json.object(usage.output_tokens_details).reasoning_tokens)
  })
  assembly.detail("usage", WireFields.uncounted(usage, counted))
}

/** Joins the parts of the reasoning, which are paragraphs with their own headings. */
const paragraph = "\n\n"

const isThought = (part: Json.Json): boolean => part.type === "summary_text" || part.type === "reasoning_text"

/** The event that ends an answer, and the status that it tells if its response has none. */
const ends: ReadonlyMap<string, string> = new Map([
  ["response.completed", "completed"],
  ["response.done", "completed"],
  ["response.incomplete", "incomplete"],
  ["response.failed", "failed"],
  ["response.cancelled", "cancelled"]
])

/** An id that is safe in a path. */
const safeId = /^[\w-]+$/

/**
 * The reader of responses. What it delivers for an event depends only on events that a resumed stream sees too.
 *
 * @since 0.2.0
 * @category constructors
 */
export const reader = (assembly: Assembly.Assembly, from?: StreamDecoder.Cursor): Reader.Reader => {
  const { context } = assembly
  const seen = from?.resume?.after ?? -1
  const resumed = seen >= 0
  let id = from?.resume?.id
  let kept = id !== undefined
  let after = seen
  /** The tool calls that have begun, also by their id and by their item. */
  const opened: Array<ToolCalls.OpenCall> = []
  const byId = new Map<string, ToolCalls.OpenCall>()
  const open = new Map<string, ToolCalls.OpenCall>()
  /** The items whose tool call has been read to its end. */
  const ended = new Set<string>()
  /** The finished items, and whether the provider stores them. */
  let items: Array<Json.Json> = []
  /** Whether the text of the open part was streamed. */
  let streamed = resumed
  let stored = false

  if (from !== undefined) assembly.inside = from.inside

  /** What names an item in its events: its place or its id. */
  const keyOf = (item: Json.Json, index: unknown): string => String(Json.count(index) ?? Json.text(item.id) ?? "")

  /**
   * Reads a finished tool call, once. The id of a call tells it; the place of an item may differ in the last event, and
   * some servers give an item another id in each event.
   */
  const endCall = (item: Json.Json, index: unknown, field: string, isAnswerCut: boolean): LlmError | undefined => {
    const id = Json.text(item.call_id) ?? Json.text(item.id)
    const key = id ?? keyOf(item, index)
    if (ended.has(key)) return undefined
    ended.add(key)
    const call =
      byId.get(id ?? "") ?? open.get(keyOf(item, index)) ?? assembly.open({ id: id ?? "", field, proof: "given" })
    // The limit cut it.
    if (item.status === "incomplete") {
      assembly.drop(call)
      return undefined
    }
    if (typeof item.name !== "string") return WireFields.missing(context, `${field}.name`, item.name, "a string")
    const told = call.pieces.length > 0 ? call.pieces.join("") : call.value
    const args = item.arguments === "" ? (told ?? "") : (item.arguments ?? told)
    if (args == null) return WireFields.missing(context, `${field}.arguments`, item.arguments, "a string")
    call.id = id ?? call.id
    call.name = item.name
    call.pieces.length = 0
    if (typeof args === "string") call.pieces.push(args)
    else call.value = args
    // Whether the limit cut it, the end of the answer tells.
    const isBroken = typeof args === "string" && args.trim() !== "" && Json.parse(args) === undefined
    if (!isBroken && !(isAnswerCut && args === "")) return assembly.settle(call)
    call.proof = "text"
    return undefined
  }

  /** The call that an event about arguments belongs to. An id that no item had is that of the last one. */
  const callOf = (data: Json.Json): ToolCalls.OpenCall | undefined =>
    open.get(keyOf({ id: data.item_id }, data.output_index)) ?? opened[opened.length - 1]

  const addThought = (text: string): void => {
    // A stream has the events of an empty part too.
    assembly.reasoning(assembly.reasoned ? paragraph + text : text)
  }

  /** Reads the whole answer. The parts that were delivered before are passed over. */
  const readResponse = (response: Json.Json, status: string): LlmError | undefined => {
    const texted = assembly.texted
    const reasoned = assembly.reasoned
    const refused = assembly.hasRefused
    assembly.origin(response.id, response.model)
    countUsage(assembly, response.usage)
    assembly.tier(response.service_tier)
    stored = response.store === true
    const output = Json.array(response.output)
    if (output.length > 0) items = output.map(Json.object)
    for (const [index, item] of items.entries()) {
      if (item.type === "function_call" && !resumed) {
        const error = endCall(item, index, `output[${index}]`, status !== "completed")
        if (error !== undefined) return error
      }
      if (item.type === "function_call" && resumed && item.status !== "incomplete") assembly.earlierCalls++
      if (item.type === "reasoning") {
        assembly.alive()
        const parts = [...Json.array(item.summary), ...Json.array(item.content)]
        if (!reasoned) for (const part of parts) addThought(Json.string(Json.object(part).text) ?? "")
      }
      if (item.type !== "message") continue
      for (const entry of Json.array(item.content)) {
        const part = Json.object(entry)
        const text = Json.string(part.text) ?? ""
        if (part.type !== "refusal") {
          if (!texted) assembly.text(text)
        } else if (!refused) assembly.refusal(Json.string(part.refusal) ?? text)
        assembly.detail("annotations", part.annotations)
        assembly.detail("logprobs", part.logprobs)
      }
    }
    // Calls whose end was not told: their text tells whether they are whole.
    for (const call of opened) {
      if (call.closed || call.pieces.length > 0 || ToolCalls.isWhole(call)) call.proof = "text"
    }
    if (resumed) assembly.earlierCalls = Math.max(0, assembly.earlierCalls - assembly.deliveredCalls)
    const reason = Json.string(Json.object(response.incomplete_details).reason)
    assembly.finish(status === "incomplete" ? (reason ?? status) : status)
    assembly.reason ??= status
    assembly.closed = true
    return undefined
  }

  /** The end of a stream. The response in it decides; the event's name only where the response says nothing. */
  const end = (data: Json.Json, status: string): LlmError | undefined => {
    const response = Json.object(data.response)
    const own = Json.string(response.status)
    const isEnd = own === "completed" || own === "incomplete" || own === "failed" || own === "cancelled"
    const whole = { error: data.error, output: [], ...response, status: isEnd ? own : status }
    const error = Classify.answer(context, whole)
    if (error === undefined) return readResponse(whole, whole.status)
    failed(data)
    return error
  }

  const failed = (data: Json.Json): void => {
    // An answer that the provider ended with an error cannot be resumed.
    kept = false
    countUsage(assembly, Json.object(data.response ?? data).usage)
  }

  const read = (type: string | undefined, data: Json.Json): LlmError | undefined => {
    const delta = Json.string(data.delta) ?? ""
    const item = Json.object(data.item)
    switch (type) {
      case "response.output_text.delta":
        streamed = true
        assembly.text(delta)
        return undefined
      case "response.output_text.done":
        if (!streamed) assembly.text(Json.string(data.text) ?? "")
        streamed = false
        return undefined
      case "response.reasoning_summary_text.delta":
      case "response.reasoning_text.delta":
        assembly.reasoning(delta)
        return undefined
      case "response.reasoning_summary_part.added":
      case "response.content_part.added":
        if (assembly.reasoned && isThought(Json.object(data.part))) assembly.reasoning(paragraph)
        return undefined
      case "response.refusal.delta":
        assembly.refusal(delta)
        return undefined
      case "response.refusal.done":
        if (!assembly.hasRefused) assembly.refusal(Json.string(data.refusal) ?? "")
        return undefined
      case "response.output_item.added":
        if (item.type === "function_call") {
          const call = assembly.open({
            id: Json.text(item.call_id) ?? "",
            name: Json.text(item.name) ?? "",
            value: item.arguments,
            field: `output[${Json.count(data.output_index) ?? open.size}]`,
            proof: "given"
          })
          opened.push(call)
          if (call.id !== "") byId.set(call.id, call)
          open.set(keyOf(item, data.output_index), call)
        } else assembly.alive()
        return undefined
      case "response.function_call_arguments.delta": {
        const call = callOf(data)
        if (call === undefined) assembly.alive("tool-call")
        else assembly.fragment(call, delta)
        return undefined
      }
      case "response.function_call_arguments.done": {
        const call = callOf(data)
        if (call === undefined) return undefined
        if (call.pieces.length === 0) call.value = data.arguments
        call.closed = true
        return undefined
      }
      case "response.output_item.done": {
        assembly.alive("nothing")
        items.push(item)
        return item.type === "function_call"
          ? endCall(item, data.output_index, `output[${Json.count(data.output_index) ?? items.length - 1}]`, true)
          : undefined
      }
      default:
        // The steps of the server's own tools, and pieces of kinds that are not known.
        if (type?.endsWith(".delta") === true || /_call\./.test(type ?? "")) assembly.alive()
        return undefined
    }
  }

  return {
    whole: (body) => {
      if (!Array.isArray(body.output)) return WireFields.missing(context, "output", body.output, "an array")
      if (body.status === "queued" || body.status === "in_progress") {
        return WireFields.missing(context, `output (${body.status})`, undefined, "a whole answer")
      }
      return readResponse(body, Json.string(body.status) ?? "completed")
    },
    event: (data, name) => {
      const number = Json.count(data.sequence_number)
      if (resumed && number !== undefined && number <= seen) return undefined
      const type = Json.string(data.type) ?? name
      const response = Json.object(data.response)
      id = Json.text(response.id) ?? id
      if (response.background === true) kept = true
      if (type?.startsWith("response.") === true) assembly.begin(id, response.model)
      after = number ?? after
      const status = type === undefined ? undefined : ends.get(type)
      return status === undefined ? read(type, data) : end(data, status)
    },
    isWhole: (data, name) => ends.has(Json.string(data.type) ?? name ?? ""),
    failed,
    done: () => {},
    reply: () =>
      items.some(({ type }) => type !== "message" && type !== "function_call") ? { items, stored } : undefined,
    resume: () => (kept && id !== undefined && safeId.test(id) ? { id, after } : undefined)
  }
}
