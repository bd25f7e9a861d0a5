/** Seeded chance. A draw is named by what it is about, so that it is the same whatever else was drawn before. */

export type Random = () => number

/** One round of MurmurHash3's mixing. */
const mix = (hash: number, value: number): number => {
  const turned = Math.imul(value, 0xcc9e2d51)
  const h = hash ^ Math.imul((turned << 15) | (turned >>> 17), 0x1b873593)
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0
}

const hash = (parts: ReadonlyArray<number | string>): number => {
  let h = 0x9747b28c
  for (const part of parts) {
    if (typeof part === "number") h = mix(h, part | 0)
    else for (let i = 0; i < part.length; i++) h = mix(h, part.charCodeAt(i))
  }
  return h
}

/** Numbers in [0, 1) that depend on the parts alone: mulberry32, enough for draws by the ten thousand. */
export const seeded = (...parts: ReadonlyArray<number | string>): Random => {
  let state = hash(parts)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

export const exponential = (random: Random, mean: number): number => -mean * Math.log(1 - random())

/** By Box and Muller. */
const normal = (random: Random): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

/** `sigma` is the deviation of the logarithm; the mean is `median · exp(sigma² / 2)`. */
export const lognormal = (random: Random, median: number, sigma: number): number =>
  median * Math.exp(sigma * normal(random))

export const between = (random: Random, low: number, high: number): number => low + (high - low) * random()
