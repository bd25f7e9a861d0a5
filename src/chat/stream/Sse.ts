/**
 * Parses server-sent events from bytes, cut at any place.
 *
 * A {@link Parser} takes pieces of any size and returns the events that became complete. It follows the WHATWG rules:
 * lines end with LF, CRLF or CR, also if the pair is split between pieces; a byte order mark at the start, comments and
 * `retry:` are ignored; several `data:` lines are joined by LF. It goes beyond the rules where servers need it:
 *
 * - Text that is not a field (such as a bare JSON error in the middle of a stream) is returned as `stray`.
 * - An unterminated event at the end of the input is returned by `end`.
 * - Lines that are whole JSON objects are events of their own: some servers part events by one line end.
 * - A field `error` is an event of that name.
 *
 * @example
 * import * as Sse from "./Sse.js"
 *
 * const parser = Sse.make()
 * parser.feed(new TextEncoder().encode("data: hel"))
 * parser.feed(new TextEncoder().encode("lo\n\n")) // [{ data: "hello" }]
 *
 * @since 0.1.0
 */

import * as JsonText from "../../errors/JsonText.js"
import * as Utf8 from "./Utf8.js"

/**
 * One event.
 *
 * @since 0.1.0
 * @category models
 */
export interface Event {
  /** The `event:` field. */
  readonly event: string | undefined
  /** The `data:` lines, joined by LF. */
  readonly data: string
  /** Whether `data` is text that stood in the stream outside of any field. */
  readonly stray: boolean
}

/**
 * A parser of one stream.
 *
 * @since 0.1.0
 * @category models
 */
export interface Parser {
  /** Takes a piece and returns the events that it completed. */
  readonly feed: (piece: Uint8Array) => ReadonlyArray<Event>
  /** Ends the input and returns the unterminated event, if there is one. */
  readonly end: () => ReadonlyArray<Event>
  /** Whether an event exceeded the bound. From then on nothing is kept or parsed. */
  readonly overflow: () => boolean
}

const isDone = (data: string): boolean => data.length < 16 && data.trim() === "[DONE]"

/** Whether data are a whole JSON object. */
const isObject = (data: string): boolean => data.startsWith("{") && JsonText.parse(data) !== undefined

/** Lines of one field. Each short line would cost ten times its text: they are joined by the thousand. */
class Lines {
  private readonly blocks: Array<string> = []
  private lines: Array<string>
  /** Of the text, with its line ends. */
  length: number

  constructor(first: string) {
    this.lines = [first]
    this.length = first.length
  }

  add(line: string): void {
    this.length += line.length + 1
    if (this.lines.push(line) < 1024) return
    this.blocks.push(this.lines.join("\n"))
    this.lines = []
  }

  text(): string {
    return [...this.blocks, ...this.lines].join("\n")
  }
}

/** Larger than any known event (a base64 image is a few MB), and small enough for the memory of a server. */
const defaultMaxEventLength = 16 * 1024 * 1024

/**
 * Makes a parser. `maxEventLength` limits one event, and one line, in UTF-16 units. Default 16 Mi.
 *
 * @since 0.1.0
 * @category constructors
 */
export const make = (options: { readonly maxEventLength?: number | undefined } = {}): Parser => {
  const bound = options.maxEventLength ?? defaultMaxEventLength
  const decode = Utf8.make()
  /** The pieces of an incomplete line, and their total length. */
  let pieces: Array<string> = []
  let pending = 0
  /** Whether the last character was CR: a LF after it belongs to the same line end. */
  let afterCr = false
  let data: string | undefined
  /** Whether the data are one line that may be a whole object. Each line is parsed once at most. */
  let single = false
  let name: string | undefined
  /** The data, from their second line on. */
  let more: Lines | undefined
  let stray: Lines | undefined
  let overflow = false

  const forget = (): void => {
    pieces = []
    pending = 0
    data = name = more = stray = undefined
  }

  const dispatch = (out: Array<Event>): void => {
    if (stray !== undefined) out.push({ event: undefined, data: stray.text(), stray: true })
    if (data !== undefined) out.push({ event: name, data: more === undefined ? data : more.text(), stray: false })
    data = name = more = stray = undefined
  }

  const line = (text: string, out: Array<Event>): void => {
    // The same bound as for a line in pieces, so that the cuts of the network make no difference.
    if (text.length > bound) {
      overflow = true
      return
    }
    if (text.length === 0) {
      dispatch(out)
      return
    }
    const colon = text.indexOf(":")
    if (colon === 0) return
    const field = colon === -1 ? text : text.slice(0, colon)
    const from = text.charCodeAt(colon + 1) === 32 ? colon + 2 : colon + 1
    switch (field) {
      case "data": {
        const value = colon === -1 ? "" : text.slice(from)
        if (data !== undefined && single && (value.startsWith("{") || isDone(value)) && isObject(data)) dispatch(out)
        single = data === undefined
        if (data === undefined) {
          data = value
          if (isDone(data)) dispatch(out)
        } else {
          more ??= new Lines(data)
          more.add(value)
        }
        break
      }
      case "error":
        if (data === undefined) {
          name = field
          data = text.slice(from)
          single = true
        }
        break
      case "event":
        if (data !== undefined && single && name !== undefined) {
          if (isObject(data)) dispatch(out)
          single = false
        }
        name = colon === -1 ? "" : text.slice(from)
        break
      case "id":
      case "retry":
        break
      default:
        if (stray === undefined) stray = new Lines(text)
        else stray.add(text)
    }
    if ((more ?? data ?? "").length + (stray?.length ?? 0) > bound) overflow = true
  }

  const take = (text: string): string => {
    if (pending === 0) return text
    pieces.push(text)
    const whole = pieces.join("")
    pieces = []
    pending = 0
    return whole
  }

  const parse = (text: string, out: Array<Event>): void => {
    let start = 0
    if (afterCr && text.length > 0) {
      afterCr = false
      if (text.charCodeAt(0) === 10) start = 1
    }
    // Each is searched for again only after it was passed: a search from every line would be quadratic.
    let lf = text.indexOf("\n", start)
    let cr = text.indexOf("\r", start)
    while (!overflow && (lf !== -1 || cr !== -1)) {
      const byCr = cr !== -1 && (lf === -1 || cr < lf)
      const end = byCr ? cr : lf
      const next = byCr && lf === cr + 1 ? end + 2 : end + 1
      if (byCr) afterCr = next === text.length && next === cr + 1
      line(take(text.slice(start, end)), out)
      start = next
      if (lf !== -1 && lf < start) lf = text.indexOf("\n", start)
      if (cr !== -1 && cr < start) cr = text.indexOf("\r", start)
    }
    if (start < text.length) {
      pieces.push(text.slice(start))
      pending += text.length - start
      if (pending > bound) overflow = true
    }
    if (overflow) forget()
  }

  return {
    feed: (piece) => {
      const out: Array<Event> = []
      if (!overflow) parse(decode(piece), out)
      return out
    },
    end: () => {
      const out: Array<Event> = []
      if (overflow) return out
      parse(decode(), out)
      line(take(""), out)
      if (overflow) forget()
      else dispatch(out)
      return out
    },
    overflow: () => overflow
  }
}
