/**
 * The problems of a configuration: each with its line, its key path, the value found and the value expected.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import * as ErrorMessage from "../../errors/ErrorMessage.js"

/**
 * The way to a value, from the top of the file.
 *
 * @since 0.2.0
 * @category models
 */
export type Path = ReadonlyArray<string | number>

/**
 * A problem. `file` is `environment` for a variable, whose name is then the `path`. `found` never has the value of a
 * secret.
 *
 * @since 0.2.0
 * @category models
 */
export const Problem = Schema.Struct({
  file: Schema.String,
  /** From 1. Absent where there is none. */
  line: Schema.UndefinedOr(Schema.Number),
  /** As in `models.fast.retry.maxAttempts`; empty for the whole file. */
  path: Schema.String,
  found: Schema.String,
  expected: Schema.String
})

/**
 * @since 0.2.0
 * @category models
 */
export type Problem = typeof Problem.Type

/**
 * A problem in one line of text.
 *
 * @since 0.2.0
 * @category formatting
 */
export const format = ({ expected, file, found, line, path }: Problem): string =>
  [`${file}${line === undefined ? "" : `:${line}`}`, ...(path === "" ? [] : [path]), `found ${found}`].join(": ") +
  `, expected ${expected}`

/**
 * A configuration that cannot be used, with all its problems.
 *
 * @since 0.2.0
 * @category errors
 */
export class ConfigProblems extends Schema.TaggedError<ConfigProblems>("steadfast/ConfigProblems")("ConfigProblems", {
  problems: Schema.NonEmptyArray(Problem)
}) {
  /** All problems, one a line. */
  override get message(): string {
    return this.problems.map(format).join("\n")
  }
}

/**
 * A path in words: `models.fast.targets[0]`. A name that would not read as one is in quotes: `models["gpt-4.1"]`.
 *
 * @since 0.2.0
 * @category formatting
 */
export const pathText = (path: Path): string =>
  path.reduce<string>((text, part) => {
    if (typeof part === "number") return `${text}[${part}]`
    if (!/^[\w$:/@+-]+$/.test(part)) return `${text}[${ErrorMessage.clean(JSON.stringify(part), [], 100)}]`
    return text === "" ? part : `${text}.${part}`
  }, "")

/** Text without a blank that is long enough for a key. */
const tokenLike = /^(?=.*\d)[\w+/=.-]{32,}$/

/**
 * A value found, in words, without its content where that may be a secret: lists and objects are only named.
 *
 * @since 0.2.0
 * @category formatting
 */
export const show = (value: unknown): string => {
  if (value === undefined) return "nothing"
  if (Array.isArray(value)) return value.length === 0 ? "an empty list" : "a list"
  if (typeof value === "object" && value !== null) return "an object"
  if (typeof value !== "string") return String(value)
  if (tokenLike.test(value)) return "a text like a key"
  // What stands before the host, and in the query, may be a password.
  const open = value.replace(/\/\/[^/@\s]*@/g, "//…@").replace(/(:\/\/[^?\s]*\?).*$/s, "$1…")
  return JSON.stringify(ErrorMessage.clean(open, [], 80))
}

/** The least number of letters to put in, take out, change or swap. */
const distance = (a: string, b: string): number => {
  let before: Array<number> = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      const least = Math.min(
        (row[j] as number) + 1,
        (next[j - 1] as number) + 1,
        (row[j - 1] as number) + (same ? 0 : 1)
      )
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      next.push(swapped ? Math.min(least, (before[j - 2] as number) + 1) : least)
    }
    before = row
    row = next
  }
  return row[b.length] as number
}

const plain = (name: string): string => name.replace(/[^A-Za-z0-9]/g, "").toLowerCase()

/**
 * The known name that was probably meant. `undefined` if none is close.
 *
 * @since 0.2.0
 * @category suggestions
 */
export const closest = (name: string, known: Iterable<string>): string | undefined => {
  if (name.length > 100) return undefined
  const asked = plain(name)
  let best: { readonly name: string; readonly far: number } | undefined
  for (const one of known) {
    const isBeginning = asked.length >= 4 && plain(one).startsWith(asked)
    const far = isBeginning ? 1 : distance(asked, plain(one))
    const near = Math.max(1, Math.floor(Math.min(asked.length, one.length) / 3))
    if (far <= near && (best === undefined || far < best.far)) best = { name: one, far }
  }
  return best?.name
}

/**
 * Words for one of these names, and the one that was probably meant.
 *
 * @since 0.2.0
 * @category suggestions
 */
export const oneOf = (name: string, known: Iterable<string>, noun: string): string => {
  const names = [...known]
  const near = closest(name, names)
  if (near !== undefined) return `${noun} (did you mean ${near}?)`
  if (names.length === 0) return `${noun}; there is none`
  return names.length > 12 ? noun : `${noun}: ${names.join(", ")}`
}
