/**
 * Who sends a request to a gateway: a program of this machine, a web page, a proxy.
 *
 * @since 0.2.0
 */

import * as Loopback from "../http/Loopback.js"
import { type Headers, one } from "./Controls.js"

/**
 * Whether a request is a web page's, or was sent to a name that is none of this machine's.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isForeign = (headers: Headers): boolean => {
  const origin = one(headers, "origin")
  if (origin !== undefined && !Loopback.isNamed(origin.replace(/^https?:\/\//i, ""))) return true
  return !Loopback.isNamed(one(headers, "host"))
}

/**
 * Whether a proxy says that it stands between us and the client.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isProxied = (headers: Headers): boolean =>
  headers.via !== undefined || headers["x-forwarded-for"] !== undefined || headers.forwarded !== undefined
