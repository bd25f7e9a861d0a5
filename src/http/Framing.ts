/**
 * How the frames of a stream stand in the body: as server-sent events, as lines of JSON, or as the elements of a JSON
 * array, which Gemini's API sends to those who do not ask for `alt=sse`.
 *
 * @since 0.2.0
 */

import type { Dialect, Encoder } from "./Dialect.js"
import { codecs } from "./dialects/Codecs.js"
import * as EventStream from "./EventStream.js"

/**
 * A framing.
 *
 * @since 0.2.0
 * @category models
 */
export interface Framing {
  /** The headers of the stream. */
  readonly headers: Readonly<Record<string, string>>
  /** What keeps a silent connection alive, and says nothing; `undefined` if everything says something. */
  readonly idle: string | undefined
  /** An encoder that writes in this framing what another one writes as server-sent events. */
  readonly over: (encoder: Encoder) => Encoder
  /** The end of a stream that is whole, with a text for those who can read one. */
  readonly end: (text: string | undefined) => string | undefined
}

/**
 * Server-sent events.
 *
 * @since 0.2.0
 * @category framings
 */
export const events: Framing = {
  headers: EventStream.headers,
  idle: EventStream.comment,
  over: (encoder) => encoder,
  end: (text) => (text === undefined ? undefined : EventStream.commentOf(text))
}

const lines: Framing = { ...events, headers: EventStream.headersOf("ollama"), idle: undefined, end: () => undefined }

/**
 * The framing of a dialect.
 *
 * @since 0.2.0
 * @category framings
 */
export const of = (dialect: Dialect): Framing => (codecs[dialect].lines === true ? lines : events)

/** The data of server-sent events, each in one text. Comments and names are left out. */
const dataOf = (frames: string): ReadonlyArray<string> =>
  frames.split("\n\n").flatMap((frame) => {
    const lines = frame.split("\n").flatMap((line) => (line.startsWith("data: ") ? [line.slice("data: ".length)] : []))
    return lines.length === 0 ? [] : [lines.join("\n")]
  })

const elements = (encoder: Encoder): Encoder => {
  let begun = false
  const written = (frames: string): string =>
    dataOf(frames)
      .map((data) => {
        const before = begun ? ",\n" : "["
        begun = true
        return before + data
      })
      .join("")
  return {
    push: (event) => {
      const frames = encoder.push(event)
      return typeof frames === "string" ? written(frames) : frames
    },
    // The array is closed, and the connection broken off: whoever reads to the end of either finds the error.
    fail: (error) => `${written(encoder.fail(error))}\n]`
  }
}

/**
 * The elements of a JSON array.
 *
 * @since 0.2.0
 * @category framings
 */
export const array: Framing = {
  headers: { ...EventStream.headers, "content-type": "application/json; charset=utf-8" },
  idle: "\n",
  over: elements,
  end: () => "\n]"
}
