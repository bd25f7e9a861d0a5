/**
 * Images and files in messages to OpenAI's APIs and to the servers that speak them.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type { InvalidRequest } from "../../errors/LlmError.js"
import type * as Json from "../wire/Json.js"
import * as Media from "../wire/Media.js"
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

type Part = Chat.ImagePart | Chat.FilePart

/** An image or a file, with its media type without parameters. */
const read = (part: Part) => {
  const media = Media.of(part)
  const stated = media.mediaType?.split(";")[0]?.trim().toLowerCase()
  const type = stated || (part.type === "image" ? "image/*" : "application/octet-stream")
  const isImage = part.type === "image" || type.startsWith("image/")
  const { name } = media
  return "url" in media
    ? { type, isImage, name, url: media.url, data: undefined }
    : { type, isImage, name, url: `data:${type};base64,${media.data}`, data: media.data }
}

type File = ReturnType<typeof read>

/** The name of a file; the APIs refuse data without one. */
const nameOf = ({ name, type }: File): string => {
  const subtype = type.split("/")[1] ?? ""
  return name ?? (/^[a-z0-9]{1,5}$/.test(subtype) ? `file.${subtype}` : "file")
}

/** What a file was, for the error that names it. */
const described = ({ data, type }: File): string => `a file (${type}${data === undefined ? " by URL" : ""})`

const others = "an image, or wav or mp3 as base64"

const expected: Readonly<Record<Files, string>> = {
  any: `base64 of a file, ${others}`,
  url: `a file, ${others}`,
  pdf: `base64 of a PDF, ${others}`,
  document: `a document, ${others}`,
  none: others
}

/**
 * An image or a file as a part of a chat message, or the words for what the server takes instead.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forChat = (part: Part, files: Files): Json.Json | string => {
  const file = read(part)
  const { data, type, url } = file
  if (file.isImage) return { type: "image_url", image_url: { url } }
  const format = audio.get(type)
  if (format !== undefined && data !== undefined) return { type: "input_audio", input_audio: { data, format } }
  if (files === "document" && !type.startsWith("audio/") && !type.startsWith("video/")) {
    return { type: "document_url", document_url: url }
  }
  const isInline = files === "url" || data !== undefined
  const isTaken =
    files === "pdf" ? type === pdf : files !== "none" && files !== "document" && !type.startsWith("audio/")
  if (isInline && isTaken) return { type: "file", file: { filename: nameOf(file), file_data: url } }
  return `found ${described(file)}, expected ${expected[files]}`
}

/**
 * An image or a file as a part of an input item of the Responses API, or the words for what the API takes instead.
 *
 * @since 0.2.0
 * @category constructors
 */
export const forResponses = (part: Part): Json.Json | string => {
  const file = read(part)
  const { data, type, url } = file
  if (file.isImage) return { type: "input_image", image_url: url }
  if (/^(?:audio|video)\//.test(type)) return `found ${described(file)}, expected a document or an image`
  return data === undefined
    ? { type: "input_file", file_url: url }
    : { type: "input_file", filename: nameOf(file), file_data: url }
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
