/**
 * Files in messages to OpenAI's APIs and to the servers that speak them.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { InvalidRequest } from "../../errors/LlmError.js"
import type * as Json from "../wire/Json.js"
import * as WireFields from "../wire/WireFields.js"

/**
 * The files that a chat server takes.
 *
 * - `"any"`: a `file` part of every type; `"url"`: also by URL.
 * - `"pdf"`: a `file` part, PDF only.
 * - `"document"`: Mistral's `document_url`.
 * - `"none"`: only images and audio.
 *
 * @since 0.2.0
 * @category models
 */
export type Files = "any" | "url" | "pdf" | "document" | "none"

const pdf = "application/pdf"

/** The formats of `input_audio` by media type. */
const audio: ReadonlyMap<string, string> = new Map([
  ["audio/wav", "wav"],
  ["audio/x-wav", "wav"],
  ["audio/wave", "wav"],
  ["audio/vnd.wave", "wav"],
  ["audio/mp3", "mp3"],
  ["audio/mpeg", "mp3"]
])

/** The media type without its parameters; by the ending of the URL if none is stated. */
const typeOf = (part: Chat.FilePart): string => {
  const stated = part.mediaType?.split(";")[0]?.trim().toLowerCase()
  if (stated !== undefined && stated !== "") return stated
  return "url" in part && /\.pdf(?:$|[?#])/i.test(part.url) ? pdf : "application/octet-stream"
}

const urlOf = (part: Chat.FilePart): string => ("url" in part ? part.url : `data:${typeOf(part)};base64,${part.data}`)

/** The name of a file; the APIs refuse data without one. */
const nameOf = (part: Chat.FilePart): string => {
  const subtype = typeOf(part).split("/")[1] ?? ""
  return part.name ?? (/^[a-z0-9]{1,5}$/.test(subtype) ? `file.${subtype}` : "file")
}

/** What a file was, for the error that names it. */
const described = (part: Chat.FilePart): string => `a file (${typeOf(part)}${"url" in part ? " by URL" : ""})`

const media = "an image, or wav or mp3 as base64"

const expected: Readonly<Record<Files, string>> = {
  any: `base64 of a file, ${media}`,
  url: `a file, ${media}`,
  pdf: `base64 of a PDF, ${media}`,
  document: `a document, ${media}`,
  none: media
}

/**
 * A file as a part of a chat message, or the words for what the server takes instead.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forChat = (part: Chat.FilePart, files: Files): Json.Json | string => {
  const type = typeOf(part)
  if (type.startsWith("image/")) return { type: "image_url", image_url: { url: urlOf(part) } }
  const format = audio.get(type)
  if (format !== undefined && "data" in part) return { type: "input_audio", input_audio: { data: part.data, format } }
  if (files === "document" && !type.startsWith("audio/") && !type.startsWith("video/")) {
    return { type: "document_url", document_url: urlOf(part) }
  }
  const isInline = files === "url" || "data" in part || part.url.startsWith("data:")
  const isTaken =
    files === "pdf" ? type === pdf : files !== "none" && files !== "document" && !type.startsWith("audio/")
  if (isInline && isTaken) return { type: "file", file: { filename: nameOf(part), file_data: urlOf(part) } }
  return `found ${described(part)}, expected ${expected[files]}`
}

/**
 * A file as a part of an input item of the Responses API, or the words for what the API takes instead.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forResponses = (part: Chat.FilePart): Json.Json | string => {
  const type = typeOf(part)
  if (type.startsWith("image/")) return { type: "input_image", image_url: urlOf(part) }
  if (/^(?:audio|video)\//.test(type)) return `found ${described(part)}, expected a document or an image`
  return "url" in part && !part.url.startsWith("data:")
    ? { type: "input_file", file_url: part.url }
    : { type: "input_file", filename: nameOf(part), file_data: urlOf(part) }
}

/**
 * The parts of a user's message, or the error that one of them cannot be sent. Empty texts beside other parts are left
 * out, because servers differ in whether they take them.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parts = (
  content: ReadonlyArray<WireFields.UserPart>,
  encode: (part: WireFields.UserPart) => Json.Json | string,
  at: string,
  target: { readonly provider: string; readonly model: string }
): ReadonlyArray<Json.Json> | InvalidRequest => {
  const out: Array<Json.Json> = []
  for (const [index, part] of content.entries()) {
    if (part.type === "text" && part.text === "" && content.length > 1) continue
    const encoded = encode(part)
    if (typeof encoded === "string") return WireFields.refusal(target, `${at}[${index}]: ${encoded}`)
    out.push(encoded)
  }
  return out
}
