/**
 * Writes answers that are no model's: refusals, lists, pages of JSON.
 *
 * @since 0.2.0
 */

import type { ServerResponse } from "node:http"
import type { Dialect } from "../http/Dialect.js"
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

/**
 * Tells an error. After a body that was not read whole the connection is closed.
 *
 * @since 0.2.0
 * @category responding
 */
export const error = (
  response: ServerResponse,
  { body, headers, status }: ErrorResponse.ErrorResponse,
  more: Readonly<Record<string, string>> = {}
): undefined => {
  const close = response.req.complete ? {} : { connection: "close" }
  json(response, status, body, { ...more, ...headers, ...close })
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
  dialect: Dialect,
  requestId: string
): undefined => error(response, ErrorResponse.ofFacts(refusal, { dialect, requestId }))
