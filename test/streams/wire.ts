import type { Answer, Format } from "./support.js"

const encoder = new TextEncoder()
const lines = (events: ReadonlyArray<object>): string =>
  events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("")

/** An answer as bytes, as short as the format allows. */
export const written = (format: Format, answer: Partial<Answer>, pieces?: ReadonlyArray<string>): Uint8Array => {
  const texts = pieces ?? [answer.text ?? ""]
  const calls = (answer.toolCalls ?? []).map((call, i) => ({
    ...call,
    id: `c_${i}`,
    json: JSON.stringify(call.arguments)
  }))
  const usage = { input: 12, output: 9 }
  switch (format) {
    case "openai-chat":
      return encoder.encode(
        `${lines([
          ...texts.map((content) => ({ choices: [{ delta: { content }, finish_reason: null }] })),
          ...calls.map((call, index) => ({
            choices: [
              { delta: { tool_calls: [{ index, id: call.id, function: { name: call.name, arguments: call.json } }] } }
            ]
          })),
          { choices: [{ delta: {}, finish_reason: calls.length > 0 ? "tool_calls" : "stop" }] },
          { choices: [], usage: { prompt_tokens: usage.input, completion_tokens: usage.output } }
        ])}data: [DONE]\n\n`
      )
    case "openai-responses": {
      const items = calls.map((call) => ({
        type: "function_call",
        call_id: call.id,
        name: call.name,
        arguments: call.json
      }))
      const message = { type: "message", content: [{ type: "output_text", text: texts.join("") }] }
      const response = { id: "resp_2", model: "m", output: [message, ...items], status: "completed" }
      return encoder.encode(
        lines([
          { type: "response.created", response: { id: "resp_2", model: "m" } },
          ...texts.map((delta) => ({ type: "response.output_text.delta", delta })),
          ...items.map((item, output_index) => ({ type: "response.output_item.done", output_index, item })),
          {
            type: "response.completed",
            response: { ...response, usage: { input_tokens: usage.input, output_tokens: usage.output } }
          }
        ])
      )
    }
    case "anthropic":
      return encoder.encode(
        lines([
          {
            type: "message_start",
            message: { id: "m_2", model: "m", usage: { input_tokens: usage.input, output_tokens: 1 } }
          },
          { type: "content_block_start", index: 0, content_block: { type: "text", text: "" } },
          ...texts.map((text) => ({ type: "content_block_delta", index: 0, delta: { type: "text_delta", text } })),
          { type: "content_block_stop", index: 0 },
          ...calls.flatMap((call, i) => [
            {
              type: "content_block_start",
              index: i + 1,
              content_block: { type: "tool_use", id: call.id, name: call.name, input: {} }
            },
            { type: "content_block_delta", index: i + 1, delta: { type: "input_json_delta", partial_json: call.json } },
            { type: "content_block_stop", index: i + 1 }
          ]),
          {
            type: "message_delta",
            delta: { stop_reason: calls.length > 0 ? "tool_use" : "end_turn" },
            usage: { output_tokens: usage.output }
          },
          { type: "message_stop" }
        ])
      )
    case "gemini":
      return encoder.encode(
        lines([
          ...texts.map((text) => ({ responseId: "g_2", candidates: [{ content: { parts: [{ text }] } }] })),
          ...calls.map((call) => ({
            candidates: [{ content: { parts: [{ functionCall: { name: call.name, args: call.arguments } }] } }]
          })),
          {
            candidates: [{ content: { parts: [] }, finishReason: "STOP" }],
            usageMetadata: { promptTokenCount: usage.input, candidatesTokenCount: usage.output }
          }
        ])
      )
  }
}

/** The event by which a provider says, in the middle of a stream, that it is overloaded. */
export const errorEvents: Record<Format, Uint8Array> = {
  "openai-chat": encoder.encode(
    lines([{ error: { message: "The server is overloaded", type: "server_error", code: "overloaded" } }])
  ),
  "openai-responses": encoder.encode(
    'event: error\ndata: {"type":"error","sequence_number":99,"code":"server_error","message":"The server had an error","param":null}\n\n'
  ),
  anthropic: encoder.encode(
    'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
  ),
  gemini: encoder.encode(
    'data: {"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}\r\n\r\n'
  )
}
