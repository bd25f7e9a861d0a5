/**
 * Ids of tool calls, made to fit a target: its form of ids, and no id twice in a conversation.
 *
 * A conversation may come from another provider, whose ids are longer or of other characters, or from a server that
 * numbers its calls anew in every turn (`call_0`). {@link map} gives such calls new ids, and their results with them. A
 * result belongs to the latest call with its id, as in `ToolResults`. Ids that fit stay as they are. The same
 * conversation gets the same ids, also when it has grown.
 *
 * API: `map(messages, pattern)` returns the messages with other ids, in the same order and number; `pattern` matches
 * the ids that the target takes. A new id is nine letters and digits, which all known targets take.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"

type Messages = ReadonlyArray<Chat.Message>

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

/** The length that Mistral's API demands; other targets only have a maximum. */
const length = 9

/** FNV-1a over the UTF-16 units of a text. */
const hash = (text: string, seed: number): number => {
  let h = seed
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  // The last units reach all bits.
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d)
  return (h ^ (h >>> 13)) >>> 0
}

/** A new id for the use number `n` of an id. */
const make = (id: string, n: number): string => {
  const text = `${n} ${id}`
  let high = hash(text, 0x811c9dc5)
  let low = hash(text, 0x5bd1e995)
  let made = ""
  for (let i = 0; i < length; i++) {
    const part = i < 5 ? high : low
    made += alphabet[part % alphabet.length]
    if (i < 5) high = Math.floor(part / alphabet.length)
    else low = Math.floor(part / alphabet.length)
  }
  return made
}

/** The ids in a conversation that fit. */
const fitting = (messages: Messages, pattern: RegExp): Set<string> => {
  const found = new Set<string>()
  for (const message of messages) {
    if (message.role !== "assistant") continue
    for (const { id } of message.toolCalls ?? []) if (pattern.test(id)) found.add(id)
  }
  return found
}

/**
 * The messages with ids of tool calls that match `pattern` and differ from each other.
 *
 * @since 0.2.0
 * @category combinators
 */
export const map = <M extends Messages>(messages: M, pattern: RegExp): M => {
  if (!messages.some(({ role }) => role === "assistant")) return messages
  const fit = fitting(messages, pattern)
  const used = new Set<string>()
  const uses = new Map<string, number>()
  /** The new ids of the latest calls with an id, which wait for a result. */
  const open = new Map<string, Array<string>>()

  const assign = (id: string): string => {
    let assigned = id
    for (let n = uses.get(id) ?? 0; !fit.has(assigned) || used.has(assigned); n++) {
      const made = make(id, n)
      uses.set(id, n + 1)
      if (fit.has(made) || used.has(made)) continue
      assigned = made
      break
    }
    used.add(assigned)
    return assigned
  }

  const calls = (toolCalls: ReadonlyArray<Chat.ToolCall>): ReadonlyArray<Chat.ToolCall> => {
    const here = new Map<string, Array<string>>()
    const mapped = toolCalls.map((call) => {
      const id = assign(call.id)
      const same = here.get(call.id)
      if (same === undefined) here.set(call.id, [id])
      else same.push(id)
      return id === call.id ? call : { ...call, id }
    })
    for (const [id, ids] of here) open.set(id, ids)
    return mapped.some((call, index) => call !== toolCalls[index]) ? mapped : toolCalls
  }

  const resultOf = (id: string): string => {
    const ids = open.get(id) ?? []
    return (ids.length > 1 ? ids.shift() : ids[0]) ?? id
  }

  const mapped = messages.map((message): Chat.Message => {
    if (message.role === "tool") {
      const toolCallId = resultOf(message.toolCallId)
      return toolCallId === message.toolCallId ? message : { ...message, toolCallId }
    }
    if (message.role !== "assistant" || message.toolCalls === undefined) return message
    const toolCalls = calls(message.toolCalls)
    return toolCalls === message.toolCalls ? message : { ...message, toolCalls }
  })
  return mapped as ReadonlyArray<Chat.Message> as M
}
