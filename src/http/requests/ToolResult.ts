/**
 * Results of tools with images and files. A message of a tool holds only text, so that the rest goes into the message
 * of the user that follows, with the id of its call.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"

/**
 * The parts of a user's message.
 *
 * @since 0.2.0
 * @category models
 */
export type Parts = Exclude<Extract<Chat.Message, { role: "user" }>["content"], string>

/**
 * A part of a user's message.
 *
 * @since 0.2.0
 * @category models
 */
export type Part = Parts[number]

/**
 * A result, and the parts that have to follow it.
 *
 * @since 0.2.0
 * @category models
 */
export interface ToolResult {
  readonly message: Chat.Message
  readonly media: ReadonlyArray<Part>
}

/**
 * A result of the parts that a tool gave.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (toolCallId: string, parts: ReadonlyArray<Part>): ToolResult => {
  const texts = parts.map((part) => (part.type === "text" ? part.text : "")).join("")
  const media = parts.filter(({ type }) => type !== "text")
  return {
    message: { role: "tool", toolCallId, content: texts === "" && media.length > 0 ? "See the next message." : texts },
    media: media.length === 0 ? [] : [{ type: "text", text: `From the tool call ${toolCallId}:` }, ...media]
  }
}

/**
 * The messages of results that stand together, and of the user after them.
 *
 * @since 0.2.0
 * @category conversions
 */
export const messages = (results: ReadonlyArray<ToolResult>, user: Parts = []): ReadonlyArray<Chat.Message> => {
  const content = [...results.flatMap(({ media }) => media), ...user]
  return [
    ...results.map(({ message }) => message),
    ...(content.length === 0 ? [] : [{ role: "user" as const, content }])
  ]
}
