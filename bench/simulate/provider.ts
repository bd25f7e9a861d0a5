/**
 * A fake OpenAI as a `fetch`: limits, slots with a queue, service times and faults, all in virtual time. A target has its
 * own slots; limits belong to a key. What arrives is written down, and this log is what every number about traffic comes
 * from, whatever a client believes.
 *
 * The order in which a request meets trouble: no connection, a black hole, its key, a failing server, the limits, the
 * queue. A draw of chance belongs to the job and to how often it has come to this target, so the same job meets the same
 * luck under every policy.
 */
import * as Bucket from "./bucket.js"
import { type Random, seeded } from "./chance.js"
import type { Event, VirtualClock } from "./time.js"
import * as Wire from "./wire.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

/** From a virtual millisecond until another one. */
export interface Window {
  readonly from: number
  readonly to: number
}

/**
 * - `failing`: answers a share `p` of the requests with one of `statuses`, `after` milliseconds.
 * - `black hole`: takes requests and starts none of them. What is in the queue at its end is served then. With `keys`, the
 *   requests with those keys are never answered.
 * - `refused`: no connection.
 * - `bad key`, `no credit`: the key is unknown, or its account empty.
 */
export type Fault = Window &
  (
    | {
        readonly kind: "failing"
        readonly p: number
        readonly statuses: ReadonlyArray<keyof typeof Wire.failures>
        readonly after: number
      }
    | { readonly kind: "refused" }
    | { readonly kind: "black hole"; readonly keys?: ReadonlyArray<string> }
    | { readonly kind: "bad key" | "no credit"; readonly keys: ReadonlyArray<string> }
  )

/** Milliseconds from the start of the work to its first token, and to its end. */
export interface Service {
  readonly firstToken: number
  readonly total: number
}

export interface LimitOptions {
  readonly requests?: Bucket.BucketOptions
  readonly tokens?: Bucket.BucketOptions
  /** Whether a refused request counts against the limit on requests, as with OpenAI. */
  readonly countRefused: boolean
  /** Whether headers and errors tell of the limits. */
  readonly hints: boolean
  /** Whether headers tell the limit of its own window, not the one of a minute. */
  readonly ownWindow?: boolean
  /** The time that headers tell with it. Default: until it is full again. */
  readonly reset?: Wire.Reset
  /** Whether what is beyond the limits is refused as 503, overloaded, and not as 429. */
  readonly overloads?: boolean
}

export interface TargetOptions {
  readonly name: string
  readonly baseUrl: string
  readonly keys: ReadonlyArray<string>
  readonly service: (random: Random, now: number) => Service
  /** How many requests are worked on at a time. Default: any number. */
  readonly slots?: number
  /** Whether the server stops when the client hangs up. Default `true`; otherwise the work is done for nobody. */
  readonly noticesHangUp?: boolean
  /** Per key. */
  readonly limits?: LimitOptions
  readonly faults?: ReadonlyArray<Fault>
}

/** How many requests wait for a slot before a server sheds load; a usual bound of queues before servers. */
const queueSize = 1000

/** A refusal takes a trip over the network and back. */
export const refusalMillis = 30

// -----------------------------------------------------------------------------
// the log
// -----------------------------------------------------------------------------

/** The luck of a job when it comes to a target for that time, from 1 on: its first draw decides whether a server fails. */
export const luckOf = (seed: number, target: number, job: number, times: number): Random =>
  seeded(seed, target, job, times)

/** One request as the provider saw it. Times are `NaN` for what did not happen. */
export interface Arrival {
  readonly at: number
  /** Indices into the options. */
  readonly target: number
  readonly key: number
  readonly job: number
  /** What was answered: a status, -1 for no connection, 0 for no answer. */
  status: number
  /** Whether it got past the limits. */
  admitted: boolean
  /** When work on it began and ended. */
  startedAt: number
  endedAt: number
  /** When the first token of a stream was sent. */
  firstTokenAt: number
  /** When the client hung up on it. */
  cancelledAt: number
  /** Tokens set aside for it: the prompt's, and the most that the answer may have. */
  readonly reserved: number
  /** Tokens of the prompt and of the answer, once it was worked on to its end. */
  tokens: number
}

/** Whether the client got its answer, to the end. */
export const isDelivered = (arrival: Arrival): boolean =>
  arrival.status === 200 && !Number.isNaN(arrival.endedAt) && Number.isNaN(arrival.cancelledAt)

// -----------------------------------------------------------------------------
// the client's side of an exchange
// -----------------------------------------------------------------------------

/** A client that waits for its response. `over` once it has it all, or hung up. */
interface Exchange {
  readonly row: Arrival
  readonly request: Wire.Request
  readonly random: Random
  readonly reply: (reply: Wire.Reply) => void
  readonly fail: (error: unknown) => void
  /** Sends the head and the first bytes of a stream, and gives the way to send the last. */
  readonly open: (headers: Record<string, string>, first: Uint8Array) => (last: Uint8Array) => void
  readonly over: () => boolean
  /** What is to be done when the client hangs up. */
  onHangUp: () => void
}

const exchange = (
  clock: VirtualClock,
  row: Arrival,
  request: Wire.Request,
  random: Random,
  resolve: (response: Response) => void,
  reject: (error: unknown) => void
): Exchange => {
  let over = false
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined
  const finish = (): void => {
    over = true
    request.signal?.removeEventListener("abort", abort)
  }
  const hangUp = (): void => {
    if (over) return
    finish()
    row.cancelledAt = clock.now()
    self.onHangUp()
  }
  const abort = (): void => {
    hangUp()
    // As fetch does: whoever waits for the head or for the body fails with the reason of the signal.
    if (stream === undefined) reject(request.signal?.reason)
    else stream.error(request.signal?.reason)
  }
  request.signal?.addEventListener("abort", abort)
  const self: Exchange = {
    row,
    request,
    random,
    over: () => over,
    onHangUp: () => {},
    reply: ({ body, headers, status }) => {
      row.status = status
      if (over) return
      finish()
      resolve(new Response(body, { status, headers: { "x-request-id": `req_${row.job}`, ...headers } }))
    },
    fail: (error) => {
      if (over) return
      finish()
      reject(error)
    },
    open: (headers, first) => {
      row.status = 200
      if (over) return () => {}
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => {
          stream = controller
        },
        cancel: hangUp
      })
      stream?.enqueue(first)
      resolve(new Response(body, { headers: { "x-request-id": `req_${row.job}`, ...headers } }))
      return (last) => {
        if (over) return
        finish()
        stream?.enqueue(last)
        stream?.close()
      }
    }
  }
  return self
}

// -----------------------------------------------------------------------------
// slots
// -----------------------------------------------------------------------------

/** First in, first out, into so many slots. */
const workshop = (
  clock: VirtualClock,
  slots: number,
  noticesHangUp: boolean,
  stalled: () => boolean,
  work: (exchange: Exchange, release: () => void) => ReadonlyArray<Event>
) => {
  let free = slots
  let waiting = 0
  let queue: Array<Exchange> = []
  let head = 0
  const release = (): void => {
    free += 1
    pump()
  }
  const begin = (exchange: Exchange): void => {
    free -= 1
    exchange.row.startedAt = clock.now()
    const events = work(exchange, () => {
      exchange.row.endedAt = clock.now()
      release()
    })
    exchange.onHangUp = () => {
      if (!noticesHangUp || !Number.isNaN(exchange.row.endedAt)) return
      for (const event of events) clock.cancel(event)
      exchange.row.endedAt = clock.now()
      release()
    }
  }
  const pump = (): void => {
    while (free > 0 && head < queue.length && !stalled()) {
      const next = queue[head++] as Exchange
      // Who was seen to leave the queue has no claim to a slot; who left unseen has.
      if (noticesHangUp && next.over()) continue
      waiting -= 1
      begin(next)
    }
    if (head > 1024 && head > queue.length / 2) {
      queue = queue.slice(head)
      head = 0
    }
  }
  return {
    pump,
    isFull: () => waiting >= queueSize,
    enter: (exchange: Exchange): void => {
      if (noticesHangUp) {
        exchange.onHangUp = () => {
          waiting -= 1
        }
      }
      waiting += 1
      queue.push(exchange)
      pump()
    }
  }
}

// -----------------------------------------------------------------------------
// a target
// -----------------------------------------------------------------------------

interface Limits {
  readonly requests: Bucket.Bucket | undefined
  readonly tokens: Bucket.Bucket | undefined
}

const refused = (): TypeError =>
  new TypeError("fetch failed", {
    cause: Object.assign(new Error("connect ECONNREFUSED 10.0.0.1:443"), {
      code: "ECONNREFUSED",
      errno: -111,
      syscall: "connect",
      address: "10.0.0.1",
      port: 443
    })
  })

const target = (clock: VirtualClock, options: TargetOptions, index: number, seed: number, log: Array<Arrival>) => {
  const { faults = [], keys, limits, noticesHangUp = true, slots = Number.POSITIVE_INFINITY } = options
  const seen = new Map<number, number>()
  const buckets: ReadonlyArray<Limits> = keys.map(() => ({
    requests: limits?.requests && Bucket.make(limits.requests),
    tokens: limits?.tokens && Bucket.make(limits.tokens)
  }))

  const inForce = (fault: Fault): boolean => fault.from <= clock.now() && clock.now() < fault.to
  const stalled = (): boolean => faults.some((fault) => isStall(fault) && inForce(fault))
  const limitHeadersOf = ({ requests, tokens }: Limits): Record<string, string> =>
    limits?.hints !== true
      ? {}
      : {
          ...(requests && Wire.limitHeaders("requests", requests, limits.ownWindow, limits.reset)),
          ...(tokens && Wire.limitHeaders("tokens", tokens, limits.ownWindow, limits.reset))
        }

  const work = (exchange: Exchange, release: () => void): ReadonlyArray<Event> => {
    const { random, request, row } = exchange
    const { firstToken, total } = options.service(random, clock.now())
    // An answer uses 40 to 100 % of what was set aside for it.
    const answerTokens = Math.ceil(request.maxTokens * (0.4 + 0.6 * random()))
    const headers = limitHeadersOf(buckets[row.key] ?? { requests: undefined, tokens: undefined })
    const end = (send: () => void) => () => {
      row.tokens = request.promptTokens + answerTokens
      send()
      release()
    }
    if (!request.streaming) {
      const body = Wire.completion(row.job, request.promptTokens, answerTokens)
      const reply: Wire.Reply = { status: 200, headers: { ...Wire.jsonType, ...headers }, body }
      return [
        clock.schedule(
          total,
          end(() => exchange.reply(reply))
        )
      ]
    }
    let send: ((last: Uint8Array) => void) | undefined
    return [
      clock.schedule(firstToken, () => {
        row.firstTokenAt = clock.now()
        send = exchange.open({ ...Wire.streamType, ...headers }, Wire.firstEvents(row.job))
      }),
      clock.schedule(
        total,
        end(() => send?.(Wire.lastEvents(row.job, request.promptTokens, answerTokens)))
      )
    ]
  }

  const shop = workshop(clock, slots, noticesHangUp, stalled, work)
  for (const fault of faults) if (isStall(fault)) clock.schedule(fault.to - clock.now(), shop.pump)

  const refuse = (exchange: Exchange, reply: Wire.Reply, after = refusalMillis): void => {
    clock.schedule(after, () => exchange.reply(reply))
  }

  /** `true` when a fault has taken care of the request. */
  const meets = (fault: Fault, exchange: Exchange): boolean => {
    if (!inForce(fault)) return false
    switch (fault.kind) {
      case "refused":
        exchange.row.status = -1
        clock.schedule(refusalMillis, () => exchange.fail(refused()))
        return true
      case "black hole":
        return fault.keys?.includes(exchange.request.key) === true
      case "bad key":
      case "no credit":
        if (!fault.keys.includes(exchange.request.key)) return false
        refuse(exchange, fault.kind === "bad key" ? Wire.badKey : Wire.noCredit)
        return true
      case "failing": {
        const { random } = exchange
        if (random() >= fault.p) return false
        const status = fault.statuses[Math.floor(random() * fault.statuses.length)] ?? 500
        refuse(exchange, Wire.failures[status], fault.after)
        return true
      }
    }
  }

  /** `true` when the limits let it pass; all of them do, or none is charged. */
  const admits = (exchange: Exchange): boolean => {
    const bucket = buckets[exchange.row.key]
    if (limits === undefined || bucket === undefined) return true
    const { requests, tokens } = bucket
    // OpenAI sets aside the whole of `max_tokens` and gives nothing back.
    const cost = exchange.row.reserved
    const now = clock.now()
    for (const one of [requests, tokens]) if (one) Bucket.refill(one, now)
    const short =
      requests && !Bucket.holds(requests, 1)
        ? (["requests", requests, 1] as const)
        : tokens && !Bucket.holds(tokens, cost)
          ? (["tokens", tokens, cost] as const)
          : undefined
    if (short === undefined) {
      if (requests) Bucket.take(requests, 1)
      if (tokens) Bucket.take(tokens, cost)
      return true
    }
    if (limits.countRefused && requests) Bucket.punish(requests, 1)
    const [what, one, needed] = short
    const wait = limits.hints ? Bucket.millisUntil(one, needed) : undefined
    const reply = limits.overloads === true ? Wire.overloaded : Wire.rateLimited(what, one, wait)
    refuse(exchange, { ...reply, headers: { ...reply.headers, ...limitHeadersOf(bucket) } })
    return false
  }

  const receive = (request: Wire.Request): Promise<Response> =>
    new Promise((resolve, reject) => {
      const row: Arrival = {
        at: clock.now(),
        target: index,
        key: keys.indexOf(request.key),
        job: request.job,
        status: 0,
        admitted: false,
        startedAt: Number.NaN,
        endedAt: Number.NaN,
        firstTokenAt: Number.NaN,
        cancelledAt: Number.NaN,
        reserved: request.promptTokens + request.maxTokens,
        tokens: 0
      }
      log.push(row)
      const times = (seen.get(request.job) ?? 0) + 1
      seen.set(request.job, times)
      const received = exchange(clock, row, request, luckOf(seed, index, request.job, times), resolve, reject)
      if (row.key < 0) return refuse(received, Wire.badKey)
      for (const fault of faults) if (meets(fault, received)) return
      if (!admits(received)) return
      row.admitted = true
      if (shop.isFull()) {
        // Nobody is there to say so while nothing moves.
        if (!stalled()) refuse(received, Wire.overloaded)
        return
      }
      shop.enter(received)
    })

  return { baseUrl: options.baseUrl, receive }
}

const isStall = (fault: Fault): boolean => fault.kind === "black hole" && fault.keys === undefined

// -----------------------------------------------------------------------------
// the provider
// -----------------------------------------------------------------------------

export interface Provider {
  readonly fetch: typeof globalThis.fetch
  readonly log: ReadonlyArray<Arrival>
}

export const make = (clock: VirtualClock, targets: ReadonlyArray<TargetOptions>, seed: number): Provider => {
  const log: Array<Arrival> = []
  const all = targets.map((options, index) => target(clock, options, index, seed, log))
  return {
    log,
    fetch: async (input, init) => {
      const request = Wire.readRequest(input, init)
      const found = all.find(({ baseUrl }) => request.url === `${baseUrl}/chat/completions`)
      if (found === undefined) throw new Error(`expected one of the targets, found ${request.url}`)
      if (request.signal?.aborted) throw request.signal.reason
      return found.receive(request)
    }
  }
}
