/**
 * Reads values thrown by `fetch`, undici, Node, axios, node-fetch, Bun or Deno: tables of codes, and a search for them
 * down the chain of causes.
 *
 * `Classify.transport` turns the result into an `LlmError`.
 *
 * Gotchas: the meaning of `fetch failed` and `terminated` is in their cause. Several addresses fail as one
 * `AggregateError` without a message. Codes may be numbers (23 is a `TimeoutError`, 20 an `AbortError`). axios reports
 * a timeout as `ECONNABORTED`. For errors without a code the words of the message decide. A code says what happened,
 * not where: `ETIMEDOUT`, `ECONNRESET` and most alerts of TLS come before the request was sent, and after it. Only what
 * proves that it was not sent is read so.
 *
 * @example
 * import * as Transport from "./Transport.js"
 *
 * Transport.isAbort(new DOMException("This operation was aborted", "AbortError")) // true
 *
 * @since 0.1.0
 */

import type * as LlmError from "./LlmError.js"

/**
 * The kinds of transport failure. `refused` covers every failure before the request was sent; `tls` is a certificate or
 * a protocol that the two sides will not agree on; `no-tls` is something else where TLS was expected: from a port that
 * does not speak it, or in the middle of an answer; `unwelcome` is a client's certificate that the server did not get,
 * or did not take: it may say so after the request came, which it then does not run.
 *
 * @since 0.1.0
 * @category models
 */
export type Fault =
  | "abort"
  | "tls"
  | "no-tls"
  | "unwelcome"
  | "connect-timeout"
  | "timeout"
  | "idle-timeout"
  | "refused"
  | "bad-request"
  | "bad-response"
  | "endless"
  | "html"
  | "broken"

/** The meanings of whole codes. */
const CODES: ReadonlyMap<string, Fault> = new Map(
  (
    [
      ["abort", "20 ABORT_ERR ERR_CANCELED"],
      [
        "connect-timeout",
        "UND_ERR_CONNECT_TIMEOUT ERR_SOCKET_CONNECTION_TIMEOUT ConnectionTimeout ERR_PROXY_CONNECTION_TIMEOUT ERR_TLS_HANDSHAKE_TIMEOUT"
      ],
      ["timeout", "23 UND_ERR_HEADERS_TIMEOUT ESOCKETTIMEDOUT ERR_REQUEST_TIMEOUT ERR_HTTP_REQUEST_TIMEOUT Timeout"],
      ["idle-timeout", "UND_ERR_BODY_TIMEOUT"],
      [
        "refused",
        "ECONNREFUSED ENOTFOUND EAI_AGAIN EAI_FAIL EAI_NODATA EAI_NONAME ENODATA ESERVFAIL EADDRNOTAVAIL EACCES EMFILE ENFILE ConnectionRefused FailedToOpenSocket DNSError"
      ],
      [
        "bad-request",
        "ERR_INVALID_URL ERR_INVALID_PROTOCOL ERR_UNSUPPORTED_PROTOCOL ERR_BAD_OPTION ERR_BAD_OPTION_VALUE ERR_INVALID_CHAR ERR_INVALID_ARG_TYPE ERR_INVALID_ARG_VALUE ERR_HTTP_INVALID_HEADER_VALUE ERR_INVALID_HTTP_TOKEN ERR_UNESCAPED_CHARACTERS UND_ERR_INVALID_ARG UND_ERR_NOT_SUPPORTED InvalidUrl"
      ],
      [
        "bad-response",
        "Z_DATA_ERROR Z_BUF_ERROR ERR_ENCODING_INVALID_ENCODED_DATA ERR_BAD_RESPONSE ZlibError BrotliDecompressionError Decode EmptyBody"
      ],
      [
        "endless",
        "UND_ERR_HEADERS_OVERFLOW HPE_HEADER_OVERFLOW UND_ERR_RES_EXCEEDED_MAX_SIZE ERR_FR_TOO_MANY_REDIRECTS TooManyRedirects max-redirect max-size"
      ],
      ["tls", "HOSTNAME_MISMATCH INVALID_CA INVALID_PURPOSE PATH_LENGTH_EXCEEDED CRL_HAS_EXPIRED"]
    ] as const
  ).flatMap(([fault, codes]) => codes.split(" ").map((code) => [code, fault] as const))
)

/** The meanings of codes by pattern, for codes that are not in {@link CODES}. The first that matches decides. */
const FAMILIES: ReadonlyArray<readonly [Fault, RegExp]> = [
  // What cannot be parsed came from a server.
  ["broken", /^HPE_|^ERR_SSL_.*(?:RECORD_MAC|DECRYPT|UNEXPECTED_EOF|SHUTDOWN)/],
  // In TLS 1.3 a client sends its request before it hears what the server thinks of its certificate.
  ["unwelcome", /_ALERT_.*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/],
  ["tls", /CERT|UNABLE_TO_/],
  // The last is of Bun, which says it of everything that went wrong in TLS, also later.
  ["no-tls", /^ERR_SSL_.*(?:WRONG_VERSION|PACKET_LENGTH_TOO_LONG|HTTP_REQUEST|PROXY_REQUEST|HANDSHAKE_FAILED)/],
  ["tls", /^ERR_(?:SSL|TLS)_.*(?:VERSION|PROTOCOL|HANDSHAKE_FAILURE|CIPHER|INAPPROPRIATE_FALLBACK|UNRECOGNIZED_NAME)/],
  // Other alerts come at any time.
  ["broken", /^ERR_(?:SSL|TLS)_/],
  ["refused", /^(?:EAI_|ERR_DNS|ERR_PROXY)/],
  ["timeout", /TIME_?D?_?OUT$/]
]

/** The meanings of words, for errors without a known code anywhere in the chain. */
const WORDS: ReadonlyArray<readonly [Fault, RegExp]> = [
  [
    "bad-request",
    /failed to parse url|invalid url|only absolute urls|unknown scheme|bad port|requests to port \d+ are blocked|invalid header|relative url|not a valid url|byte ?string/i
  ],
  ["endless", /redirect count exceeded|maximum redirect|too many redirects/i],
  ["unwelcome", /fatal alert: (?:\w{0,40}Certificate|UnknownCA|AccessDenied)/],
  [
    "no-tls",
    /wrong version number|packet length too long|plain http request was sent|http request to an https|corrupt message of type InvalidContentType/i
  ],
  [
    "tls",
    /fatal alert: (?:ProtocolVersion|HandshakeFailure|UnrecognizedName|NoApplicationProtocol)|certificate|self[- ]signed|(?:\bssl|\btls).{0,200}(?:unsupported protocol|unknown protocol|protocol version|no protocols available|handshake failure|no shared cipher)/i
  ],
  [
    "refused",
    /connection refused|getaddrinfo|dns error|failed to lookup|name resolution|proxy response|unable to connect/i
  ],
  ["connect-timeout", /connect timed? ?out|connection attempt timed? ?out/i],
  ["timeout", /tim(?:ed|e) ?out|timeout of|operation was aborted due to timeout/i],
  ["html", /unexpected token '?</i],
  [
    "bad-response",
    /in JSON at|JSON input|not valid JSON|incorrect header check|invalid (?:stored block|distance)|decod(?:e|ing) (?:error|fail)/i
  ]
]

/** At most so many errors of a chain are read: a longer chain is a loop. */
const MAX_CHAIN = 12

/** Words of a failure to connect, whatever its code: of Node, Deno and Bun. */
const CONNECTING =
  /before secure TLS connection was established|\bconnect E[A-Z]+\b|client error \(Connect\)|unable to connect/i

interface Link {
  readonly name: string
  readonly message: string
  readonly code: string | undefined
  readonly reason: string | undefined
  /** Whether it proves that nothing was sent: it failed to connect, or its socket has written nothing. */
  readonly isUnsent: boolean
  /** Whether it failed on a connection that had been made. */
  readonly isLate: boolean
}

const text = (u: unknown): string => (typeof u === "string" ? u.slice(0, 4096) : "")

const code = (u: unknown): string | undefined =>
  typeof u === "string" && u !== "" ? u.slice(0, 80) : typeof u === "number" ? String(u) : undefined

/** Whether this is what undici tells of a socket (`UND_ERR_SOCKET`) on which no byte was written. */
const hasWrittenNothing = (socket: unknown): boolean =>
  typeof socket === "object" && socket !== null && (socket as { bytesWritten?: unknown }).bytesWritten === 0

/** The thrown value and its causes, the outermost first. */
const chain = (error: unknown): ReadonlyArray<Link> => {
  const links: Array<Link> = []
  const queue: Array<unknown> = [error]
  for (let i = 0; i < queue.length && links.length < MAX_CHAIN; i++) {
    const value = queue[i]
    if (typeof value === "string")
      links.push({
        name: "Error",
        message: text(value),
        code: undefined,
        reason: undefined,
        isUnsent: CONNECTING.test(text(value)),
        isLate: false
      })
    if (typeof value !== "object" || value === null) continue
    const link = value as { readonly [key: string]: unknown }
    links.push({
      name: text(link.name),
      message: text(link.message),
      code: code(link.code) ?? code(link.errno),
      reason: text(link.reason) || text(link.type),
      isUnsent: link.syscall === "connect" || CONNECTING.test(text(link.message)) || hasWrittenNothing(link.socket),
      isLate: link.syscall === "read" || link.syscall === "write"
    })
    queue.push(link.cause)
    if (Array.isArray(link.errors)) queue.push(...link.errors.slice(0, 4))
  }
  return links
}

/** What the words of an `EPROTO` say, read as the code that they would be. */
const ofProtocol = (message: string): Fault | undefined => {
  const spelled = `ERR_SSL_${message.toUpperCase().replace(/[^A-Z\d]+/g, "_")}`
  const fault = FAMILIES.find(([, family]) => family.test(spelled))?.[0]
  // Of Node, while the request waits to be written: the server did not get the whole of it.
  return fault === "no-tls" && message.startsWith("write EPROTO") ? "tls" : fault
}

const ofLink = ({ code, isLate, message, name, reason }: Link): Fault | undefined => {
  const exact = (code === undefined ? undefined : CODES.get(code)) ?? (reason ? CODES.get(reason) : undefined)
  if (isLate && (exact === "refused" || code === "ETIMEDOUT")) return "broken"
  // an abort whose cause is a timeout is a timeout, so names of timeouts are checked before an abort's code
  if (exact !== undefined && exact !== "abort") return exact
  if (/^(?:\w{0,40}Timeout(?:Error|Exception)?)$/.test(name)) {
    return name === "BodyTimeoutError" ? "idle-timeout" : name === "ConnectTimeoutError" ? "connect-timeout" : "timeout"
  }
  if (name === "HTTPParserError") return "broken"
  if (code === undefined) return undefined
  if (code === "EPROTO") return ofProtocol(message)
  for (const [fault, family] of FAMILIES) if (family.test(code)) return fault
  return exact
}

const aborted = (link: Link): boolean =>
  /^(?:AbortError|CanceledError|CancelledError|ResponseAborted)$/.test(link.name) ||
  (link.code !== undefined && CODES.get(link.code) === "abort")

/**
 * Whether our side cancelled the request: an abort signal, axios' cancel token, an aborted response; never a timeout.
 *
 * @since 0.1.0
 * @category refinements
 */
export const isAbort = (error: unknown): boolean => {
  try {
    const links = chain(error)
    return (
      links.some(aborted) &&
      !links.some((link) => ofLink(link)?.includes("timeout") || /timed? ?out/i.test(link.message))
    )
  } catch {
    return false
  }
}

/**
 * The cause of a transport failure.
 *
 * @since 0.1.0
 * @category models
 */
export interface Finding {
  /** The kind of failure; `broken` if nothing else matches. */
  readonly fault: Fault
  /** The message of the error that decided, else the innermost message. */
  readonly message: string
  /** The error that decided. */
  readonly cause: LlmError.ErrorCause
}

/**
 * Finds the cause of a thrown value: by the codes of the whole chain, else by words.
 *
 * @since 0.1.0
 * @category deciding
 */
export const find = (error: unknown): Finding => {
  const links = chain(error)
  const inner = [...links].reverse()
  const known = inner.find((link) => ofLink(link) !== undefined)
  const spoken = known?.message ? known : inner.find((link) => link.message !== "")
  let fault = known === undefined ? undefined : ofLink(known)
  // axios has the same code for a timeout and an aborted request, so words decide
  for (const link of inner) {
    if (fault !== undefined) break
    fault = WORDS.find(([, words]) => words.test(link.message))?.[0]
  }
  if (fault === undefined && links.some(aborted)) fault = "abort"
  if (links.some(({ isUnsent }) => isUnsent)) {
    if (fault === undefined) fault = "refused"
    else if (fault === "timeout") fault = "connect-timeout"
    else if (fault === "no-tls" || fault === "unwelcome") fault = "tls"
  }
  const at = known ?? spoken
  const named = at?.code ?? links.find((link) => link.code !== undefined)?.code
  return {
    fault: fault ?? "broken",
    message: spoken?.message ?? at?.code ?? "unknown failure",
    cause: {
      name: at?.name || "Error",
      message: at?.message ?? "",
      ...(named === undefined ? {} : { code: named })
    }
  }
}
