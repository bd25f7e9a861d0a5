import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc } from "effect"
import * as ClientKeys from "../../src/gateway/ClientKeys.js"
import type { ClientKey } from "../../src/gateway/config/Resolved.js"
import { cases } from "../support/cases.js"

const keyOf = (name: string, more: Partial<ClientKey> = {}): ClientKey => ({
  name,
  hash: ClientKeys.hashOf(`sk-${name}`),
  models: undefined,
  requestsPerMinute: undefined,
  tokensPerMinute: undefined,
  maxConcurrent: undefined,
  usdPerDay: undefined,
  labels: {},
  ...more
})

const clientOf = (more: Partial<ClientKey>): ClientKeys.Client => {
  const [client] = ClientKeys.make([keyOf("a", more)]).all
  if (client === undefined) throw new Error("no client")
  return client
}

const waits = (client: ClientKeys.Client, tokens: number, now: number) => ClientKeys.enter(client, tokens, now)?.seconds

describe("shown", () => {
  it("finds the key where each dialect has it", () => {
    for (const [headers, url] of [
      [{ authorization: "Bearer k" }, "/"],
      [{ authorization: "bearer  k " }, "/"],
      [{ "x-api-key": " k " }, "/"],
      [{ "api-key": "k" }, "/"],
      [{ "x-goog-api-key": "k" }, "/"],
      [{ "x-portkey-api-key": "k", authorization: "Bearer other" }, "/"],
      [{}, "/v1beta/models/m:generateContent?alt=sse&key=k"],
      [{ authorization: "Bearer k", "x-api-key": "" }, "/?key=other"],
      [{ authorization: "Bearer other", "x-api-key": "k" }, "/"]
    ] as const) {
      assert.strictEqual(ClientKeys.shown(headers, url), "k")
    }
    for (const [headers, url] of [
      [{}, "/"],
      [{ authorization: "Basic k" }, "/"],
      [{ authorization: "Bearer" }, "/"],
      [{ authorization: "Bearer a b" }, "/?k=1"]
    ] as const) {
      assert.isUndefined(ClientKeys.shown(headers, url))
    }
  })
})

describe("make", () => {
  it("knows clients by their keys alone", () => {
    const clients = ClientKeys.make([keyOf("a"), keyOf("b")])
    assert.isFalse(clients.open)
    assert.strictEqual(clients.of({ authorization: "Bearer sk-b" }, "/", {})?.key.name, "b")
    for (const key of ["sk-c", ClientKeys.hashOf("sk-a"), "a", "__proto__", ""]) {
      assert.isUndefined(clients.of({ "x-api-key": key }, "/", {}), key)
    }
  })

  it("lets everybody in where there are no keys", () => {
    const clients = ClientKeys.make([])
    assert.isTrue(clients.open)
    assert.strictEqual(clients.of({}, "/", {}), clients.of({ authorization: "Bearer x" }, "/", {}))
  })

  it("keeps what clients have used over a reload, also under a new key", () => {
    const before = ClientKeys.make([keyOf("a", { requestsPerMinute: 2, maxConcurrent: 2 })])
    const [old] = before.all
    if (old === undefined) return
    assert.isUndefined(ClientKeys.enter(old, 0, 0))
    assert.isUndefined(ClientKeys.enter(old, 0, 0))
    const next = ClientKeys.make(
      [keyOf("a", { requestsPerMinute: 2, hash: ClientKeys.hashOf("sk-new") }), keyOf("b")],
      before
    )
    const now = next.of({ authorization: "Bearer sk-new" }, "/", {})
    assert.isUndefined(next.of({ authorization: "Bearer sk-a" }, "/", {}))
    if (now === undefined) throw new Error("no client")
    assert.strictEqual(waits(now, 0, 0), 30)
    // A request of the time before gives its place back to the same client.
    ClientKeys.leave(old)
    assert.strictEqual(now.state.running, 1)
    assert.strictEqual(next.all[1]?.state.running, 0)
  })
})

describe("enter", () => {
  it("has no limits of its own", () => {
    const client = clientOf({})
    for (let i = 0; i < 1000; i++) assert.isUndefined(ClientKeys.enter(client, 1e9, 0))
    assert.strictEqual(client.state.running, 1000)
  })

  it("bounds requests at once, and gives places back", () => {
    const client = clientOf({ maxConcurrent: 2 })
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
    assert.strictEqual(ClientKeys.enter(client, 0, 0)?.status, 429)
    ClientKeys.leave(client)
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
  })

  it("tells when the next request may come", () => {
    const client = clientOf({ requestsPerMinute: 2 })
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
    assert.strictEqual(waits(client, 0, 0), 30)
    assert.strictEqual(waits(client, 0, 29_500), 1)
    assert.isUndefined(ClientKeys.enter(client, 0, 30_000))
    assert.isNumber(waits(client, 0, 30_000))
  })

  it("takes less than one request a minute", () => {
    const client = clientOf({ requestsPerMinute: 0.5 })
    assert.isUndefined(ClientKeys.enter(client, 0, 0))
    assert.strictEqual(waits(client, 0, 0), 120)
    assert.isUndefined(ClientKeys.enter(client, 0, 120_000))
  })

  it("lets one larger than the limit through when the bucket is full, and it leaves a debt of up to a window", () => {
    const client = clientOf({ tokensPerMinute: 600 })
    assert.isUndefined(ClientKeys.enter(client, 1800, 0))
    assert.strictEqual(waits(client, 60, 0), 66)
    assert.isNumber(waits(client, 1, 60_000))
    assert.isUndefined(ClientKeys.enter(client, 60, 66_000))
  })

  it("takes nothing from one limit where the other refuses", () => {
    const client = clientOf({ requestsPerMinute: 10, tokensPerMinute: 100 })
    assert.isUndefined(ClientKeys.enter(client, 100, 0))
    for (let i = 0; i < 50; i++) assert.isNumber(waits(client, 100, 0))
    assert.strictEqual(client.state.running, 1)
    for (let i = 0; i < 9; i++) assert.isUndefined(ClientKeys.enter(client, 0, 60_000))
  })

  const request = fc.record({ wait: fc.integer({ min: 0, max: 20_000 }), tokens: fc.integer({ min: 0, max: 400 }) })

  it.prop(
    "lets through no more than the limits and one bucket, and who waits as told gets in",
    [fc.array(request, { maxLength: 60 })],
    ([requests]) => {
      const client = clientOf({ requestsPerMinute: 12, tokensPerMinute: 1200 })
      let now = 0
      let count = 0
      let tokens = 0
      for (const { tokens: asked, wait } of requests) {
        now += wait
        const refused = ClientKeys.enter(client, asked, now)
        if (refused !== undefined) {
          now += (refused.seconds ?? 0) * 1000
          assert.isUndefined(ClientKeys.enter(client, asked, now))
        }
        count++
        tokens += asked
        assert.isAtMost(count, 12 + (12 * now) / 60_000 + 1e-6)
        assert.isAtMost(tokens, 1200 + (1200 * now) / 60_000 + 1e-3)
      }
    },
    { fastCheck: { numRuns: cases(5000, 100) } }
  )
})

describe("spendOf", () => {
  const day = 86_400_000

  it.effect("is one account for a day in UTC, and the next day a new one", () =>
    Effect.gen(function* () {
      const client = clientOf({ usdPerDay: 1 })
      const first = yield* ClientKeys.spendOf(client, 20 * day + 1)
      assert.isDefined(first)
      assert.strictEqual(yield* ClientKeys.spendOf(client, 21 * day - 1), first)
      const next = yield* ClientKeys.spendOf(client, 21 * day)
      assert.notStrictEqual(next, first)
      assert.isUndefined(yield* ClientKeys.spendOf(clientOf({}), 0))
    })
  )

  it.effect("goes on over a reload, also where the sum changes", () =>
    Effect.gen(function* () {
      const before = ClientKeys.make([keyOf("a", { usdPerDay: 1 })])
      const [old] = before.all
      if (old === undefined) return
      const first = yield* ClientKeys.spendOf(old, 0)
      const same = ClientKeys.make([keyOf("a", { usdPerDay: 1 })], before)
      const [kept] = same.all
      assert.strictEqual(kept && (yield* ClientKeys.spendOf(kept, 0)), first)
      if (first === undefined) return
      const [spent, held] = [0.6e9, 0.3e9].map((usd) => ({ usd, tokens: 0, attempts: 1 }))
      first.account = { spent: spent ?? first.account.spent, held: held ?? first.account.held, unpriced: 0 }
      const [raised] = ClientKeys.make([keyOf("a", { usdPerDay: 2 })], same).all
      const scope = raised && (yield* ClientKeys.spendOf(raised, 0))
      assert.closeTo((scope?.limits.usd ?? 0) / 1e9, 2, 1e-9)
      // What runs may cost its most: it is not given twice.
      assert.closeTo((scope?.account.spent.usd ?? 0) / 1e9, 0.9, 1e-9)
      assert.strictEqual(scope?.account.held.usd, 0)
    })
  )
})
