/** A batch against a rate limit. */
import * as Metrics from "../metrics.js"
import type { LimitOptions } from "../provider.js"
import { type Goal, type Group, type Metric, type Plan, type Run, type Scenario, simulate } from "../scenario.js"
import { waitOf } from "../workload.js"
import { answering, everybody, minutes, onlyOurs, target } from "./support.js"

const workers = 100
const jobs = 1000
const horizonMillis = minutes(60)
const requests = { limit: 5, windowMillis: 1000, burst: 5 }
/** A job sets aside 155 on average, so this limit binds at 2.2 requests a second. */
const tokens = { limit: 20_000, windowMillis: 60_000, burst: 20_000 }

const metrics: ReadonlyArray<Metric> = [
  { name: "done", unit: "%", digits: 1 },
  { name: "done in time", unit: "%", digits: 1 },
  { name: "calls per answer", unit: "", digits: 2 },
  { name: "limit used", unit: "%" },
  { name: "used while fed", unit: "%" },
  { name: "median wait", unit: "s" },
  { name: "longest wait", unit: "s" },
  { name: "longest over median", unit: "", digits: 2 },
  { name: "makespan", unit: "s" }
]

interface Variant {
  readonly hints: boolean
  readonly countRefused: boolean
  readonly known: boolean
  readonly binding: "requests" | "tokens"
  /** Whether headers tell five, the number of a second, and not the three hundred of a minute. */
  readonly ownWindow?: boolean
}

/** What was let through, over what could have been: the burst, and what the limit refills until then. */
const used = ({ log }: Run, { binding }: Variant, until: number): number => {
  const admitted = log.filter((arrival) => arrival.admitted && arrival.at <= until)
  const spent = binding === "requests" ? admitted.length : admitted.reduce((sum, { reserved }) => sum + reserved, 0)
  const { burst, limit, windowMillis } = binding === "requests" ? requests : tokens
  return Metrics.percent(spent, burst + (limit * until) / windowMillis)
}

const plan = ({ binding, countRefused, hints, known, ownWindow = false }: Variant): Plan => {
  const limits: Pick<LimitOptions, "requests" | "tokens"> =
    binding === "requests" ? { requests } : { requests: { ...requests, limit: 50, burst: 50 }, tokens }
  return {
    targets: [target("a", { service: answering(800), limits: { ...limits, countRefused, hints, ownWindow } })],
    setup: { attemptTimeoutMillis: minutes(1), patient: true, limits: known ? limits : undefined },
    workload: { kind: "closed", workers, jobs },
    horizonMillis
  }
}

const run =
  (variant: Variant): Scenario["run"] =>
  async (world) => {
    const run = await simulate(world, plan(variant))
    if (run === undefined) return undefined
    const waits = Metrics.waits(run.jobs).map((millis) => millis / 1000)
    const answered = run.jobs.map((job) => (job.ok ? waitOf(job) / 1000 : Number.POSITIVE_INFINITY))
    const makespan = Math.max(...run.jobs.map(({ endedAt }) => (Number.isNaN(endedAt) ? horizonMillis : endedAt)))
    const admissions = run.log.filter((arrival) => arrival.admitted).map(({ at }) => at)
    const until = waits.length === jobs ? Math.max(...admissions) : makespan
    const lastSubmission = Math.max(...run.jobs.map(({ submittedAt }) => submittedAt))
    return {
      metrics: {
        done: Metrics.percent(waits.length, jobs),
        "done in time": Metrics.percent(waits.filter((wait) => 1000 * wait <= horizonMillis).length, jobs),
        "calls per answer": Metrics.callsPerAnswer(run.log),
        "limit used": used(run, variant, until),
        "used while fed": used(run, variant, lastSubmission),
        "median wait": Metrics.median(waits),
        "longest wait": Math.max(...waits),
        "longest over median": Math.max(...waits) / Metrics.median(waits),
        makespan: makespan / 1000
      },
      series: { waits: Array.from({ length: 101 }, (_, index) => Metrics.quantile(answered, index / 100)) }
    }
  }

const goals = ({ known, ownWindow }: Variant): ReadonlyArray<Goal> => [
  { metric: "done", is: ">=", value: 100, each: true },
  { metric: "calls per answer", is: "<=", value: known ? 1.02 : 1.25 },
  ...(known ? [{ metric: "used while fed", is: ">=", value: 97 } as const] : []),
  // Five a second that are taken for five a minute would be 2 %.
  ...(ownWindow ? [{ metric: "used while fed", is: ">=", value: 90 } as const] : []),
  // A fair queue makes everybody wait alike.
  { metric: "longest over median", is: "<=", value: 1.5 }
]

const scenario = (variant: Variant): Scenario => ({
  id: `limits/${[
    variant.known ? "known" : "unknown",
    variant.hints ? "hints" : "no hints",
    variant.countRefused ? "refused count" : "refused free",
    ...(variant.binding === "tokens" ? ["tokens bind"] : []),
    ...(variant.ownWindow ? ["told by the second"] : [])
  ].join(" · ")}`,
  metrics,
  goals: goals(variant),
  // The others take no limits from their caller or from headers: they run where the limit is unknown.
  takesPart: variant.known || variant.ownWindow ? onlyOurs : everybody,
  peerSeeds: 2,
  run: run(variant)
})

const yesAndNo = [true, false] as const

export const limits: Group = {
  name: "limits",
  title: "A batch against a rate limit",
  about: [
    `${jobs} jobs, ${workers} workers that take them from one list (a closed loop), one key with 5 requests a second and a burst of 5;`,
    "answers take 0.8 s. The client may know the limit or not (only ours can be told it); the server gives hints (`retry-after-ms`,",
    "`retry-after`, `x-ratelimit-*`, the time in the message) or none; what it refuses counts against the limit or not. OpenAI says that",
    "it counts, *so continuously resending a request won't work*. Where tokens bind, the limit is 20,000 tokens a minute, and a job",
    "sets aside 155 on average. Headers tell the limit of a minute, as OpenAI's do; *told by the second*: they tell 5, the limit of a",
    "second, and the client must find out that it is not 5 a minute.",
    "",
    "*done*: jobs with an answer, *in time*: within the hour that is simulated. *calls per answer*: requests that arrived, over answers",
    "delivered. *limit used*: what was let",
    "through until the last job was (or until the last was over, where some failed), against the burst and what the limit refills in",
    "that time. *used while fed*: the same until the last job was taken from the list; after that a closed loop has ever fewer clients,",
    "and a long backoff leaves the limit unused. *wait*: from submission to answer. *makespan*: until the last job is over."
  ].join("\n"),
  scenarios: [
    ...yesAndNo.flatMap((known) =>
      yesAndNo.flatMap((hints) =>
        yesAndNo.map((countRefused) => scenario({ known, hints, countRefused, binding: "requests" }))
      )
    ),
    ...yesAndNo.map((known) => scenario({ known, hints: true, countRefused: true, binding: "tokens" })),
    scenario({ known: false, hints: true, countRefused: true, binding: "requests", ownWindow: true })
  ]
}
