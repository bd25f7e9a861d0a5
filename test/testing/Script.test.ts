import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import * as Script from "../../src/testing/Script.js"
import { at, request, wholeText } from "./support.js"

const statuses = (provider: FaultyProvider.Provider, count: number) =>
  Effect.replicateEffect(
    Effect.map(provider.client.execute(request("openai-chat")), (response) => response.status),
    count
  )

describe("scripts", () => {
  it.effect("serve one step a request and repeat the last", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.status(500), Fault.status(503), Reply.text("hi")] })
      assert.deepStrictEqual(yield* statuses(provider, 5), [500, 503, 200, 200, 200])
      const down = yield* FaultyProvider.make({ script: [Fault.status(503)] })
      assert.deepStrictEqual(yield* statuses(down, 3), [503, 503, 503])
    })
  )

  it.effect("answer ok when there is none", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make()
      const body = yield* Effect.flatMap(provider.client.execute(request("openai-chat")), (response) => response.json)
      assert.strictEqual(at(body, "choices", 0, "message", "content"), "ok")
    })
  )

  it.effect("can go round, end in another step, or go over to rates", () =>
    Effect.gen(function* () {
      const script = [Fault.status(500), Reply.text("hi")]
      const round = yield* FaultyProvider.make({ script, onExhausted: "cycle" })
      assert.deepStrictEqual(yield* statuses(round, 4), [500, 200, 500, 200])
      const then = yield* FaultyProvider.make({ script, onExhausted: Fault.status(429) })
      assert.deepStrictEqual(yield* statuses(then, 4), [500, 200, 429, 429])
      const rates = { rules: [{ probability: 1, fault: Fault.status(503) }] }
      const random = yield* FaultyProvider.make({ script, rates })
      assert.deepStrictEqual(yield* statuses(random, 4), [500, 200, 503, 503])
    })
  )

  it.effect("answer by the request where a step is a function", () =>
    Effect.gen(function* () {
      const echo: FaultyProvider.Answer = ({ key, model }) => Reply.text(`${model} for ${key}`)
      const provider = yield* FaultyProvider.make({ script: [Fault.status(500), echo] })
      yield* statuses(provider, 1)
      for (const format of ["openai-chat", "anthropic"] as const) {
        const body = yield* Effect.flatMap(provider.client.execute(request(format)), (response) => response.json)
        assert.strictEqual(wholeText(format, body), "m-1 for key-1")
      }
      const then = yield* FaultyProvider.make({ script: [Fault.status(500)], onExhausted: echo })
      assert.deepStrictEqual(yield* statuses(then, 2), [500, 200])
      assert.strictEqual((yield* then.requests)[1]?.step?._tag, "Reply")
    })
  )

  it.effect("can be replaced and started anew", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Fault.status(500), Reply.text("hi")] })
      yield* statuses(provider, 2)
      yield* provider.become({ script: [Fault.status(503)] })
      assert.deepStrictEqual(yield* statuses(provider, 1), [503])
      assert.lengthOf(yield* provider.requests, 3)
      yield* provider.become({ script: [Fault.status(500), Reply.text("hi")] })
      yield* statuses(provider, 1)
      yield* provider.reset
      assert.lengthOf(yield* provider.requests, 0)
      assert.deepStrictEqual(yield* statuses(provider, 2), [500, 200])
    })
  )
})

describe("rates", () => {
  const rates = (seed: number) => ({
    rates: {
      seed,
      rules: [
        { probability: 0.1, fault: Fault.status(503) },
        { probability: 0.2, fault: Fault.status(429) }
      ]
    }
  })

  it.effect("are the same for the same seed and others for another", () =>
    Effect.gen(function* () {
      const run = (seed: number) => Effect.flatMap(FaultyProvider.make(rates(seed)), (_) => statuses(_, 200))
      assert.deepStrictEqual(yield* run(7), yield* run(7))
      assert.notDeepEqual(yield* run(7), yield* run(8))
    })
  )

  it("are what they say, over many requests", () => {
    const draws = Array.from({ length: 100_000 }, (_, i) => Script.random(42, i))
    const share = (from: number, to: number) => draws.filter((x) => x >= from && x < to).length / draws.length
    // Five standard deviations of a share of one tenth over 100 000 draws.
    for (let i = 0; i < 10; i++) assert.closeTo(share(i / 10, (i + 1) / 10), 0.1, 0.005)
    // Neighbours are independent: half of the draws below one half follow one below one half.
    const pairs = draws.filter((x, i) => x < 0.5 && (draws[i + 1] ?? 1) < 0.5).length / draws.length
    assert.closeTo(pairs, 0.25, 0.007)
    assert.isTrue(draws.every((x) => x >= 0 && x < 1))
  })

  it("are independent for neighbouring seeds", () => {
    const agree = Array.from({ length: 20_000 }, (_, i) => Script.random(1, i) < 0.5 === Script.random(2, i) < 0.5)
    assert.closeTo(agree.filter(Boolean).length / agree.length, 0.5, 0.02)
  })
})

describe("rules", () => {
  it.effect("choose by key, model and format; the first that matches wins; each has its own script", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({
        script: [Reply.text("default")],
        rules: [
          { key: "bad-key", script: [Fault.unauthorized()] },
          { model: /^claude-/, format: "anthropic", script: [Fault.overloaded(), Reply.text("second")] },
          { model: "m-1", stream: true, script: [Fault.status(500)] }
        ]
      })
      const status = (...args: Parameters<typeof request>) =>
        Effect.map(provider.client.execute(request(...args)), (response) => response.status)
      assert.strictEqual(yield* status("openai-chat"), 200)
      assert.strictEqual(yield* status("openai-chat", true), 500)
      assert.strictEqual(yield* status("openai-chat", false, { model: "claude-1" }), 200)
      assert.strictEqual(yield* status("anthropic", false, { model: "claude-1" }), 529)
      assert.strictEqual(yield* status("openai-chat", false, { model: "x" }), 200)
      assert.strictEqual(yield* status("anthropic", false, { model: "claude-2" }), 200)
      const refused = yield* provider.client.post("https://x.example/v1/chat/completions", {
        headers: { authorization: "Bearer bad-key" }
      })
      assert.strictEqual(refused.status, 401)
      assert.deepStrictEqual(
        (yield* provider.requests).map((_) => _.rule),
        [undefined, 2, undefined, 1, undefined, 1, 0]
      )
    })
  )
})
