/**
 * How to start: a few, then twice as many, as long as nobody minds. Pure.
 *
 * A round lets so many go at a time. The next one begins when all of it were answered, or when a refusal would have
 * come by now; it is larger only if the last one was used.
 *
 * @since 0.2.0
 */

/**
 * - `size`: so many at a time; `sent` of them went, and `answered` came back.
 * - `doubleUntil`: from this size on rounds grow by one: about so many is what there was room for.
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

/**
 * So many at once before anything is known: as many as the smallest limits allow in a minute, and few programs need
 * more.
 */
const firstSize = 10

/**
 * The round before the first refusal. As any round, it starts with the first that is sent in it.
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
  doubleUntil: Number.POSITIVE_INFINITY,
  until: Number.POSITIVE_INFINITY
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
 * One at a time again, after a round or none.
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
 * Whether it is the slow start before the first refusal, which is for those who know no limit.
 *
 * @since 0.2.0
 * @category predicates
 */
export const isOpenEnded = (round: Round): boolean => round.until === Number.POSITIVE_INFINITY

/**
 * From when on one more may go; `patience` is how long a refusal takes, in milliseconds.
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
  // Only what was used has shown that nobody minds it.
  const isUsed = round.sent >= round.size / 2
  return resized(round, isUsed ? larger(round) : Math.min(round.size, Math.max(round.sent * 2, firstSize)), now)
}

/**
 * One more goes; `undefined` when that was the last round.
 *
 * @since 0.2.0
 * @category combinators
 */
export const send = (round: Round, patience: number, now: number): Round | undefined => {
  const current = next(round, patience, now)
  return current.size >= current.until ? undefined : { ...current, sent: current.sent + 1 }
}

/**
 * One of this round came back.
 *
 * @since 0.2.0
 * @category combinators
 */
export const answer = (round: Round, now: number): Round => {
  const answered = round.answered + 1
  return answered < round.size ? { ...round, answered } : resized(round, larger(round), now)
}
