/**
 * The scores of two groups of answers, compared. Pure.
 *
 * The interval is Welch's: it needs count, sum and sum of squares of each group, so nothing is kept for each answer and
 * no seed is needed, and the groups may differ in size and spread, as few retries and many other calls do. Scores of a
 * judge pile up at 0 and 1, and a group of thirty times 1 has no spread at all, which would make an interval of no
 * width. So each group is given one more 0 and one more 1, as Agresti and Caffo do for shares: the interval is never
 * empty, and errs towards width.
 *
 * @internal
 */

/** Scores from 0 to 1. */
export interface Sums {
  readonly count: number
  readonly sum: number
  readonly squares: number
}

export const none: Sums = { count: 0, sum: 0, squares: 0 }

export const add = ({ count, squares, sum }: Sums, score: number): Sums => ({
  count: count + 1,
  sum: sum + score,
  squares: squares + score * score
})

export const mean = ({ count, sum }: Sums): number | undefined => (count === 0 ? undefined : sum / count)

/** The 97.5 % quantile of the normal distribution. */
const z = 1.959964

/** That of Student's t, by its expansion in 1 / degrees: within 0.1 % from 4 degrees on. */
export const quantileOf = (degrees: number): number => {
  const z3 = z ** 3
  const z5 = z ** 5
  const z7 = z ** 7
  return (
    z +
    (z3 + z) / (4 * degrees) +
    (5 * z5 + 16 * z3 + 3 * z) / (96 * degrees ** 2) +
    (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * degrees ** 3) +
    (79 * z ** 9 + 776 * z7 + 1482 * z5 - 1920 * z3 - 945 * z) / (92160 * degrees ** 4)
  )
}

/** With one 0 and one 1 more. */
const widened = (sums: Sums) => {
  const { count, squares, sum } = add(add(sums, 0), 1)
  const middle = sum / count
  /** The variance of the mean. */
  const variance = (squares - sum * middle) / (count - 1) / count
  return { middle, variance, degrees: count - 1 }
}

/** The 95 % confidence interval of the mean of `a` less the mean of `b`. */
export const interval = (a: Sums, b: Sums): readonly [low: number, high: number] => {
  const [one, two] = [widened(a), widened(b)]
  const variance = one.variance + two.variance
  const degrees = variance ** 2 / (one.variance ** 2 / one.degrees + two.variance ** 2 / two.degrees)
  const half = quantileOf(degrees) * Math.sqrt(variance)
  const middle = one.middle - two.middle
  return [Math.max(-1, middle - half), Math.min(1, middle + half)]
}

/** The 95 % confidence interval of the mean of scores. */
export const around = (sums: Sums): readonly [low: number, high: number] => {
  const { degrees, middle, variance } = widened(sums)
  // One score makes two degrees, for which the expansion of the quantile is too small by a tenth.
  const half = quantileOf(degrees) * Math.sqrt(variance)
  return [Math.max(0, middle - half), Math.min(1, middle + half)]
}
