/**
 * Writes our answers and events as the parts of `@effect/ai`.
 *
 * Gotchas: the provider's data for the whole answer is known at its end only. It stands in the metadata of the `finish`
 * part, under `steadfast`; that of a tool call in the metadata of its part.
 *
 * @since 0.2.0
 */

import type * as Response from "@effect/ai/Response"
import type * as Chat from "../chat/Chat.js"
import { StreamInterrupted } from "../errors/LlmError.js"
import * as Marks from "./Marks.js"

type StreamPart = Response.StreamPartEncoded

/** Every key, also of what is not known: their class asks for them. */
const usageOf = (usage: Chat.Usage | undefined): Response.FinishPartEncoded["usage"] => ({
  inputTokens: usage?.inputTokens,
  outputTokens: usage?.outputTokens,
  totalTokens: usage && usage.inputTokens + usage.outputTokens,
  reasoningTokens: usage?.reasoningTokens,
  cachedInputTokens: usage?.cachedInputTokens
})

const metadataPart = ({ id, model, requestId }: Pick<Chat.Response, "id" | "model" | "requestId">) =>
  ({
    type: "response-metadata",
    id,
    modelId: model,
    metadata: Marks.write({ requestId })
  }) satisfies Response.ResponseMetadataPartEncoded

const callPart = ({ arguments: params, id, name, providerData }: Chat.ToolCall): Response.ToolCallPartEncoded => ({
  type: "tool-call",
  id,
  name,
  params,
  metadata: Marks.write({ providerData })
})

const finishPart = (
  reason: Chat.FinishReason,
  usage: Chat.Usage | undefined,
  providerData: Chat.ProviderData | undefined
): Response.FinishPartEncoded => ({
  type: "finish",
  reason,
  usage: usageOf(usage),
  metadata: Marks.write({ providerData, usage })
})

/**
 * The parts of a whole answer.
 *
 * @internal
 */
export const whole = (response: Chat.Response): Array<Response.PartEncoded> => [
  metadataPart(response),
  ...(response.reasoning === undefined ? [] : [{ type: "reasoning", text: response.reasoning } as const]),
  ...(response.text === "" ? [] : [{ type: "text", text: response.text } as const]),
  ...response.toolCalls.map(callPart),
  finishPart(response.finishReason, response.usage, response.providerData)
]

/**
 * A writer of one streamed answer: an event to parts. The error is a `Reset` after content, which cannot be taken back.
 *
 * @internal
 */
export const streamed = () => {
  let open: { readonly type: "text" | "reasoning"; readonly id: string } | undefined
  let pieces = 0
  let received = 0
  let delivered = false
  let usage: Chat.Usage | undefined
  let origin = { provider: "steadfast", model: "" }

  const close = (): Array<StreamPart> => {
    const closed = open
    open = undefined
    return closed === undefined ? [] : [{ type: `${closed.type}-end`, id: closed.id }]
  }

  const piece = (type: "text" | "reasoning", delta: string): Array<StreamPart> => {
    const out: Array<StreamPart> = open?.type === type ? [] : close()
    if (open === undefined) {
      open = { type, id: String(pieces++) }
      out.push({ type: `${type}-start`, id: open.id })
    }
    out.push({ type: `${type}-delta`, id: open.id, delta })
    delivered = true
    return out
  }

  return (event: Chat.Event): ReadonlyArray<StreamPart> | StreamInterrupted => {
    switch (event._tag) {
      case "Start":
        origin = { provider: event.provider, model: event.model }
        return [metadataPart(event)]
      case "TextDelta":
        received += event.text.length
        return piece("text", event.text)
      case "ReasoningDelta":
        return piece("reasoning", event.text)
      case "ToolCall":
        delivered = true
        return [...close(), callPart(event)]
      case "Usage":
        usage = event.usage
        return []
      case "Finish":
        return [...close(), finishPart(event.reason, usage, event.providerData)]
      case "Seam":
        // The text goes on where it stood.
        return []
      case "Reset":
        if (!delivered) return []
        return new StreamInterrupted({
          ...origin,
          message: `the answer started over (${event.cause}), and delivered parts cannot be taken back`,
          delivery: "unknown",
          retryable: false,
          received,
          partial: ""
        })
    }
  }
}
