/**
 * The names and addresses of this machine. A page of a browser may send requests to loopback too, and a name elsewhere
 * may be made to lead here.
 *
 * @since 0.2.0
 */

/**
 * Whether only this machine can connect to a host that a server listens on.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isHost = (host: string): boolean => /^(?:localhost|127(?:\.\d{1,3}){3}|\[?::1\]?)$/i.test(host)

/**
 * Whether the other side of a connection is this machine, by its address.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isPeer = (address: string | undefined): boolean =>
  address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address)

/**
 * Whether a request was sent to a name of this machine, by its `host` header.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isNamed = (host: string | undefined): boolean =>
  /^(?:127\.0\.0\.1|\[::1\]|localhost)(?::\d+)?$/i.test(host ?? "")
