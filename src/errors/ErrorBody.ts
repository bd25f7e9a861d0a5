/**
 * Finds the true cause in the error body of a provider, a gateway or a proxy.
 *
 * Bodies come nested under `error`, flat, as an array, as `error: "text"`, with an object as `message`, as JSON inside
 * JSON strings three deep, as a Python repr, as HTML, XML, text or nothing. All of them become one {@link ErrorBody}:
 * codes, statuses and messages, the innermost first, because a gateway wraps the error of its upstream. `Verdict`
 * judges the result; this module knows no meaning of a code.
 *
 * Gotchas: only fields that carry errors are read. Fields that echo the request (`failed_generation`, `flagged_input`,
 * `previous_errors`) are ignored. Depth and number of visited objects are bounded, so no body can stall it.
 *
 * @example
 * import * as ErrorBody from "./ErrorBody.js"
 *
 * ErrorBody.read('{"error":{"message":"slow down","type":"rate_limit_error"}}').codes // ["rate_limit_error"]
 *
 * @since 0.1.0
 */

import * as JsonText from "./JsonText.js"
import * as Markup from "./Markup.js"
import * as RetryHint from "./RetryHint.js"

/**
 * The facts in an error body; each list has the innermost object's entries first.
 *
 * @since 0.1.0
 * @category models
 */
export interface ErrorBody {
  /** Error messages, trimmed. */
  readonly messages: ReadonlyArray<string>
  /** Codes, types and exception names: `code` fields before `type` fields of the same object, no HTTP statuses. */
  readonly codes: ReadonlyArray<string>
  /** Numbers between 400 and 599 in `code`, `status` and similar fields. */
  readonly statuses: ReadonlyArray<number>
  /** Names of the exceeded Google quotas, and `0` for a quota of zero. */
  readonly quotas: ReadonlyArray<string>
  /** Waits named by fields, in milliseconds. */
  readonly waits: ReadonlyArray<number>
  /** Response headers of an upstream that a gateway copied into the body; names in lower case. */
  readonly headers: RetryHint.Headers
  /** The id of the request, if the body names it. */
  readonly requestId: string | undefined
  /** Fields of the request that the error names. */
  readonly params: ReadonlyArray<string>
  /** Whether the error is a web page, also one that a gateway put into its message. */
  readonly page: boolean
  /** Whether the body is plain text or a web page. */
  readonly text: boolean
}

/** Objects deeper than this are not visited: an error behind three gateways is at most ten deep. */
const MAX_DEPTH = 16

/** At most so many objects are visited: a list of a thousand field errors says no more than its first entry. */
const MAX_VISITS = 64

/** Fields that hold messages. */
const MESSAGES = (
  "message Message error_message errorMessage error_description error_msg detail details msg status_msg " +
  "faultstring title raw originalMessage error"
).split(" ")

/** Fields that hold codes, types and statuses; `code` before `type`. */
const CODES = (
  "code Code error_code errorCode errorcode reason status status_code statusCode http_code raw_status_code " +
  "originalStatusCode :exception-type limit_source type error_type errorType __type name"
).split(" ")

/** Fields that hold inner errors. */
const CHILDREN = (
  "error errors err response detail details metadata innererror inner_error cause raw body base_resp Output " +
  "payload fault delta message error_message errorMessage"
).split(" ")

const REQUEST_IDS = ["request_id", "requestId", "generationId"]

/**
 * An object of which nothing is known.
 *
 * @since 0.1.0
 * @category models
 */
export type Json = { readonly [key: string]: unknown }

/**
 * Whether a value is an object or an array.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isObject = (u: unknown): u is Json => typeof u === "object" && u !== null

/** The JSON in a text that is no web page: the scripts of a page hold JSON too. */
const inside = (text: string): unknown => (Markup.isPage(text) ? undefined : JsonText.find(text))

/** The name of an exception before a message, which counts as a code: `litellm.RateLimitError: …`. */
const NAMED = /^(?:\w{1,20}\.){0,3}([A-Za-z]{3,60}(?:Error|Exception))(?::|\.? *$| -)\s*/

/** The name of an exception in boto3's sentence, or a message of one word. */
const ALONE = /^An error occurred \((\w{3,60})\)|^([A-Za-z_]{3,60})[.!]?$/

/** The facts of one object of the body, and the depth of that object. */
interface Node {
  readonly depth: number
  readonly messages: Array<string>
  readonly codes: Array<string>
  readonly statuses: Array<number>
}

/**
 * Reads an error body that is already parsed, or a string.
 *
 * @since 0.1.0
 * @category constructors
 */
export const dig = (root: unknown): ErrorBody => {
  const nodes: Array<Node> = []
  const quotas: Array<string> = []
  const waits: Array<number> = []
  const headers: Record<string, string> = {}
  const params: Array<string> = []
  let requestId: string | undefined
  let page = false
  let visits = 0

  const makeNode = (depth: number): Node => {
    const node: Node = { depth, messages: [], codes: [], statuses: [] }
    nodes.push(node)
    return node
  }

  const addMessage = (node: Node, text: string): void => {
    const message = text.trim()
    if (message === "") return
    const title = Markup.isWholePage(message) ? Markup.messageOf(message) : undefined
    if (title !== undefined) {
      page = true
      node.messages.push(title)
      return
    }
    node.messages.push(message)
    let rest = message.slice(0, 300)
    const names: Array<string> = []
    for (let named = NAMED.exec(rest); named !== null; named = NAMED.exec(rest)) {
      // the last name is the innermost
      if (named[1] !== undefined) names.unshift(named[1])
      rest = rest.slice(named[0].length)
    }
    node.codes.push(...names)
    const alone = ALONE.exec(rest)
    const code = alone?.[1] ?? alone?.[2]
    if (code !== undefined) node.codes.push(code)
  }

  /**
   * Google's typed details: only reasons and quotas are read, because their texts are meant for Google's developers.
   */
  const google = (detail: Json, node: Node): void => {
    if (typeof detail.reason === "string") node.codes.push(detail.reason)
    const metadata = isObject(detail.metadata) ? detail.metadata : {}
    const violations = Array.isArray(detail.violations) ? detail.violations.slice(0, 8) : []
    for (const quota of [metadata.quota_limit, ...violations.map((v) => (isObject(v) ? v.quotaId : undefined))]) {
      if (typeof quota === "string") quotas.push(quota)
    }
    if (metadata.quota_limit_value === "0" || violations.some((v) => isObject(v) && v.quotaValue === "0")) {
      quotas.push("0")
    }
  }

  const visit = (value: unknown, depth: number): void => {
    if (depth > MAX_DEPTH || ++visits > MAX_VISITS) return
    if (typeof value === "string") {
      const found = inside(value)
      if (found !== undefined) {
        visit(found, depth + 1)
        return
      }
      addMessage(makeNode(depth), value)
      return
    }
    if (Array.isArray(value)) {
      for (const item of value.slice(0, 16)) visit(item, depth)
      return
    }
    if (!isObject(value)) return
    const node = makeNode(depth)
    const keys = Object.keys(value).slice(0, 64)
    for (const key of keys) {
      const wait = RetryHint.fromField(key, value[key])
      if (wait !== undefined) waits.push(wait)
    }
    if (keys.some((key) => key.trim() === "@type")) {
      google(value, node)
      return
    }
    for (const key of CODES) {
      const code = value[key]
      const number = typeof code === "number" ? code : typeof code === "string" && /^\d+$/.test(code) ? Number(code) : 0
      if (Number.isInteger(number) && number >= 400 && number < 600) node.statuses.push(number)
      else if (typeof code === "string" && code.trim() !== "") node.codes.push(code)
      else if (typeof code === "number") node.codes.push(String(code))
    }
    // a gateway sends this field only when moderation refused the request
    if (value.flagged_input !== undefined) node.codes.push("content_filter")
    if (typeof value.param === "string") params.push(value.param)
    for (const key of REQUEST_IDS) {
      const id = value[key]
      if (typeof id === "string" && id !== "") requestId ??= id
    }
    if (isObject(value.headers)) {
      for (const [name, header] of Object.entries(value.headers).slice(0, 64)) {
        if (typeof header === "string") headers[name.toLowerCase()] = header
      }
    }
    for (const key of MESSAGES) {
      const text = value[key]
      if (typeof text === "string" && inside(text) === undefined) addMessage(node, text)
    }
    for (const key of CHILDREN) {
      const child = value[key]
      if (isObject(child) || (typeof child === "string" && inside(child) !== undefined)) visit(child, depth + 1)
      // `errors: ["text"]`
      if (!Array.isArray(child)) continue
      for (const item of child.slice(0, 4)) if (typeof item === "string") addMessage(node, item)
    }
    // the members of Bedrock's stream: `{"throttlingException": {"message": …}}`
    for (const key of keys) {
      if (/^\w{3,60}Exception$/.test(key)) {
        node.codes.push(key)
        visit(value[key], depth + 1)
      }
    }
    const choice = Array.isArray(value.choices) ? value.choices[0] : undefined
    if (isObject(choice)) visit(choice.error, depth + 1)
  }

  visit(root, 0)
  nodes.sort((a, b) => b.depth - a.depth)
  return {
    messages: nodes.flatMap((node) => node.messages),
    codes: nodes.flatMap((node) => node.codes),
    statuses: nodes.flatMap((node) => node.statuses),
    quotas,
    waits,
    headers,
    requestId,
    params,
    page,
    text: false
  }
}

/**
 * Reads the text of an error body: JSON in any shape, also cut, server-sent events, HTML, XML or plain text.
 *
 * @since 0.1.0
 * @category constructors
 */
export const read = (text: string): ErrorBody => {
  // a byte order mark, and the empty lines that some providers send to keep a connection alive
  const body = text.trim()
  if (Markup.isPage(body)) {
    const said = Markup.messageOf(body)
    return { ...dig({}), messages: said === undefined ? [] : [said], page: true, text: true }
  }
  const document = body.startsWith("<") ? Markup.documentOf(body) : undefined
  if (document !== undefined) return dig(document)
  const whole = /^[{["]/.test(body) ? JsonText.parse(body) : undefined
  if (isObject(whole) || typeof whole === "string") return dig(whole)
  return { ...dig(body.slice(0, JsonText.MAX_LENGTH)), text: true }
}
