/**
 * Whether a request comes from this machine and means it. A page of a browser may send requests to loopback too, and a
 * name elsewhere may be made to lead here.
 *
 * @since 0.2.0
 */

import { type Headers, one } from "./Controls.js"

/**
 * Whether an address is one of loopback.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isLoopback = (address: string | undefined): boolean =>
  address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address)

/**
 * Whether the host of a request is a name of this machine.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isOwnName = (host: string | undefined): boolean =>
  /^(?:127\.0\.0\.1|\[::1\]|localhost)(?::\d+)?$/i.test(host ?? "")

/**
 * Whether a request is a web page's, or was sent to another name.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isForeign = (headers: Headers): boolean => {
  const origin = one(headers, "origin")
  if (origin !== undefined && !isOwnName(origin.replace(/^https?:\/\//i, ""))) return true
  return !isOwnName(one(headers, "host"))
}
