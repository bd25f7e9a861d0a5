/**
 * Images and files of a user's message, read the same way for the wire formats that take them inline and by URL.
 *
 * @since 0.2.0
 */

import * as Either from "effect/Either"
import * as Encoding from "effect/Encoding"
import type * as Chat from "../../chat/Chat.js"
import * as MediaType from "../../chat/MediaType.js"

/**
 * An image or a file: by URL, or inline as base64. A `data:` URL is inline.
 *
 * @since 0.2.0
 * @category models
 */
export type Media =
  | { readonly url: string; readonly mediaType: string | undefined; readonly name: string | undefined }
  | { readonly data: string; readonly mediaType: string; readonly name: string | undefined }

/** The data of a `data:` URL. */
const inline = (url: string): { readonly data: string; readonly mediaType: string } | undefined => {
  const head = /^data:([^;,]{0,100})([^,]{0,100}),/i.exec(url)
  if (head === null) return undefined
  const mediaType = head[1] || "text/plain"
  const rest = url.slice(head[0].length)
  if (/;base64$/i.test(head[2] ?? "")) return { mediaType, data: rest }
  try {
    return { mediaType, data: Encoding.encodeBase64(decodeURIComponent(rest)) }
  } catch {
    return undefined
  }
}

/**
 * Reads an image or a file. The media type of a URL is the stated one, else that of its extension.
 *
 * @since 0.2.0
 * @category constructors
 */
export const of = (part: Chat.ImagePart | Chat.FilePart): Media => {
  const name = part.type === "file" ? part.name : undefined
  if (!("url" in part)) return { data: part.data, mediaType: part.mediaType, name }
  const found = inline(part.url)
  if (found !== undefined) return { ...found, name }
  const stated = part.type === "file" ? part.mediaType : undefined
  return { url: part.url, mediaType: stated ?? MediaType.ofName(part.url), name }
}

/**
 * Whether a media type is that of text.
 *
 * @since 0.2.0
 * @category getters
 */
export const isText = (mediaType: string): boolean =>
  /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml|yaml|x-yaml|javascript)\b)/i.test(mediaType)

/**
 * The text that base64 holds; `undefined` if it is none.
 *
 * @since 0.2.0
 * @category getters
 */
export const text = (base64: string): string | undefined => Either.getOrUndefined(Encoding.decodeBase64String(base64))
