/** Whether every law runs all of its cases, which takes minutes: `EXHAUSTIVE=1`, as CI does. */
export const exhaustive = process.env.EXHAUSTIVE === "1"

/**
 * The number of cases of a law: `all` of them where that is asked for, else a hundredth, and `least` at least: 30, or
 * fewer where one case is a whole conversation.
 */
export const cases = (all: number, least = 30): number =>
  exhaustive ? all : Math.min(all, Math.max(least, Math.ceil(all / 100)))

/** Gives the runner a turn between cases: it gives up a worker that is busy for a minute on end. */
export const breathe = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** Every member where that is asked for, else every `nth`, of which the first is the one at `from`. */
export const share = <A>(all: ReadonlyArray<A>, nth: number, from = 0): ReadonlyArray<A> =>
  exhaustive ? all : all.filter((_, index) => index % nth === from % nth)
