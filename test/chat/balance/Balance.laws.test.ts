import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, FastCheck as fc, Logger, LogLevel, Random } from "effect"
import { Chat, ChatModel, type LlmError } from "effect-steadfast"
import * as Balance from "../../../src/chat/balance/Balance.js"
import { breathe, cases, exhaustive } from "../../support/cases.js"
import { errorOf, hinted } from "../../support/errors.js"
import { simulate } from "../../support/simulate.js"
import { type Answer, errorTag, ledger, memberOf, pooledOf, ways } from "./Balance.support.js"

const runs = { numRuns: cases(10_000) }

const endings = {
  answers: {},
  fails: { error: errorOf("ServerError") },
  wrong: { error: errorOf("InvalidRequest") },
  dead: { error: errorOf("AuthError") },
  limited: { error: errorOf("RateLimited") },
  hinted: { error: hinted("5 seconds") },
  refuses: { error: errorOf("CircuitOpen", { delivery: "not-sent", hint: Duration.seconds(3) }) },
  hangs: { hangs: true }
} satisfies { readonly [name: string]: Answer }

const millis = fc.integer({ min: 0, max: 3000 })

/** How a request ends, wherever it goes. */
const answer = fc
  .record({
    end: fc.constantFrom<keyof typeof endings>("answers", "answers", "answers", ...(Object.keys(endings) as ["hangs"])),
    millis
  })
  .map(({ end, millis }): Answer => ({ ...endings[end], millis }))

/** A call that begins after a time, is asked in one of the ways, and is given up in one of the ways. */
const call = fc.record({
  after: millis,
  way: fc.constantFrom<keyof typeof ways>("generate", "stream"),
  until: fc.record({ how: fc.constantFrom("leave", "timeout", "deadline"), millis: fc.integer({ min: 1, max: 8000 }) }),
  idempotent: fc.boolean()
})

const history = fc.record({
  keys: fc.integer({ min: 1, max: 3 }),
  answers: fc.array(answer, { minLength: 1, maxLength: 5, size: "max" }),
  calls: fc.array(call, { minLength: 1, maxLength: 3, size: "max" }),
  seed: fc.string()
})
type Call = typeof call extends fc.Arbitrary<infer A> ? A : never

/** Neither logs nor spans: they are most of the time. */
const quiet = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.withTracerEnabled(Logger.withMinimumLogLevel(effect, LogLevel.None), false)

/** Runs the calls side by side: how each ended, and the most that were in flight. */
const runAll = (model: ChatModel.ChatModel, calls: ReadonlyArray<Call>) =>
  Effect.forEach(
    calls,
    ({ after, idempotent, until, way }) => {
      const { how, millis } = until
      const limit = Duration.millis(millis)
      const limited =
        how === "timeout"
          ? model.pipe(ChatModel.timeout({ attempt: limit }))
          : how === "deadline"
            ? model.pipe(ChatModel.deadline(limit))
            : model
      const asked: Effect.Effect<string, LlmError.LlmError> = ways[way](limited, {
        ...Chat.prompt("Hello"),
        idempotent
      })
      const left = Effect.gen(function* () {
        const fiber = yield* Effect.fork(asked)
        yield* Effect.sleep(limit)
        return yield* Fiber.interrupt(fiber)
      })
      return Effect.delay(how === "leave" ? left : Effect.exit(asked), Duration.millis(after))
    },
    { concurrency: "unbounded" }
  )

describe("for any interleaving of calls that begin, end, fail, and are given up", () => {
  it("pooled: nothing stays in flight, no key is asked twice in an attempt, and every call ends", async () => {
    const seen = { answered: 0, interrupted: 0, refused: 0, again: 0 }
    await fc.assert(
      fc
        .asyncProperty(history, async ({ answers, calls, keys, seed }) => {
          const outcome = Effect.gen(function* () {
            let nth = 0
            const names = Array.from({ length: keys }, (_, index) => `key ${index}`)
            /** By request, the members that it was sent to. */
            const sent = new Map<Chat.Request, Array<string>>()
            const { all, inFlight, model, pool } = yield* pooledOf(
              names,
              (key, _, request) => {
                const answer = answers[nth++ % answers.length]
                if (answer?.error?._tag !== "CircuitOpen") sent.set(request, [...(sent.get(request) ?? []), key])
                return answer
              },
              { maxWait: "4 seconds" }
            )
            const exits = yield* runAll(model, calls)
            assert.deepStrictEqual(
              inFlight(),
              names.map(() => 0)
            )
            for (const name of names) assert.strictEqual(all.openAt(name), 0)
            for (const asked of sent.values()) {
              assert.strictEqual(new Set(asked).size, asked.length)
              if (asked.length > 1) seen.again += 1
            }
            const states = [...(yield* pool.states).values()]
            for (const { circuit } of states) if (circuit._tag === "HalfOpen") assert.strictEqual(circuit.probes, 0)
            return exits
          }).pipe(Effect.withRandom(Random.make(seed)), quiet, simulate)
          for (const exit of outcome) {
            const tag = errorTag(exit)
            if (tag === "answered") seen.answered += 1
            else if (tag === "CircuitOpen") seen.refused += 1
            else if (Exit.isInterrupted(exit)) seen.interrupted += 1
            assert.notInclude(["Die", "Empty"], tag)
          }
        })
        .beforeEach(breathe),
      runs
    )
    if (exhaustive) for (const count of Object.values(seen)) assert.isAbove(count, 500)
  })

  it("balance: nothing stays in flight, and every call ends", async () => {
    await fc.assert(
      fc
        .asyncProperty(history, async ({ answers, calls, keys, seed }) => {
          Effect.gen(function* () {
            let nth = 0
            let calm = false
            const all = ledger()
            const names = Array.from({ length: keys }, (_, index) => `member ${index}`)
            const answer = () => (calm ? undefined : answers[nth++ % answers.length])
            const model = Balance.balance(
              names.map((name) => memberOf(all, name, answer)),
              { maxWait: "4 seconds" }
            )
            yield* runAll(model, calls)
            for (const name of names) assert.strictEqual(all.openAt(name), 0)
            calm = true
            yield* Effect.sleep("10 minutes")
            const before = names.map(all.count)
            for (let i = 0; i < 3 * keys; i++) yield* ways.generate(model, Chat.prompt("Hello"))
            // Whoever has a place too many in flight is never the least loaded.
            for (const [index, name] of names.entries()) assert.isAbove(all.count(name), before[index] ?? Number.NaN)
          }).pipe(Effect.withRandom(Random.make(seed)), quiet, simulate)
        })
        .beforeEach(breathe),
      runs
    )
  })
})
