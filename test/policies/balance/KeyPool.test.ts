import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Duration, Effect, Exit, Redacted, TestClock } from "effect"
import { LlmError } from "effect-steadfast"
import * as KeyHealth from "../../../src/policies/balance/KeyHealth.js"
import * as KeyPool from "../../../src/policies/balance/KeyPool.js"
import * as CircuitBreaker from "../../../src/policies/circuit/CircuitBreaker.js"
import * as Deadline from "../../../src/policies/Deadline.js"
import * as Store from "../../../src/policies/Store.js"
import { errorOf, hinted } from "../../support/errors.js"
import { remoteStore } from "../circuit/CircuitBreaker.support.js"

const secrets = ["sk-alpha-1234567890", "sk-beta-1234567890", "sk-gamma-1234567890"]
const make = (options: Partial<KeyPool.Options> = {}) =>
  KeyPool.make({ keys: secrets.map((secret) => Redacted.make(secret)), ...options })

const now = Effect.clockWith((clock) => clock.currentTimeMillis)
const ok = Exit.succeed("an answer")

const admit = (view: KeyPool.View, index: number) => view.admit(index)

/** Makes one attempt with a key, which takes as long as it says, and ends so. */
const attempt = (
  view: KeyPool.View,
  index: number,
  exit: Exit.Exit<unknown, unknown>,
  options: { readonly millis?: number; readonly within?: Deadline.Limit } = {}
) =>
  Effect.gen(function* () {
    const admission = yield* admit(view, index)
    const startedAt = yield* now
    yield* TestClock.adjust(Duration.millis(options.millis ?? 0))
    yield* view.end({ index, admission, exit, within: options.within ?? Deadline.none, startedAt, now: yield* now })
  })

const failing = (tag: LlmError.Tag, fields: Partial<LlmError.Fields> = {}) => Exit.fail(errorOf(tag, fields))

/** How long from now until a key takes traffic. */
const wait = (view: KeyPool.View, index: number) => Effect.map(now, (at) => Math.max(0, view.readyAt(index) - at))

describe("keys", () => {
  it.effect("are read from where they are, with their weights", () =>
    Effect.gen(function* () {
      const pool = yield* KeyPool.make({
        keys: [Redacted.make("one"), Config.redacted("KEY_B"), { apiKey: Config.redacted("KEY_C"), weight: 3 }]
      }).pipe(
        Effect.withConfigProvider(
          ConfigProvider.fromMap(
            new Map([
              ["KEY_B", "two"],
              ["KEY_C", "three"]
            ])
          )
        )
      )
      assert.deepStrictEqual(
        pool.keys.map(({ apiKey, weight }) => [Redacted.value(apiKey), weight]),
        [
          ["one", 1],
          ["two", 1],
          ["three", 3]
        ]
      )
      assert.deepStrictEqual(
        pool.balancer.members.map(({ name, weight }) => [name, weight]),
        pool.keys.map(({ name, weight }) => [name, weight])
      )
    })
  )

  it.effect("that are not configured are told of", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(KeyPool.make({ keys: [Redacted.make("one"), Config.redacted("KEY_B")] }))
      assert.include(String(error), "KEY_B")
    }).pipe(Effect.withConfigProvider(ConfigProvider.fromMap(new Map())))
  )

  it.effect("are there once", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(make({ keys: [...secrets, secrets[1] ?? ""].map((key) => Redacted.make(key)) }))
      assert.include(String(error), `found the key ${KeyPool.nameOf(Redacted.make("sk-beta-1234567890"))} twice`)
      assert.notInclude(String(error), "sk-beta")
    })
  )

  it("are named by eight digits, always the same", () => {
    const name = KeyPool.nameOf(Redacted.make("sk-alpha-1234567890"))
    assert.match(name, /^[0-9a-f]{8}$/)
    assert.strictEqual(name, KeyPool.nameOf(Redacted.make("sk-alpha-1234567890")))
    assert.notStrictEqual(name, KeyPool.nameOf(Redacted.make("sk-alpha-1234567891")))
  })

  it.effect("are shown nowhere", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      for (const index of [0, 1, 2]) yield* attempt(view, index, failing("AuthError"))
      const refusal = yield* Effect.flip(admit(view, 0))
      const shown = [pool, yield* pool.states, refusal, view.outlook(yield* now, () => 0)].map(
        (one) => `${inspect(one, { depth: 9, showHidden: true })} ${JSON.stringify(one)}`
      )
      for (const secret of secrets) assert.notInclude(shown.join(), secret)
    })
  )

  it.effect("have one view for each name of a model, of which the oldest are forgotten", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const first = pool.for("gpt")
      for (let nth = 0; nth < 999; nth++) pool.for(`model ${nth}`)
      assert.strictEqual(pool.for("gpt"), first)
      const second = pool.for("model 0")
      for (let nth = 0; nth < 1000; nth++) pool.for(`other ${nth}`)
      assert.notStrictEqual(pool.for("gpt"), first)
      assert.notStrictEqual(pool.for("model 0"), second)
      assert.strictEqual(pool.for("other 999"), pool.for("other 999"))
    })
  )

  it("that make no pool are refused", () => {
    assert.throws(() => make({ keys: [] }), "KeyPool: keys: found none, expected at least one")
    assert.throws(
      () => make({ keys: [{ apiKey: Redacted.make("a"), weight: -1 }] }),
      "KeyPool: keys[0].weight: found -1, expected a number above 0"
    )
  })
})

describe("a dead key", () => {
  for (const tag of ["AuthError", "QuotaExhausted"] as const) {
    it.effect(`is out after one ${tag}, for every model`, () =>
      Effect.gen(function* () {
        const pool = yield* make()
        yield* attempt(pool.for("gpt"), 0, failing(tag))
        // Chance takes up to a fifth off.
        assert.approximately(yield* wait(pool.for("gpt"), 0), 54_000, 6000)
        assert.approximately(yield* wait(pool.for("gpt-mini"), 0), 54_000, 6000)
        assert.strictEqual(yield* wait(pool.for("gpt"), 1), 0)
        assert.strictEqual([...(yield* pool.states).values()][0]?.circuit._tag, "Open")
      })
    )
  }

  it.effect("is asked by single probes, at 60 seconds and twice as long each time, up to an hour", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      const waits: Array<number> = []
      for (let i = 0; i < 9; i++) {
        yield* attempt(view, 0, failing("AuthError"))
        waits.push(yield* wait(view, 0))
        yield* TestClock.adjust(Duration.millis(waits[i] ?? 0))
        const probe = yield* admit(view, 0)
        assert.strictEqual((yield* Effect.flip(admit(view, 0)))._tag, "CircuitOpen", "a second one is refused")
        yield* view.end({
          index: 0,
          admission: probe,
          exit: Exit.interrupt(0 as never),
          within: Deadline.none,
          startedAt: yield* now,
          now: yield* now
        })
      }
      for (const [i, millis] of waits.entries()) {
        const longest = Math.min(3_600_000, 60_000 * 2 ** i)
        assert.isAtMost(millis, longest)
        assert.isAtLeast(millis, longest * 0.8 - 1)
      }
    })
  )

  it.effect("works again with the first answer", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      yield* attempt(view, 0, failing("AuthError"))
      yield* TestClock.adjust("1 minute")
      yield* attempt(view, 0, ok)
      assert.strictEqual(yield* wait(view, 0), 0)
    })
  )
})

describe("a rate limit", () => {
  it.effect("keeps its model off the key for as long as the hint says, and no other model", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      yield* attempt(pool.for("gpt"), 0, Exit.fail(hinted("7 seconds")))
      assert.strictEqual(yield* wait(pool.for("gpt"), 0), 7000)
      assert.strictEqual(yield* wait(pool.for("gpt"), 1), 0)
      assert.strictEqual(yield* wait(pool.for("gpt-mini"), 0), 0)
      assert.strictEqual([...(yield* pool.states).values()][0]?.circuit._tag, "Closed")
    })
  )

  it.effect("without a hint means 1 second, 2, 4, at most 16, until the key answers", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      const waits: Array<number> = []
      for (let i = 0; i < 6; i++) {
        yield* attempt(view, 0, failing("RateLimited"))
        waits.push(yield* wait(view, 0))
        yield* TestClock.adjust(Duration.millis(waits[i] ?? 0))
      }
      assert.deepStrictEqual(waits, [1000, 2000, 4000, 8000, 16_000, 16_000])
      yield* attempt(view, 0, ok)
      yield* attempt(view, 0, failing("RateLimited"))
      assert.strictEqual(yield* wait(view, 0), 1000)
    })
  )

  it.effect("is not lifted by an answer that was under way before it", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      const early = yield* admit(view, 0)
      yield* attempt(view, 0, Exit.fail(hinted("7 seconds")))
      yield* view.end({
        index: 0,
        admission: early,
        exit: ok,
        within: Deadline.none,
        startedAt: yield* now,
        now: yield* now
      })
      assert.strictEqual(yield* wait(view, 0), 7000)
    })
  )

  it.effect("with a shorter hint does not shorten a longer one", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      const early = yield* admit(view, 0)
      yield* attempt(view, 0, Exit.fail(hinted("7 seconds")))
      yield* view.end({
        index: 0,
        admission: early,
        exit: Exit.fail(hinted("1 second")),
        within: Deadline.none,
        startedAt: yield* now,
        now: yield* now
      })
      assert.strictEqual(yield* wait(view, 0), 7000)
    })
  )
})

describe("failures", () => {
  const failures: ReadonlyArray<LlmError.Tag> = [
    "Timeout",
    "ServerError",
    "ConnectionError",
    "Overloaded",
    "InvalidResponse"
  ]

  for (const tag of failures) {
    it.effect(`${tag} three times in a row takes a key out, while others answer`, () =>
      Effect.gen(function* () {
        const view = (yield* make()).for("gpt")
        for (const _ of [1, 2]) yield* attempt(view, 0, failing(tag), { millis: 100 })
        yield* attempt(view, 1, ok, { millis: 100 })
        assert.strictEqual(yield* wait(view, 0), 0)
        yield* attempt(view, 0, failing(tag), { millis: 100 })
        assert.approximately(yield* wait(view, 0), 13_500, 1500)
      })
    )
  }

  it.effect("are forgotten with an answer", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      for (let i = 0; i < 20; i++) {
        yield* attempt(view, 0, i % 3 === 2 ? ok : failing("Timeout"), { millis: 100 })
        yield* attempt(view, 1, ok, { millis: 100 })
      }
      assert.strictEqual(yield* wait(view, 0), 0)
    })
  )

  it.effect("take no key out where all fail: that is the provider", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      for (const index of [0, 1, 2]) yield* attempt(view, index, ok, { millis: 100 })
      for (let i = 0; i < 60; i++) yield* attempt(view, i % 3, failing("ServerError"), { millis: 100 })
      assert.deepStrictEqual(
        [...(yield* pool.states).values()].map(({ circuit }) => circuit._tag),
        ["Closed", "Closed", "Closed"]
      )
    })
  )

  it.effect("take no key out for what was under way when the provider came back", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      const end = (
        index: number,
        admission: CircuitBreaker.Admission,
        exit: Exit.Exit<unknown, unknown>,
        startedAt: number
      ) => Effect.flatMap(now, (now) => view.end({ index, admission, exit, within: Deadline.none, startedAt, now }))
      const hung = yield* Effect.replicateEffect(admit(view, 0), 6)
      yield* TestClock.adjust("8 seconds")
      for (const admission of hung.slice(0, 3)) yield* end(0, admission, failing("Timeout"), 0)
      yield* attempt(view, 1, ok, { millis: 1000 })
      for (const admission of hung.slice(3)) yield* end(0, admission, failing("Timeout"), 500)
      assert.strictEqual(yield* wait(view, 0), 0)
      yield* attempt(view, 0, failing("Timeout"), { millis: 8000 })
      assert.isAbove(yield* wait(view, 0), 0)
    })
  )

  it.effect("probe more slowly than the breaker of a target: 15 seconds, doubling to 5 minutes", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      for (const _ of [1, 2]) yield* attempt(view, 0, failing("Timeout"), { millis: 100 })
      yield* attempt(view, 1, ok, { millis: 100 })
      for (let i = 0; i < 7; i++) {
        yield* attempt(view, 0, failing("Timeout"), { millis: 100 })
        const millis = yield* wait(view, 0)
        const longest = Math.min(300_000, 15_000 * 2 ** i)
        assert.isAtMost(millis, longest)
        assert.isAtLeast(millis, longest * 0.8 - 1 - 2 * 100, "twice what the probe took")
        yield* TestClock.adjust(Duration.millis(millis))
      }
    })
  )

  it.effect("count where the time of the whole call was up, unless nothing was sent", () =>
    Effect.gen(function* () {
      const timeout = (delivery: LlmError.Delivery) =>
        new LlmError.Timeout({ provider: "openai", message: "no answer", phase: "total", delivery })
      const view = (yield* make()).for("gpt")
      const within = (delivery: LlmError.Delivery): Deadline.Limit => ({
        at: 0,
        phase: "total",
        expired: timeout(delivery)
      })
      const interrupted = Exit.failCause(Cause.interrupt(0 as never))
      for (const [index, delivery] of [
        [0, "unknown"],
        [1, "not-sent"]
      ] as const) {
        for (const _ of [1, 2]) yield* attempt(view, index, interrupted, { within: within(delivery), millis: 100 })
        yield* attempt(view, 2, ok, { millis: 100 })
        yield* attempt(view, index, interrupted, { within: within(delivery), millis: 100 })
      }
      assert.isAbove(yield* wait(view, 0), 0)
      assert.strictEqual(yield* wait(view, 1), 0)
    })
  )

  it.effect("are none where the caller was wrong, or went away", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      const harmless = [
        ...(["InvalidRequest", "ContentFiltered", "ModelNotFound", "PermissionDenied", "CircuitOpen"] as const).map(
          (tag) => failing(tag)
        ),
        Exit.interrupt(0 as never),
        Exit.die("a bug")
      ]
      for (const exit of [...harmless, ...harmless, ...harmless]) {
        yield* attempt(view, 0, exit, { millis: 100 })
        yield* attempt(view, 1, ok, { millis: 100 })
      }
      assert.strictEqual(yield* wait(view, 0), 0)
    })
  )
})

describe("who is the probe", () => {
  it("whoever has no limit, or time for another attempt as long", () => {
    const total = Deadline.narrow(Deadline.none, 0, 30_000, "total")
    const attempt = (at: number) => Deadline.narrow(total, at, 10_000, "attempt")
    assert.isTrue(KeyHealth.affords(Deadline.none, 0))
    assert.isTrue(KeyHealth.affords(Deadline.narrow(Deadline.none, 0, 10_000, "attempt"), 0))
    assert.isFalse(KeyHealth.affords(total, 0), "it would take all the time there is")
    assert.isTrue(KeyHealth.affords(attempt(0), 0))
    assert.isTrue(KeyHealth.affords(attempt(10_000), 10_000))
    assert.isFalse(KeyHealth.affords(attempt(10_001), 10_001))
  })

  it.effect("is asked only of keys that let requests hang, from when they are due", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      yield* attempt(view, 1, failing("AuthError"))
      for (const _ of [1, 2]) yield* attempt(view, 0, failing("Timeout"), { millis: 100 })
      yield* attempt(view, 2, ok, { millis: 100 })
      yield* attempt(view, 0, failing("Timeout"), { millis: 100 })
      assert.strictEqual(pool.dueAt(0), view.readyAt(0))
      assert.isUndefined(pool.dueAt(1))
      assert.isUndefined(pool.dueAt(2))
    })
  )
})

describe("a hint of 19 hours", () => {
  it.effect("pauses a key for an hour at the longest", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      yield* attempt(view, 0, Exit.fail(hinted("19 hours")))
      assert.strictEqual(yield* wait(view, 0), 3_600_000)
    })
  )

  it.effect("of a spent quota changes nothing: one probe after a minute", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      yield* attempt(view, 0, failing("QuotaExhausted", { hint: Duration.hours(19) }))
      const waited = yield* wait(view, 0)
      assert.isAbove(waited, 0)
      assert.isAtMost(waited, 60_000)
    })
  )
})

describe("the outlook", () => {
  it.effect("says how many are out and why, and for whom to wait", () =>
    Effect.gen(function* () {
      const pool = yield* make()
      const view = pool.for("gpt")
      yield* attempt(view, 0, failing("AuthError"))
      yield* attempt(view, 1, failing("AuthError"))
      yield* attempt(view, 2, Exit.fail(hinted("2 minutes")))
      const mixed = view.outlook(yield* now, () => 0)
      assert.strictEqual(mixed.why, "all 3 keys are out: 2 AuthError, 1 RateLimited")
      assert.strictEqual(mixed.worthAt, 120_000)
      assert.isAtMost(mixed.readyAt, 60_000)
      const later = view.outlook(yield* now, () => 150_000)
      assert.deepInclude(later, { readyAt: 150_000, worthAt: 150_000 })
    })
  )

  it.effect("has nobody to wait for where all are dead", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      for (const index of [0, 1, 2]) yield* attempt(view, index, failing("AuthError"))
      const outlook = view.outlook(yield* now, () => 0)
      assert.strictEqual(outlook.why, "all 3 keys are out: AuthError")
      assert.strictEqual(outlook.worthAt, Number.POSITIVE_INFINITY)
    })
  )

  it.effect("hopes for a probe that is under way", () =>
    Effect.gen(function* () {
      const view = (yield* make()).for("gpt")
      yield* attempt(view, 0, failing("AuthError"))
      yield* TestClock.adjust("1 minute")
      const admission = yield* admit(view, 0)
      const during = view.outlook(yield* now, (index) => (index === 0 ? 0 : Number.POSITIVE_INFINITY))
      assert.strictEqual(during.readyAt, 0)
      yield* view.end({
        index: 0,
        admission,
        exit: failing("AuthError"),
        within: Deadline.none,
        startedAt: yield* now,
        now: yield* now
      })
      const after = view.outlook(yield* now, (index) => (index === 0 ? 0 : Number.POSITIVE_INFINITY))
      assert.isAbove(after.readyAt, 120_000)
    })
  )

  it.effect("learns from a refusal what another process found out", () =>
    Effect.gen(function* () {
      const { store } = remoteStore()
      const shared = Effect.provideService(make(), Store.KeyedStore, store)
      const here = (yield* shared).for("gpt")
      const there = (yield* shared).for("gpt")
      yield* attempt(there, 0, failing("QuotaExhausted"))
      assert.strictEqual(yield* wait(here, 0), 0)
      assert.strictEqual((yield* Effect.flip(admit(here, 0)))._tag, "CircuitOpen")
      assert.isAbove(yield* wait(here, 0), 40_000)
      assert.include(here.outlook(yield* now, () => 0).why, "1 QuotaExhausted")
    })
  )
})
