import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, FastCheck as fc, Random, Runtime, type Scheduler, Stream } from "effect"
import { CircuitBreaker, type LlmError } from "effect-steadfast"
import { settings } from "../../../src/policies/circuit/CircuitOptions.js"
import { isRefusal } from "../../../src/policies/circuit/CircuitState.js"
import * as Store from "../../../src/policies/Store.js"
import { breathe, cases, exhaustive } from "../../support/cases.js"
import { errorOf } from "../../support/errors.js"
import { clockOf } from "../../support/time.js"
import { isRefused, machine, remoteStore } from "./CircuitBreaker.support.js"

const runs = { numRuns: cases(10_000) }

// No two times are a whole number of half-lives apart, where rounding would decide.
const halfLife = 60_000 * Math.SQRT1_2
const tripPolicy = [CircuitBreaker.consecutive(3), CircuitBreaker.rate({ halfLife })]
const options = settings({ tripPolicy })

// -----------------------------------------------------------------------------
// the breaker as its documentation tells it
// -----------------------------------------------------------------------------

type How = "succeed" | "fail" | "dead" | "throttle" | "mistake" | "interrupt"

const lengths = {
  Unhealthy: [1, 2, 4, 8, 15],
  Dead: [60, 120, 240, 480, 960, 1920, 3600],
  Manual: [Number.POSITIVE_INFINITY]
}

const tooMany = (history: ReadonlyArray<readonly [failed: boolean, at: number]>, now: number): boolean => {
  if (history.length >= 3 && history.slice(-3).every(([failed]) => failed)) return true
  const weigh = (some: typeof history) => some.reduce((sum, [, at]) => sum + 2 ** (-(now - at) / halfLife), 0)
  const n = weigh(history)
  const ratio = weigh(history.filter(([failed]) => failed)) / n
  return n >= 5 && ratio > 0.5 && (ratio - 0.5) ** 2 * n > 1.96 ** 2 * 0.25
}

const reference = (draw: number) => {
  let state: "Closed" | "Open" | "HalfOpen" = "Closed"
  let reason: keyof typeof lengths = "Manual"
  let [now, since, lasts, calm, era, step] = [0, 0, 0, 0, 0, 0]
  let opened = { Unhealthy: 0, Dead: 0, Manual: 0 }
  let history: Array<readonly [boolean, number]> = []
  const running = new Set<{ readonly era: number; readonly step: number; readonly at: number }>()
  const enter = (next: typeof state) => {
    ;[state, since, step, history] = [next, now, 0, []]
    era++
  }
  const open = (why: typeof reason, took = 0) => {
    if (state === "Closed" && now - since >= calm) opened.Unhealthy = 0
    const seconds = lengths[why][Math.min(opened[why]++, lengths[why].length - 1)] ?? Number.NaN
    const draws = (seconds = Number.NaN) => Math.ceil(seconds * 1000 * (1 - 0.2 * draw))
    lasts = Math.max(draws(lengths[why][0]), draws(seconds) - 2 * took)
    if (why === "Unhealthy") calm = draws(seconds)
    reason = why
    enter("Open")
  }
  const probes = () => [...running].filter((one) => one.era === era && now - one.at < 120_000).length
  return {
    pass: (millis: number) => {
      now += millis
    },
    open: () => {
      open("Manual")
    },
    reset: () => {
      opened = { Unhealthy: 0, Dead: 0, Manual: 0 }
      calm = 0
      enter("Closed")
    },
    start: () => {
      if (state === "Open" && now - since >= lasts) enter("HalfOpen")
      if (state === "Open" || (state === "HalfOpen" && probes() >= 2 ** step)) return undefined
      const one = { era, step, at: now }
      running.add(one)
      return (how: How) => {
        running.delete(one)
        if (one.era !== era) return
        const took = state === "HalfOpen" ? now - one.at : 0
        if (how === "dead") open("Dead", took)
        else if (how === "fail" && state === "HalfOpen") {
          if (step === 0 && one.step === 0) open("Unhealthy", took)
          else step = 0
        } else if (how === "succeed" && state === "HalfOpen" && one.step === step && ++step === 3) {
          opened.Dead = 0
          enter("Closed")
        } else if (state === "Closed" && (how === "fail" || how === "succeed")) {
          history.push([how === "fail", now])
          if (how === "fail" && tooMany(history, now)) open("Unhealthy")
        }
      }
    },
    view: () =>
      state === "Closed"
        ? { state }
        : state === "Open"
          ? {
              state,
              reason,
              left: Math.max(0, since + lasts - now),
              openings: reason === "Manual" ? 1 : opened[reason]
            }
          : { state, reason, probes: probes(), width: 2 ** step, openings: opened[reason] }
  }
}

// -----------------------------------------------------------------------------
// fibers under a clock and a scheduler of our own
// -----------------------------------------------------------------------------

const errors: { readonly [K in Exclude<How, "succeed" | "interrupt">]: LlmError.LlmError } = {
  fail: errorOf("ServerError"),
  dead: errorOf("AuthError"),
  throttle: errorOf("RateLimited", { hint: Duration.seconds(9) }),
  mistake: errorOf("InvalidRequest")
}

const outcomes: { readonly [K in How]: CircuitBreaker.Outcome } = {
  succeed: CircuitBreaker.success,
  fail: CircuitBreaker.failure(),
  dead: CircuitBreaker.dead,
  throttle: CircuitBreaker.throttled(9e9),
  mistake: CircuitBreaker.ignored,
  interrupt: CircuitBreaker.ignored
}

/** The steps that fibers have still to take. */
const tasks: Array<() => void> = []
const scheduler: Scheduler.Scheduler = {
  shouldYield: () => false,
  scheduleTask: (task) => {
    tasks.push(task)
  }
}

/** Lets fibers take so many steps, one after the other. */
const turn = (steps = Number.POSITIVE_INFINITY): void => {
  for (let i = 0; i < steps; i++) {
    const task = tasks.shift()
    if (task === undefined) return
    task()
  }
}

let time = 0
let drawn = 0

const runtime = Effect.runSync(
  Effect.runtime<never>().pipe(
    Effect.withClock(
      clockOf(
        () => time,
        () => Effect.void
      )
    ),
    Effect.withRandom({ ...Random.fixed([0]), next: Effect.sync(() => drawn) })
  )
)

const fork = <A, E>(effect: Effect.Effect<A, E>) => Runtime.runFork(runtime)(effect, { scheduler })

const now = <A, E>(effect: Effect.Effect<A, E>): A => {
  const fiber = fork(effect)
  turn()
  const exit = fiber.unsafePoll()
  if (exit === null || Exit.isFailure(exit)) throw new Error("it did not end", { cause: exit })
  return exit.value
}

const make = CircuitBreaker.make({ tripPolicy, maxWait: 0 })

/** What the model knows of a state too. */
const shown = (seen: CircuitBreaker.State) => {
  switch (seen._tag) {
    case "Closed":
      return { state: seen._tag }
    case "Open": {
      const { _tag: state, consecutiveOpenings: openings, reason, retryAfter } = seen
      return { state, reason, left: Duration.toMillis(retryAfter), openings }
    }
    case "HalfOpen": {
      const { _tag: state, consecutiveOpenings: openings, probes, reason, width } = seen
      return { state, reason, probes, width, openings }
    }
  }
}

let worlds = 0

interface Attempt {
  readonly refused: () => boolean
  readonly end: (how: How) => void
}

/** A circuit of its own, and the attempts that are sent through it. */
const world = (breaker: CircuitBreaker.CircuitBreaker, draw: number) => {
  const key = `${worlds++}`
  drawn = draw
  // The circuits of the worlds before are forgotten.
  time += 10_000_000
  /** The attempts that run now. */
  const sent = new Set<Attempt>()
  const start = () => {
    let resume: ((end: Effect.Effect<void, LlmError.LlmError>) => void) | undefined
    const sending = Effect.async<void, LlmError.LlmError>((callback) => {
      sent.add(attempt)
      resume = callback
    })
    const gone = Effect.sync(() => sent.delete(attempt))
    const attempt: Attempt = {
      refused: () => {
        const exit = fiber.unsafePoll()
        return exit !== null && isRefused(exit)
      },
      end: (how: How) => {
        if (how === "interrupt" || resume === undefined) fork(Fiber.interrupt(fiber))
        else resume(how === "succeed" ? Effect.void : Effect.fail(errors[how]))
      }
    }
    const fiber = fork(breaker.execute(Effect.ensuring(sending, gone), { key }))
    return attempt
  }
  const view = () => shown(now(breaker.state(key)))
  return { breaker, key, view, start, sent }
}

type World = ReturnType<typeof world>

// -----------------------------------------------------------------------------
// histories
// -----------------------------------------------------------------------------

type Step =
  | { readonly do: "start" }
  | { readonly do: "end"; readonly which: number; readonly how: How }
  | { readonly do: "pass"; readonly millis: number }
  /** Time passes until the circuit is open no more. */
  | { readonly do: "wait" }
  | { readonly do: "turn"; readonly steps: number }
  | { readonly do: "open" | "reset" }

const among = <A>(all: readonly [A, ...ReadonlyArray<A>], n: number): A => all[n % all.length] ?? all[0]

const hows = [
  "succeed",
  "fail",
  "succeed",
  "fail",
  "succeed",
  "fail",
  "interrupt",
  "mistake",
  "throttle",
  "dead"
] as const
const millis = [1, 311, 1009, 2503, 7001, 16_007, 61_001, 121_001] as const

/** A step, or a whole attempt, out of one number, which costs less to draw than they do. */
const steps = (n: number): ReadonlyArray<Step> => {
  const rest = Math.floor(n / 16)
  const attempt = (how: How): ReadonlyArray<Step> => [
    { do: "start" },
    { do: "turn", steps: 99 },
    { do: "end", which: -1, how },
    { do: "turn", steps: 99 }
  ]
  switch (n % 16) {
    case 0:
    case 1:
    case 2:
      return [{ do: "start" }]
    case 3:
    case 4:
    case 5:
    case 6:
      return [{ do: "end", which: Math.floor(rest / hows.length), how: among(hows, rest) }]
    case 7:
      return attempt(among(hows, rest))
    case 8:
      return attempt("fail")
    case 9:
    case 10:
      return attempt("succeed")
    case 11:
      return [{ do: "pass", millis: among(millis, rest) }]
    case 12:
    case 13:
      return [{ do: "wait" }]
    case 14:
      return [{ do: "turn", steps: rest % 8 }]
    default:
      return rest % 8 === 0
        ? [{ do: "open" }]
        : rest % 8 < 4
          ? [{ do: "reset" }]
          : [...attempt("fail"), ...attempt("fail")]
  }
}

const history = (minLength: number, maxLength: number): fc.Arbitrary<ReadonlyArray<Step>> =>
  fc.array(fc.nat(16 * 1000 - 1), { minLength, maxLength, size: "max" }).map((numbers) => numbers.flatMap(steps))

/** Where a history begins: closed, open, and at each step of the ramp. */
const tripped: ReadonlyArray<Step> = [...steps(8), ...steps(8), ...steps(8)]
const beginning = fc.constantFrom<ReadonlyArray<Step>>(
  [],
  tripped,
  ...[0, 1, 2].map((successes) => [...tripped, { do: "wait" } as const, ...Array(successes).fill(9).flatMap(steps)])
)

const short = fc.tuple(beginning, history(1, 6)).map(([beginning, history]) => [...beginning, ...history])

const draw = fc.constantFrom(0, 0.37, 1)

/** Does one step; the attempts that were begun and are not ended are the ones there is a choice of. */
const take = (world: World, attempts: Array<Attempt>, step: Step): Attempt | undefined => {
  switch (step.do) {
    case "start": {
      const attempt = world.start()
      attempts.push(attempt)
      return attempt
    }
    case "end": {
      const which = step.which < 0 ? attempts.length - 1 : step.which % Math.max(1, attempts.length)
      const [attempt] = attempts.splice(which, 1)
      attempt?.end(step.how)
      return attempt
    }
    case "pass":
      time += step.millis
      return undefined
    case "wait": {
      const wait = world.breaker.readyAt(world.key) - time
      if (wait > 0 && wait <= 3_600_000) time += wait
      return undefined
    }
    case "turn":
      turn(step.steps)
      return undefined
    default:
      fork(world.breaker[step.do](world.key))
      return undefined
  }
}

/** Comparing as text first takes a tenth of the time. */
const same = (is: unknown, should: unknown): void => {
  if (JSON.stringify(is) !== JSON.stringify(should)) assert.deepStrictEqual(is, should)
}

/** What was admitted before a transition has no say after it. */
const outlive = (world: World): void => {
  const old = [...world.sent]
  now(world.breaker.open(world.key))
  const before = [world.view(), world.breaker.readyAt(world.key)]
  for (const [i, attempt] of old.entries()) attempt.end(among(hows, i))
  turn()
  same([world.view(), world.breaker.readyAt(world.key)], before)
  assert.strictEqual(world.sent.size, 0)
  now(world.breaker.reset(world.key))
}

/** The target is healthy from now on and time passes: the circuit closes, after a few attempts. */
const heal = (world: World): void => {
  for (let attempts = 0; attempts < 10; attempts++) {
    const seen = world.view()
    if (seen.state === "Closed") return
    if (seen.state === "Open") time += seen.left
    const attempt = world.start()
    turn()
    if (attempt.refused()) time += 120_000
    else attempt.end("succeed")
    turn()
  }
  throw new Error(`stuck: ${JSON.stringify(world.view())}`)
}

/** A breaker, and what it tells of its circuits. */
const listening = (breaker: CircuitBreaker.CircuitBreaker) => {
  const told: Array<CircuitBreaker.Transition> = []
  fork(Stream.runForEach(breaker.transitions, (transition) => Effect.sync(() => told.push(transition))))
  turn()
  return { breaker, told: () => told.splice(0) }
}

const legal = ["Closed Open", "Open HalfOpen", "HalfOpen Open", "HalfOpen Closed"]

/** Transitions form a chain of legal edges, and no open time is longer or shorter than it may be. */
const follow = (told: ReadonlyArray<CircuitBreaker.Transition>, byHand: boolean): string => {
  let state = "Closed"
  for (const transition of told) {
    same(transition.from, state)
    state = transition.to
    const edge = `${transition.from} ${transition.to}`
    if (!legal.includes(edge) && !(byHand && edge === "Open Closed")) assert.fail(edge)
    if (transition.to !== "Open" || transition.reason === "Manual") continue
    const millis = Duration.toMillis(transition.retryAfter)
    assert.isAtMost(millis, transition.reason === "Dead" ? 3_600_000 : 15_000)
    assert.isAtLeast(millis, transition.reason === "Dead" ? 48_000 : 800)
  }
  return state
}

describe("the machine", () => {
  it("does what its documentation says after every step of any history, and recovers", () => {
    const seen = new Set<string>()
    const compare = (history: ReadonlyArray<Step>, draw: number) => {
      const real = machine(options)
      const model = reference(draw)
      const running: Array<{ readonly admission: CircuitBreaker.Admission; readonly end: (how: How) => void }> = []
      for (const step of history) {
        if (step.do === "start") {
          const decision = real.ask()
          const end = model.start()
          if (isRefusal(decision)) assert.isUndefined(end)
          else if (end === undefined) throw new Error("the model refuses")
          else running.push({ admission: decision, end })
        } else if (step.do === "end") {
          const which = step.which < 0 ? running.length - 1 : step.which % Math.max(1, running.length)
          const [one] = running.splice(which, 1)
          if (one === undefined) continue
          real.end(one.admission, outcomes[step.how], draw)
          one.end(step.how)
        } else if (step.do === "open" || step.do === "reset") {
          real[step.do]()
          model[step.do]()
        } else {
          const left = real.left()
          const millis = step.do === "pass" ? step.millis : left > 0 && left <= 3_600_000 ? left : 0
          real.pass(millis)
          model.pass(millis)
        }
        const is = shown(real.view())
        same(is, model.view())
        seen.add(`${is.state} ${"width" in is ? is.width : ""}`)
      }
      if (real.left() === Number.POSITIVE_INFINITY) real.reset()
      for (let attempts = 0; real.view()._tag !== "Closed"; attempts++) {
        assert.isBelow(attempts, 10)
        if (real.left() > 0) real.pass(real.left())
        const decision = real.ask()
        if (isRefusal(decision)) real.pass(120_000)
        else real.end(decision, outcomes.succeed)
      }
    }
    fc.assert(fc.property(history(10, 30), draw, compare), runs)
    if (exhaustive) assert.sameMembers([...seen], ["Closed ", "Open ", "HalfOpen 1", "HalfOpen 2", "HalfOpen 4"])
  })
})

describe.each([
  ["in memory", false, 10_000],
  ["in a store that takes its time and swaps what it compared", true, 1000]
] as const)("a breaker %s", (_, remote, all) => {
  const { store } = remoteStore()
  const { breaker, told } = listening(now(remote ? Effect.provideService(make, Store.KeyedStore, store) : make))

  it("does what its documentation says, whatever fibers begin, end and are interrupted", async () => {
    const seen = new Set<string>()
    const compare = async (history: ReadonlyArray<Step>, draw: number) => {
      told()
      const real = world(breaker, draw)
      const model = reference(draw)
      const attempts: Array<Attempt> = []
      const ends = new Map<Attempt, (how: How) => void>()
      for (const step of history) {
        const before = time
        const attempt = take(real, attempts, step)
        turn()
        model.pass(time - before)
        if (step.do === "start" && attempt !== undefined) {
          const end = model.start()
          same([attempt.refused(), real.sent.has(attempt)], [end === undefined, end !== undefined])
          if (end !== undefined) ends.set(attempt, end)
        } else if (step.do === "end" && attempt !== undefined) ends.get(attempt)?.(step.how)
        else if (step.do === "open" || step.do === "reset") model[step.do]()
      }
      const view = real.view()
      same(view, model.view())
      seen.add(`${view.state} ${"width" in view ? view.width : ""}`)
      assert.strictEqual(follow(told(), true), view.state)
      outlive(real)
    }
    await fc.assert(fc.asyncProperty(short, draw, compare).beforeEach(breathe), { numRuns: cases(all) })
    if (exhaustive) assert.sameMembers([...seen], ["Closed ", "Open ", "HalfOpen 1", "HalfOpen 2", "HalfOpen 4"])
  })
})

describe("breakers that share a store", () => {
  it("keep their promises while attempts begin and end at any moment, and recover", async () => {
    const { conflicts, store } = remoteStore()
    const { breaker, told } = listening(now(Effect.provideService(make, Store.KeyedStore, store)))
    const seen = new Set<string>()
    const interleave = async (history: ReadonlyArray<Step>, draw: number, late: number) => {
      told()
      const real = world(breaker, draw)
      const attempts: Array<Attempt> = []
      for (const step of history) if (step.do !== "open" && step.do !== "reset") take(real, attempts, step)
      turn()
      const transitions = told()
      for (const transition of transitions) seen.add(`${transition.from} ${transition.to}`)
      const before = real.view()
      assert.strictEqual(follow(transitions, false), before.state)

      // However many come at the same time, only so many get through.
      if (before.state === "Open") time += before.left
      const earlier = new Set(real.sent)
      const more = Array.from({ length: 5 }, real.start)
      turn()
      const probes = [...real.sent].filter((attempt) => !earlier.has(attempt)).length
      const after = real.view()
      if (after.state === "HalfOpen") {
        assert.isAtMost(probes, after.width)
        if (before.state === "Open") assert.strictEqual(probes, 1)
        seen.add(`${probes} probes`)
      } else assert.strictEqual(probes, 5)

      // Some of them are never heard of again.
      for (const attempt of more.slice(late)) attempt.end("fail")
      turn()
      heal(real)
    }
    await fc.assert(fc.asyncProperty(short, draw, fc.nat(5), interleave).beforeEach(breathe), {
      numRuns: cases(3000)
    })
    if (!exhaustive) return
    assert.includeMembers([...seen], [...legal, "0 probes", "1 probes", "2 probes", "3 probes", "4 probes"])
    assert.isAbove(conflicts(), 1000)
  })
})
