/** What a scenario is, and how one is run: a provider, a client, jobs, and time that passes until they are done. */
import { seeded } from "./chance.js"
import type { Client, Policy, Setup } from "./contract.js"
import * as Provider from "./provider.js"
import { drive, settled, type VirtualClock } from "./time.js"
import * as Workload from "./workload.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

export interface Metric {
  readonly name: string
  readonly unit: string
  /** Decimals in tables. Default 0. */
  readonly digits?: number
}

/** What a number should be. Of several seeds, the median is meant, or with `each` every one. */
export interface Goal {
  readonly metric: string
  readonly is: "<=" | ">="
  readonly value: number
  readonly each?: boolean
}

/** What one run gave: a number for each metric, `NaN` where there is none, and lines for the plots. */
export interface Outcome {
  readonly metrics: Readonly<Record<string, number>>
  readonly series?: Readonly<Record<string, ReadonlyArray<number>>>
}

export interface World {
  readonly clock: VirtualClock
  readonly policy: Policy
  readonly seed: number
}

export interface Scenario {
  /** `group/variant`. */
  readonly id: string
  readonly metrics: ReadonlyArray<Metric>
  readonly goals: ReadonlyArray<Goal>
  /** Which policies take part. */
  readonly takesPart: (policy: Policy) => boolean
  /** How many seeds a policy runs that is not ours; ours runs all. */
  readonly peerSeeds: number
  /** `undefined` for a policy whose client lacks what it takes. */
  readonly run: (world: World) => Promise<Outcome | undefined>
}

/** Scenarios that are read together: one section of the report. */
export interface Group {
  readonly name: string
  readonly title: string
  /** What is simulated, and how its numbers are measured, in Markdown. */
  readonly about: string
  readonly scenarios: ReadonlyArray<Scenario>
}

// -----------------------------------------------------------------------------
// one run
// -----------------------------------------------------------------------------

export interface Plan {
  readonly targets: readonly [Provider.TargetOptions, ...ReadonlyArray<Provider.TargetOptions>]
  readonly setup: Pick<Setup, "attemptTimeoutMillis" | "deadlineMillis" | "limits" | "patient">
  readonly workload: Workload.Workload
  readonly jobs?: Omit<Workload.JobOptions, "seed">
  /** Whatever is not done by then stays so. */
  readonly horizonMillis: number
  /** Asked each virtual second: whether nothing more is to be learnt. */
  readonly enough?: (run: Run, now: number) => boolean
}

export interface Run {
  readonly jobs: ReadonlyArray<Workload.JobRecord>
  readonly log: ReadonlyArray<Provider.Arrival>
}

/** The fake provider of a plan, and a client of the policy for it. */
export const connect = async (
  { clock, policy, seed }: World,
  plan: Pick<Plan, "targets" | "setup">
): Promise<{ readonly provider: Provider.Provider; readonly client: Client }> => {
  clock.reset()
  const [first, ...rest] = plan.targets
  const provider = Provider.make(clock, plan.targets, seed)
  const setup: Setup = {
    fetch: provider.fetch,
    targets: [first, ...rest],
    random: seeded("client", seed),
    seed,
    ...plan.setup
  }
  return { provider, client: await settled(clock, policy.make(setup)) }
}

/** A client that says it has an answer which nobody sent would make every number about it worthless. */
const checkAnswers = (policy: Policy, { jobs, log }: Run): void => {
  const delivered = new Set(log.filter(Provider.isDelivered).map(({ job }) => job))
  for (const job of jobs) {
    if (job.ok && !delivered.has(job.id))
      throw new Error(`${policy.name}: job ${job.id} has an answer that was not sent`)
  }
}

/** Runs the plan; `undefined` where the jobs are streams and the client has none. */
export const simulate = async (world: World, plan: Plan): Promise<Run | undefined> => {
  const { clock, policy, seed } = world
  const { client, provider } = await connect(world, plan)
  if (plan.jobs?.streaming === true && client.stream === undefined) return undefined
  const running = Workload.start(clock, client, plan.workload, { ...plan.jobs, seed })
  const run: Run = { jobs: running.jobs, log: provider.log }
  let over = false
  clock.schedule(plan.horizonMillis, () => {
    over = true
  })
  const { enough } = plan
  if (enough !== undefined) {
    const ask = (): void => {
      over ||= enough(run, clock.now())
      clock.schedule(1000, ask)
    }
    clock.schedule(1000, ask)
  }
  await drive(clock, () => over || running.done())
  checkAnswers(policy, run)
  running.stop()
  await settled(clock, client.close?.())
  return run
}
