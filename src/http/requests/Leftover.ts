/**
 * The fields of a request that have no place in `Chat.Request`: their names, and the object that a provider may get.
 *
 * @since 0.2.0
 */

import * as Fields from "./Fields.js"

/**
 * Collects what is not read.
 *
 * @since 0.2.0
 * @category models
 */
export interface Leftover {
  /** The fields of the body, or of an object in its field `inside`, except some. They can be passed on. */
  readonly fields: (object: Fields.Json, known: ReadonlySet<string>, inside?: string) => void
  /** The fields of an object deep in the body, except some. They cannot be passed on. `[]` in `at` is any place. */
  readonly lost: (object: Fields.Json, known: ReadonlySet<string>, at: string) => void
  /** The names, and the options of the provider `passTo`. */
  readonly end: (passTo: string | undefined) => {
    readonly unread: ReadonlyArray<string>
    readonly providerOptions: Readonly<Record<string, Fields.Json>> | undefined
  }
}

/**
 * The names of some fields.
 *
 * @since 0.2.0
 * @category constructors
 */
export const names = (words: string): ReadonlySet<string> => new Set(words.split(" "))

/** The names of the fields that say something and are not known; mostly none. */
const others = (object: Fields.Json, known: ReadonlySet<string>): ReadonlyArray<string> => {
  let found: Array<string> | undefined
  for (const key of Object.keys(object)) {
    if (known.has(key) || object[key] === undefined || object[key] === null) continue
    found ??= []
    found.push(key)
  }
  return found ?? []
}

/**
 * An empty collection.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (): Leftover => {
  const passable: Array<string> = []
  const stuck = new Set<string>()
  const options: Array<readonly [string, unknown]> = []
  return {
    fields: (object, known, inside) => {
      const entries = others(object, known).map((key) => [key, object[key]] as const)
      if (entries.length === 0) return
      for (const [key] of entries) passable.push(`${inside === undefined ? "" : `${inside}.`}${Fields.nameOf(key)}`)
      if (inside === undefined) options.push(...entries)
      else options.push([inside, Object.fromEntries(entries)])
    },
    lost: (object, known, at) => {
      for (const key of others(object, known)) stuck.add(`${at}.${Fields.nameOf(key)}`)
    },
    end: (passTo) =>
      passTo === undefined || options.length === 0
        ? { unread: [...passable, ...stuck], providerOptions: undefined }
        : { unread: [...stuck], providerOptions: { [passTo]: Object.fromEntries(options) } }
  }
}
