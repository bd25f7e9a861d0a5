import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Logger, LogLevel, Random } from "effect"
import { Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import { step } from "../../support/cases.js"
import { errorOf } from "../../support/errors.js"
import { simulate } from "../../support/simulate.js"
import { type Answer, pooledOf, ways } from "./Balance.support.js"

const keys = ["a", "b", "c", "d", "e"]

/** Milliseconds between requests: in an hour with a twentieth of the requests a key is asked no more often. */
const every = Math.max(200, step(4000))

/**
 * Five keys at 5 requests a second, of which the first is broken for an hour: the share of requests that reached it, how
 * many calls failed, and how long after it was mended it serves again.
 */
const hour = (broken: Answer) =>
  Effect.gen(function* () {
    let mended = false
    const { all, inFlight, model } = yield* pooledOf(keys, (key) =>
      key === "a" && !mended ? broken : { millis: 1000 }
    )
    const held = model.pipe(
      ChatModel.timeout({ attempt: "10 seconds" }),
      ChatModel.retry(RetryPolicy.make({ initialDelay: "500 millis" }))
    )
    let failed = 0
    const call = Effect.flatMap(Effect.exit(ways.generate(held, Chat.prompt("Hello"))), (exit) =>
      Effect.sync(() => {
        if (Exit.isFailure(exit)) failed += 1
      })
    )
    const another = Effect.zipRight(Effect.fork(call), Effect.sleep(every))
    yield* Effect.repeatN(another, 3_600_000 / every - 1)
    const touched = all.count("a")
    mended = true
    let back = 0
    for (; all.count("a") === touched && back < 7_200_000; back += every) yield* another
    yield* Effect.sleep("30 seconds")
    assert.deepStrictEqual(inFlight(), [0, 0, 0, 0, 0])
    return { share: touched / 18_000, back, failed }
  }).pipe(Effect.withRandom(Random.make("an hour")), Logger.withMinimumLogLevel(LogLevel.None), simulate)

describe("an hour at 5 requests a second", () => {
  it("a dead key of five is asked by 1 in 2,000 at most, and serves again within the hour", () => {
    const { back, failed, share } = hour({ error: errorOf("AuthError"), millis: 200 })
    assert.isAtMost(share, 0.0005)
    assert.isAtMost(back, 3_600_000)
    assert.strictEqual(failed, 0)
  })

  it("a key of five that lets requests hang is asked by 1 in 500 at most, and serves again within 5 minutes", () => {
    const { back, failed, share } = hour({ hangs: true })
    assert.isAtMost(share, 0.002)
    assert.isAtMost(back, 300_000 + 5 * every)
    assert.strictEqual(failed, 0)
  })
})
