/**
 * Error messages that may be shown: short, on one line, and without secrets.
 *
 * `Classify` passes every text that came from outside through {@link clean} before it reaches an `LlmError`.
 *
 * Gotchas: {@link clean} scrubs before it shortens, so that no half of a key survives at the end. It finds a literal
 * secret in its URL-encoded form too.
 *
 * @example
 * import * as ErrorMessage from "./ErrorMessage.js"
 *
 * ErrorMessage.clean("Incorrect API key provided: sk-proj-abc123def", []) // "Incorrect API key provided: sk-…"
 *
 * @since 0.1.0
 */

/** The longest message, in characters. */
const MAX_MESSAGE = 500

/** Text beyond this is dropped before anything is matched on it. */
const MAX_TEXT = 16_384

/** Shorter literals are not scrubbed: they would blank out ordinary words. */
const MIN_SECRET = 4

/** Patterns of keys and of the fields that hold them. Scrubbing keeps the first group of each pattern. */
const SHAPES: ReadonlyArray<RegExp> = [
  /()(?<=:\/\/)[^\s/@]{1,512}@/g,
  /\b(bearer|basic)\s+[\w.~+/=*-]{8,}/gi,
  /([?&](?:api[-_]?key|key|(?:access_?)?token|sig(?:nature)?|x-amz-[a-z-]{1,40})=)[^&\s"'<>]+/gi,
  /\b((?:authorization|(?:x-)?(?:goog-)?api[-_]?key|api[-_ ]?token|secret|password|key)["']?\s{0,4}=\s{0,4}["']?)[^\s"',;&<>]{6,}/gi,
  /\b((?:authorization|(?:x-)?(?:goog-)?api[-_]key|apikey|secret|password)["']?\s{0,4}:\s{0,4}["']?)[^\s"',;&<>]{6,}/gi,
  /\b(sk-|rk-|pk-|fw_|hf_|r8_)[\w*.-]{6,}/g,
  /\b(AIz|gsk|xai|csk|ppl|nva|tgp|ya2|gho|ghp|ghs|ghu|eyJ|AKI|ASI|ABS|dap)(?:a[\w-]|_|-|x-|pi-|_v\d|9\.|[\w]{6})[\w*.-]{8,}/g
]

/** The URL-encoded form; `""` for a text with a lone surrogate, which cannot be encoded. */
const encoded = (text: string): string => {
  try {
    return encodeURIComponent(text)
  } catch {
    return ""
  }
}

const cut = (text: string): string => {
  if (text.length <= MAX_TEXT) return text
  const head = text.slice(0, MAX_TEXT)
  const space = head.lastIndexOf(" ")
  return space > 0 ? head.slice(0, space) : head
}

/** What moves the cursor of a terminal, or turns the direction of a text: a line of a log shall show what it holds. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
const CONTROLS = /[\u0000-\u0008\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Text on one line, without control characters. */
const folded = (text: string): string => text.replace(CONTROLS, "").replace(/\s+/g, " ").trim()

/**
 * A secret as it may stand in a text: plain, URL-encoded in either case and with either space, in a text of JSON, or on
 * one line.
 *
 * @internal
 */
export const formsOf = (secret: string): ReadonlyArray<string> => {
  const percent = encoded(secret)
  const lower = percent.replace(/%../g, (code) => code.toLowerCase())
  const quoted = JSON.stringify(secret).slice(1, -1)
  const spaced = [percent.replaceAll("%20", "+"), lower.replaceAll("%20", "+")]
  const forms = [secret, percent, lower, ...spaced, quoted, folded(secret)]
  return [...new Set(forms)].filter((form) => form.length >= MIN_SECRET)
}

/**
 * Replaces literal secrets in every form of {@link formsOf}.
 *
 * @since 0.2.0
 * @category formatting
 */
export const scrub = (text: string, secrets: ReadonlyArray<string>): string => {
  let out = text
  // The longest first: one that begins another would leave the rest of it.
  for (const secret of [...secrets].sort((a, b) => b.length - a.length)) {
    if (secret.length < MIN_SECRET) continue
    // three characters tell two keys apart and give no access; a short secret is hidden whole
    const mask = secret.length < 12 ? "…" : `${secret.slice(0, 3)}…`
    for (const form of formsOf(secret)) out = out.replaceAll(form, () => mask)
  }
  return out
}

/** Replaces everything that looks like a key. */
const scrubShapes = (text: string): string =>
  SHAPES.reduce((out, shape) => out.replace(shape, (_, kept: string) => `${kept}…`), text)

/**
 * Makes a text from outside safe to show: whitespace folded, control characters removed, secrets scrubbed, at most
 * `max` (500) characters.
 *
 * @since 0.1.0
 * @category formatting
 */
export const clean = (text: string, secrets: ReadonlyArray<string> = [], max: number = MAX_MESSAGE): string => {
  const shown = scrubShapes(scrub(folded(cut(text)), secrets))
  return shown.length > max ? `${shown.slice(0, max - 1)}…` : shown
}

const REASONS: ReadonlyMap<number, string> = new Map([
  [400, "Bad Request"],
  [401, "Unauthorized"],
  [402, "Payment Required"],
  [403, "Forbidden"],
  [404, "Not Found"],
  [408, "Request Timeout"],
  [413, "Content Too Large"],
  [422, "Unprocessable Content"],
  [429, "Too Many Requests"],
  [500, "Internal Server Error"],
  [502, "Bad Gateway"],
  [503, "Service Unavailable"],
  [504, "Gateway Timeout"],
  [529, "Overloaded"]
])

/**
 * The message of a response that has none: the status and its standard phrase.
 *
 * @since 0.1.0
 * @category formatting
 */
export const ofStatus = (status: number): string =>
  `${status} ${REASONS.get(status) ?? (status < 400 ? "redirect" : "error")}`
