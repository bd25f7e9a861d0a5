/**
 * Remembers what has to go back with an answer that called tools.
 *
 * `@effect/ai` makes the next prompt of an answer without its metadata (`Prompt.fromResponseParts`, and so their `Chat`
 * and every loop over tools). Signed reasoning is lost so, and with it the turn after a tool call. The ids of the calls
 * come back, and tell which answer it was.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import type * as OurRequest from "./OurRequest.js"

/** The number of answers that are remembered. One is asked for in the next turn, or not at all. */
const most = 256

type Answer = Pick<Chat.Response, "toolCalls" | "providerData">

/**
 * The memory of one service.
 *
 * @internal
 */
export interface Replies {
  readonly keep: (answer: Answer) => void
  readonly recall: OurRequest.Recall
}

const keyOf = (calls: ReadonlyArray<Chat.ToolCall>): string => JSON.stringify(calls.map(({ id }) => id))

/**
 * @internal
 */
export const make = (): Replies => {
  const answers = new Map<string, Answer>()
  return {
    keep: ({ providerData, toolCalls }) => {
      if (toolCalls.length === 0) return
      if (providerData?.reply === undefined && toolCalls.every((call) => call.providerData === undefined)) return
      const key = keyOf(toolCalls)
      answers.delete(key)
      const { details: _, ...back } = providerData ?? {}
      answers.set(key, { toolCalls, providerData: "reply" in back ? (back as Chat.ProviderData) : undefined })
      const [oldest] = answers.keys()
      if (answers.size > most && oldest !== undefined) answers.delete(oldest)
    },
    recall: (message) => {
      const { toolCalls = [] } = message
      const kept = toolCalls.length === 0 ? undefined : answers.get(keyOf(toolCalls))
      if (kept === undefined) return message
      const providerData = message.providerData ?? kept.providerData
      return {
        ...message,
        toolCalls: toolCalls.map((call, index) => {
          const data = call.providerData ?? kept.toolCalls[index]?.providerData
          return data === undefined ? call : { ...call, providerData: data }
        }),
        ...(providerData === undefined ? {} : { providerData })
      }
    }
  }
}
