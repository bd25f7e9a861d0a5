/**
 * Reads the body of a request within bounds: its size, and the memory that all bodies take together.
 *
 * @since 0.2.0
 */

import { isUtf8 } from "node:buffer"
import type { IncomingMessage } from "node:http"
import * as Refusal from "./Refusal.js"

/**
 * The memory that bodies take now, over all requests of a gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Held {
  bytes: number
  readonly most: number
}

/**
 * A body: its text and what it says.
 *
 * @since 0.2.0
 * @category models
 */
export interface Body {
  readonly text: string
  readonly json: unknown
}

/**
 * The text and the JSON of a body, or why it is none.
 *
 * @since 0.2.0
 * @category decoding
 */
export const parse = (bytes: Buffer): Body | Refusal.Refusal => {
  if (!isUtf8(bytes)) return Refusal.unreadable("body: found bytes that are no UTF-8, expected JSON in UTF-8")
  const text = bytes.toString("utf8")
  try {
    return { text, json: JSON.parse(text) }
  } catch (cause) {
    // A deep nesting is a RangeError. The parser's own words quote the body.
    const found = text.trim() === "" ? "nothing" : cause instanceof RangeError ? "too deep a nesting" : "no JSON"
    return Refusal.unreadable(`body: found ${found}, expected JSON`)
  }
}

/**
 * Reads a body to its end. `done` is called once: with the body, a refusal, or `undefined` if the client left.
 *
 * @since 0.2.0
 * @category reading
 */
export const read = (
  request: IncomingMessage,
  maxBytes: number,
  held: Held,
  done: (body: Buffer | Refusal.Refusal | undefined) => void
): void => {
  const stated = Number(request.headers["content-length"] ?? 0)
  let chunks: Array<Buffer> = []
  let size = 0
  let over = false
  const end = (body: Buffer | Refusal.Refusal | undefined): void => {
    if (over) return
    over = true
    held.bytes -= size
    chunks = []
    request.off("data", take).off("end", ended).off("error", broken).off("close", broken)
    done(body)
  }
  const take = (chunk: Buffer): void => {
    size += chunk.byteLength
    held.bytes += chunk.byteLength
    if (size > maxBytes) end(Refusal.tooLarge(maxBytes))
    else if (held.bytes > held.most) end(Refusal.busy)
    else chunks.push(chunk)
  }
  const ended = (): void => end(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
  const broken = (): void => end(undefined)
  if (stated > maxBytes) {
    end(Refusal.tooLarge(maxBytes))
    return
  }
  request.on("data", take).on("end", ended).on("error", broken).on("close", broken)
}
