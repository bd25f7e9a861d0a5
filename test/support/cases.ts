/**
 * How much of every law runs: all of it for `VERIFY=long`, which takes most of an hour, a quarter for `VERIFY=share`, as
 * CI does, else a hundredth. The cases are drawn from `SEED`, which is printed.
 */
const extent = process.env.VERIFY

/** Whether everything runs. */
export const exhaustive = extent === "long"

/** Whether a good part of everything runs, and what is installed is installed for real. */
export const thorough = exhaustive || extent === "share"

/** What the random choices of a run begin with. */
export const seed = Number(process.env.SEED ?? 0)

const part = exhaustive ? 1 : thorough ? 4 : 100

/**
 * The number of cases of a law: `all` of them where that is asked for, else a share, and `least` at least: 30, or fewer
 * where one case is a whole conversation.
 */
export const cases = (all: number, least = 30): number => Math.min(all, Math.max(least, Math.ceil(all / part)))

/** Gives the runner a turn between cases: it gives up a worker that is busy for a minute on end. */
export const breathe = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

/** A step through places that are tried one by one where everything is asked for: `few` where little is. */
export const step = (few: number): number => (exhaustive ? 1 : thorough ? Math.ceil(few / 4) : few)

/** Every member where that is asked for, else every `nth`, of which the first is the one at `from`. */
export const share = <A>(all: ReadonlyArray<A>, nth: number, from = 0): ReadonlyArray<A> => {
  const every = step(nth)
  return all.filter((_, index) => index % every === from % every)
}
