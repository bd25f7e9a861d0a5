/**
 * Finds JSON in the text of an error: whole, inside prose, as a Python repr, or cut.
 *
 * Gateways put the answer of their upstream into a message, after a prefix, and often only its first characters.
 *
 * Gotchas: text longer than {@link MAX_LENGTH} is not searched. Cut JSON is read only if the text begins with it,
 * because a bracket in prose is no error.
 *
 * @example
 * import * as JsonText from "./JsonText.js"
 *
 * JsonText.find('500 - {"error":{"code":"overloaded"}}') // { error: { code: "overloaded" } }
 * JsonText.find('{"error":{"code":"overloaded","mess') // the same
 *
 * @since 0.2.0
 */

/**
 * Strings longer than this are not searched for JSON inside them.
 *
 * @since 0.2.0
 * @category constants
 */
export const MAX_LENGTH = 65_536

/**
 * The value of a JSON text; `undefined` if it is none.
 *
 * @since 0.2.0
 * @category parsing
 */
export const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** The beginning of JSON or a Python repr inside a text: a bracket, then a string or an object. */
const OPENING = /[{[]\s{0,64}["'{]/

/**
 * The first `{…}` or `[…]` of a text, parsed as JSON; a Python repr is rewritten to JSON. One pass. JSON that ends
 * early is closed at its last character, or else at its last whole value.
 */
const embedded = (text: string): unknown => {
  const start = text.search(OPENING)
  if (start < 0) return undefined
  let out = ""
  const closers: Array<string> = []
  /** The length of `out` up to its last whole value, at the depth that it has now. */
  let whole = 0
  for (let i = start; i < text.length; i++) {
    const c = text[i] ?? ""
    if (c === '"' || c === "'") {
      let inner = ""
      for (i++; i < text.length && text[i] !== c; i++) {
        if (text[i] === "\\") {
          const next = text[++i] ?? ""
          inner += next === "" ? "" : next === "'" ? "'" : `\\${next}`
        } else inner += text[i] === '"' ? '\\"' : text[i]
      }
      out += `"${inner}"`
    } else {
      const word = /^(?:None|True|False)\b/.exec(text.slice(i, i + 6))?.[0]
      if (c === ",") whole = out.length
      if (word !== undefined) {
        out += word === "None" ? "null" : word.toLowerCase()
        i += word.length - 1
      } else out += c
      if (c === "{" || c === "[") {
        closers.push(c === "{" ? "}" : "]")
        whole = out.length
      } else if (c === "}" || c === "]") {
        closers.pop()
        whole = out.length
        if (closers.length === 0) return parse(out)
      }
    }
  }
  if (start > 0) return undefined
  const end = closers.reverse().join("")
  return parse(out + end) ?? parse(out.slice(0, whole) + end)
}

/**
 * The object, list or string that a text holds as JSON; `undefined` for prose.
 *
 * @since 0.2.0
 * @category parsing
 */
export const find = (text: string): unknown => {
  if (text.length > MAX_LENGTH) return undefined
  const trimmed = text.trim()
  const whole = /^[{["]/.test(trimmed) ? parse(trimmed) : undefined
  const found = whole ?? (OPENING.test(trimmed) ? embedded(trimmed) : undefined)
  // a list of names in prose is part of its sentence
  if (whole === undefined && Array.isArray(found) && found.every((one) => typeof one !== "object")) return undefined
  return (typeof found === "object" && found !== null) || (typeof found === "string" && found !== text)
    ? found
    : undefined
}

/**
 * Deeper values cannot be written as JSON again on every platform, and no tool has such arguments.
 */
const maxDepth = 500

/** Whether a value has something inside of it that many levels down. */
const reaches = (value: unknown, levels: number): boolean => {
  if (levels === 0) return true
  if (typeof value !== "object" || value === null) return false
  for (const child of Array.isArray(value) ? value : Object.values(value)) if (reaches(child, levels - 1)) return true
  return false
}

/**
 * Whether a value is nested too deep to be written again in the next request.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isDeep = (value: unknown): boolean => reaches(value, maxDepth + 1)
