import { setTimeout as sleep } from "node:timers/promises"
import { FastCheck as fc } from "effect"
import { assert, describe, it } from "vitest"
import * as Bucket from "../../bench/simulate/bucket.js"
import { seeded } from "../../bench/simulate/chance.js"
import { epoch, install } from "../../bench/simulate/globals.js"
import * as Metrics from "../../bench/simulate/metrics.js"
import { steadfast } from "../../bench/simulate/ours.js"
import { once } from "../../bench/simulate/peers/naive.js"
import * as Provider from "../../bench/simulate/provider.js"
import { table } from "../../bench/simulate/report.js"
import { type Outcome, type Plan, type Run, type Scenario, simulate } from "../../bench/simulate/scenario.js"
import { batch } from "../../bench/simulate/scenarios/batch.js"
import { keptInVain } from "../../bench/simulate/scenarios/goals.js"
import { headers } from "../../bench/simulate/scenarios/headers.js"
import { jobs } from "../../bench/simulate/scenarios/jobs.js"
import { drive, make, settled, type VirtualClock } from "../../bench/simulate/time.js"
import { promptOf } from "../../bench/simulate/wire.js"
import { arrivals } from "../../bench/simulate/workload.js"

/** Runs in virtual time, and gives the real one back. */
const virtually = async <A>(run: (clock: VirtualClock) => Promise<A>): Promise<A> => {
  const clock = make()
  const restore = install(clock, seeded("test"))
  try {
    return await run(clock)
  } finally {
    restore()
  }
}

describe("the virtual clock", () => {
  it("runs events in the order of their times, and of their making where those are the same", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 50 }), (delays) => {
        const clock = make()
        const ran: Array<readonly [number, number]> = []
        delays.forEach((delay, index) => {
          clock.schedule(delay, () => ran.push([clock.now(), index]))
        })
        while (clock.step()) {}
        const expected = delays
          .map((delay, index) => [delay, index] as const)
          .sort((a, b) => a[0] - b[0] || a[1] - b[1])
        assert.deepStrictEqual(ran, expected)
      })
    )
  })

  it("runs nothing that was cancelled, however many there are", () => {
    const clock = make()
    const ran: Array<number> = []
    const events = Array.from({ length: 2000 }, (_, index) => clock.schedule(2000 - index, () => ran.push(index)))
    for (const [index, event] of events.entries()) if (index % 100 !== 0) clock.cancel(event)
    while (clock.step()) {}
    assert.deepStrictEqual(
      ran,
      Array.from({ length: 20 }, (_, index) => 1900 - 100 * index)
    )
  })

  it("lets everything that an event settled happen before the next", async () => {
    const clock = make()
    const order: Array<string> = []
    clock.schedule(1, () => {
      void new Response("text").text().then(async (text) => {
        await Promise.resolve()
        order.push(text)
      })
    })
    clock.schedule(1.5, () => order.push("next"))
    await drive(clock, () => order.length === 2)
    assert.deepStrictEqual(order, ["text", "next"])
  })

  it("says so when nothing is left to happen", async () => {
    const error = await drive(make(), () => false).catch(String)
    assert.include(error, "nothing is left to happen")
  })
})

describe("the platform's time, replaced", () => {
  it("passes with the clock alone", () =>
    virtually(async (clock) => {
      const seen: Array<readonly [string, number, number]> = []
      const see = (what: string) => seen.push([what, Date.now() - epoch, performance.now()])
      setTimeout(see, 10.7, "timeout")
      const interval = setInterval(see, 4, "interval")
      setTimeout(() => clearInterval(interval), 9)
      const never = setTimeout(see, 5, "cleared")
      clearTimeout(never)
      await settled(clock, sleep(20))
      see("sleep")
      AbortSignal.timeout(5).addEventListener("abort", () => see("abort"))
      await settled(clock, sleep(5))
      assert.deepStrictEqual(seen, [
        ["interval", 4, 4],
        ["interval", 8, 8],
        ["timeout", 10, 10],
        ["sleep", 20, 20],
        ["abort", 25, 25]
      ])
      assert.strictEqual(new Date().toISOString(), "2026-01-01T00:00:00.025Z")
      assert.instanceOf(new Date(0), Date)
    }))

  it("is given back", async () => {
    const before = { setTimeout, Date, random: Math.random, hrtime: process.hrtime, now: performance.now }
    await virtually(async () => {
      assert.notStrictEqual(setTimeout, before.setTimeout)
    })
    assert.deepStrictEqual(
      { setTimeout, Date, random: Math.random, hrtime: process.hrtime, now: performance.now },
      before
    )
  })
})

describe("a bucket", () => {
  it("lets through what its limit allows and no more, and tells how long until it would", () => {
    const options = { limit: 5, windowMillis: 1000, burst: 3 }
    fc.assert(
      fc.property(fc.array(fc.nat(500), { minLength: 1, maxLength: 100 }), (gaps) => {
        const bucket = Bucket.make(options)
        const taken: Array<number> = []
        let now = 0
        for (const gap of gaps) {
          now += gap
          Bucket.refill(bucket, now)
          if (Bucket.holds(bucket, 1)) {
            Bucket.take(bucket, 1)
            taken.push(now)
          } else {
            const wait = Bucket.millisUntil(bucket, 1)
            Bucket.refill(bucket, now + wait)
            assert.isTrue(Bucket.holds(bucket, 1))
            now += wait
          }
        }
        taken.forEach((from, first) => {
          taken.slice(first).forEach((to, count) => {
            assert.isAtMost(count + 1, options.burst + (to - from) / 200 + 1e-6)
          })
        })
      })
    )
  })
})

// -----------------------------------------------------------------------------
// the provider
// -----------------------------------------------------------------------------

const baseUrl = "https://a.example/v1"
const url = `${baseUrl}/chat/completions`

const targetOf = (options: Partial<Provider.TargetOptions>): Provider.TargetOptions => ({
  name: "a",
  baseUrl,
  keys: ["key"],
  service: () => ({ firstToken: 100, total: 1000 }),
  ...options
})

interface Seen {
  readonly status: number
  readonly at: number
  readonly body: string
  readonly headers: Headers
}

const ask = async (
  { fetch }: Provider.Provider,
  job: number,
  init: { readonly signal?: AbortSignal; readonly key?: string; readonly stream?: boolean } = {}
): Promise<Seen> => {
  const content = promptOf(job, 40)
  const response = await fetch(url, {
    method: "POST",
    headers: { Authorization: `Bearer ${init.key ?? "key"}` },
    body: JSON.stringify({ messages: [{ role: "user", content }], max_tokens: 90, stream: init.stream === true }),
    ...(init.signal && { signal: init.signal })
  })
  const body = await response.text()
  return { status: response.status, at: performance.now(), body, headers: response.headers }
}

const outcome = (answer: Promise<Seen>): Promise<unknown> => answer.catch((error: unknown) => error)

describe("the provider", () => {
  it("works on as many requests at a time as it has slots, first in first out", () =>
    virtually(async (clock) => {
      const provider = Provider.make(clock, [targetOf({ slots: 2 })], 1)
      const answers = await settled(clock, Promise.all([0, 1, 2, 3, 4].map((job) => ask(provider, job))))
      assert.deepStrictEqual(
        answers.map(({ at, status }) => [status, at]),
        [1000, 1000, 2000, 2000, 3000].map((at) => [200, at])
      )
      assert.isTrue(provider.log.every(Provider.isDelivered))
    }))

  for (const noticesHangUp of [true, false]) {
    it(`${noticesHangUp ? "frees" : "keeps"} the slot of a client that it ${noticesHangUp ? "sees" : "does not see"} leave`, () =>
      virtually(async (clock) => {
        const provider = Provider.make(clock, [targetOf({ slots: 1, noticesHangUp })], 1)
        const gone = ["in its slot", "in the queue"].map((_, job) =>
          outcome(ask(provider, job, { signal: AbortSignal.timeout(500) }))
        )
        const stayed = await settled(clock, ask(provider, 2))
        assert.strictEqual(stayed.at, noticesHangUp ? 1500 : 3000)
        for (const error of await Promise.all(gone)) assert.propertyVal(error, "name", "TimeoutError")
        assert.deepStrictEqual(
          provider.log.map(({ cancelledAt }) => cancelledAt),
          [500, 500, Number.NaN]
        )
        assert.deepStrictEqual(provider.log.map(Provider.isDelivered), [false, false, true])
      }))
  }

  it("starts nothing in a black hole, and serves what waited when it is over", () =>
    virtually(async (clock) => {
      const faults = [{ kind: "black hole", from: 0, to: 5000 }] as const
      const provider = Provider.make(clock, [targetOf({ slots: 1, faults })], 1)
      const [gone, stayed] = [ask(provider, 0, { signal: AbortSignal.timeout(4000) }), ask(provider, 1)].map(outcome)
      assert.propertyVal(await settled(clock, gone), "name", "TimeoutError")
      assert.propertyVal(await settled(clock, stayed), "at", 6000)
    }))

  it("refuses a connection as fetch does", () =>
    virtually(async (clock) => {
      const provider = Provider.make(clock, [targetOf({ faults: [{ kind: "refused", from: 0, to: 1 }] })], 1)
      const error = await settled(clock, outcome(ask(provider, 0)))
      assert.instanceOf(error, TypeError)
      assert.nestedPropertyVal(error, "cause.code", "ECONNREFUSED")
    }))

  it("knows its keys, and those that are dead for a while", () =>
    virtually(async (clock) => {
      const faults = [{ kind: "no credit", keys: ["poor"], from: 0, to: 60 }] as const
      const provider = Provider.make(clock, [targetOf({ keys: ["key", "poor"], faults })], 1)
      const answers = [
        await settled(clock, ask(provider, 0, { key: "unknown" })),
        await settled(clock, ask(provider, 1, { key: "poor" })),
        await settled(clock, ask(provider, 2, { key: "poor" }))
      ]
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [401, 429, 200]
      )
      assert.include(answers[1]?.body, "insufficient_quota")
    }))

  for (const hints of [true, false]) {
    it(`says ${hints ? "when to come back" : "nothing about time"} where ${hints ? "it gives hints" : "it gives none"}`, () =>
      virtually(async (clock) => {
        const requests = { limit: 2, windowMillis: 1000, burst: 1 }
        const provider = Provider.make(clock, [targetOf({ limits: { requests, countRefused: false, hints } })], 1)
        const [first, second] = await settled(clock, Promise.all([ask(provider, 0), ask(provider, 1)]))
        assert.deepStrictEqual([first.status, second.status], [200, 429])
        const told = ["retry-after-ms", "retry-after", "x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"]
        assert.deepStrictEqual(
          told.map((name) => second.headers.get(name)),
          hints ? ["500", "1", "120", "0"] : [null, null, null, null]
        )
        assert.strictEqual(second.body.includes("try again in"), hints)
      }))
  }

  for (const [reset, expected] of [
    ["full", "1000ms"],
    ["place", "0.5s"],
    ["place in whole seconds", "1"]
  ] as const) {
    it(`tells as reset the time until it is ${reset}, and refuses as overloaded where it does so`, () =>
      virtually(async (clock) => {
        const requests = { limit: 2, windowMillis: 1000, burst: 2 }
        const limits = { requests, countRefused: false, hints: true, ownWindow: true, overloads: true, reset }
        const provider = Provider.make(clock, [targetOf({ limits })], 1)
        await settled(clock, Promise.all([0, 1].map((job) => ask(provider, job))))
        // The first two took the places that one second brings back.
        const answers = await settled(clock, Promise.all([2, 3, 4].map((job) => ask(provider, job))))
        assert.deepStrictEqual(
          answers.map(({ status }) => status),
          [200, 200, 503]
        )
        assert.strictEqual(answers[1]?.headers.get("x-ratelimit-limit-requests"), "2")
        assert.strictEqual(answers[1]?.headers.get("x-ratelimit-reset-requests"), expected)
      }))
  }

  it("counts refused requests against the limit where it does so", () =>
    virtually(async (clock) => {
      const requests = { limit: 1, windowMillis: 1000, burst: 1 }
      const limits = (countRefused: boolean) => ({ requests, countRefused, hints: true })
      const waits: Array<string | null> = []
      for (const countRefused of [false, true]) {
        const provider = Provider.make(clock, [targetOf({ limits: limits(countRefused) })], 1)
        const answers = await settled(clock, Promise.all([0, 1, 2].map((job) => ask(provider, job))))
        waits.push(answers[2]?.headers.get("retry-after-ms") ?? null)
      }
      assert.deepStrictEqual(waits, ["1000", "2000"])
    }))

  it("sets tokens aside as OpenAI does: the prompt's and all that the answer may have", () =>
    virtually(async (clock) => {
      const tokens = { limit: 60_000, windowMillis: 60_000, burst: 200 }
      const provider = Provider.make(clock, [targetOf({ limits: { tokens, countRefused: false, hints: true } })], 1)
      const answers = await settled(clock, Promise.all([0, 1, 2].map((job) => ask(provider, job))))
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [200, 200, 429]
      )
      assert.include(answers[2]?.body, '"type":"tokens"')
      assert.isTrue(provider.log.every(({ reserved }) => reserved === 100))
    }))

  it("streams: the first token when it is due, and then the rest", () =>
    virtually(async (clock) => {
      const provider = Provider.make(clock, [targetOf({})], 1)
      const { at, body } = await settled(clock, ask(provider, 7, { stream: true }))
      assert.strictEqual(at, 1000)
      assert.strictEqual(provider.log[0]?.firstTokenAt, 100)
      assert.isTrue(body.endsWith("data: [DONE]\n\n"))
    }))

  it("breaks a stream that is hung up on", () =>
    virtually(async (clock) => {
      const provider = Provider.make(clock, [targetOf({})], 1)
      const signal = AbortSignal.timeout(500)
      const error = await settled(clock, outcome(ask(provider, 7, { stream: true, signal })))
      assert.propertyVal(error, "name", "TimeoutError")
      assert.propertyVal(provider.log[0], "cancelledAt", 500)
      assert.isFalse(provider.log.some(Provider.isDelivered))
    }))
})

// -----------------------------------------------------------------------------
// whole runs
// -----------------------------------------------------------------------------

const plan: Plan = {
  targets: [
    targetOf({
      service: (random) => ({ firstToken: 100 * random(), total: 1500 * random() }),
      slots: 4,
      faults: [{ kind: "failing", p: 0.1, statuses: [500, 502, 503], after: 100, from: 0, to: 30_000 }]
    })
  ],
  setup: { attemptTimeoutMillis: 2000, deadlineMillis: 20_000 },
  workload: { kind: "open", rate: 3, millis: 10_000 },
  horizonMillis: 60_000
}

const runOnce = (streaming: boolean, seed = 1): Promise<Run> =>
  virtually(async (clock) => {
    const run = await simulate({ clock, policy: steadfast, seed }, { ...plan, jobs: { streaming } })
    assert.isDefined(run)
    return run
  })

describe("a run", () => {
  for (const streaming of [false, true]) {
    it(`is the same each time, and answers most jobs: ${streaming ? "streams" : "whole answers"}`, async () => {
      const [one, two, other] = [await runOnce(streaming), await runOnce(streaming), await runOnce(streaming, 2)]
      assert.deepStrictEqual(one.log, two.log)
      assert.deepStrictEqual(one.jobs, two.jobs)
      assert.notDeepEqual(one.log, other.log)
      assert.isAbove(Metrics.donePercent(one.jobs), 80)
      assert.isAbove(one.log.length, one.jobs.length)
    })
  }

  it("fails where a client has answers that nobody sent", async () => {
    const liar = { ...steadfast, name: "liar", make: () => ({ call: () => Promise.resolve() }) }
    const error = await virtually((clock) => simulate({ clock, policy: liar, seed: 1 }, plan)).catch(String)
    assert.include(error, "liar: job 0 has an answer that was not sent")
  })

  it("gives every policy the same jobs at the same times", () => {
    const times = arrivals(5, 100_000, 3)
    assert.deepStrictEqual(times, arrivals(5, 100_000, 3))
    assert.closeTo(times.length, 500, 80)
  })
})

describe("recovery", () => {
  const job = (submittedAt: number, wait: number) => ({ id: 0, submittedAt, endedAt: submittedAt + wait, ok: true })
  const jobs = Array.from({ length: 100 }, (_, index) => job(1000 * index, index < 42 ? 9000 : 900))

  it("is the first second from which ten seconds of jobs are answered in time", () => {
    const recovered = Metrics.recovery(30_000, 1000)
    assert.isUndefined(recovered(jobs, 51_000))
    assert.strictEqual(recovered(jobs, 70_000), 12_000)
  })

  it("does not judge jobs before they had the time", () => {
    assert.isUndefined(Metrics.recovery(42_000, 1000)(jobs, 53_999))
    assert.strictEqual(Metrics.recovery(42_000, 1000)(jobs, 54_000), 0)
  })
})

// -----------------------------------------------------------------------------
// jobs
// -----------------------------------------------------------------------------

describe("scenarios about jobs", () => {
  const find = (id: string): Scenario => {
    const scenario = jobs.scenarios.find((one) => one.id === id)
    assert.isDefined(scenario)
    return scenario
  }
  const metricsOf = async (id: string, policy = steadfast): Promise<Outcome["metrics"]> => {
    const outcome = await virtually((clock) => find(id).run({ clock, policy, seed: 1 }))
    assert.isDefined(outcome)
    return outcome.metrics
  }

  it("say first which jobs are done, and which in time", () => {
    for (const { id, metrics } of [jobs, batch, headers].flatMap(({ scenarios }) => scenarios)) {
      assert.deepStrictEqual(
        metrics.slice(0, 2).map(({ name }) => name),
        ["done", "done in time"],
        id
      )
    }
  })

  it("have a number for each metric and for each goal", async () => {
    const id = "jobs/a minute · refused · 30 s to live"
    const found = await metricsOf(id)
    const { goals, metrics } = find(id)
    for (const { name } of metrics) assert.isFalse(Number.isNaN(found[name] ?? Number.NaN), name)
    for (const { metric } of goals) assert.include(Object.keys(found), metric)
  })

  it("find that a client without retries loses the jobs of the outage, and print the goals that it misses", async () => {
    const id = "jobs/10 s · 503"
    const found = await metricsOf(id, once)
    const come = arrivals(10, 60_000, 1)
    const lost = come.filter((at) => at >= 20_000 && at < 30_000).length
    assert.strictEqual(found["calls in outage"], lost)
    assert.closeTo(found.done ?? Number.NaN, 100 * (1 - lost / come.length), 1e-9)
    assert.strictEqual(found["of the outage"], 0)
    assert.strictEqual(found["queue empty"], Number.POSITIVE_INFINITY)
    assert.include(
      table(find(id), [{ policy: once, outcomes: [{ metrics: found }], errors: [] }]),
      "misses done, done in time, calls in outage, calls per answer, queue empty"
    )
  })

  it("know how long a job was kept that could not be done any more", () => {
    const arrival = (at: number): Provider.Arrival => ({
      at,
      target: 0,
      key: 0,
      job: 0,
      status: 503,
      admitted: false,
      startedAt: Number.NaN,
      endedAt: Number.NaN,
      firstTokenAt: Number.NaN,
      cancelledAt: Number.NaN,
      reserved: 0,
      tokens: 0
    })
    const log = [arrival(0), arrival(7970), arrival(40_000)]
    const failed = (endedAt: number) => ({ jobs: [{ id: 0, submittedAt: 1000, endedAt, ok: false }], log })
    assert.strictEqual(keptInVain(failed(8000), 30_000), 0)
    assert.strictEqual(keptInVain(failed(31_000), 30_000), 23_000)
    assert.strictEqual(keptInVain({ jobs: [], log }, 30_000), 0)
  })
})
