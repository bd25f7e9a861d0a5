/**
 * The fields of a client's request that its target did not get as they were, for the header `x-steadfast-ignored`.
 *
 * Those are the fields that no reader knows, and those that the target's dialect has no word for. Where the body went
 * on as it came, there are none. Names are told, values never.
 *
 * @since 0.2.0
 */

import type { Dialect } from "../http/Dialect.js"

/** The longest value of the header. */
const longest = 200

/**
 * The value of the header: whole names, and `...` where there are more of them than it holds. `undefined` for none.
 *
 * @since 0.2.0
 * @category encoding
 */
export const valueOf = (names: ReadonlyArray<string>): string | undefined => {
  let value = ""
  for (const name of new Set(names)) {
    const next = value === "" ? name : `${value}, ${name}`
    if (next.length > longest - ", ...".length) return value === "" ? "..." : `${value}, ...`
    value = next
  }
  return value === "" ? undefined : value
}

/** What an encoder left out begins with the name of a field of ours; its other words are for the log. */
const field = /^([A-Za-z]\w*(?:\.\w+)*) \(/

/** A field of ours, as the dialect spells names. */
const named = (words: string, dialect: Dialect): ReadonlyArray<string> => {
  const name = field.exec(words)?.[1]
  if (name === undefined) return []
  return [dialect === "gemini" ? name : name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)]
}

/**
 * What was ignored of one request.
 *
 * @since 0.2.0
 * @category models
 */
export class Ignored {
  /** What the encoder of each provider left out, of those that got the request in their own words. */
  private encodings: Map<string, ReadonlyArray<string>> | undefined

  constructor(
    private readonly dialect: Dialect,
    private readonly unread: ReadonlyArray<string>
  ) {}

  /** Hears that the request is sent in a provider's own words. */
  readonly encoded = (provider: string, leftOut: ReadonlyArray<string>): void => {
    if (this.unread.length === 0 && leftOut.length === 0) return
    this.encodings ??= new Map()
    this.encodings.set(provider, leftOut)
  }

  /** The header for an answer of a target, `provider/model`. `heard`: whether `encoded` hears of requests at all. */
  headers(servedBy: string | undefined, heard: boolean): Readonly<Record<string, string>> | undefined {
    if (servedBy === undefined) return undefined
    const leftOut = this.encodings?.get(servedBy.split("/", 1)[0] as string)
    if (heard && leftOut === undefined) return undefined
    const value = valueOf([...this.unread, ...(leftOut ?? []).flatMap((words) => named(words, this.dialect))])
    return value === undefined ? undefined : { "x-steadfast-ignored": value }
  }
}
