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
  /** The answer that the events make; `raw` is the provider's own object. */
  readonly response: (raw?: unknown) => Chat.Response
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
  let start: Pick<Extract<Chat.Event, { _tag: "Start" }>, "provider" | "model" | "id" | "requestId"> = {
    provider: "",
    model: ""
  }
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
      case "Start":
        start = event
    }
  }

  return {
    add: (events) => {
      for (const event of events) apply(event)
    },
    response: (raw) => {
      // Field by field: spreading objects would cost more than all that is read.
      const answer: { -readonly [K in keyof Chat.Response]: Chat.Response[K] } = {
        provider: start.provider,
        model: start.model,
        text: text.length === 1 ? (text[0] as string) : text.join(""),
        toolCalls,
        finishReason: finish === undefined ? "other" : finish.reason
      }
      if (start.id !== undefined) answer.id = start.id
      if (start.requestId !== undefined) answer.requestId = start.requestId
      if (reasoning.length > 0) answer.reasoning = reasoning.join("")
      if (usage !== undefined) answer.usage = usage
      if (finish?.providerData !== undefined) answer.providerData = finish.providerData
      if (raw !== undefined) answer.raw = raw
      return answer
    }
  }
}
