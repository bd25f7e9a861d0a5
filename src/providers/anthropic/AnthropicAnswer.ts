/**
 * Reads answers of Anthropic Messages.
 *
 * A whole body has its blocks in a list, and a stream has each between a start and a stop; both become the same blocks.
 *
 * Gotchas: a stream ends with a stop reason *and* `message_stop`. At the token limit the last block is a part of one,
 * also if its JSON is closed: the body of a whole answer does not show it.
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

/** A block between its start and its stop. */
interface Block {
  readonly start: Json.Json
  readonly pieces: Array<string>
  signature: unknown
  readonly citations: Array<unknown>
  readonly call: ToolCalls.OpenCall | undefined
}

const counted = new Set([
  "input_tokens",
  "output_tokens",
  "cache_read_input_tokens",
  "cache_creation_input_tokens",
  "cache_creation",
  "service_tier",
  "iterations"
])

/** Counts usage. The cached tokens are not in `input_tokens`, so the largest of each field holds before they add up. */
const makeUsage = (assembly: Assembly.Assembly) => {
  const known: Record<string, number> = {}
  const add = (name: string, u: unknown): void => {
    const count = Json.count(u)
    if (count !== undefined) known[name] = Math.max(known[name] ?? 0, count)
  }
  return (u: unknown): void => {
    const usage = Json.object(u)
    const written = Json.object(usage.cache_creation)
    add("input", usage.input_tokens)
    add("output", usage.output_tokens)
    add("cached", usage.cache_read_input_tokens)
    add("short", written.ephemeral_5m_input_tokens)
    add("hour", written.ephemeral_1h_input_tokens)
    add("written", usage.cache_creation_input_tokens)
    const parts = known.short === undefined && known.hour === undefined ? undefined : sum(known.short, known.hour)
    const all = known.written === undefined ? parts : Math.max(known.written, parts ?? 0)
    assembly.count({
      input: known.input === undefined ? undefined : sum(known.input, known.cached, all),
      output: known.output,
      cached: known.cached,
      written: all,
      writtenHour: known.hour
    })
    assembly.detail("usage", WireFields.uncounted(usage, counted))
    assembly.tier(usage.service_tier)
  }
}

const sum = (...counts: ReadonlyArray<number | undefined>): number => counts.reduce<number>((a, b) => a + (b ?? 0), 0)

/** Whether a block is more than text or a tool call, so that the message cannot tell it. */
const isOwn = (block: Json.Json): boolean =>
  (block.type !== "text" && block.type !== "tool_use") || Json.array(block.citations).length > 0

/** A block as it goes back; `undefined` for a thought without a signature, which the API refuses. */
const closed = ({ citations, pieces, signature, start }: Block): Json.Json | undefined => {
  const text = pieces.join("")
  switch (start.type) {
    case "text":
      return {
        ...start,
        text: (Json.string(start.text) ?? "") + text,
        ...(citations.length === 0 ? {} : { citations })
      }
    case "thinking":
      return Json.text(signature) === undefined
        ? undefined
        : { type: "thinking", thinking: (Json.string(start.thinking) ?? "") + text, signature }
    case "tool_use":
      return { type: "tool_use", id: start.id, name: start.name }
    default:
      return text === "" ? start : { ...start, input: Json.parse(text) ?? start.input }
  }
}

/**
 * The reader of Messages.
 *
 * @since 0.2.0
 * @category constructors
 */
export const reader = (assembly: Assembly.Assembly): Reader.Reader => {
  const { context } = assembly
  const countUsage = makeUsage(assembly)
  const open = new Map<unknown, Block>()
  const blocks: Array<Block> = []

  const begin = (key: unknown, start: Json.Json, field: string): LlmError | undefined => {
    const refuse = (name: string) => WireFields.missing(context, `${field}.${name}`, start[name], "a string")
    close(key)
    const error = assembly.passed()
    if (error !== undefined) return error
    const isCall = start.type === "tool_use"
    if (isCall && typeof start.name !== "string") return refuse("name")
    if (start.type === "text" && start.text != null && typeof start.text !== "string") return refuse("text")
    const call = isCall
      ? assembly.open({
          id: Json.text(start.id) ?? "",
          name: Json.string(start.name) ?? "",
          // Some servers send the whole input with the start.
          value: start.input,
          proof: "next",
          field
        })
      : undefined
    const block: Block = {
      start,
      pieces: [],
      signature: start.signature,
      citations: [...Json.array(start.citations)],
      call
    }
    open.set(key, block)
    blocks.push(block)
    if (start.type === "text") assembly.text(Json.string(start.text) ?? "")
    else if (start.type === "thinking") assembly.reasoning(Json.string(start.thinking) ?? "")
    // Encrypted thoughts, and the server's own tools.
    else if (!isCall) assembly.alive()
    return undefined
  }

  const close = (key: unknown): void => {
    const call = open.get(key)?.call
    if (call !== undefined) assembly.close(call)
    open.delete(key)
  }

  const delta = (data: Json.Json): LlmError | undefined => {
    const change = Json.object(data.delta)
    const block = open.get(data.index)
    const refuse = (field: string) =>
      WireFields.missing(context, `content_block_delta.delta.${field}`, change[field], "a string")
    switch (change.type) {
      case "text_delta":
        if (typeof change.text !== "string") return refuse("text")
        // Some gateways send it with the index of a block of another type, which must go back as it came.
        if (block?.start.type === "text") block.pieces.push(change.text)
        assembly.text(change.text)
        return undefined
      case "thinking_delta":
        if (typeof change.thinking !== "string") return refuse("thinking")
        if (block?.start.type === "thinking") block.pieces.push(change.thinking)
        assembly.reasoning(change.thinking)
        return undefined
      case "signature_delta":
        assembly.alive()
        if (block !== undefined) block.signature = change.signature
        return undefined
      case "citations_delta":
        assembly.alive()
        if (change.citation != null) block?.citations.push(change.citation)
        return undefined
      case "input_json_delta": {
        if (typeof change.partial_json !== "string") return refuse("partial_json")
        if (block === undefined || block.start.type === "text" || block.start.type === "thinking") {
          return WireFields.missing(
            context,
            "content_block_delta.index",
            data.index,
            "that of a block with an input that has started"
          )
        }
        if (block.call !== undefined) assembly.fragment(block.call, change.partial_json)
        else if (change.partial_json !== "") {
          block.pieces.push(change.partial_json)
          assembly.alive()
        }
      }
    }
    return undefined
  }

  return {
    whole: (body) => {
      if (!Array.isArray(body.content)) return WireFields.missing(context, "content", body.content, "an array")
      if (body.stop_reason === null) return WireFields.missing(context, "stop_reason", null, "an end")
      assembly.origin(body.id, body.model)
      countUsage(body.usage)
      for (const [index, entry] of body.content.entries()) {
        const block = Json.object(entry)
        const field = `content[${index}]`
        if (block.type === "text" && typeof block.text !== "string") {
          return WireFields.missing(context, `${field}.text`, block.text, "a string")
        }
        const error = begin(index, block, field)
        if (error !== undefined) return error
        close(index)
      }
      assembly.finish(body.stop_reason)
      return undefined
    },
    event: (data, name) => {
      switch (data.type ?? name) {
        case "message_start": {
          const message = Json.object(data.message)
          assembly.origin(message.id, message.model)
          countUsage(message.usage)
          return undefined
        }
        case "content_block_start": {
          const block = Json.object(data.content_block)
          return block === data.content_block
            ? begin(data.index, block, "content_block_start.content_block")
            : WireFields.missing(context, "content_block_start.content_block", data.content_block, "an object")
        }
        case "content_block_delta":
          return delta(data)
        case "content_block_stop":
          close(data.index)
          return undefined
        case "message_delta":
          assembly.finish(Json.object(data.delta).stop_reason)
          countUsage(data.usage)
          return undefined
        case "message_stop":
          assembly.closed = true
      }
      return undefined
    },
    failed: (data) => countUsage(data.usage ?? Json.object(data.message).usage),
    done: () => {
      if (Classify.finishReason(assembly.reason) !== "none") assembly.closed = true
    },
    reply: () => {
      const content = blocks.map(closed).filter((block) => block !== undefined)
      return content.some(isOwn) ? { content } : undefined
    }
  }
}
