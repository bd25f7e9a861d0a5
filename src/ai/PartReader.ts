/**
 * Reads the parts of an answer of `@effect/ai`, whole or streamed, as our events. Both are read in this one place, so
 * that `collect(stream)` and `generate` agree, in value or in error.
 *
 * @since 0.2.0
 */

import type * as Response from "@effect/ai/Response"
import * as Encoding from "effect/Encoding"
import * as Option from "effect/Option"
import type * as Chat from "../chat/Chat.js"
import * as Classify from "../errors/Classify.js"
import * as LlmError from "../errors/LlmError.js"
import * as Usage from "../policies/Usage.js"
import * as Marks from "./Marks.js"
import * as TheirRequest from "./TheirRequest.js"

/** Any part of theirs, decoded. */
type AnyPart = Response.AnyPart

type Metadata = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>

/** A part as it goes back in a prompt. */
interface Kept {
  readonly type: "text" | "reasoning" | "tool-call" | "tool-result"
  text?: string
  options: Metadata
  readonly [field: string]: unknown
}

/** Some providers always write their name, and often nothing under it. */
const says = (metadata: Metadata): boolean =>
  Object.values(metadata).some((value) => value !== undefined && Object.keys(value).length > 0)

const isCount = (u: unknown): u is number => typeof u === "number" && Number.isInteger(u) && u >= 0

/** Their usage, if both halves are known. Some providers count wrongly: a part is never larger than its whole. */
const usageOf = (part: Response.FinishPart): Chat.Usage | undefined => {
  const own = Marks.read(part.metadata).usage
  if (own !== undefined) return own
  const { cachedInputTokens, inputTokens, outputTokens, reasoningTokens } = part.usage
  if (!isCount(inputTokens) || !isCount(outputTokens)) return undefined
  return Usage.make({
    inputTokens,
    outputTokens,
    ...(isCount(cachedInputTokens) ? { cachedInputTokens } : {}),
    ...(isCount(reasoningTokens) ? { reasoningTokens } : {})
  })
}

/** Plain JSON of what a provider told; `undefined` if it cannot be written. */
const json = (value: unknown): unknown => {
  try {
    const text = JSON.stringify(value)
    return text === undefined ? undefined : JSON.parse(text)
  } catch {
    return undefined
  }
}

/** An answer with tool calls ended with them, unless it was cut; one without them did not. As the providers read it. */
const reasonOf = (reason: Response.FinishReason, calls: number): Chat.FinishReason =>
  reason === "length" ? "length" : calls > 0 ? "tool-calls" : reason === "stop" ? "stop" : "other"

/** Whether the model itself chose to say nothing: it generated tokens, and not only of reasoning. */
const isSilent = (usage: Chat.Usage | undefined): boolean =>
  usage !== undefined && usage.outputTokens > (usage.reasoningTokens ?? 0)

/**
 * A reader of one answer.
 *
 * @internal
 */
export interface PartReader {
  /** Takes one part. An `error` part is the caller's business. */
  readonly take: (part: AnyPart) => ReadonlyArray<Chat.Event> | LlmError.LlmError
  /** Whether the answer ended. */
  readonly finished: () => boolean
}

/**
 * @internal
 */
export const make = (target: TheirRequest.Target): PartReader => {
  const { model, provider } = target
  let started = false
  let finished = false
  let answered = false
  let calls = 0
  let executed = false
  const kept: Array<Kept> = []
  const open = new Map<string, Kept>()
  const details: Record<string, Array<unknown>> = {}

  const detail = (name: string, value: unknown): void => {
    details[name] = [...(details[name] ?? []), value]
  }

  const keep = (part: Kept): Kept => {
    kept.push(part)
    return part
  }

  /** A piece of a text or a thought; the metadata of its start, its pieces and its end are one. */
  const piece = (type: "text" | "reasoning", id: string, text: string, metadata: Metadata): void => {
    const key = `${type} ${id}`
    const part = open.get(key) ?? keep({ type, text: "", options: {} })
    open.set(key, part)
    part.text += text
    if (says(metadata)) part.options = { ...part.options, ...metadata }
  }

  const text = (text: string): ReadonlyArray<Chat.Event> => {
    if (text === "") return []
    answered = true
    return [{ _tag: "TextDelta", text }]
  }

  const thought = (text: string): ReadonlyArray<Chat.Event> => (text === "" ? [] : [{ _tag: "ReasoningDelta", text }])

  const end = (part: Response.FinishPart): ReadonlyArray<Chat.Event> | LlmError.LlmError => {
    const failed = Classify.event(target, { finish_reason: part.reason })
    if (failed !== undefined) return failed
    const usage = usageOf(part)
    if (!answered && part.reason !== "length" && !isSilent(usage)) {
      const message = "an answer without content"
      return new LlmError.InvalidResponse({ ...target, message, delivery: "unknown" })
    }
    finished = true
    const providerData = Marks.read(part.metadata).providerData ?? data(part.metadata)
    const last = { _tag: "Finish", reason: reasonOf(part.reason, calls) } as const
    return [
      ...(usage === undefined ? [] : [{ _tag: "Usage", usage } as const]),
      providerData === undefined ? last : { ...last, providerData }
    ]
  }

  /** Their parts go back only if they say more than text and tool calls. */
  const data = (metadata: Metadata): Chat.ProviderData | undefined => {
    const parts = executed || kept.some((part) => says(part.options)) ? json(kept) : undefined
    const { [Marks.name]: _, ...rest } = metadata
    const told = json(says(rest) ? { ...details, metadata: rest } : details) as Record<string, unknown> | undefined
    const more = told !== undefined && Object.keys(told).length > 0
    if (parts === undefined && !more) return undefined
    return {
      wire: TheirRequest.wire,
      provider,
      model,
      ...(parts === undefined ? {} : { reply: { parts } }),
      ...(more ? { details: told } : {})
    }
  }

  const read = (part: AnyPart): ReadonlyArray<Chat.Event> | LlmError.LlmError => {
    switch (part.type) {
      case "text":
        keep({ type: "text", text: part.text, options: part.metadata })
        return text(part.text)
      case "reasoning":
        keep({ type: "reasoning", text: part.text, options: part.metadata })
        return thought(part.text)
      case "text-start":
      case "text-end":
        piece("text", part.id, "", part.metadata)
        return []
      case "reasoning-start":
      case "reasoning-end":
        piece("reasoning", part.id, "", part.metadata)
        return []
      case "text-delta":
        piece("text", part.id, part.delta, part.metadata)
        return text(part.delta)
      case "reasoning-delta":
        piece("reasoning", part.id, part.delta, part.metadata)
        return thought(part.delta)
      case "tool-call": {
        answered = true
        const { id, name, params, providerExecuted } = part
        const call = { id, name: part.providerName ?? name, params, providerExecuted }
        const { [Marks.name]: _, ...options } = part.metadata
        keep({ type: "tool-call", ...call, options })
        if (providerExecuted) {
          executed = true
          detail("executed", { type: "tool-call", ...call })
          return []
        }
        calls++
        const { providerData } = Marks.read(part.metadata)
        const mark = providerData === undefined ? {} : { providerData }
        return [{ _tag: "ToolCall", id, name, arguments: params, ...mark }]
      }
      case "tool-result": {
        if (!part.providerExecuted) return []
        const { encodedResult: result, id, isFailure, metadata: options, name } = part
        const done = { id, name: part.providerName ?? name, isFailure, result, providerExecuted: true }
        keep({ type: "tool-result", ...done, options })
        detail("executed", { type: "tool-result", ...done })
        return []
      }
      case "file":
        answered = true
        detail("files", { mediaType: part.mediaType, data: Encoding.encodeBase64(part.data) })
        return []
      case "source": {
        const { id, metadata, sourceType, title } = part
        const place = part.sourceType === "url" ? { url: part.url.toString() } : { mediaType: part.mediaType }
        detail("sources", { sourceType, id, title, ...place, ...(says(metadata) ? { metadata } : {}) })
        return []
      }
      case "finish":
        return end(part)
      default:
        return []
    }
  }

  /** The first event. Their metadata of an answer come first, if they come at all. */
  const start = (part: AnyPart): ReadonlyArray<Chat.Event> => {
    started = true
    if (part.type !== "response-metadata") return [{ _tag: "Start", provider, model }]
    const id = Option.getOrUndefined(part.id)
    const { requestId } = Marks.read(part.metadata)
    return [
      {
        _tag: "Start",
        provider,
        model: Option.getOrElse(part.modelId, () => model),
        ...(id === undefined ? {} : { id }),
        ...(requestId === undefined ? {} : { requestId })
      }
    ]
  }

  return {
    take: (part) => {
      if (finished) return []
      const first = started ? [] : start(part)
      const events = read(part)
      return "_tag" in events || first.length === 0 ? events : [...first, ...events]
    },
    finished: () => finished
  }
}
