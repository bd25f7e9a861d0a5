/**
 * The state of a key against a fake provider, in virtual time and without a runtime: workers that each do one job after
 * the other, a queue by ticket, and everything that a provider may do to them.
 */
import * as Cost from "../../../src/policies/pacer/Cost.js"
import type * as Gcra from "../../../src/policies/pacer/Gcra.js"
import * as PacerState from "../../../src/policies/pacer/PacerState.js"
import type { Limits } from "../../../src/policies/pacer/RateLimits.js"

/** From 0 to 1, the same for the same seed (mulberry32). */
export const seeded = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Lognormal, the form that measured answer times and lengths have. */
export const lognormal =
  (mean: number, sigma: number) =>
  (random: () => number): number => {
    const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())
    return mean * Math.exp(sigma * normal - sigma ** 2 / 2)
  }

export interface Tokens {
  readonly input: number
  readonly output: number
  readonly maxTokens?: number
}

/**
 * - `chargesMost`: the provider charges `maxTokens` and gives nothing back, as OpenAI does; else what the answer took.
 * - `countsRefused`: what it refuses counts against its limit on requests, down to an empty bucket below empty.
 * - `headers`: it tells its limits; `perMinute`: as if they were a minute's, whatever it enforces, as OpenAI does.
 * - `reset`: the reset of the headers: the time until all is back (the default), or the wait for one place, in
 *   milliseconds or in whole seconds; the time until the clock's window ends; or none.
 * - `fixed`: windows that are full again all at once.
 * - `changes`: at a time, so much of the limit on requests.
 */
export interface World {
  readonly workers: number
  readonly jobs: number
  readonly requests?: Gcra.Limit
  readonly tokens?: Gcra.Limit
  readonly config?: { readonly requests?: Gcra.Limit; readonly tokens?: Gcra.Limit }
  readonly hints: boolean
  readonly countsRefused: boolean
  readonly headers?: "none" | "perMinute" | "asIs"
  readonly reset?: "full" | "fullSeconds" | "place" | "placeSeconds" | "clock" | "none"
  readonly chargesMost?: boolean
  readonly fixed?: boolean
  readonly service: (random: () => number) => number
  readonly refusalMillis?: number
  readonly tokensOf?: (random: () => number) => Tokens
}

interface Job {
  readonly ticket: number
  readonly startedAt: number
  readonly tokens: Tokens
}

interface Bucket {
  readonly limit: Gcra.Limit
  level: number
  at: number
}

/** Things that happen at a time, first in time first; those of the same time in order. */
const makeClock = () => {
  const heap: Array<{ readonly at: number; readonly order: number; readonly run: () => void }> = []
  let now = 0
  let orders = 0
  const before = (a: number, b: number) => {
    const [x, y] = [heap[a], heap[b]]
    return x !== undefined && y !== undefined && (x.at < y.at || (x.at === y.at && x.order < y.order))
  }
  const swap = (a: number, b: number) => {
    const [x, y] = [heap[a], heap[b]]
    if (x === undefined || y === undefined) return
    heap[a] = y
    heap[b] = x
  }
  return {
    now: () => now,
    schedule: (after: number, run: () => void) => {
      heap.push({ at: now + Math.max(0, after), order: orders++, run })
      for (let at = heap.length - 1; at > 0; at = (at - 1) >> 1) if (before(at, (at - 1) >> 1)) swap(at, (at - 1) >> 1)
    },
    next: (): boolean => {
      const top = heap[0]
      if (top === undefined) return false
      swap(0, heap.length - 1)
      heap.pop()
      for (let at = 0; ; ) {
        const least = [2 * at + 1, 2 * at + 2].reduce((least, child) => (before(child, least) ? child : least), at)
        if (least === at) break
        swap(at, least)
        at = least
      }
      now = top.at
      top.run()
      return true
    }
  }
}

const refill = (bucket: Bucket, now: number, fixed: boolean): void => {
  const { limit } = bucket
  const isNew = Math.floor(now / limit.windowMillis) > Math.floor(bucket.at / limit.windowMillis)
  bucket.level = fixed
    ? isNew
      ? limit.limit
      : bucket.level
    : Math.min(limit.burst, bucket.level + ((now - bucket.at) * limit.limit) / limit.windowMillis)
  bucket.at = now
}

/** Runs a world: calls for each answer, the share of the limit that was used, and waits from first asking to answer. */
export const simulate = (world: World, seed: number) => {
  const { config = {}, fixed = false, headers = "none", hints, requests, tokens } = world
  const random = seeded(seed)
  const clock = makeClock()
  const { now, schedule } = clock
  const buckets = {
    requests: requests && { limit: requests, level: fixed ? requests.limit : requests.burst, at: 0 },
    tokens: tokens && { limit: tokens, level: fixed ? tokens.limit : tokens.burst, at: 0 }
  }
  const seen = { arrived: 0, admitted: 0, spent: 0, lastAt: 0 }

  const untilFull = ({ level, limit }: Bucket, to: number): number =>
    fixed ? limit.windowMillis - (now() % limit.windowMillis) : ((to - level) * limit.windowMillis) / limit.limit
  const seconds = (millis: number): number => Math.ceil(millis / 1000) * 1000
  const resetOf = (bucket: Bucket): { readonly resetMillis?: number } => {
    const { reset = "full" } = world
    if (reset === "none") return {}
    if (reset === "clock") return { resetMillis: bucket.limit.windowMillis - (now() % bucket.limit.windowMillis) }
    const isFull = reset === "full" || reset === "fullSeconds"
    const millis = isFull ? untilFull(bucket, bucket.limit.burst) : bucket.level >= 1 ? 0 : untilFull(bucket, 1)
    return { resetMillis: reset.endsWith("Seconds") ? seconds(millis) : Math.ceil(millis) }
  }
  const told = (bucket: Bucket | undefined) =>
    bucket && {
      limit: headers === "perMinute" ? (bucket.limit.limit * 60_000) / bucket.limit.windowMillis : bucket.limit.limit,
      remaining: Math.max(0, Math.floor(bucket.level + 1e-9)),
      ...resetOf(bucket)
    }
  const limitsOf = (): Limits | undefined =>
    headers === "none" ? undefined : { requests: told(buckets.requests), tokens: told(buckets.tokens) }

  /** Nothing for an admitted request; else the scope and the hint of its refusal. */
  const arrive = (cost: number): { readonly scope: "requests" | "tokens"; readonly hint: number } | undefined => {
    for (const bucket of [buckets.requests, buckets.tokens]) if (bucket) refill(bucket, now(), fixed)
    const short = (["requests", "tokens"] as const).find((name) => {
      const bucket = buckets[name]
      return bucket !== undefined && bucket.level < (name === "requests" ? 1 : cost) - 1e-9
    })
    seen.arrived++
    if (short === undefined) {
      if (buckets.requests) buckets.requests.level -= 1
      if (buckets.tokens) buckets.tokens.level -= cost
      seen.admitted++
      seen.spent += cost
      seen.lastAt = now()
      return undefined
    }
    const one = buckets.requests
    if (world.countsRefused && one && !fixed) one.level = Math.max(-one.limit.burst, one.level - 1)
    const bucket = buckets[short] as Bucket
    return { scope: short, hint: Math.ceil(untilFull(bucket, short === "requests" ? 1 : cost)) }
  }

  let state = PacerState.make(config, 0)
  const queue: Array<Job & { readonly cost: Cost.Cost }> = []
  const waits: Array<number> = []
  let issued = 0
  let alarm = Number.POSITIVE_INFINITY

  const drain = (): void => {
    for (let head = queue[0]; head !== undefined; head = queue[0]) {
      const at = PacerState.readyAt(state, head.cost, now())
      if (at > now()) {
        if (at < alarm) {
          alarm = at
          schedule(at - now(), () => {
            if (alarm <= now()) alarm = Number.POSITIVE_INFINITY
            drain()
          })
        }
        return
      }
      queue.shift()
      const [ticket, admitted] = PacerState.admit(state, head.cost, true, now())
      state = admitted
      send(head, ticket)
    }
  }

  const enter = (job: Job): void => {
    const cost = Cost.make(1, job.tokens.input, job.tokens.maxTokens ?? Math.ceil(state.output))
    const behind = queue.findIndex(({ ticket }) => ticket > job.ticket)
    queue.splice(behind < 0 ? queue.length : behind, 0, { ...job, cost })
    drain()
  }

  const send = (job: Job, ticket: PacerState.Admission): void => {
    const { input, maxTokens, output } = job.tokens
    const refused = arrive(input + (world.chargesMost === true ? (maxTokens ?? output) : output))
    const limits = limitsOf()
    schedule(refused === undefined ? world.service(random) : (world.refusalMillis ?? 30), () => {
      if (limits !== undefined) state = PacerState.observe(state, ticket, limits, now())
      if (refused === undefined) {
        const usage = { inputTokens: input, outputTokens: output }
        state = PacerState.settle(state, ticket, { _tag: "Answered", usage }, now())
        waits.push(now() - job.startedAt)
        work()
      } else {
        const hint = hints ? refused.hint : undefined
        state = PacerState.settle(
          state,
          ticket,
          { _tag: "Refused", hint, scope: refused.scope, random: random() },
          now()
        )
        enter(job)
      }
      drain()
    })
  }

  const work = (): void => {
    if (issued >= world.jobs) return
    const tokens = world.tokensOf?.(random) ?? { input: 50, output: 50, maxTokens: 50 }
    enter({ ticket: issued++, startedAt: now(), tokens })
  }

  for (let worker = 0; worker < world.workers; worker++) schedule(worker, work)
  while (clock.next() && now() < 7_200_000) {}

  const perRequest = seen.spent / seen.admitted
  const rate = (limit: Gcra.Limit | undefined, each: number) =>
    limit === undefined ? Number.POSITIVE_INFINITY : limit.limit / limit.windowMillis / each
  const binds = rate(tokens, perRequest) < rate(requests, 1) ? tokens : requests
  const spent = binds === tokens ? seen.spent : seen.admitted
  const there =
    binds === undefined
      ? Number.NaN
      : fixed
        ? binds.limit * Math.ceil((seen.lastAt + 1) / binds.windowMillis)
        : binds.burst + (binds.limit * seen.lastAt) / binds.windowMillis
  waits.sort((a, b) => a - b)
  return {
    done: waits.length,
    lastAt: seen.lastAt,
    arrived: seen.arrived,
    callsPerAnswer: seen.arrived / waits.length,
    used: spent / there,
    medianWait: waits[waits.length >> 1] ?? Number.NaN,
    longestWait: waits[waits.length - 1] ?? Number.NaN
  }
}
