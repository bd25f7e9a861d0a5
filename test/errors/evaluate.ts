import * as Duration from "effect/Duration"
import * as Classify from "../../src/errors/Classify.js"
import * as LlmError from "../../src/errors/LlmError.js"

/** One recorded failure, with what is expected of it. */
export interface Case {
  readonly id: string
  readonly provider: string
  readonly kind: "http" | "stream" | "transport"
  readonly status: number | null
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly expected: string
  readonly acceptable: ReadonlyArray<string>
  readonly retryable: boolean
  readonly retryAfterMs: number | null
  readonly retryAfterMsAlt: ReadonlyArray<number | null>
}

export interface Outcome {
  readonly label: string
  readonly retryable: boolean
  readonly fallbackable: boolean
  readonly hintMs: number | null
  readonly error: LlmError.LlmError | undefined
}

export interface Miss {
  readonly what: "class" | "retryable" | "hint"
  readonly expected: string
  readonly got: string
}

/** The clock of cases whose response has no `date` header. */
export const fixedNow = Date.UTC(2026, 11, 1)

const isRecord = (u: unknown): u is Record<string, unknown> => typeof u === "object" && u !== null && !Array.isArray(u)

const text = (u: unknown): string => (typeof u === "string" ? u : "")

/** Reads one line; throws an Error that says why a line is no case. */
export const parseCase = (line: string): Case => {
  const raw: unknown = JSON.parse(line)
  if (!isRecord(raw)) throw new Error("not an object")
  const { kind } = raw
  if (kind !== "http" && kind !== "stream" && kind !== "transport") throw new Error(`unknown kind ${String(kind)}`)
  if (typeof raw.expected !== "string") throw new Error("no expected class")
  if (typeof raw.retryable !== "boolean") throw new Error("no retryable")
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(isRecord(raw.headers) ? raw.headers : {})) {
    headers[name.toLowerCase()] = String(value)
  }
  return {
    id: text(raw.id),
    provider: text(raw.provider),
    kind,
    status: typeof raw.status === "number" ? raw.status : null,
    headers,
    body: typeof raw.body === "string" ? raw.body : raw.body == null ? "" : JSON.stringify(raw.body),
    expected: raw.expected,
    acceptable: Array.isArray(raw.acceptable) ? raw.acceptable.map(String) : [],
    retryable: raw.retryable,
    retryAfterMs: typeof raw.retryAfterMs === "number" ? raw.retryAfterMs : null,
    retryAfterMsAlt: Array.isArray(raw.retryAfterMsAlt)
      ? raw.retryAfterMsAlt.map((n) => (typeof n === "number" ? n : null))
      : []
  }
}

const json = (body: string): unknown => {
  try {
    return JSON.parse(body)
  } catch {
    return undefined
  }
}

const outcome = (error: LlmError.LlmError | undefined): Outcome => {
  const hint = error === undefined ? undefined : LlmError.hint(error)
  return {
    label: error?._tag ?? "None",
    retryable: error !== undefined && LlmError.isRetryable(error),
    fallbackable: error !== undefined && LlmError.isFallbackable(error),
    hintMs: hint === undefined ? null : Duration.toMillis(hint),
    error
  }
}

interface Event {
  readonly name: string | undefined
  readonly data: unknown
}

const nothing = Symbol("no data")

/** Splits server-sent events, NDJSON and raw JSON; data that is not JSON stays a string. */
const events = (body: string): ReadonlyArray<Event> => {
  const whole = json(body)
  if (whole !== undefined) return [{ name: undefined, data: whole }]
  const out: Array<Event> = []
  let name: string | undefined
  let data: string | undefined
  const flush = () => {
    if (data !== undefined) out.push({ name, data: data === "[DONE]" ? "[DONE]" : (json(data) ?? data) })
    name = undefined
    data = undefined
  }
  let raw = ""
  for (const line of body.replace(/^\uFEFF/, "").split(/\r\n|\n|\r/)) {
    if (line === "") flush()
    else if (line.startsWith(":")) continue
    else if (line.startsWith("event:")) name = line.slice(6).trim()
    else if (line.startsWith("data:"))
      data = data === undefined ? line.slice(5).trim() : `${data}\n${line.slice(5).trim()}`
    else if (!/^(?:id|retry):/.test(line)) {
      const value = json(line) ?? nothing
      if (value !== nothing) out.push({ name: undefined, data: value })
      else {
        raw += `${line}\n`
        const rest = json(raw)
        if (rest !== undefined) {
          out.push({ name: undefined, data: rest })
          raw = ""
        }
      }
    }
  }
  flush()
  return out
}

const at = (value: unknown, ...path: ReadonlyArray<string | number>): unknown => {
  let here = value
  for (const key of path) here = typeof here === "object" && here !== null ? Reflect.get(here, key) : undefined
  return here
}

/** Whether an event is its protocol's end. */
const isEnd = ({ data, name }: Event): boolean => {
  const type = at(data, "type") ?? name
  if (type === "message_stop" || type === "message-end" || type === "response.completed") return true
  if (type === "response.incomplete" || at(data, "done") === true || at(data, "messageStop") !== undefined) return true
  for (const reason of [at(data, "choices", 0, "finish_reason"), at(data, "candidates", 0, "finishReason")]) {
    if (typeof reason === "string" && Classify.finishReason(reason) !== "none") return true
  }
  return false
}

const stream = (test: Case, context: Classify.Meta): Outcome => {
  const list = events(test.body)
  let ended = false
  let only = true
  for (const one of list) {
    if (one.data === "[DONE]") continue
    only = false
    const error = Classify.event(context, one.data, one.name)
    if (error !== undefined) return outcome(error)
    ended ||= isEnd(one)
  }
  if (ended) return outcome(undefined)
  if (list.length > 0 && only) return outcome(Classify.unreadable(context, ""))
  // a body that came whole, as JSON or as a page, instead of a stream
  const content = test.headers["content-type"] ?? ""
  if (list.length === 0 && /^\s*</.test(test.body)) return outcome(Classify.unreadable(context, test.body))
  if (list.length === 1 && /^application\/json/.test(content)) return outcome(Classify.answer(context, list[0]?.data))
  if (list.some((one) => one.data === "[DONE]")) return outcome(undefined)
  return outcome(Classify.transport(context, new Error("the stream ended without its terminator"), "stream"))
}

const transport = (test: Case, context: Classify.Meta): Outcome => {
  const input = json(test.body)
  const error = at(input, "error")
  const stage = at(input, "stage")
  if (error != null && Classify.isAbort(error)) {
    return { label: "Aborted", retryable: false, fallbackable: false, hintMs: null, error: undefined }
  }
  const where = stage === "body" ? "stream" : stage
  return outcome(
    Classify.transport(
      context,
      error ?? new Error("the body ended early"),
      where === "before-send" || where === "decode" || where === "stream" ? where : "before-headers"
    )
  )
}

/** What the classifier says about a case. */
export const evaluate = (test: Case): Outcome => {
  const date = test.headers.date === undefined ? Number.NaN : Date.parse(test.headers.date)
  const context: Classify.Meta = {
    provider: test.provider,
    status: test.status ?? 200,
    headers: test.headers,
    now: Number.isNaN(date) ? fixedNow : date
  }
  if (test.kind === "transport") return transport(test, context)
  if (test.kind === "stream" && context.status < 400) return stream(test, context)
  if (context.status >= 400) return outcome(Classify.response({ ...context, body: test.body }))
  const body = json(test.body)
  return outcome(body === undefined ? Classify.unreadable(context, test.body) : Classify.answer(context, body))
}

const near = (a: number | null, b: number | null): boolean =>
  a === b || (a !== null && b !== null && Math.abs(a - b) <= 1)

/** What an outcome gets wrong about its case. */
export const misses = (test: Case, got: Outcome): ReadonlyArray<Miss> => {
  const out: Array<Miss> = []
  const labels = [test.expected, ...test.acceptable]
  if (!labels.includes(got.label)) out.push({ what: "class", expected: labels.join(" or "), got: got.label })
  if (got.retryable !== test.retryable) {
    out.push({ what: "retryable", expected: String(test.retryable), got: String(got.retryable) })
  }
  const waits = [test.retryAfterMs, ...test.retryAfterMsAlt]
  if (!waits.some((wait) => near(wait, got.hintMs))) {
    out.push({ what: "hint", expected: waits.join(" or "), got: String(got.hintMs) })
  }
  return out
}
