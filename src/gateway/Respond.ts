/**
 * Writes answers that are no model's: refusals, lists, pages of JSON.
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as ErrorResponse from "../http/ErrorResponse.js"
import type * as Refusal from "./Refusal.js"

/**
 * Writes a whole body of JSON.
 *
 * @since 0.2.0
 * @category responding
 */
export const json = (
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Readonly<Record<string, string>> = {}
): undefined => text(response, status, JSON.stringify(body), { "content-type": "application/json", ...headers })

/**
 * Writes a whole text.
 *
 * @since 0.2.0
 * @category responding
 */
export const text = (
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>>
): undefined => {
  if (response.headersSent || response.destroyed) return
  response.writeHead(status, { ...headers, "content-length": String(Buffer.byteLength(body)) })
  response.end(body)
}

/** What is left of a body is read for so long: a client that still sends hears the answer. */
const patienceMillis = 5000

/** Ends a response when the request was read, or the patience is over. */
const endAfter = ({ req }: ServerResponse, end: () => void): void => {
  const timer = setTimeout(() => {
    end()
    req.destroy()
  }, patienceMillis)
  timer.unref()
  const done = (): void => {
    clearTimeout(timer)
    end()
  }
  req.once("end", done).once("close", done).resume()
}

const hasBody = ({ headers }: IncomingMessage): boolean =>
  headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0"

/**
 * Tells an error. What is left of the request is read and forgotten, and then the connection is closed: closed at once,
 * it would break off a client that sends before it reads.
 *
 * @since 0.2.0
 * @category responding
 */
export const error = (
  response: ServerResponse,
  { body, headers, status }: ErrorResponse.ErrorResponse,
  more: Readonly<Record<string, string>> = {}
): undefined => {
  const { destroyed, headersSent, req } = response
  if (req.complete || !hasBody(req)) return json(response, status, body, { ...more, ...headers })
  if (headersSent || destroyed) return
  const text = JSON.stringify(body)
  const own = { "content-length": String(Buffer.byteLength(text)), connection: "close" }
  response.writeHead(status, { ...more, ...headers, ...own })
  response.write(text)
  endAfter(response, () => response.end())
}

/**
 * Tells a refusal in the dialect of the client.
 *
 * @since 0.2.0
 * @category responding
 */
export const refuse = (
  response: ServerResponse,
  refusal: Refusal.Refusal,
  options: ErrorResponse.Options = {}
): undefined => error(response, ErrorResponse.ofFacts(refusal, options))
