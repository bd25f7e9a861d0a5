import { existsSync } from "node:fs"
import * as HttpServer from "@effect/platform/HttpServer"
import { describe, it } from "@effect/vitest"
import { Chunk, Clock, Deferred, Duration, Effect, Exit, Fiber, Layer, Redacted, Scope, TestClock } from "effect"
import { type CallRecord, CircuitBreaker, KeyPool, LlmError, Pacer, RetryBudget } from "effect-steadfast"
import { Degradation, Evaluation } from "effect-steadfast/observability"
import { chromium } from "playwright-core"
import { assert } from "vitest"
import * as DashboardLive from "../../src/observability/DashboardLive.js"
import * as DashboardServer from "../../src/observability/DashboardServer.js"
import { database, scripted } from "./Dashboard.support.js"

const broken = new LlmError.ServerError({ provider: "openai", message: "broken", status: 503, delivery: "unknown" })

const key = "openai https://api.openai.com/v1 gpt #0a1b2c3d"

/** Three failures open a circuit. */
const opened = (breaker: CircuitBreaker.CircuitBreaker, key: string) =>
  Effect.replicateEffect(Effect.exit(breaker.execute(Effect.fail(broken), { key })), 3, { discard: true })

type Known = Extract<DashboardLive.Live, { readonly known: true }>

const known = (live: DashboardLive.Live): Known => {
  assert(live.known)
  return live
}

describe("the live state", () => {
  it.effect("is not known where nobody gave it", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* DashboardLive.unknown, { known: false })
    })
  )

  it.scoped("tells a circuit from closed to open, half-open and back, with the time to the next probe", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ openDuration: { initial: "10 seconds", max: "1 minute" } })
      const live = Effect.map(yield* DashboardLive.make({ breakers: [breaker] }), known)
      yield* breaker.execute(Effect.void, { key: "calm" })
      yield* opened(breaker, "down")
      const [down, calm] = (yield* live).circuits
      assert.deepStrictEqual(calm, { key: "calm", state: "Closed" })
      assert.include(down, { key: "down", state: "Open", reason: "Unhealthy", error: "ServerError", openings: 1 })
      const left = down?.probeInMillis ?? 0
      assert(left > 7_000 && left <= 10_000)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* live).circuits[0]?.probeInMillis, left - 3_000)
      yield* TestClock.adjust("7 seconds")
      const end = yield* Deferred.make<void>()
      const probe = yield* Effect.fork(breaker.execute(Deferred.await(end), { key: "down" }))
      yield* Effect.yieldNow()
      const halfOpen = (yield* live).circuits[0]
      assert.include(halfOpen, { key: "down", state: "HalfOpen" })
      assert.strictEqual(halfOpen?.probes?.[0], 1)
      yield* Deferred.succeed(end, undefined)
      yield* Fiber.join(probe)
      yield* breaker.open("by hand")
      const all = yield* live
      assert.isNull(all.circuits.find(({ key }) => key === "by hand")?.probeInMillis)
      // The newest first, and what came after the first look is there too.
      assert.deepStrictEqual(
        all.moved
          .filter(({ key }) => key === "down")
          .map(({ from, to }) => `${from} ${to}`)
          .slice(-2),
        ["Open HalfOpen", "Closed Open"]
      )
      assert.isTrue(all.has.breakers)
      assert.isFalse(all.has.pacers)
    })
  )

  it.scoped("tells queues with their limits, keys by their names, and the budgets of its context", () =>
    Effect.gen(function* () {
      const pacer = yield* Pacer.make({ requests: { limit: 2, window: "1 minute" } })
      const secrets = ["sk-first-secret", "sk-second-secret"]
      const pool = yield* KeyPool.make({ keys: secrets.map((secret) => Redacted.make(secret)) })
      yield* opened(pool.circuits, pool.keys[1]?.name ?? "")
      const clock = yield* Clock.clockWith(Effect.succeed)
      const budget = (yield* RetryBudget.RetryBudgets).of("openai", clock)
      budget.draw(0)
      const live = Effect.map(yield* DashboardLive.make({ pacers: [pacer], pools: { main: pool } }), known)
      const waiting = yield* Effect.replicateEffect(Effect.fork(pacer.pace(Effect.never, { key })), 3)
      yield* Effect.yieldNow()
      const found = yield* live
      assert.include(found.queues[0], { key, waiting: 1, inFlight: 2 })
      assert.deepInclude(found.queues[0]?.limits[0], { of: "requests", limit: 2, source: "config" })
      assert.deepStrictEqual(
        found.keys.map(({ circuit, pool }) => [pool, circuit.key, circuit.state]),
        [
          ["main", pool.keys[0]?.name, "Closed"],
          ["main", pool.keys[1]?.name, "Open"]
        ]
      )
      assert.deepStrictEqual(found.budgets, [{ group: "openai", left: 3 }])
      for (const secret of secrets) assert.notInclude(JSON.stringify(found), secret)
      yield* Fiber.interruptAll(waiting)
    }).pipe(Effect.provide(RetryBudget.layer({ cap: 4 })))
  )

  it.scoped("keeps the last thirty changes, and ends with its scope", () =>
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make()
      const scope = yield* Scope.make()
      const live = Effect.map(yield* Scope.extend(DashboardLive.make({ breakers: [breaker] }), scope), known)
      const toggled = Effect.forEach(Chunk.range(1, 20), () => Effect.zip(breaker.open("a"), breaker.reset("a")))
      yield* toggled
      yield* TestClock.adjust(Duration.millis(1))
      const { moved } = yield* live
      assert.strictEqual(moved.length, 30)
      assert.include(moved[0], { from: "Open", to: "Closed" })
      yield* Scope.close(scope, Exit.void)
      yield* breaker.open("b")
      yield* TestClock.adjust(Duration.millis(1))
      assert.notInclude(
        (yield* live).moved.map(({ key }) => key),
        "b"
      )
    })
  )

  it.scoped("tells the alarms that stand, those that are over, and what the judge did not judge", () =>
    Effect.gen(function* () {
      const watch = yield* Degradation.make({ window: "10 seconds", minimum: 1, raiseAfter: 0, clearAfter: 0 })
      const evaluation = yield* Evaluation.make({ judge: () => Effect.fail(broken) })
      const live = Effect.map(yield* DashboardLive.make({ degradation: watch, evaluation }), known)
      yield* Effect.forEach([true, true], () => watch.observe(rescued))
      yield* TestClock.adjust("2 seconds")
      const [one] = (yield* live).watched
      assert.include(one, { target: "openai/gpt", degraded: true, kind: "new" })
      assert.include(one?.advice, "openai/gpt")
      yield* TestClock.adjust("30 seconds")
      const over = yield* live
      assert.deepStrictEqual(
        over.changes.map(({ _tag }) => _tag),
        ["Cleared", "Raised"]
      )
      assert.deepStrictEqual(over.unjudged, { dropped: 0, failed: 0 })
    })
  )
})

const attempt = { provider: "openai", model: "gpt", startedAt: 0, durationMillis: 10 }

/** A call whose second attempt answered. */
const rescued: CallRecord.CallRecord = {
  ...{ id: "x", name: "answer", operation: "chat", startedAt: 0, durationMillis: 20, outcome: "success" },
  attempts: [
    { ...attempt, index: 1, outcome: "failure", error: broken },
    { ...attempt, index: 2, outcome: "success" }
  ]
}

const executablePath = "/usr/bin/chromium"
const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

describe.skipIf(!existsSync(executablePath))("the live state in a browser", () => {
  it.scopedLive(
    "shows an open circuit, its end, a queue, a key by its name alone, and the alarm that stands",
    () =>
      Effect.gen(function* () {
        yield* scripted
        const breaker = yield* CircuitBreaker.make({ openDuration: { initial: "1 minute", max: "1 minute" } })
        const pacer = yield* Pacer.make({ requests: { limit: 1, window: "1 hour" } })
        const pool = yield* KeyPool.make({ keys: [Redacted.make("sk-very-secret-key")] })
        const watch = yield* Degradation.make({ window: "1 minute", minimum: 1, raiseAfter: 0 })
        yield* opened(breaker, key)
        yield* Effect.replicateEffect(Effect.forkScoped(pacer.pace(Effect.never, { key })), 2)
        yield* watch.observe(rescued)
        const live = { breakers: [breaker], pacers: [pacer], pools: { main: pool }, degradation: watch }
        const context = yield* Layer.build(DashboardServer.layer({ port: 0, live }))
        const base = yield* Effect.provide(HttpServer.addressFormattedWith(Effect.succeed), context)
        const browser = yield* Effect.acquireRelease(
          Effect.promise(() => chromium.launch({ executablePath, args })),
          (browser) => Effect.promise(() => browser.close())
        )
        yield* Effect.promise(async () => {
          const page = await browser.newPage({ viewport: { width: 390, height: 844 } })
          await page.goto(base)
          const row = page.locator(".now tbody tr")
          await row.waitFor()
          const text = (await row.textContent()) ?? ""
          assert.include(text, "openai/gpt")
          assert.include(text, "open")
          assert.match(text, /next probe in (?:\d+ s|1 min 0 s)/)
          assert.include(text, "1 waiting")
          assert.include(text, "0 of 1 requests / h")
          const alarm = page.locator(".alarms li")
          await alarm.waitFor()
          assert.include(await alarm.textContent(), "openai/gpt")
          assert.include(await page.locator(".watch").textContent(), "1 alarm stands")
          assert.notInclude(await page.content(), "very-secret")
          assert.strictEqual(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0)
        })
        yield* breaker.reset(key)
        yield* Effect.promise(async () => {
          const page = browser.contexts()[0]?.pages()[0]
          await page?.locator(".now .state.Closed").waitFor()
          assert.include(await page?.locator(".moves").first().textContent(), "open → closed")
        })
      }).pipe(Effect.provide(database)),
    60_000
  )
})
