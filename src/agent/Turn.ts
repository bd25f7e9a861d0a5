/**
 * What an agent does after each answer. Everything here is pure.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"

/**
 * Why an agent stopped without an answer: after so many `steps`, at an answer without text and calls (`empty`), where
 * the model makes the same calls again and again (`repeated`), or where an answer was cut at the token limit
 * (`length`).
 *
 * @since 0.2.0
 * @category models
 */
export type StopReason = "steps" | "empty" | "repeated" | "length"

/**
 * What an agent knows between two answers.
 *
 * @since 0.2.0
 * @category models
 */
export interface State {
  /** The answers so far. */
  readonly steps: number
  /** The calls of the last answer, as text. */
  readonly calls: string | undefined
  /** How many answers in a row made these calls. */
  readonly times: number
}

/**
 * The limits of an agent.
 *
 * @since 0.2.0
 * @category models
 */
export interface Limits {
  /** The most answers of the model. */
  readonly steps: number
  /** The same calls so many times in a row end the run. */
  readonly repeats: number
}

/**
 * What follows an answer.
 *
 * @since 0.2.0
 * @category models
 */
export type Next =
  | { readonly _tag: "Done" }
  | { readonly _tag: "Stop"; readonly reason: StopReason }
  | { readonly _tag: "Tools"; readonly calls: ReadonlyArray<Chat.ToolCall> }

/**
 * @since 0.2.0
 * @category constructors
 */
export const initial: State = { steps: 0, calls: undefined, times: 0 }

/** The fields of an object in the order of their names: a model may write them in any. */
const sorted = (u: unknown): unknown => {
  if (Array.isArray(u)) return u.map(sorted)
  if (typeof u !== "object" || u === null) return u
  return Object.fromEntries(
    Object.entries(u)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, value]) => [key, sorted(value)])
  )
}

const signature = (calls: ReadonlyArray<Chat.ToolCall>): string =>
  calls
    .map((call) => JSON.stringify([call.name, sorted(call.arguments)]))
    .sort()
    .join("\n")

/**
 * What follows an answer, and the state after it.
 *
 * The last step that is allowed may answer; if it calls tools, the agent stops before it runs them.
 *
 * @since 0.2.0
 * @category decisions
 */
export const next = (
  state: State,
  { finishReason, text, toolCalls }: Chat.Response,
  limits: Limits
): readonly [Next, State] => {
  const steps = state.steps + 1
  if (toolCalls.length === 0) {
    const after = { steps, calls: undefined, times: 0 }
    if (finishReason === "length") return [{ _tag: "Stop", reason: "length" }, after]
    return [text.trim() === "" ? { _tag: "Stop", reason: "empty" } : { _tag: "Done" }, after]
  }
  const calls = signature(toolCalls)
  const times = calls === state.calls ? state.times + 1 : 1
  const after = { steps, calls, times }
  if (times >= limits.repeats) return [{ _tag: "Stop", reason: "repeated" }, after]
  if (steps >= limits.steps) return [{ _tag: "Stop", reason: "steps" }, after]
  return [{ _tag: "Tools", calls: toolCalls }, after]
}

/**
 * The calls at the end of a conversation that no message answers.
 *
 * @since 0.2.0
 * @category getters
 */
export const unanswered = (messages: ReadonlyArray<Chat.Message>): ReadonlyArray<Chat.ToolCall> => {
  const last = messages.findLastIndex(({ role }) => role !== "tool")
  const message = messages[last]
  if (message?.role !== "assistant") return []
  const open = [...(message.toolCalls ?? [])]
  // Two calls may have the same id: each result answers one.
  for (const after of messages.slice(last + 1)) {
    const index = open.findIndex(({ id }) => after.role === "tool" && after.toolCallId === id)
    if (index >= 0) open.splice(index, 1)
  }
  return open
}

/**
 * The answer that a conversation ends with, if it does.
 *
 * @since 0.2.0
 * @category getters
 */
export const ended = (messages: ReadonlyArray<Chat.Message>): string | undefined => {
  const last = messages[messages.length - 1]
  return last?.role === "assistant" && (last.toolCalls?.length ?? 0) === 0 && last.content.trim() !== ""
    ? last.content
    : undefined
}
