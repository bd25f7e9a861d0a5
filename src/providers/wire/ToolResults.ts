/**
 * Puts the results of tools where the targets want them: directly after the message with their calls, one for each.
 *
 * A conversation may have a message of the user or of the system between a call and its result, or a result twice.
 * {@link settle} moves such results up, and keeps the first. A result belongs to the latest call with its id; of
 * several calls with one id in a message, the first result belongs to the first.
 *
 * What every target refuses and nobody can guess is an error: a result without a call, and a call without a result in a
 * conversation that goes on.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import type { InvalidRequest } from "../../errors/LlmError.js"
import * as WireFields from "./WireFields.js"

type Messages = Chat.Request["messages"]
type Result = Extract<Chat.Message, { role: "tool" }>

/** A message with calls: its index, the ids that wait for a result, and the results so far. */
interface Step {
  readonly at: number
  readonly waiting: Array<string>
  readonly results: Array<Result>
}

const shown = (id: string): string => `"${ErrorMessage.clean(id, [], 64)}"`

/**
 * The messages with each result in its place, or the error of a conversation that no target takes. What was moved or
 * removed is added to `leftOut`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const settle = (
  messages: Messages,
  target: { readonly provider: string; readonly model: string },
  leftOut: Set<string>
): Messages | InvalidRequest => {
  const refused = (at: string, message: string) => WireFields.refusal(target, `messages${at}: found ${message}`, false)
  const latest = new Map<string, Step>()
  const steps: Array<Step> = []
  const settled: Array<Chat.Message | ReadonlyArray<Result>> = []
  for (const [at, message] of messages.entries()) {
    if (message.role === "tool") {
      const { toolCallId: id } = message
      const step = latest.get(id)
      if (step === undefined) {
        return refused(`[${at}].toolCallId`, `${shown(id)}, expected the id of an earlier tool call`)
      }
      const call = step.waiting.indexOf(id)
      if (call < 0) {
        leftOut.add(`messages[${at}] (a second result)`)
        continue
      }
      if (settled[settled.length - 1] !== step.results) leftOut.add(`messages[${at}] (moved to its call)`)
      step.waiting.splice(call, 1)
      step.results.push(message)
      continue
    }
    settled.push(message)
    if (message.role !== "assistant" || message.toolCalls === undefined) continue
    const step: Step = { at, waiting: message.toolCalls.map(({ id }) => id), results: [] }
    for (const id of step.waiting) latest.set(id, step)
    steps.push(step)
    settled.push(step.results)
  }
  const last = settled[settled.length - 1]
  for (const { at, results, waiting } of steps) {
    const [id] = waiting
    if (id === undefined || (results === last && results.length === 0)) continue
    return refused(`[${at}].toolCalls`, `no result of ${shown(id)}, expected one in a later message`)
  }
  // Not `flat`, which takes several times as long.
  const all: Array<Chat.Message> = []
  for (const part of settled) {
    if ("role" in part) all.push(part)
    else for (const result of part) all.push(result)
  }
  return all as ReadonlyArray<Chat.Message> as Messages
}
