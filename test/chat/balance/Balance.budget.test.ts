/**
 * The bound of the retry budget, for pools and for fallbacks within a group, whose targets refuse and tell to come back
 * at once.
 */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, FastCheck as fc, Logger, LogLevel, Random } from "effect"
import { Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import { breathe, cases } from "../../support/cases.js"
import { errorOf, hinted } from "../../support/errors.js"
import { simulate } from "../../support/simulate.js"
import { type Answer, ledger, memberOf, pooledOf, ways } from "./Balance.support.js"

const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.withTracerEnabled(Logger.withMinimumLogLevel(effect, LogLevel.None), false)

const refusals = { none: errorOf("RateLimited"), zero: hinted(0), one: hinted("1 millis"), most: hinted("999 millis") }

const answer = fc
  .record({
    end: fc.constantFrom("none", "zero", "one", "most", "zero", "one", "answered"),
    millis: fc.constantFrom(0, 1, 30, 400)
  })
  .map(({ end, millis }): Answer => ({ error: end === "answered" ? undefined : refusals[end as "zero"], millis }))

const call = fc.record({
  after: fc.nat(1000),
  way: fc.constantFrom<keyof typeof ways>("generate", "stream"),
  deadline: fc.constantFrom(1, 800, 12_000)
})

type AnswerOf = (request: Chat.Request) => Answer

/** A pool of so many keys. */
const poolOf = (keys: number) => (answerOf: AnswerOf) =>
  Effect.map(
    pooledOf(
      Array.from({ length: keys }, (_, index) => `key ${index}`),
      (_, __, request) => answerOf(request)
    ),
    ({ model }) => model
  )

/** Two targets of a group: when the first fails, the second is asked. */
const fallback = (answerOf: AnswerOf) => {
  const member = (name: string) => memberOf(ledger(), name, (_, request) => answerOf(request), { group: "g" })
  return Effect.succeed(ChatModel.orElse(member("one"), member("two")))
}

/** Runs the calls side by side: what was sent, and for how long. */
const run = (
  modelOf: (answerOf: AnswerOf) => Effect.Effect<ChatModel.ChatModel, unknown>,
  calls: ReadonlyArray<{ readonly after: number; readonly way: keyof typeof ways; readonly deadline: number }>,
  answerOf: (nth: number) => Answer
) =>
  Effect.gen(function* () {
    let nth = 0
    const sent = new Map<Chat.Request, Array<boolean>>()
    const inner = yield* modelOf((request) => {
      const answer = answerOf(nth++)
      sent.set(request, [...(sent.get(request) ?? []), answer.error === undefined])
      return answer
    })
    const model = inner.pipe(ChatModel.retry(RetryPolicy.standard))
    const start = yield* Clock.currentTimeMillis
    yield* Effect.forEach(
      calls,
      ({ after, deadline, way }) =>
        Effect.delay(
          Effect.exit(ways[way](ChatModel.deadline(model, Duration.millis(deadline)), Chat.prompt("Hello"))),
          Duration.millis(after)
        ),
      { concurrency: "unbounded" }
    )
    const attempts = [...sent.values()]
    return {
      total: attempts.flat().length,
      firsts: attempts.length,
      // The extra attempts that were answered: they are given back.
      answered: attempts.filter((one) => one.length > 1 && one.includes(true)).length,
      millis: (yield* Clock.currentTimeMillis) - start
    }
  })

const bound = ({ answered, firsts, millis }: { answered: number; firsts: number; millis: number }) =>
  firsts * 1.1 + answered + 10 + millis / 10_000

describe("attempts ≤ N · (1 + ratio) + cap + reserve · T where 429s tell to come back at once", () => {
  for (const keys of [1, 5, 50]) {
    it.effect(`for 300 calls that are all refused, with ${keys} keys`, () =>
      Effect.sync(() => {
        const calls = Array.from({ length: 300 }, (_, nth) => ({
          after: nth,
          way: "generate" as const,
          deadline: 2000
        }))
        const counted = run(poolOf(keys), calls, (nth) => ({
          error: nth % 2 === 0 ? refusals.zero : refusals.one
        })).pipe(Effect.withRandom(Random.make(1)), quiet, simulate)
        assert.isAtMost(counted.total, bound(counted))
      })
    )
  }

  for (const [name, modelsOf] of [
    ["1 to 50 keys", fc.integer({ min: 1, max: 50 }).map(poolOf)],
    ["a fallback within the group", fc.constant(fallback)]
  ] as const) {
    it(`for any interleaving of calls and answers, with ${name}`, async () => {
      await fc.assert(
        fc
          .asyncProperty(
            modelsOf,
            fc.array(answer, { minLength: 1, maxLength: 8, size: "max" }),
            fc.array(call, { minLength: 1, maxLength: 12, size: "max" }),
            fc.string(),
            async (modelOf, answers, calls, seed) => {
              const counted = run(modelOf, calls, (nth) => answers[nth % answers.length] as Answer).pipe(
                Effect.withRandom(Random.make(seed)),
                quiet,
                simulate
              )
              assert.isAtMost(counted.total, bound(counted) + 1e-6)
            }
          )
          .beforeEach(breathe),
        { numRuns: cases(1000, 20) }
      )
    })
  }
})
