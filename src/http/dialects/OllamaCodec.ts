/**
 * Answers of Ollama's `/api/chat` and `/api/generate`. A stream is lines of JSON, of which the last says `done`.
 *
 * Gotchas: clients read numbers of tokens and times in every answer. Times are not known here, and told as 0, as is an
 * unknown usage. The reason of an answer with calls is `stop`, as Ollama says it.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { Codec, Origin } from "../Dialect.js"
import * as ErrorResponse from "../ErrorResponse.js"
import * as ModelsBody from "../ModelsBody.js"
import * as Frames from "./Frames.js"

const reasons: { readonly [K in Chat.FinishReason]: string } = {
  stop: "stop",
  length: "length",
  "tool-calls": "stop",
  other: "stop"
}

/** What a line, or a whole answer, says. */
interface Said {
  readonly text?: string | undefined
  readonly thinking?: string | undefined
  readonly calls?: ReadonlyArray<object> | undefined
}

const fieldsOf = (name: "content" | "response", { calls = [], text = "", thinking }: Said): object => ({
  [name]: text,
  ...(thinking === undefined ? {} : { thinking }),
  ...(calls.length === 0 ? {} : { tool_calls: calls })
})

type Form = (said: Said) => object

const inMessage: Form = (said) => ({ message: { role: "assistant", ...fieldsOf("content", said) } })

const inResponse: Form = (said) => fieldsOf("response", said)

const callOf = (call: Chat.ToolCall, index: number): object => ({
  id: call.id,
  function: { index, name: call.name, arguments: call.arguments ?? {} }
})

/** The beginning of every line. */
const headOf = ({ created }: Origin, { model }: Frames.Names) => ({ model, created_at: ModelsBody.timeOf(created) })

const endOf = (reason: Chat.FinishReason, usage: Chat.Usage | undefined): object => ({
  done: true,
  done_reason: reasons[reason],
  total_duration: 0,
  load_duration: 0,
  prompt_eval_count: usage?.inputTokens ?? 0,
  prompt_eval_duration: 0,
  eval_count: usage?.outputTokens ?? 0,
  eval_duration: 0
})

const line = (value: object): string => `${JSON.stringify(value)}\n`

const writer =
  (origin: Origin, form: Form) =>
  (names: Frames.Names): Frames.Writer => {
    let calls = 0
    const piece = (said: Said, end: object = { done: false }): string =>
      line({ ...headOf(origin, names), ...form(said), ...end })
    return {
      first: () => "",
      text: (text) => piece({ text }),
      reasoning: (thinking) => piece({ thinking }),
      toolCall: (call) => piece({ calls: [callOf(call, calls++)] }),
      finish: ({ reason }, usage) => piece({}, endOf(reason, usage)),
      fail: (error) => line({ error: ErrorResponse.factsOf(error, origin).message }),
      failsLate: false
    }
  }

const make = (form: Form): Codec => ({
  encoder: (origin) => Frames.encoder(origin, writer(origin, form)),
  body: (answer, origin) => ({
    ...headOf(origin, Frames.namesOf(origin, answer)),
    ...form({ text: answer.text, thinking: answer.reasoning, calls: answer.toolCalls.map(callOf) }),
    ...endOf(answer.finishReason, answer.usage)
  }),
  lines: true
})

/**
 * The codec of `/api/chat`.
 *
 * @since 0.2.0
 * @category codecs
 */
export const chat: Codec = make(inMessage)

/**
 * The codec of `/api/generate`.
 *
 * @since 0.2.0
 * @category codecs
 */
export const generate: Codec = make(inResponse)
