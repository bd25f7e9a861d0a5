import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FastCheck as fc } from "effect"
import { Pacer } from "effect-steadfast"
import * as TicketQueue from "../../../src/policies/pacer/TicketQueue.js"
import { cases } from "../../support/cases.js"
import { hinted } from "../../support/errors.js"
import { manualClock } from "../../support/manualClock.js"

const runs = { numRuns: cases(10_000) }

type Event =
  | { readonly _tag: "Come"; readonly tokens: number }
  | { readonly _tag: "Leave" | "Answer" | "Refuse" | "Return"; readonly who: number; readonly used: number }
  | { readonly _tag: "Time"; readonly millis: number }

const who = { who: fc.nat(20), used: fc.double({ min: 0, max: 1, noNaN: true }) }
const come = fc.record({ _tag: fc.constant("Come" as const), tokens: fc.integer({ min: 1, max: 40 }) })
const time = fc.record({ _tag: fc.constant("Time" as const), millis: fc.integer({ min: 0, max: 900 }) })
const calm = fc.oneof(
  { arbitrary: come, weight: 4 },
  { arbitrary: time, weight: 2 },
  { arbitrary: fc.record({ _tag: fc.constantFrom("Leave" as const, "Answer" as const), ...who }), weight: 3 }
)
const stormy = fc.oneof(
  { arbitrary: calm, weight: 3 },
  { arbitrary: fc.record({ _tag: fc.constantFrom("Refuse" as const, "Return" as const), ...who }), weight: 1 }
)

interface Caller {
  readonly id: number
  readonly place: object
  readonly tokens: number
  readonly arrivedAt: number
  fiber: Fiber.RuntimeFiber<Pacer.Permit, Pacer.Refusal>
  admittedAt: number | undefined
  permit: Pacer.Permit | undefined
  state: "waiting" | "admitted" | "left" | "answered" | "refused"
}

const options = {
  requests: { limit: 4, window: "1 second", burst: 3 },
  tokens: { limit: 80, window: "1 second", burst: 50 }
} as const

/** Fibers that come, leave, are answered and refused, and come back. */
const play = async (events: ReadonlyArray<Event>) => {
  const { adjust, clock, now } = manualClock()
  const pacer = Effect.runSync(Pacer.make(options))
  const callers: Array<Caller> = []
  const admissions: Array<{ readonly id: number; readonly at: number; readonly tokens: number }> = []
  const refunds: Array<{ readonly at: number; readonly requests: number; readonly tokens: number }> = []
  /** Each call that got a place before an earlier one, with that one. */
  const overtaken: Array<readonly [number, number]> = []
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

  const enter = (caller: Omit<Caller, "fiber">): Caller => {
    const granted = (permit: Pacer.Permit): void => {
      const one = callers[caller.id] as Caller
      one.permit = permit
      one.admittedAt = now()
      one.state = "admitted"
      admissions.push({ id: one.id, at: now(), tokens: one.tokens })
      for (const other of callers)
        if (other.state === "waiting" && other.id < one.id) overtaken.push([one.id, other.id])
    }
    const asked = { key: "k", inputTokens: caller.tokens, outputTokens: 0, place: caller.place }
    const one: Caller = Object.assign(caller, { fiber: undefined as unknown as Caller["fiber"] })
    callers[caller.id] = one
    one.fiber = Effect.runFork(Effect.withClock(pacer.acquire(asked, granted), clock))
    return one
  }

  for (const event of events) {
    if (event._tag === "Time") {
      await adjust(event.millis)
    } else if (event._tag === "Come") {
      enter({
        id: callers.length,
        place: {},
        tokens: event.tokens,
        arrivedAt: now(),
        admittedAt: undefined,
        permit: undefined,
        state: "waiting"
      })
    } else {
      const wanted = { Leave: "waiting", Answer: "admitted", Refuse: "admitted", Return: "refused" }[event._tag]
      const among = callers.filter(({ state }) => state === wanted)
      const one = among[event.who % Math.max(1, among.length)]
      if (one === undefined) continue
      if (event._tag === "Leave") {
        one.state = "left"
        await Effect.runPromise(Fiber.interrupt(one.fiber))
      } else if (event._tag === "Answer") {
        one.state = "answered"
        const inputTokens = Math.floor(one.tokens * event.used)
        refunds.push({ at: now(), requests: 0, tokens: one.tokens - inputTokens })
        one.permit?.settle({ usage: { inputTokens, outputTokens: 0 } }, now(), 0)
      } else if (event._tag === "Refuse") {
        one.state = "refused"
        // Its hint says what the provider has left, so its place counts no more than its tokens.
        refunds.push({ at: now(), requests: 1, tokens: one.tokens })
        one.permit?.settle({ error: hinted("300 millis") }, now(), event.used)
      } else {
        one.state = "waiting"
        enter(one)
      }
    }
    await turn()
  }
  return { pacer, clock, adjust, now, callers, admissions, refunds, overtaken }
}

const leaveAll = async ({ adjust, now, callers }: Awaited<ReturnType<typeof play>>) => {
  for (const one of callers.toReversed()) {
    if (one.state === "waiting") await Effect.runPromise(Fiber.interrupt(one.fiber))
    else if (one.state === "admitted") one.permit?.settle({ interrupted: true }, now(), 0)
  }
  await adjust(0)
}

/**
 * The model: whole numbers only. A bucket counts in parts of which a millisecond adds `limit` and one unit is 1000; the
 * first in the queue goes in the first millisecond in which both buckets hold enough.
 */
const reference = (events: ReadonlyArray<Event>): ReadonlyArray<readonly [id: number, at: number]> => {
  const admitted: Array<readonly [number, number]> = []
  const full = { requests: options.requests.burst * 1000, tokens: options.tokens.burst * 1000 }
  const level = { ...full }
  const callers: Array<{ id: number; tokens: number; state: string }> = []
  let now = 0
  const go = (): void => {
    for (const one of callers.filter(({ state }) => state === "waiting")) {
      if (level.requests < 1000 || level.tokens < one.tokens * 1000) return
      level.requests -= 1000
      level.tokens -= one.tokens * 1000
      one.state = "admitted"
      admitted.push([one.id, now])
    }
  }
  for (const event of events) {
    if (event._tag === "Come") callers.push({ id: callers.length, tokens: event.tokens, state: "waiting" })
    else if (event._tag === "Time") {
      for (const end = now + event.millis; now < end; go()) {
        now += 1
        level.requests = Math.min(full.requests, level.requests + options.requests.limit)
        level.tokens = Math.min(full.tokens, level.tokens + options.tokens.limit)
      }
    } else {
      const among = callers.filter(({ state }) => state === (event._tag === "Leave" ? "waiting" : "admitted"))
      const one = among[event.who % Math.max(1, among.length)]
      if (one === undefined) continue
      one.state = event._tag
      const unused = event._tag === "Answer" ? one.tokens - Math.floor(one.tokens * event.used) : 0
      level.tokens = Math.min(full.tokens, level.tokens + unused * 1000)
    }
    go()
  }
  return admitted
}

describe("for every interleaving of fibers that come, leave, and are answered", () => {
  const events = fc.array(calm, { minLength: 1, maxLength: 14 })

  it("places are given as the model gives them, to the millisecond", async () => {
    await fc.assert(
      fc.asyncProperty(events, async (events) => {
        const played = await play(events)
        assert.deepStrictEqual(
          played.admissions.map(({ at, id }) => [id, at] as const),
          reference(events)
        )
        await leaveAll(played)
      }),
      runs
    )
  })
})

describe("for every interleaving with refusals and returns as well", () => {
  const events = fc.array(stormy, { minLength: 1, maxLength: 16 })

  it("nobody overtakes, no window sees too much, and nothing is left behind", async () => {
    await fc.assert(
      fc.asyncProperty(events, async (events) => {
        const played = await play(events)
        assert.deepStrictEqual(played.overtaken, [], "first come, first served")
        const { admissions, pacer, refunds } = played
        admissions.forEach((first, index) => {
          let requests = 0
          let tokens = 0
          for (const one of admissions.slice(index)) {
            requests += 1
            tokens += one.tokens
            const seconds = (one.at - first.at) / 1000
            // What is given back in a window may be spent in it again.
            const back = refunds.filter(({ at }) => at >= first.at && at <= one.at)
            const requestsBack = back.reduce((sum, { requests }) => sum + requests, 0)
            const tokensBack = back.reduce((sum, { tokens }) => sum + tokens, 0)
            if (requests > 3 + 4 * seconds + requestsBack + 1e-6) assert.fail(`${requests} requests in ${seconds} s`)
            if (tokens > 50 + 80 * seconds + tokensBack + 1e-6) assert.fail(`${tokens} tokens in ${seconds} s`)
          }
        })
        await leaveAll(played)
        const state = () => Effect.runSync(Effect.withClock(pacer.state("k"), played.clock))
        assert.deepInclude(state(), { waiting: 0, inFlight: 0 })
        for (const { fiber, state } of played.callers) {
          const exit = fiber.unsafePoll()
          assert.isTrue(exit !== null && (state !== "left" || Exit.isInterrupted(exit)))
        }
        await played.adjust(3_600_000)
        const fresh = Effect.runSync(Effect.flatMap(Pacer.make(options), (pacer) => pacer.state("k")))
        assert.deepStrictEqual(state(), fresh)
        assert.isAtMost(pacer.readyAt("k"), played.now())
      }),
      runs
    )
  })
})

describe("a queue by ticket", () => {
  interface Entry extends TicketQueue.Entry {
    readonly name: number
  }
  const moves = fc.array(
    fc.oneof(
      fc.record({ _tag: fc.constant("add" as const), ticket: fc.nat(30) }),
      fc.record({ _tag: fc.constant("remove" as const), ticket: fc.nat(30) }),
      fc.record({ _tag: fc.constant("take" as const), ticket: fc.constant(0) })
    ),
    { maxLength: 60 }
  )

  it("is a sorted list", () => {
    fc.assert(
      fc.property(moves, (moves) => {
        const queue = TicketQueue.make<Entry>()
        let list: Array<Entry> = []
        const all: Array<Entry> = []
        moves.forEach(({ _tag, ticket }, order) => {
          if (_tag === "add") {
            const entry = { ticket, order, at: -1, name: order }
            queue.add(entry)
            all.push(entry)
            list = [...list, entry].sort((a, b) => a.ticket - b.ticket || a.order - b.order)
          } else {
            const entry = _tag === "take" ? queue.head() : all[ticket]
            if (entry === undefined) return
            assert.strictEqual(queue.remove(entry), list.includes(entry))
            list = list.filter((one) => one !== entry)
          }
          assert.strictEqual(queue.head(), list[0])
          assert.strictEqual(queue.size(), list.length)
        })
      }),
      runs
    )
  })
})
