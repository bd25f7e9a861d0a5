/** A provider's rate limit: a token bucket, as a pure function over plain data. */

export interface BucketOptions {
  /** So much in `windowMillis`, evenly. */
  readonly limit: number
  readonly windowMillis: number
  /** So much at once. */
  readonly burst: number
}

export interface Bucket {
  readonly options: BucketOptions
  level: number
  at: number
}

export const make = (options: BucketOptions): Bucket => ({ options, level: options.burst, at: 0 })

const perMilli = ({ limit, windowMillis }: BucketOptions): number => limit / windowMillis

/** Brings the level to what it is now. */
export const refill = (self: Bucket, now: number): number => {
  self.level = Math.min(self.options.burst, self.level + (now - self.at) * perMilli(self.options))
  self.at = now
  return self.level
}

/** Below 1e-9 of a unit is rounding. */
export const holds = (self: Bucket, cost: number): boolean => self.level >= cost - 1e-9

export const take = (self: Bucket, cost: number): void => {
  self.level -= cost
}

/** A refused request that is counted too: it pushes the next place away, at most by one full bucket. */
export const punish = (self: Bucket, cost: number): void => {
  self.level = Math.max(-self.options.burst, self.level - cost)
}

/** Milliseconds until the bucket holds `cost`. */
export const millisUntil = (self: Bucket, cost: number): number =>
  Math.max(0, (cost - self.level) / perMilli(self.options))

/** Milliseconds until it is full. */
export const millisUntilFull = (self: Bucket): number => millisUntil(self, self.options.burst)

/** What a minute of it is: the number that OpenAI's headers tell, whatever the window that is enforced. */
export const perMinute = ({ limit, windowMillis }: BucketOptions): number => (limit * 60_000) / windowMillis
