import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import { ErrorResponse } from "effect-steadfast/http"
import * as Controls from "../../src/gateway/Controls.js"
import * as Failures from "../../src/gateway/Failures.js"
import { cases } from "../support/cases.js"
import { errorOf, hinted } from "../support/errors.js"

const asked: Failures.Asked = { client: "a", path: "/v1/chat/completions", body: "{}", controls: Controls.none }
const failed = ErrorResponse.make(errorOf("ServerError"))

const remembering = (patience = 10_000) => Failures.make(() => patience)

describe("Failures", () => {
  it("tells the same again until the time is over", () => {
    const failures = remembering()
    failures.add(asked, "m", failed, 0)
    assert.strictEqual(failures.find(asked, 0)?.response, failed)
    assert.strictEqual(failures.find(asked, 9999)?.response, failed)
    assert.isUndefined(failures.find(asked, 10_000))
  })

  it("takes another client, path, body or control header for another request", () => {
    const failures = remembering()
    failures.add(asked, "m", failed, 0)
    for (const other of [
      { client: "b" },
      { sdk: "huggingface" } as const,
      { path: "/v1/messages" },
      { body: "{ }" },
      { client: "a\n/v1/chat/completions", path: "" },
      { controls: { ...Controls.none, noFallback: true } },
      { controls: { ...Controls.none, timeout: 5 } },
      { controls: { ...Controls.none, maxAttempts: 1 } },
      { features: { "anthropic-beta": "tools-2026" } },
      { features: { "openai-beta": "tools-2026" } }
    ]) {
      assert.isUndefined(failures.find({ ...asked, ...other }, 0), JSON.stringify(other))
    }
    // Labels and traces differ from one repetition to the next.
    assert.strictEqual(
      failures.find({ ...asked, controls: { ...Controls.none, labels: { try: "2" } } }, 0)?.response,
      failed
    )
  })

  it("forgets all at its end, and learns nothing more", () => {
    const told: Array<string> = []
    let known: Failures.Known | undefined
    const failures = Failures.make(
      () => 10_000,
      (given) => {
        known = given
        return { added: (key) => void told.push(key), answered: (model) => void told.push(model) }
      }
    )
    failures.add(asked, "m", failed, 0)
    failures.end()
    assert.isUndefined(failures.find(asked, 0))
    failures.add(asked, "m", failed, 0)
    failures.answered("m")
    assert.lengthOf(told, 1)
    known?.learn(told[0] as string, "m", failed, 10_000)
    assert.isUndefined(failures.find(asked, performance.now()))
  })

  it("remembers only what clients repeat by themselves", () => {
    const failures = remembering()
    for (const tag of ["InvalidRequest", "ModelNotFound", "PermissionDenied", "ContentFiltered"] as const) {
      failures.add(asked, "m", ErrorResponse.make(errorOf(tag)), 0)
      assert.isUndefined(failures.find(asked, 0), tag)
    }
    for (const tag of ["RateLimited", "QuotaExhausted", "Timeout", "AuthError", "Overloaded"] as const) {
      const response = ErrorResponse.make(errorOf(tag))
      failures.add(asked, "m", response, 0)
      assert.strictEqual(failures.find(asked, 0)?.response, response, tag)
    }
  })

  it("lets a client in that comes back when it was told to", () => {
    const failures = remembering()
    const response = ErrorResponse.make(hinted("3 seconds"))
    failures.add(asked, "m", response, 0)
    assert.strictEqual(response.headers["retry-after"], "3")
    assert.strictEqual(failures.find(asked, 2999)?.response, response)
    assert.isUndefined(failures.find(asked, 3000))
  })

  it("forgets the failures of a model that answers, and no others", () => {
    const failures = remembering()
    const other = { ...asked, body: "other" }
    failures.add(asked, "m", failed, 0)
    failures.add(other, "n", failed, 0)
    failures.answered("m")
    assert.isUndefined(failures.find(asked, 0))
    assert.strictEqual(failures.find(other, 0)?.response, failed)
  })

  it("remembers nothing where it may not", () => {
    const failures = remembering(0)
    failures.add(asked, "m", failed, 0)
    assert.isUndefined(failures.find(asked, 0))
  })

  const step = fc.oneof(
    fc.record({
      _tag: fc.constant("add" as const),
      body: fc.constantFrom("1", "2", "3"),
      wait: fc.integer({ min: 0, max: 6000 })
    }),
    fc.record({ _tag: fc.constant("answered" as const), model: fc.constantFrom("m1", "m2") })
  )

  it.prop(
    "finds what was added last, within its time, and nothing else",
    [fc.array(step)],
    ([steps]) => {
      const failures = remembering()
      const known = new Map<string, { readonly until: number; readonly response: ErrorResponse.ErrorResponse }>()
      let now = 0
      for (const one of steps) {
        if (one._tag === "answered") {
          failures.answered(one.model)
          for (const body of known.keys()) if (`m${body}` === one.model) known.delete(body)
        } else {
          now += one.wait
          const response = { ...failed }
          failures.add({ ...asked, body: one.body }, `m${one.body}`, response, now)
          known.set(one.body, { response, until: now + 10_000 })
        }
        for (const body of ["1", "2", "3"]) {
          const expected = known.get(body)
          const found = failures.find({ ...asked, body }, now)
          assert.strictEqual(
            found?.response,
            expected !== undefined && expected.until > now ? expected.response : undefined
          )
        }
      }
    },
    { fastCheck: { numRuns: cases(3000, 100) } }
  )

  it("holds a bounded number", () => {
    const failures = remembering(1e9)
    for (let i = 0; i < 30_000; i++) failures.add({ ...asked, body: String(i) }, "m", failed, i)
    let found = 0
    for (let i = 0; i < 30_000; i++) if (failures.find({ ...asked, body: String(i) }, 30_000) !== undefined) found++
    assert.isBelow(found, 30_000)
    assert.isDefined(failures.find({ ...asked, body: "29999" }, 30_000))
  })

  describe("lets wait", () => {
    /** The waits of a client that asks again so long after each answer. */
    const waitsOf = (pause: number, count: number) => {
      const failures = remembering(1e9)
      failures.add(asked, "m", failed, 0)
      let now = 0
      return Array.from({ length: count }, () => {
        now += pause
        const wait = failures.find(asked, now)?.wait
        now += wait ?? 0
        return wait
      })
    }

    it("who asks again at once, each time twice as long, and two seconds at most", () => {
      assert.deepStrictEqual(waitsOf(1, 8), [100, 200, 400, 800, 1600, 2000, 2000, 2000])
    })

    it("nobody who waits by itself", () => {
      assert.deepStrictEqual(waitsOf(375, 3), [0, 0, 0])
    })

    it("who asks while another waits no longer than that one", () => {
      const failures = remembering()
      failures.add(asked, "m", failed, 0)
      assert.deepStrictEqual(
        [0, 0, 40, 99].map((now) => failures.find(asked, now)?.wait),
        [100, 100, 60, 1]
      )
      assert.strictEqual(failures.find(asked, 100)?.wait, 200)
      // Who has waited for a moment begins anew.
      assert.strictEqual(failures.find(asked, 550)?.wait, 0)
      assert.strictEqual(failures.find(asked, 551)?.wait, 100)
    })

    it.prop(
      "nobody for longer than two seconds, whatever comes",
      [fc.array(fc.integer({ min: 0, max: 400 }))],
      ([gaps]) => {
        let now = 0
        let pace: Failures.Pace = { told: 0, wait: 0 }
        for (const gap of gaps) {
          now += gap
          const before = pace
          pace = Failures.next(pace, now)
          assert.isAtLeast(pace.told, Math.max(now, before.told))
          assert.isAtMost(pace.told - now, 2000)
        }
      }
    )
  })
})
