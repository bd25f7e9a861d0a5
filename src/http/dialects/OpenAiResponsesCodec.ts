/**
 * Answers of OpenAI's Responses API. Every event has a number, and the last one holds the whole answer.
 *
 * Gotchas: clients read a usage in every answer, so that an unknown one is told as zeros. An error is the event `error`
 * and never `response.failed` alone, which some clients take for an answer. Encrypted reasoning comes with the end of
 * an answer, so that in a stream only the last event has it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as Frames from "./Frames.js"

const usageOf = (usage: Chat.Usage | undefined): object => {
  const { inputTokens = 0, outputTokens = 0 } = usage ?? {}
  const { cacheWriteTokens: written } = usage ?? {}
  return {
    input_tokens: inputTokens,
    input_tokens_details: {
      cached_tokens: usage?.cachedInputTokens ?? 0,
      ...(written === undefined ? {} : { cache_write_tokens: written })
    },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: usage?.reasoningTokens ?? 0 },
    total_tokens: inputTokens + outputTokens
  }
}

type Item = Readonly<Record<string, unknown>> & { readonly id: string }

const messageItem = (id: string, text: string, status: string): Item => ({
  id,
  type: "message",
  status,
  role: "assistant",
  content: status === "in_progress" ? [] : [{ type: "output_text", text, annotations: [], logprobs: [] }]
})

const reasoningItem = (id: string, text: string | undefined): Item => ({
  id,
  type: "reasoning",
  summary: text === undefined ? [] : [{ type: "summary_text", text }]
})

const callItem = (id: string, call: Chat.ToolCall, args: string, status: string): Item => ({
  id,
  type: "function_call",
  status,
  call_id: call.id,
  name: call.name,
  arguments: args
})

/** The object of an answer. Every field is sent: clients demand those that may be null too. */
const objectOf = (names: Frames.Names, created: number, status: string, output: ReadonlyArray<Item>) => ({
  id: names.id,
  object: "response",
  created_at: created,
  status,
  background: false,
  error: null,
  incomplete_details: status === "incomplete" ? { reason: "max_output_tokens" } : null,
  instructions: null,
  max_output_tokens: null,
  metadata: {},
  model: names.model,
  output,
  parallel_tool_calls: true,
  previous_response_id: null,
  reasoning: { effort: null, summary: null },
  service_tier: null,
  store: false,
  temperature: null,
  text: { format: { type: "text" } },
  tool_choice: "auto",
  tools: [],
  top_p: null,
  truncation: "disabled",
  user: null
})

const statusOf = (reason: Chat.FinishReason): string => (reason === "length" ? "incomplete" : "completed")

const wire = "openai-responses"

const ownTypes: ReadonlyArray<unknown> = ["reasoning", "message", "function_call"]

/** The text of an item that is a message. */
const textOf = (item: Readonly<Record<string, unknown>>): string =>
  item.type === "message" && Array.isArray(item.content)
    ? item.content.map((part) => (typeof part?.text === "string" ? part.text : "")).join("")
    : ""

/**
 * The items of an answer as they came, with their encrypted reasoning, which a client sends back. `undefined` if they
 * came in another wire, or do not say what the answer says.
 */
const keptItems = (
  providerData: Chat.ProviderData | undefined,
  text: string,
  callIds: ReadonlyArray<string>
): ReadonlyArray<Item> | undefined => {
  const { items } = Frames.replyOf(providerData, wire)
  if (!Array.isArray(items) || !items.every((item) => ownTypes.includes(item?.type))) return undefined
  const called = items.filter(({ type }) => type === "function_call").map(({ call_id, id }) => call_id ?? id)
  const isSame = called.length === callIds.length && called.every((id, index) => id === callIds[index])
  return isSame && items.map(textOf).join("") === text ? items : undefined
}

/** A part of the answer whose text is being written. */
interface Open {
  readonly kind: "message" | "reasoning"
  readonly id: string
  text: string
}

const writer =
  (origin: Origin) =>
  (names: Frames.Names): Frames.Writer => {
    const output: Array<Item> = []
    let number = 0
    let open: Open | undefined
    const send = (type: string, fields: object): string =>
      Frames.named(type, { type, sequence_number: number++, ...fields })
    const object = (status: string, more: object = {}) => ({
      response: { ...objectOf(names, origin.created, status, status === "in_progress" ? [] : output), ...more }
    })
    const nextId = (prefix: string): string => `${prefix}_${names.id}_${output.length}`
    const added = (item: Item): string => send("response.output_item.added", { output_index: output.length, item })
    const done = (item: Item): string => {
      const frame = send("response.output_item.done", { output_index: output.length, item })
      output.push(item)
      return frame
    }
    /** Where a part of text stands: a message has content, a thought has a summary. */
    const at = (part: Open): object => ({
      item_id: part.id,
      output_index: output.length,
      [part.kind === "message" ? "content_index" : "summary_index"]: 0
    })
    const partOf = (kind: Open["kind"], text: string): object =>
      kind === "message" ? { type: "output_text", text, annotations: [], logprobs: [] } : { type: "summary_text", text }
    const words = {
      message: { part: "response.content_part", text: "response.output_text" },
      reasoning: { part: "response.reasoning_summary_part", text: "response.reasoning_summary_text" }
    } as const
    const close = (status = "completed"): string => {
      if (open === undefined) return ""
      const part = open
      open = undefined
      const { kind, text } = part
      return [
        send(`${words[kind].text}.done`, { ...at(part), text, ...(kind === "message" ? { logprobs: [] } : {}) }),
        send(`${words[kind].part}.done`, { ...at(part), part: partOf(kind, text) }),
        done(kind === "message" ? messageItem(part.id, text, status) : reasoningItem(part.id, text))
      ].join("")
    }
    const write = (kind: Open["kind"], delta: string): string => {
      let before = ""
      if (open?.kind !== kind) {
        before = close()
        const part: Open = { kind, id: nextId(kind === "message" ? "msg" : "rs"), text: "" }
        before += added(
          kind === "message" ? messageItem(part.id, "", "in_progress") : reasoningItem(part.id, undefined)
        )
        before += send(`${words[kind].part}.added`, { ...at(part), part: partOf(kind, "") })
        open = part
      }
      open.text += delta
      const logprobs = kind === "message" ? { logprobs: [] } : {}
      return before + send(`${words[kind].text}.delta`, { ...at(open), delta, ...logprobs })
    }
    return {
      first: () =>
        send("response.created", object("in_progress")) + send("response.in_progress", object("in_progress")),
      text: (text) => write("message", text),
      reasoning: (text) => write("reasoning", text),
      toolCall: (call) => {
        const before = close()
        const id = nextId("fc")
        const args = Frames.argumentsOf(call)
        const where = { item_id: id, output_index: output.length }
        return [
          before,
          added(callItem(id, call, "", "in_progress")),
          send("response.function_call_arguments.delta", { ...where, delta: args }),
          send("response.function_call_arguments.done", { ...where, name: call.name, arguments: args }),
          done(callItem(id, call, args, "completed"))
        ].join("")
      },
      finish: ({ providerData, reason }, usage) => {
        const status = statusOf(reason)
        const closed = close(status)
        const callIds = output.flatMap(({ call_id: id }) => (typeof id === "string" ? [id] : []))
        const items = keptItems(providerData, output.map(textOf).join(""), callIds)
        const more = { usage: usageOf(usage), ...(items === undefined ? {} : { output: items }) }
        return closed + send(`response.${status}`, object(status, more))
      },
      fail: (error) => {
        const { code, message, param, type } = ErrorResponse.factsOf(error, { ...origin, dialect: "responses" })
        // Some clients read the one form, and some the other.
        return send("error", { code, message, param, error: { type, code, message, param } })
      },
      failsLate: true
    }
  }

/**
 * The codec of Responses.
 *
 * @since 0.2.0
 * @category codecs
 */
export const codec: Codec = {
  encoder: (origin) => Frames.encoder(origin, writer(origin)),
  body: (answer, origin) => {
    const names = Frames.namesOf(origin, answer)
    const { finishReason, reasoning, text, toolCalls, usage } = answer
    const status = statusOf(finishReason)
    const ids = toolCalls.map(({ id }) => id)
    const output = keptItems(answer.providerData, text, ids) ?? [
      ...(reasoning === undefined ? [] : [reasoningItem(`rs_${names.id}`, reasoning)]),
      // Never an empty list: some clients take that for no answer, and ask again.
      ...(text === "" && toolCalls.length > 0 ? [] : [messageItem(`msg_${names.id}`, text, status)]),
      ...toolCalls.map((call, index) =>
        callItem(`fc_${names.id}_${index}`, call, Frames.argumentsOf(call), "completed")
      )
    ]
    return { ...objectOf(names, origin.created, status, output), output_text: text, usage: usageOf(usage) }
  }
}
