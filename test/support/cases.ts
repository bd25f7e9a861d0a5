/** Whether every law runs all of its cases, which takes minutes: `EXHAUSTIVE=1`, as CI does. */
export const exhaustive = process.env.EXHAUSTIVE === "1"

/** The number of cases of a law: `all` of them where that is asked for, else a twentieth, and 100 at least. */
export const cases = (all: number): number => (exhaustive ? all : Math.min(all, Math.max(100, Math.ceil(all / 20))))
