/**
 * The evidence of returned places about the window of one limit: headers tell the limit, but no window. Pure.
 *
 * The documented window is a guess: servers and proxies send the same headers and mean a second, an hour or a day.
 * Returned places outweigh it:
 *
 * - **Places**: where more remain than the guess allows, so many may go.
 * - **Window**: a window lets through its limit once, and once more where it begins anew. So more than the limit in
 *   less than the window proves a shorter one (and so on for several), and a quarter of it in more than the window a
 *   longer one.
 * - **Probe**: while the guess says that there is no place, one request goes as soon as the header's reset is over:
 *   then something is back, whatever the reset meant. Without a reset one goes after a second, and after each that is
 *   refused it takes twice as long.
 *
 * Without it a limit of ten a second that is told as `10` is kept as ten a minute.
 *
 * Gotcha: other clients of the key take places too. Then the window that is found is the one of our share.
 *
 * @since 0.2.0
 */

import type * as Gcra from "./Gcra.js"

/** What an earlier response told: its request was sent and its answer heard at those times. */
interface Anchor {
  readonly sentAt: number
  readonly heardAt: number
  readonly remaining: number
  /** All that was spent until it was heard. */
  readonly spent: number
}

/**
 * - `probeAt`: the time from which one request may go ahead of the guess; the request that told it was sent at
 *   `toldAt`.
 * - `probedAt`: when the last probe went; `isProbing` until it was heard of.
 * - `failed`: probes that were refused, less those that found places since.
 *
 * Times are in epoch milliseconds.
 *
 * @since 0.2.0
 * @category models
 */
export interface Seen {
  readonly anchor: Anchor | undefined
  readonly probeAt: number
  readonly toldAt: number
  readonly probedAt: number
  readonly isProbing: boolean
  readonly failed: number
}

/**
 * A response: what remained, and the time until it is full again, if that is known. `spentThen` is what was spent until
 * its request was sent, its own cost included, and `spentNow` until now. `isExact`: whether that is what the provider
 * charged, as for requests, and not an estimate, as for tokens.
 *
 * @since 0.2.0
 * @category models
 */
export interface Response {
  readonly remaining: number
  readonly reset: number | undefined
  readonly sentAt: number
  readonly spentThen: number
  readonly spentNow: number
  readonly isExact: boolean
}

/**
 * The lesson of a response: the window that was proven, in milliseconds, and whether more may remain than the guess
 * allows.
 *
 * @since 0.2.0
 * @category models
 */
export interface Lesson {
  readonly seen: Seen
  readonly windowMillis: number | undefined
  readonly isMore: boolean
}

/** No probe. JSON has no `Infinity`, and the state of a key must survive it. */
const never = Number.MAX_SAFE_INTEGER

/** The wait for a probe where no header tells a time: the shortest window that people choose. */
const firstWait = 1000

/** The longest wait for a probe doubles so often: to about an hour. */
const mostFailed = 12

/** Windows that people choose, in milliseconds; one of them is likelier than its neighbours. */
const usual = [1000, 10_000, 60_000, 3_600_000, 86_400_000]

/** So many windows are looked at together. */
const windows = 5

/** Headers are rounded, and a refused request may be counted: so many places prove nothing. */
const noise = 2

/**
 * @since 0.2.0
 * @category constructors
 */
export const nothing: Seen = {
  anchor: undefined,
  probeAt: never,
  toldAt: -1,
  probedAt: -1,
  isProbing: false,
  failed: 0
}

/**
 * Whether one request may go now although the guess says that there is no place.
 *
 * @since 0.2.0
 * @category predicates
 */
export const mayProbe = (self: Seen, now: number): boolean => !self.isProbing && self.probeAt <= now

/**
 * The time from which {@link mayProbe}, if there is one.
 *
 * @since 0.2.0
 * @category getters
 */
export const probeAt = (self: Seen): number =>
  self.isProbing || self.probeAt === never ? Number.POSITIVE_INFINITY : self.probeAt

/**
 * A request went although the guess says that there is no place.
 *
 * @since 0.2.0
 * @category combinators
 */
export const probed = (self: Seen, now: number): Seen => ({ ...self, probeAt: never, probedAt: now, isProbing: true })

const backoff = (failed: number): number => firstWait * 2 ** Math.min(failed, mostFailed)

/**
 * A request that was sent at that time was refused, and `lost` of its cost is still counted as spent.
 *
 * @since 0.2.0
 * @category combinators
 */
export const refused = (self: Seen, sentAt: number, lost: number, now: number): Seen => {
  const { anchor } = self
  const kept = anchor === undefined || sentAt < anchor.heardAt ? anchor : { ...anchor, spent: anchor.spent + lost }
  if (sentAt !== self.probedAt) return { ...self, anchor: kept }
  const failed = self.failed + 1
  return { ...self, anchor: kept, failed, isProbing: false, probeAt: now + backoff(failed) }
}

/**
 * Some requests were not sent after all: what was spent in between is not known any more.
 *
 * @since 0.2.0
 * @category combinators
 */
export const forgot = (self: Seen): Seen =>
  self.anchor === undefined ? self : { ...self, anchor: undefined, isProbing: false }

// -----------------------------------------------------------------------------
// the window
// -----------------------------------------------------------------------------

/** So many places came back since the anchor, at least. */
const gainOf = (anchor: Anchor, { isExact, remaining, spentThen }: Response): number =>
  remaining - anchor.remaining + (isExact ? spentThen - anchor.spent : 0)

/** More than the limit for each window that can have begun in that time. */
const shorter = (bound: Gcra.Limit, gain: number, span: number): number | undefined => {
  if (gain <= bound.limit * (Math.floor(span / bound.windowMillis) + 1) + noise) return undefined
  const most = Math.max(1, (span * bound.limit) / gain)
  return usual.findLast((millis) => millis <= most && millis >= most * 0.75) ?? most
}

/** Much less than the limit in more than the window: where it had begun anew, all of it would be back. */
const longer = (
  bound: Gcra.Limit,
  gain: number,
  anchor: Anchor,
  { remaining, sentAt }: Response,
  now: number
): number | undefined => {
  const { limit, windowMillis } = bound
  const span = sentAt - anchor.heardAt
  if (span < windowMillis * 1.1 || limit < 4 || gain > limit / 4 || remaining > limit / 2) return undefined
  const least = (span * limit) / (Math.max(0, gain) + 1)
  const most = ((now - anchor.sentAt) * limit) / Math.max(0.5, gain)
  const next = usual.find((millis) => millis > windowMillis)
  return next !== undefined && next <= most ? next : least
}

/**
 * The lesson of a response under the guess `bound`.
 *
 * @since 0.2.0
 * @category combinators
 */
export const hear = (self: Seen, bound: Gcra.Limit, response: Response, now: number): Lesson => {
  const { isExact, remaining, sentAt, spentNow } = response
  const probing = probeAfter(self, response, now)
  const here = { sentAt, heardAt: now, remaining, spent: spentNow }
  const { anchor } = self
  if (anchor === undefined) return { seen: { ...probing, anchor: here }, windowMillis: undefined, isMore: isExact }
  if (sentAt < anchor.heardAt) {
    // Of responses to requests that went together, the one that left least shows most of what comes back.
    const isLess = remaining + (isExact ? spentNow : 0) < anchor.remaining + (isExact ? anchor.spent : 0)
    return { seen: isLess ? { ...probing, anchor: here } : probing, windowMillis: undefined, isMore: isExact }
  }
  const gain = gainOf(anchor, response)
  const span = now - anchor.sentAt
  const windowMillis = isExact ? (shorter(bound, gain, span) ?? longer(bound, gain, anchor, response, now)) : undefined
  const isOld = windowMillis !== undefined || span > bound.windowMillis * windows
  const isMore = isExact || gain > noise + (span * bound.limit) / bound.windowMillis
  return { seen: isOld ? { ...probing, anchor: here } : probing, windowMillis, isMore }
}

/** The next probe: the newest request knows best, and of those that went together the one that names the earliest. */
const probeAfter = (self: Seen, { remaining, reset, sentAt }: Response, now: number): Seen => {
  if (self.isProbing && sentAt < self.probedAt) return self
  if (sentAt < self.toldAt) return self
  // A refusal that comes back now is counted right after this.
  const failed = remaining >= 1 && self.isProbing ? Math.max(0, self.failed - 1) : self.failed
  const wait = Math.max(reset !== undefined && reset > 0 ? reset : firstWait, failed > 0 ? backoff(failed) : 0)
  const at = Math.min(never, now + Math.ceil(wait))
  const isSame = sentAt === self.toldAt && !self.isProbing
  return { ...self, failed, isProbing: false, toldAt: sentAt, probeAt: isSame ? Math.min(self.probeAt, at) : at }
}
