/**
 * A whole answer from its events: whole and streamed answers are put together in this one place.
 *
 * @since 0.2.0
 */

import type * as Chat from "./Chat.js"

/**
 * The answer so far.
 *
 * @since 0.2.0
 * @category models
 */
export interface Answer {
  /** Takes the next events. */
  readonly add: (events: ReadonlyArray<Chat.Event>) => void
  /** The answer that the events make. */
  readonly response: () => Chat.Response
}

/**
 * An answer without events.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (): Answer => {
  const text: Array<string> = []
  const reasoning: Array<string> = []
  const toolCalls: Array<Chat.ToolCall> = []
  let start: Omit<Extract<Chat.Event, { _tag: "Start" }>, "_tag"> = { provider: "", model: "" }
  let usage: Chat.Usage | undefined
  let finish: Extract<Chat.Event, { _tag: "Finish" }> | undefined

  const apply = (event: Chat.Event): void => {
    switch (event._tag) {
      case "TextDelta":
        text.push(event.text)
        return
      case "ReasoningDelta":
        reasoning.push(event.text)
        return
      case "ToolCall": {
        const { _tag, ...call } = event
        toolCalls.push(call)
        return
      }
      case "Usage":
        usage = event.usage
        return
      case "Finish":
        finish = event
        return
      case "Reset":
        text.length = reasoning.length = toolCalls.length = 0
        return
      case "Start": {
        const { _tag, ...origin } = event
        start = origin
      }
    }
  }

  return {
    add: (events) => {
      for (const event of events) apply(event)
    },
    response: () => ({
      ...start,
      text: text.join(""),
      ...(reasoning.length === 0 ? {} : { reasoning: reasoning.join("") }),
      toolCalls,
      finishReason: finish?.reason ?? "other",
      ...(usage === undefined ? {} : { usage }),
      ...(finish?.providerData === undefined ? {} : { providerData: finish.providerData })
    })
  }
}
