/**
 * The delivered part of a stream that may be replayed, and how another attempt may join it: the deciding part of
 * `Replay`.
 *
 * @since 0.2.0
 */

import type { LlmError } from "../../errors/LlmError.js"
import * as Usage from "../../policies/Usage.js"
import type * as Chat from "../Chat.js"
import * as Passage from "../Passage.js"
import * as Continuation from "./Continuation.js"
import * as Layers from "./Layers.js"
import type * as StreamDecoder from "./StreamDecoder.js"

/**
 * Whether and how a stream goes on after it broke: see the table of `Replay`.
 *
 * @since 0.1.0
 * @category models
 */
export type Mode = "strict" | "restart" | "continue"

/**
 * How the next attempt joins the delivered events.
 *
 * @internal
 */
export type Joint =
  | { readonly _tag: "Silent" }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Resume"; readonly from: NonNullable<StreamDecoder.Cursor["resume"]> }
  | { readonly _tag: "Seam"; readonly method: Continuation.Method; readonly text: string }

/** Whether a delta says something: by its text, or by the raw frames that it brings. */
const isSaying = (event: Extract<Chat.Event, { readonly _tag: "TextDelta" }>): boolean =>
  event.text !== "" || Passage.isKept(event)

/**
 * Keeps the delivered text, and holds back events as the mode requires.
 *
 * @internal
 */
export const make = (mode: Mode, request: Chat.Request) => {
  let attempt = 1
  let content = false
  let reasoned = false
  let text = ""
  /** White space at the end, held back in `continue` mode because no provider continues after it. */
  let blank = ""
  let calls: Array<Chat.Event> = []
  let lost: Chat.Usage | undefined
  let seam: { readonly state: Continuation.Seam; readonly method: Continuation.Method } | undefined
  let continued = false

  const deliverText = (piece: string, out: Array<Chat.Event>): void => {
    const whole = blank + piece
    const end = whole.trimEnd().length
    blank = whole.slice(end)
    if (end === 0) return
    text += whole.slice(0, end)
    out.push({ _tag: "TextDelta", text: whole.slice(0, end) })
  }

  const settle = (settled: Continuation.Settled | undefined, out: Array<Chat.Event>): void => {
    if (settled === undefined || seam === undefined) return
    const { overlap, startedOver } = settled
    out.push({ _tag: "Seam", offset: text.length, method: seam.method, overlap, startedOver })
    seam = undefined
    deliverText(settled.text, out)
  }

  const takeOne = (event: Chat.Event, out: Array<Chat.Event>): void => {
    switch (event._tag) {
      case "TextDelta":
        if (mode !== "continue") {
          if (isSaying(event)) out.push(event)
        } else if (seam === undefined) deliverText(event.text, out)
        else settle(seam.state.add(event.text), out)
        return
      case "ReasoningDelta":
        reasoned = true
        if (!continued) out.push(event)
        return
      case "ToolCall":
        if (mode === "strict") out.push(event)
        else calls.push(event)
        return
      case "Usage":
        out.push({ _tag: "Usage", usage: Usage.add(lost, event.usage) ?? event.usage })
        lost = undefined
        return
      case "Reset":
        text = blank = ""
        reasoned = false
        break
      case "Finish": {
        settle(seam?.state.end(), out)
        const usage = out.findLastIndex((event) => event._tag === "Usage")
        const tail = usage === -1 ? [] : out.splice(usage)
        if (blank !== "") out.push({ _tag: "TextDelta", text: blank })
        out.push(...calls, ...tail)
        if (lost !== undefined) out.push({ _tag: "Usage", usage: lost })
        // The provider signed its data for one message. This message was joined from two answers.
        out.push(continued ? { _tag: "Finish", reason: event.reason } : event)
        return
      }
    }
    if (event._tag !== "Start" || !continued) out.push(event)
  }

  /** Whether an event is delivered as it is, while nothing is lost or held back. */
  const passes = (event: Chat.Event): boolean =>
    event._tag === "TextDelta" ? isSaying(event) : mode === "strict" || event._tag === "ReasoningDelta"

  return {
    /** The events to deliver now, possibly none. */
    take: (events: ReadonlyArray<Chat.Event>): ReadonlyArray<Chat.Event> => {
      let out: Array<Chat.Event> | undefined
      if (mode === "continue" || lost !== undefined || !events.every(passes)) {
        out = []
        for (const event of events) takeOne(event, out)
      }
      const taken = out ?? events
      content ||= taken.some(Layers.isContent)
      return taken
    },
    /** Adds the usage of a failed attempt. */
    lose: (usage: Chat.Usage | undefined): void => {
      lost = Usage.add(lost, usage)
    },
    lost: () => lost,
    /** How another attempt may join; `undefined` if none may. */
    joint: (cursor: StreamDecoder.Cursor, method: Continuation.Method | undefined): Joint | undefined => {
      // Without the number of its last event, an answer can only be resumed from its beginning.
      if (cursor.resume !== undefined && (!content || cursor.resume.after >= 0)) {
        return { _tag: "Resume", from: cursor.resume }
      }
      if (!content) return { _tag: "Silent" }
      if (mode === "restart") return { _tag: "Reset" }
      const inText = cursor.inside === "text" || cursor.inside === "nothing"
      if (mode === "strict" || method === undefined) return undefined
      if (!inText || reasoned || calls.length > 0 || request.responseFormat !== undefined) return undefined
      return { _tag: "Seam", method, text }
    },
    /** Prepares for an attempt that joins in this way. Returns the events to deliver before it. */
    join: (joint: Joint, cause: LlmError): ReadonlyArray<Chat.Event> => {
      attempt += 1
      if (joint._tag === "Resume") return []
      calls = []
      blank = ""
      if (joint._tag === "Seam") {
        continued = true
        seam = { state: Continuation.seam(joint.text), method: joint.method }
      }
      if (joint._tag !== "Reset") return []
      content = false
      reasoned = false
      return [{ _tag: "Reset", attempt, cause: cause._tag }]
    }
  }
}
