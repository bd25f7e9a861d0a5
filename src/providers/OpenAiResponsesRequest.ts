/**
 * Writes requests of OpenAI's Responses API: the messages become a list of input items.
 *
 * @since 0.2.0
 */

import type * as Chat from "../chat/Chat.js"
import * as Json from "./Json.js"
import * as WireFields from "./WireFields.js"

const encodePart = (part: WireFields.UserPart): Json.Json =>
  part.type === "text"
    ? { type: "input_text", text: part.text }
    : { type: "input_image", image_url: WireFields.imageUrl(part as Chat.ImagePart) }

/** System messages stay where they are: `instructions` would move them all to the front. */
const encodeMessage = (message: Chat.Message): ReadonlyArray<Json.Json> => {
  switch (message.role) {
    case "system":
      return [message]
    case "user":
      return [
        {
          role: "user",
          content: typeof message.content === "string" ? message.content : message.content.map(encodePart)
        }
      ]
    case "assistant": {
      const calls = (message.toolCalls ?? []).map((call) => ({
        type: "function_call",
        call_id: call.id,
        name: call.name,
        arguments: JSON.stringify(call.arguments ?? {})
      }))
      return message.content === "" && calls.length > 0
        ? calls
        : [{ role: "assistant", content: [{ type: "output_text", text: message.content }] }, ...calls]
    }
    case "tool":
      return [{ type: "function_call_output", call_id: message.toolCallId, output: message.content }]
  }
}

const encodeFormat = (format: NonNullable<Chat.Request["responseFormat"]>): Json.Json =>
  format.type === "json"
    ? { type: "json_object" }
    : { type: "json_schema", name: format.name, schema: format.schema, strict: format.strict ?? true }

/**
 * The body of a request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const encode =
  (provider: string, model: string) =>
  (request: Chat.Request, streaming: boolean): WireFields.Encoded => {
    const { background, ...options } = Json.object(request.providerOptions?.[provider])
    const text = {
      ...(request.responseFormat === undefined ? {} : { format: encodeFormat(request.responseFormat) }),
      ...Json.object(options.text)
    }
    const body = {
      ...Json.compact({
        model,
        input: request.messages.flatMap(encodeMessage),
        max_output_tokens: request.maxTokens,
        temperature: request.temperature,
        top_p: request.topP,
        metadata: request.metadata,
        // `strict` is on by default here and off in Chat Completions. Off is sent, so that both read a request alike.
        tools: request.tools?.map(({ name, description, parameters, strict }) =>
          Json.compact({ type: "function", name, description, parameters, strict: strict ?? false })
        ),
        tool_choice:
          typeof request.toolChoice === "object"
            ? { type: "function", name: request.toolChoice.name }
            : request.toolChoice,
        stream: streaming ? true : undefined,
        // This API stores answers for 30 days by default. Here only streams that may be resumed are stored, unless the
        // provider options ask for it.
        store: streaming && background === true,
        background: streaming ? background : undefined
      }),
      ...options,
      ...(Object.keys(text).length === 0 ? {} : { text })
    }
    return { body, leftOut: [] }
  }
