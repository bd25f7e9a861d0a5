/**
 * When the server said to come back: the one wait that `retry-after` headers, error bodies, prose and reset headers
 * agree to, or none.
 *
 * Everything here is pure and takes the clock as an argument. `Classify` calls {@link decide} for a failed response and
 * puts the result on `LlmError.hint`, where `RetryPolicy` reads it as a floor; a pacer reads {@link parseReset} itself.
 *
 * Gotchas: reset headers tell the time to a *full* refill, not the time to wait, so they count only when nothing else
 * was said and `remaining` is 0. "Try again" without a number and a unit is no hint. A wait that is negative,
 * unreadable or longer than {@link maxHint} is no hint. Waits are rounded up to whole milliseconds.
 *
 * @example
 * import { RetryHint } from "effect-steadfast"
 *
 * RetryHint.fromMessage("Rate limit reached. Please try again in 1m9.696s.") // 69 696 ms
 * RetryHint.fromHeaders({ "retry-after-ms": "1500", "retry-after": "2" }, 0, "openai") // 1 500 ms
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"

/**
 * Response headers with lower-case names.
 *
 * @since 0.1.0
 * @category models
 */
export type Headers = Readonly<Record<string, string | undefined>>

/**
 * A longer wait is taken for a mistake (an epoch where seconds belong): 31 days, the longest window that providers
 * reset on.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxHint: Duration.Duration = Duration.days(31)

const MAX_MILLIS = 31 * 86_400_000

/** Text beyond this is not searched: a hint stands in the first sentences. */
const MAX_TEXT = 4096

/** Rounds up; the epsilon keeps 1.1 s at 1100 ms in spite of binary fractions. */
const sane = (millis: number): number | undefined =>
  millis >= 0 && millis <= MAX_MILLIS ? Math.max(0, Math.ceil(millis - 1e-6)) : undefined

const toDuration = (millis: number | undefined): Duration.Duration | undefined =>
  millis === undefined ? undefined : Duration.millis(millis)

const DECIMAL = /^[+-]?\d{1,20}(?:\.\d{0,30})?$/

const decimal = (value: string | undefined): number | undefined => {
  const text = value?.trim()
  return text !== undefined && DECIMAL.test(text) ? Number(text) : undefined
}

/** One number with its unit. Single letters are matched in lower case only: `10M` is a size. */
const PART =
  /^(\d{1,3}(?:,\d{3})+|\d{1,15}(?:\.\d{1,30})?) ?(ms|milliseconds?|msecs?|s|secs?|[Ss]econds?|m|mins?|[Mm]inutes?|h|hrs?|[Hh]ours?|d|[Dd]ays?)(?![A-Za-z])/

const unitMillis = (unit: string): number => {
  const u = unit.toLowerCase()
  if (u === "ms" || u.startsWith("mil") || u.startsWith("mse")) return 1
  return u[0] === "s" ? 1000 : u[0] === "m" ? 60_000 : u[0] === "h" ? 3_600_000 : 86_400_000
}

/** The milliseconds of a duration at the start of a text (`1m9.696s`, `2 minutes and 5 seconds`), and its length. */
const leadingDuration = (text: string): readonly [millis: number, length: number] | undefined => {
  let at = 0
  let total = 0
  let end = 0
  for (let i = 0; i < 6; i++) {
    const part = PART.exec(text.slice(at, at + 64))
    if (part === null) break
    total += Number((part[1] ?? "").replace(/,/g, "")) * unitMillis(part[2] ?? "")
    end = at + part[0].length
    at = end + (/^(?:,? and |, | )/.exec(text.slice(end, end + 6))?.[0].length ?? 0)
  }
  return end === 0 ? undefined : [total, end]
}

const wholeDuration = (text: string): number | undefined => {
  const found = leadingDuration(text)
  return found !== undefined && found[1] === text.length ? found[0] : undefined
}

/**
 * What a reset header says, as milliseconds from now: a Go duration (`6m0s`), RFC 3339, epoch seconds, epoch
 * milliseconds or plain seconds. The magnitude tells the last three apart: no provider's window is as long as 3 years,
 * and no epoch is as small. Azure sends `0` and `-1` to say nothing.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseReset = (value: string, provider: string, now: number): number | undefined => {
  const text = value.trim().slice(0, 64)
  const number = decimal(text)
  if (number !== undefined) {
    if (number === 0 && provider.includes("azure")) return undefined
    return sane(number > 1e11 ? number - now : number > 1e8 ? number * 1000 - now : number * 1000)
  }
  if (/^\d{4}-\d\d-\d\d[T ]/.test(text)) return sane(Date.parse(text) - now)
  const millis = wholeDuration(text)
  return millis === undefined ? undefined : sane(millis)
}

/** `retry-after`: decimal seconds, an HTTP-date, a duration; doubled values (`30, 30`, `<date> GMT, 12`) count once. */
const retryAfter = (value: string, now: number): number | undefined => {
  const text = value.trim().slice(0, 128)
  const seconds = decimal(text.split(",")[0])
  if (seconds !== undefined) return sane(seconds * 1000)
  const date =
    /^[A-Za-z]{3,9}, ?[\w :-]{10,30}?GMT/.exec(text)?.[0] ?? (/^\d{4}-\d\d-\d\dT/.test(text) ? text : undefined)
  if (date !== undefined) return sane(Date.parse(date) - now)
  const millis = wholeDuration(text)
  return millis === undefined ? undefined : sane(millis)
}

/** The server's own clock where it sent one, so that a wrong clock here does no harm. */
const serverNow = (headers: Headers, now: number): number => {
  const date = headers.date === undefined ? Number.NaN : Date.parse(headers.date.slice(0, 64))
  return Number.isNaN(date) ? now : date
}

const explicit = (headers: Headers, now: number): number | undefined => {
  for (const name of ["retry-after-ms", "x-ms-retry-after-ms"]) {
    const millis = decimal(headers[name])
    const found = millis === undefined ? undefined : sane(millis)
    if (found !== undefined) return found
  }
  const plain = headers["retry-after"]
  const found = plain === undefined ? undefined : retryAfter(plain, serverNow(headers, now))
  if (found !== undefined) return found
  const amazon = decimal(headers["x-amz-retry-after"])
  return amazon === undefined ? undefined : sane(amazon)
}

const resets = (headers: Headers, now: number, provider: string): number | undefined => {
  const clock = serverNow(headers, now)
  let longest: number | undefined
  for (const name of Object.keys(headers)) {
    if (!name.includes("ratelimit")) continue
    const spent =
      name === "anthropic-ratelimit-unified-status"
        ? headers[name] === "rejected"
        : name.includes("remaining") && decimal(headers[name]) === 0
    if (!spent) continue
    const reset = headers[name.replace(/remaining|status/, "reset")]
    const millis = reset === undefined ? undefined : parseReset(reset, provider, clock)
    if (millis !== undefined && millis > (longest ?? -1)) longest = millis
  }
  return longest
}

/**
 * The wait that response headers name: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (against the response's
 * own `date`), `x-amz-retry-after`, and last the reset headers of limits with nothing remaining.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromHeaders = (headers: Headers, now: number, provider: string): Duration.Duration | undefined =>
  toDuration(explicit(headers, now) ?? resets(headers, now, provider))

/** Words that promise something after a time; digits and full stops end the search for the number behind them. */
const PROMISE =
  /(?:[Tt]ry(?:ing)? again|[Rr]etr(?:y|ying|ied)|[Ww]ait(?: time)?|[Rr]esets?|[Rr]eplenished|[Aa]vailable again|[Cc]ome back)[^\d.\n]{0,40}(?=\d)/g

/** What may stand between the promise and the number; `up to 3 minutes` and `less than 5 s` name no wait. */
const NOT_A_WAIT = /up to|than|within|every|last|with|limit/

/**
 * The wait that a sentence names: it needs a promise ("try again", "retry", "wait", "resets"), a number and a unit.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromMessage = (message: string): Duration.Duration | undefined => toDuration(prose(message))

const prose = (message: string): number | undefined => {
  const text = message.slice(0, MAX_TEXT)
  for (const match of text.matchAll(PROMISE)) {
    const found = NOT_A_WAIT.test(match[0]) ? undefined : leadingDuration(text.slice(match.index + match[0].length))
    const millis = found === undefined ? undefined : sane(found[0])
    if (millis !== undefined) return millis
  }
  return undefined
}

/** Fields of an error body that name a wait, and the milliseconds in their unit. */
const FIELDS: ReadonlyMap<string, number> = new Map([
  ["retrydelay", 1000],
  ["retryafterms", 1],
  ["retryafter", 1000],
  ["retryafterseconds", 1000],
  ["retryin", 1000],
  ["waitseconds", 1000],
  ["estimatedtime", 1000],
  ["resetsinseconds", 1000]
])

/**
 * The wait, in milliseconds, that one field of an error body names: `retryDelay: "54s"`, `retry_after: 12`,
 * `estimated_time: 20.5`; spelling and case of the name do not matter.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromField = (name: string, value: unknown): number | undefined => {
  if (name.length > 20) return undefined
  const unit = FIELDS.get(name.replace(/[_-]/g, "").toLowerCase())
  if (unit === undefined) return undefined
  if (typeof value === "number") return sane(value * unit)
  if (typeof value === "string") {
    const number = decimal(value)
    const millis = number === undefined ? wholeDuration(value.trim().slice(0, 64)) : number * unit
    return millis === undefined ? undefined : sane(millis)
  }
  // a protobuf Duration that was not written as a string
  if (typeof value === "object" && value !== null && "seconds" in value) {
    const nanos = "nanos" in value ? Number(value.nanos) : 0
    return sane(Number(value.seconds) * 1000 + nanos / 1e6)
  }
  return undefined
}

/**
 * What {@link decide} decides from: headers, the waits that the body's fields name, its messages (innermost first) and
 * headers that a gateway copied into the body.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sources {
  readonly provider: string
  readonly now: number
  readonly headers: Headers
  readonly fields: ReadonlyArray<number>
  readonly messages: ReadonlyArray<string>
  readonly echoed: Headers
}

/**
 * The one wait of a failed response: explicit headers, then fields of the body, then prose, then reset headers.
 * `stated` is false where only a reset header spoke.
 *
 * @since 0.1.0
 * @category deciding
 */
export const decide = (
  sources: Sources
): { readonly duration: Duration.Duration; readonly stated: boolean } | undefined => {
  const { echoed, headers, now, provider } = sources
  let millis = explicit(headers, now) ?? sources.fields[0] ?? explicit(echoed, serverNow(headers, now))
  for (let i = 0; millis === undefined && i < sources.messages.length; i++) millis = prose(sources.messages[i] ?? "")
  if (millis !== undefined) return { duration: Duration.millis(millis), stated: true }
  const reset = resets(headers, now, provider) ?? resets(echoed, serverNow(headers, now), provider)
  return reset === undefined ? undefined : { duration: Duration.millis(reset), stated: false }
}
