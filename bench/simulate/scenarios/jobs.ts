/** Jobs that meet an outage of the only target there is: which of them are done, and at which price. */
import { between, seeded } from "../chance.js"
import * as Metrics from "../metrics.js"
import { type Fault, type LimitOptions, luckOf, type Window } from "../provider.js"
import { type Goal, type Group, type Metric, type Run, type Scenario, simulate } from "../scenario.js"
import {
  allDone,
  allInTime,
  atLeast,
  atMost,
  callsMetric,
  doneMetrics,
  doneNumbers,
  keptInVain,
  outageMetrics,
  outageNumbers,
  waitMetrics,
  waitNumbers
} from "./goals.js"
import { answeringAbout, everybodyAnd, minutes, seconds, target } from "./support.js"

/** The median of answers, in milliseconds. */
const answers = 300
const usualLife = minutes(10)

const takesPart = everybodyAnd("jobs")

// -----------------------------------------------------------------------------
// outages
// -----------------------------------------------------------------------------

const faults = {
  "503": (outage) => ({ kind: "failing", p: 1, statuses: [503], after: 30, ...outage }),
  refused: (outage) => ({ kind: "refused", ...outage }),
  "black hole": (outage) => ({ kind: "black hole", ...outage })
} satisfies Record<string, (outage: Window) => Fault>

type Kind = keyof typeof faults
const kinds = Object.keys(faults) as ReadonlyArray<Kind>

const begins = seconds(20)
const short = (): Window => ({ from: begins, to: begins + seconds(10) })
/** Drawn, so that no policy meets its end by chance. */
const aMinute = (seed: number): Window => ({
  from: begins,
  to: begins + between(seeded("outage", seed), seconds(50), seconds(70))
})

interface Variant {
  readonly id: string
  readonly kind: Kind
  readonly outage: (seed: number) => Window
  readonly rate: number
  readonly lasting: number
  readonly life?: number
  readonly limits?: LimitOptions
  /** Numbers that only this one has. */
  readonly extra?: ReadonlyArray<Metric>
  readonly measure?: (run: Run, outage: Window) => Readonly<Record<string, number>>
  readonly goals: ReadonlyArray<Goal>
}

const attemptTimeout = (kind: Kind): number => seconds(kind === "black hole" ? 10 : 30)

const scenario = (variant: Variant): Scenario => {
  const { extra = [], goals, id, kind, lasting, life = usualLife, limits, measure, rate } = variant
  return {
    id: `jobs/${id}`,
    metrics: [...doneMetrics, ...outageMetrics, ...extra, callsMetric, ...waitMetrics],
    goals,
    takesPart,
    peerSeeds: 1,
    run: async (world) => {
      const outage = variant.outage(world.seed)
      const run = await simulate(world, {
        targets: [
          target("a", { service: answeringAbout(answers), faults: [faults[kind](outage)], ...(limits && { limits }) })
        ],
        setup: { attemptTimeoutMillis: attemptTimeout(kind), deadlineMillis: life },
        workload: { kind: "open", rate, millis: lasting },
        horizonMillis: lasting + life + minutes(1)
      })
      if (run === undefined) return undefined
      return {
        metrics: {
          ...doneNumbers(run, life),
          ...outageNumbers(run, life, outage),
          ...measure?.(run, outage),
          "calls per answer": Metrics.callsPerAnswer(run.log),
          ...waitNumbers(run)
        }
      }
    }
  }
}

const queueEmpty = atMost("queue empty", 20)

const shortOutage = (kind: Kind): Scenario =>
  scenario({
    id: `10 s · ${kind}`,
    kind,
    outage: short,
    rate: 10,
    lasting: minutes(1),
    goals: [allDone, allInTime, atMost("calls in outage", 12), atMost("calls per answer", 1.05), queueEmpty]
  })

const steady = { outage: aMinute, rate: 5, lasting: minutes(2) } as const

/** Calls in a black hole beyond those that nobody can avoid: until the first timeout nothing is known. */
const beyond = {
  extra: [{ name: "beyond one timeout", unit: "" }],
  measure: ({ jobs, log }: Run, outage: Window) => ({
    "beyond one timeout":
      Metrics.arrivedIn(log, outage).length -
      Metrics.submittedIn(jobs, { from: outage.from, to: outage.from + attemptTimeout("black hole") }).length
  })
} as const

const longOutage = (kind: Kind, life?: number): Scenario =>
  scenario({
    ...steady,
    ...(kind === "black hole" ? beyond : {}),
    id: `a minute · ${kind}${life === undefined ? "" : ` · ${life / 1000} s to live`}`,
    kind,
    ...(life !== undefined && { life }),
    goals: [
      allDone,
      allInTime,
      kind === "black hole" ? atMost("beyond one timeout", 10) : atMost("calls in outage", 15),
      queueEmpty
    ]
  })

/** Some of the jobs cannot be done: they end before the outage does. */
const shortLived = (kind: Kind): Scenario => {
  const life = seconds(30)
  return scenario({
    ...steady,
    id: `a minute · ${kind} · 30 s to live`,
    kind,
    life,
    extra: [{ name: "kept in vain", unit: "s", digits: 1 }],
    measure: (run) => ({ "kept in vain": keptInVain(run, life) / 1000 }),
    goals: [
      atLeast("possible done", 90),
      atLeast("of the outage", 90),
      ...(kind === "black hole" ? [] : [atMost("kept in vain", 1)])
    ]
  })
}

// -----------------------------------------------------------------------------
// capacity
// -----------------------------------------------------------------------------

const refusals = {
  "429 with hints": { hints: true },
  "429 without hints": { hints: false },
  overloaded: { hints: false, overloads: true }
} satisfies Record<string, Partial<LimitOptions>>

/** Beyond `capacity` a second the provider refuses. */
const limited = (capacity: number, name: keyof typeof refusals): Scenario => {
  const allowed = ({ jobs }: Run, outage: Window): number =>
    15 + 5 + (1.2 * Metrics.submittedIn(jobs, outage).length) / (capacity - steady.rate)
  return scenario({
    ...steady,
    lasting: minutes(5),
    id: `a minute · 503 · then ${capacity} a second, ${name}`,
    kind: "503",
    limits: {
      requests: { limit: capacity, windowMillis: 1000, burst: capacity },
      countRefused: false,
      ...refusals[name]
    },
    extra: [{ name: "over the allowed", unit: "", digits: 2 }],
    measure: (run, outage) => ({
      "over the allowed": (outageNumbers(run, usualLife, outage)["queue empty"] ?? Number.NaN) / allowed(run, outage)
    }),
    goals: [allDone, allInTime, atMost("calls in outage", 15), atMost("over the allowed", 1)]
  })
}

// -----------------------------------------------------------------------------
// brown-out
// -----------------------------------------------------------------------------

const lasting = seconds(200)
const failingShare = 0.2

/** The calls that so many jobs need by their luck, 1.25 for each on average: the same under every policy. */
const leastCalls = (jobs: number, seed: number): number => {
  let calls = 0
  for (let job = 0; job < jobs; job++) {
    let times = 1
    while (luckOf(seed, 0, job, times)() < failingShare) times += 1
    calls += times
  }
  return calls
}

const brownOut: Scenario = {
  id: "jobs/brown-out",
  metrics: [
    ...doneMetrics,
    { name: "calls per job", unit: "", digits: 3 },
    { name: "over the least", unit: "", digits: 3 },
    ...waitMetrics
  ],
  goals: [allDone, allInTime, atMost("over the least", 1)],
  takesPart,
  peerSeeds: 1,
  run: async (world) => {
    const failing: Fault = {
      kind: "failing",
      p: failingShare,
      statuses: [500, 502, 503],
      after: 30,
      from: 0,
      to: Number.POSITIVE_INFINITY
    }
    const run = await simulate(world, {
      targets: [target("a", { service: answeringAbout(answers), faults: [failing] })],
      setup: { attemptTimeoutMillis: seconds(30), deadlineMillis: usualLife },
      workload: { kind: "open", rate: 5, millis: lasting },
      horizonMillis: lasting + usualLife + minutes(1)
    })
    if (run === undefined) return undefined
    return {
      metrics: {
        ...doneNumbers(run, usualLife),
        "calls per job": run.log.length / run.jobs.length,
        "over the least": run.log.length / leastCalls(run.jobs.length, world.seed),
        ...waitNumbers(run)
      }
    }
  }
}

export const jobs: Group = {
  name: "jobs",
  title: "Jobs in an outage of the only target",
  about: [
    "A job is one call with 600 s to live, or as long as its row says. Jobs come in an open loop (Poisson); answers take 0.3 s (median).",
    "*10 s*: 10 jobs a second for 60 s, an outage from second 20 to 30. *A minute*: 5 jobs a second for 120 s, an outage from second 20",
    "that lasts 50 to 70 s, drawn by seed. Meanwhile the provider answers 503 at once, refuses connections, or takes requests and starts",
    "none (a black hole, where an attempt may take 10 s; 30 s otherwise). *Then so many a second*: jobs come for 300 s, and the provider",
    "serves only so many a second, with a burst of as many; it refuses the others as 429, with or without hints, or as 503, overloaded.",
    "*Brown-out*: 5 jobs a second for 200 s, a fifth of the requests are answered with 500, 502 or 503.",
    "",
    "*done*: jobs with an answer. *in time*: within their time to live. *possible done*: of the jobs whose time ends a second or",
    "more after the outage; *of the outage*: of those among them that came while it lasted. *calls in outage*: requests that arrived",
    "then. *beyond one timeout*: those above the jobs that came in the first 10 s of it. *queue empty*: from the end of the outage",
    "until all possible jobs are done that came before it; ∞ where one of them never is. *over the allowed*: that time against 20 s",
    "and 1.2 times the jobs of the outage over what the provider can do beyond the jobs that come. *kept in vain*: how long jobs",
    "without an answer went on after the last news of the provider in their time, 95th percentile. *over the least*: the calls",
    "against those that the jobs need by their luck, 1.25 for each on average. *wait*: of jobs with an answer, from submission to",
    "answer. Ours without the breaker shows what the breaker is worth; it is held to no goal."
  ].join("\n"),
  scenarios: [
    shortOutage("503"),
    shortOutage("refused"),
    ...kinds.map((kind) => longOutage(kind)),
    ...kinds.map(shortLived),
    ...kinds.map((kind) => longOutage(kind, minutes(2))),
    ...[10, 7].flatMap((capacity) =>
      (Object.keys(refusals) as ReadonlyArray<keyof typeof refusals>).map((name) => limited(capacity, name))
    ),
    brownOut
  ]
}
