/**
 * When a worker that died is started again. Pure.
 *
 * @since 0.2.0
 */

/**
 * The times of the last deaths, in milliseconds.
 *
 * @internal
 */
export type Deaths = ReadonlyArray<number>

/**
 * No worker has died.
 *
 * @internal
 */
export const none: Deaths = []

/** Deaths are counted over so long, in milliseconds. */
const windowMillis = 60_000

/** The first wait, and the longest, in milliseconds. */
const first = 100
const longest = 10_000

/** So many deaths for each worker within the window are no accident, if none serves. */
const most = 5

/**
 * The deaths of the last minute, with a new one.
 *
 * @internal
 */
export const died = (deaths: Deaths, now: number): Deaths => [...deaths.filter((at) => now - at < windowMillis), now]

/**
 * The wait before the next start: it doubles with each death of this worker in the last minute.
 *
 * @internal
 */
export const waitOf = (deaths: Deaths): number => Math.min(longest, first * 2 ** Math.max(0, deaths.length - 1))

/**
 * Whether to give up: workers die again and again, and none serves. While one serves, the others are tried on.
 *
 * @internal
 */
export const isHopeless = (deaths: Deaths, workers: number, serving: number): boolean =>
  serving === 0 && deaths.length >= most * workers
