/**
 * Changes the members of a JSON object in its text, so that every other byte stays.
 *
 * The text must be valid JSON. Of a member that stands there several times all are changed, and the last one counts, as
 * with `JSON.parse`.
 *
 * @since 0.2.0
 */

import * as Json from "./Json.js"

/**
 * A member of an object, and where its value stands in the text.
 *
 * @internal
 */
export interface Member {
  readonly name: string
  readonly from: number
  readonly to: number
}

const quote = 34
const backslash = 92

/** The index after the string that begins at `at`. */
const afterString = (text: string, at: number): number => {
  for (let end = text.indexOf('"', at + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let before = end - 1
    while (text.charCodeAt(before) === backslash) before--
    if ((end - before) % 2 === 1) return end + 1
  }
  return text.length
}

const isBlank = (code: number): boolean => code === 32 || code === 10 || code === 13 || code === 9

const afterBlanks = (text: string, at: number): number => {
  let index = at
  while (isBlank(text.charCodeAt(index))) index++
  return index
}

/** The index after the value that begins at `at`. */
const afterValue = (text: string, at: number): number => {
  const first = text[at]
  if (first === '"') return afterString(text, at)
  if (first !== "{" && first !== "[") {
    const length = text.slice(at).search(/[,}\]\s]/)
    return length === -1 ? text.length : at + length
  }
  const marks = /["{}[\]]/g
  marks.lastIndex = at
  let depth = 0
  for (let found = marks.exec(text); found !== null; found = marks.exec(text)) {
    const [mark] = found
    if (mark === '"') marks.lastIndex = afterString(text, found.index)
    else if (mark === "{" || mark === "[") depth++
    else if (--depth === 0) return marks.lastIndex
  }
  return text.length
}

/**
 * The members of the object that begins at `at`, after blanks; `undefined` if none does.
 *
 * @internal
 */
export const read = (text: string, at = 0): ReadonlyArray<Member> | undefined => {
  let index = afterBlanks(text, at)
  if (text[index] !== "{") return undefined
  const members: Array<Member> = []
  for (;;) {
    // Past the brace, or the comma.
    const key = afterBlanks(text, index + 1)
    if (text.charCodeAt(key) !== quote) return members
    const end = afterString(text, key)
    const from = afterBlanks(text, afterBlanks(text, end) + 1)
    const to = afterValue(text, from)
    members.push({ name: Json.string(Json.parse(text.slice(key, end))) ?? "", from, to })
    index = afterBlanks(text, to)
    if (text[index] !== ",") return members
  }
}

/**
 * The text of the last member of a name.
 *
 * @internal
 */
export const last = (text: string, members: ReadonlyArray<Member>, name: string): string | undefined => {
  const found = members.findLast((member) => member.name === name)
  return found && text.slice(found.from, found.to)
}

/**
 * The text of an object with members set to JSON texts: replaced where they stand, or put at the beginning.
 *
 * @internal
 */
export const set = (
  text: string,
  members: ReadonlyArray<Member>,
  changes: { readonly [name: string]: string | undefined }
): string => {
  const start = text.indexOf("{") + 1
  let out = text.slice(0, start)
  for (const [name, json] of Object.entries(changes)) {
    if (json === undefined || members.some((member) => member.name === name)) continue
    out += `${out.length > start ? "," : ""}${JSON.stringify(name)}:${json}`
  }
  if (out.length > start && members.length > 0) out += ","
  let done = start
  for (const { from, name, to } of members) {
    const json = Object.hasOwn(changes, name) ? changes[name] : undefined
    if (json === undefined) continue
    out += text.slice(done, from) + json
    done = to
  }
  return out + text.slice(done)
}
