/**
 * The first requests to a provider whose limit is not known, and those after a pause: a few, then twice as many. Pure.
 *
 * A round lets so many requests go. The next round begins when all requests of the last one were answered, or when a
 * refusal would have come back by now; it is larger only if the last one was used.
 *
 * Without it all waiting requests go at once when a pause ends, and most of them are refused again.
 *
 * @since 0.2.0
 */

/**
 * No bound. JSON has no `Infinity`, and the state of a key must survive it.
 *
 * @internal
 */
export const unbounded = Number.MAX_VALUE

/**
 * - `size`: how many requests may go; `sent` of them went, and `answered` came back.
 * - `doubleUntil`: from this size on rounds grow by one, because there was room for about so many.
 * - `until`: from this size on there is no slow start any more.
 *
 * @since 0.2.0
 * @category models
 */
export interface Round {
  readonly id: number
  readonly size: number
  readonly sent: number
  readonly answered: number
  readonly startedAt: number
  readonly doubleUntil: number
  readonly until: number
}

/** The first round: the smallest limits allow as many in a minute, and few programs need more at once. */
const firstSize = 10

/**
 * The round before the first refusal. Like every round it starts with its first request.
 *
 * @since 0.2.0
 * @category constructors
 */
export const first: Round = {
  id: 1,
  size: firstSize,
  sent: 0,
  answered: 0,
  startedAt: 0,
  doubleUntil: unbounded,
  until: unbounded
}

const resized = (round: Round, size: number, now: number): Round => ({
  ...round,
  id: round.id + 1,
  size,
  sent: 0,
  answered: 0,
  startedAt: now
})

/**
 * A round of one, after another round or none.
 *
 * @since 0.2.0
 * @category constructors
 */
export const again = (
  round: Round | undefined,
  bounds: { readonly doubleUntil: number; readonly until: number },
  now: number
): Round => ({ ...resized(round ?? first, 1, now), ...bounds })

/**
 * Whether the slow start has no end: it is the one for a key whose limits are not known.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isOpenEnded = (round: Round): boolean => round.until === unbounded

/**
 * The time from which one more request may go; `patience` is how long a refusal takes to come back, in milliseconds.
 *
 * @since 0.2.0
 * @category getters
 */
export const readyAt = (round: Round, patience: number, now: number): number =>
  round.sent - round.answered < round.size ? now : Math.max(now, round.startedAt + patience)

const larger = (round: Round): number => (round.size < round.doubleUntil ? round.size * 2 : round.size + 1)

const next = (round: Round, patience: number, now: number): Round => {
  if (round.sent === 0) return { ...round, startedAt: now }
  if (now < round.startedAt + patience) return round
  // A round that was not used does not show that the provider takes so many.
  const isUsed = round.sent >= round.size / 2
  return resized(round, isUsed ? larger(round) : Math.min(round.size, Math.max(round.sent * 2, firstSize)), now)
}

/**
 * One more request goes; `undefined` after the last round.
 *
 * @since 0.2.0
 * @category combinators
 */
export const send = (round: Round, patience: number, now: number): Round | undefined => {
  const current = next(round, patience, now)
  return current.size >= current.until ? undefined : { ...current, sent: current.sent + 1 }
}

/**
 * One request of this round was answered.
 *
 * @since 0.2.0
 * @category combinators
 */
export const answer = (round: Round, now: number): Round => {
  const answered = round.answered + 1
  return answered < round.size ? { ...round, answered } : resized(round, larger(round), now)
}
