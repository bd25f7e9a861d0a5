/**
 * Server hints: the wait that a failed response asks for, read from `retry-after` headers, the error body, its prose or
 * reset headers.
 *
 * All functions are pure and take the time as an argument. `Verdict` calls {@link decide} for a failed response and
 * puts the result on `LlmError.hint`, which `RetryPolicy` uses as a floor. The wire formats read rate limits with
 * {@link parseReset}.
 *
 * Gotchas: reset headers give the time to a *full* refill, not the time to wait, so they count only when `remaining` is
 * 0 and there is no other hint. "Try again" without a number and a unit is no hint. A wait that is negative, unreadable
 * or longer than {@link maxHint} is no hint. Waits are rounded up to whole milliseconds.
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
 * The longest wait that counts as a hint: 31 days, the longest window of a provider's limit. A longer value counts as
 * a mistake, such as an epoch in place of seconds.
 *
 * @since 0.1.0
 * @category constants
 */
export const maxHint: Duration.Duration = Duration.days(31)

const MAX_MILLIS = Duration.toMillis(maxHint)

/** Text beyond this many characters is not searched: a hint stands in the first sentences. */
const MAX_TEXT = 4096

/** No header or field names a longer duration. */
const MAX_DURATION = 64

/** A plausible wait, rounded up. The epsilon keeps 1.1 s at 1100 ms in spite of binary fractions. */
const sane = (millis = Number.NaN): number | undefined =>
  millis >= 0 && millis <= MAX_MILLIS ? Math.max(0, Math.ceil(millis - 1e-6)) : undefined

const toDuration = (millis: number | undefined): Duration.Duration | undefined =>
  millis === undefined ? undefined : Duration.millis(millis)

const DECIMAL = /^[+-]?\d{1,20}(?:\.\d{0,30})?$/

const decimal = (value: string | undefined): number | undefined => {
  const text = value?.trim()
  return text !== undefined && DECIMAL.test(text) ? Number(text) : undefined
}

/** A number with its unit. Single letters match in lower case only: `10M` is a size. */
const PART =
  /^(\d{1,3}(?:,\d{3})+|\d{1,15}(?:\.\d{1,30})?) ?(ms|milliseconds?|msecs?|s|secs?|[Ss]econds?|m|mins?|[Mm]inutes?|h|hrs?|[Hh]ours?|d|[Dd]ays?)(?![A-Za-z])/

const unitMillis = (unit: string): number => {
  const u = unit.toLowerCase()
  if (u === "ms" || u.startsWith("mil") || u.startsWith("mse")) return 1
  return u[0] === "s" ? 1000 : u[0] === "m" ? 60_000 : u[0] === "h" ? 3_600_000 : 86_400_000
}

/** Hours, minutes and seconds, as the end of a duration: `01:23:45`. */
const CLOCK = /^(\d{1,4}):([0-5]\d):([0-5]\d(?:\.\d{1,9})?)(?![\d:])/

/**
 * The milliseconds of a duration at the start of a text (`1m9.696s`, `2 minutes and 5 seconds`, `1 day, 2:03:04`), and
 * its length.
 */
const leadingDuration = (text: string): readonly [millis: number, length: number] | undefined => {
  let at = 0
  let total = 0
  let end = 0
  while (true) {
    const part = PART.exec(text.slice(at, at + 64))
    if (part === null) break
    total += Number((part[1] ?? "").replace(/,/g, "")) * unitMillis(part[2] ?? "")
    end = at + part[0].length
    at = end + (/^(?:,? and |, | )/.exec(text.slice(end, end + 6))?.[0].length ?? 0)
  }
  const clock = CLOCK.exec(text.slice(at, at + 64))
  if (clock !== null) {
    total += (Number(clock[1]) * 60 + Number(clock[2])) * 60_000 + Number(clock[3]) * 1000
    end = at + clock[0].length
  }
  return end === 0 ? undefined : [total, end]
}

const wholeDuration = (text: string): number | undefined => {
  const found = leadingDuration(text.slice(0, MAX_DURATION))
  return found !== undefined && found[1] === text.length ? found[0] : undefined
}

/**
 * Reads a reset header, as milliseconds from `now`: a Go duration (`6m0s`), RFC 3339, epoch seconds, epoch milliseconds
 * or plain seconds. Numbers are told apart by size: above 1e8 (3 years of seconds) they are an epoch, above 1e11 one in
 * milliseconds. `0` from Azure and negative numbers mean no value.
 *
 * @since 0.1.0
 * @category parsing
 */
export const parseReset = (value: string, provider: string, now: number): number | undefined => {
  const text = value.trim()
  const number = decimal(text)
  if (number !== undefined) {
    if (number === 0 && provider.includes("azure")) return undefined
    return sane(number > 1e11 ? number - now : number > 1e8 ? number * 1000 - now : number * 1000)
  }
  return sane(/^\d{4}-\d\d-\d\d[T ]/.test(text) ? Date.parse(text) - now : wholeDuration(text))
}

/** `retry-after`: decimal seconds, an HTTP-date, a duration; doubled values (`30, 30`, `<date> GMT, 12`) count once. */
const retryAfter = (value: string, now: number): number | undefined => {
  const text = value.trim()
  const seconds = decimal(text.split(",")[0])
  if (seconds !== undefined) return sane(seconds * 1000)
  const date = httpDate(text)
  return sane(date === undefined ? wholeDuration(text) : date - now)
}

/** An HTTP-date in one of its three forms, or RFC 3339. The third, of asctime, names no zone and is in UTC. */
const httpDate = (text: string): number | undefined => {
  const asctime = /^[A-Za-z]{3} [A-Za-z]{3} {1,2}\d{1,2} \d\d:\d\d:\d\d \d{4}\b/.exec(text)?.[0]
  if (asctime !== undefined) return Date.parse(`${asctime} GMT`)
  const date =
    /^[A-Za-z]{3,9}, ?[\w :-]{10,30}?GMT/.exec(text)?.[0] ?? (/^\d{4}-\d\d-\d\dT/.test(text) ? text : undefined)
  return date === undefined ? undefined : Date.parse(date)
}

/** The time by the server's `date` header, or else `now`: a wrong clock on our side then does no harm. */
const serverNow = (headers: Headers, now: number): number => {
  const text = headers.date?.trim()
  const date = text === undefined ? Number.NaN : (httpDate(text) ?? Date.parse(text))
  return Number.isNaN(date) ? now : date
}

/** The wait of the headers that name one, in milliseconds. */
const explicit = (headers: Headers, now: number): number | undefined =>
  sane(decimal(headers["retry-after-ms"])) ??
  sane(decimal(headers["x-ms-retry-after-ms"])) ??
  retryAfter(headers["retry-after"] ?? "", serverNow(headers, now)) ??
  sane(decimal(headers["x-amz-retry-after"]))

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
    if (millis !== undefined) longest = Math.max(longest ?? 0, millis)
  }
  return longest
}

/**
 * The wait that response headers name: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (against the response's
 * own `date`), `x-amz-retry-after` (milliseconds), and last the reset headers of limits with nothing remaining. `now`
 * is in epoch milliseconds.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromHeaders = (headers: Headers, now: number, provider: string): Duration.Duration | undefined =>
  toDuration(explicit(headers, now) ?? resets(headers, now, provider))

/** Words that announce a wait, up to the number; the text between may hold no digit and no full stop. */
const PROMISE =
  /(?:[Tt]ry(?:ing)? again|[Rr]etr(?:y|ying|ied)|[Ww]ait(?: time)?|[Rr]esets?|[Rr]eplenished|[Aa]vailable again|[Cc]ome back)[^\d.\n]{0,40}(?=\d)/g

/** A time of day in place of a wait: `at 12:30:00`, `12:30:00 UTC`. */
const TIME_OF_DAY = /\b(?:at|on|by|until)\b/

const ZONED = /^\d{1,2}:\d\d:\d\d(?:\.\d+)?(?: ?(?:[AaPp]\.?[Mm]\b|UTC|GMT|Z\b|\(?[A-Z]{3,4}\b|[+-]\d))/

/** With these words between {@link PROMISE} and the number there is no wait: `up to 3 minutes`, `less than 5 s`. */
const NOT_A_WAIT = /up to|than|within|every|last|with|limit/

/**
 * The wait that a sentence names. It must have words such as "try again", "retry", "wait" or "resets", then a number
 * and a unit.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromMessage = (message: string): Duration.Duration | undefined => toDuration(prose(message))

const prose = (message: string): number | undefined => {
  const text = message.slice(0, MAX_TEXT)
  for (const match of text.matchAll(PROMISE)) {
    if (NOT_A_WAIT.test(match[0])) continue
    const rest = text.slice(match.index + match[0].length)
    if (CLOCK.test(rest) && (TIME_OF_DAY.test(match[0]) || ZONED.test(rest))) continue
    const millis = sane(leadingDuration(rest)?.[0])
    if (millis !== undefined) return millis
  }
  return undefined
}

/** Fields of an error body that name a wait in seconds. */
const SECONDS = /^(?:retrydelay|retryafter|retryafterseconds|retryin|waitseconds|estimatedtime|resetsinseconds)$/

/**
 * The wait, in milliseconds, that one field of an error body names: `retryDelay: "54s"`, `retry_after: 12`,
 * `estimated_time: 20.5`. Case, `_` and `-` of the name do not matter.
 *
 * @since 0.1.0
 * @category parsing
 */
export const fromField = (name: string, value: unknown): number | undefined => {
  const key = name.replace(/[_-]/g, "").toLowerCase()
  const unit = key === "retryafterms" ? 1 : SECONDS.test(key) ? 1000 : undefined
  if (unit === undefined) return undefined
  if (typeof value === "number") return sane(value * unit)
  if (typeof value === "string") {
    const number = decimal(value)
    return sane(number === undefined ? wholeDuration(value.trim()) : number * unit)
  }
  // a protobuf Duration as an object
  if (typeof value === "object" && value !== null && "seconds" in value) {
    const nanos = "nanos" in value ? Number(value.nanos) : 0
    return sane(Number(value.seconds) * 1000 + nanos / 1e6)
  }
  return undefined
}

/**
 * The parts of a failed response that may hold a hint: the argument of {@link decide}.
 *
 * @since 0.1.0
 * @category models
 */
export interface Sources {
  /** The name of the provider. */
  readonly provider: string
  /** When the response arrived, in epoch milliseconds. */
  readonly now: number
  /** The response's headers. */
  readonly headers: Headers
  /** Waits that fields of the body name, in milliseconds. */
  readonly fields: ReadonlyArray<number>
  /** Error messages of the body, the innermost first. */
  readonly messages: ReadonlyArray<string>
  /** Headers of an upstream that a gateway copied into the body. */
  readonly echoed: Headers
}

/**
 * The wait that a failed response asks for: from explicit headers, else fields of the body, else prose, else reset
 * headers. `stated` is false if only a reset header gave it.
 *
 * @since 0.1.0
 * @category deciding
 */
export const decide = (
  sources: Sources
): { readonly duration: Duration.Duration; readonly stated: boolean } | undefined => {
  const { echoed, headers, now, provider } = sources
  let millis = explicit(headers, now) ?? sources.fields[0] ?? explicit(echoed, serverNow(headers, now))
  for (const message of sources.messages) millis ??= prose(message)
  if (millis !== undefined) return { duration: Duration.millis(millis), stated: true }
  const reset = resets(headers, now, provider) ?? resets(echoed, serverNow(headers, now), provider)
  return reset === undefined ? undefined : { duration: Duration.millis(reset), stated: false }
}
