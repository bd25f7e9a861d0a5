import { assert, describe, it } from "@effect/vitest"
import { Chunk, Clock, Effect, Exit, Fiber, FastCheck as fc, Option, Stream, Supervisor } from "effect"
import { type Chat, ChatStream } from "effect-steadfast"
import * as Hedging from "../../../src/chat/stream/Hedging.js"
import { cases } from "../../support/cases.js"
import { prompt } from "../support.js"
import { down, finish, fixed, start, text } from "./Hedging.support.js"

/** A clock that stands still while a fiber can run, and then jumps to the next sleeper. */
const steppedClock = () => {
  let now = 0
  let waiting: Array<{ readonly at: number; readonly wake: () => void }> = []
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    unsafeCurrentTimeNanos: () => BigInt(now) * 1_000_000n,
    currentTimeMillis: Effect.sync(() => now),
    currentTimeNanos: Effect.sync(() => BigInt(now) * 1_000_000n),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const millis = Number(duration.value._tag === "Millis" ? duration.value.millis : 0)
        const one = { at: now + millis, wake: () => resume(Effect.void) }
        waiting.push(one)
        return Effect.sync(() => {
          waiting = waiting.filter((other) => other !== one)
        })
      })
  }
  const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
  const run = async (done: () => boolean): Promise<void> => {
    for (await settled(); !done(); await settled()) {
      const next = waiting.reduce<(typeof waiting)[number] | undefined>(
        (first, one) => (first === undefined || one.at < first.at ? one : first),
        undefined
      )
      if (next === undefined) throw new Error("everybody waits for ever")
      waiting = waiting.filter((one) => one !== next)
      now = next.at
      next.wake()
    }
  }
  return { clock, run }
}

/** One target: its first event and the time of it, the number of words after it (10 ms apart), and its end. */
interface Side {
  readonly millis: number
  readonly first: "content" | "failure" | "silence"
  readonly words: number
  readonly end: "finish" | "failure" | "silence"
}

/** Times are multiples of ten, but for the delay of the hedge and the moment the reader leaves: nothing comes at once. */
const tens = (max: number) => fc.integer({ min: 1, max }).map((n) => 10 * n)

const side: fc.Arbitrary<Side> = fc.record({
  millis: tens(30),
  first: fc.constantFrom("content" as const, "content" as const, "failure" as const, "silence" as const),
  words: fc.nat({ max: 3 }),
  end: fc.constantFrom("finish" as const, "finish" as const, "failure" as const, "silence" as const)
})

const drawn = fc.record({
  first: side,
  second: side,
  delay: tens(30).map((millis) => millis + 5),
  may: fc.boolean().map((no) => !no),
  leaves: fc.oneof(
    tens(50).map((millis) => millis + 2),
    fc.constant(2002)
  )
})

type Drawn = typeof drawn extends fc.Arbitrary<infer A> ? A : never

const wordsOf = (name: string, { words }: Side) => Array.from({ length: words + 1 }, (_, i) => `<${name}:${i}>`)

/** What must come of it. */
const expected = ({ delay, first, leaves, may, second }: Drawn) => {
  const at = (one: Side, from: number) => (one.first === "silence" ? Number.POSITIVE_INFINITY : from + one.millis)
  const sides = [{ name: "first", one: first, at: at(first, 0) }]
  const sent = may && sides.every((side) => side.at > delay) && leaves > delay
  if (sent) sides.push({ name: "second", one: second, at: at(second, delay) })
  sides.sort((a, b) => a.at - b.at)
  const winner = sides.find((side) => side.one.first === "content")
  const last = sides.at(-1)
  if (winner === undefined || winner.at > leaves) {
    // Without content the stream ends when both have failed, with the error of the first.
    const end = last !== undefined && last.at < leaves ? "failure first" : "left"
    return { sent, text: "", end }
  }
  const words = wordsOf(winner.name, winner.one)
  const count = words.filter((_, i) => winner.at + 10 * i < leaves).length
  const ended = winner.at + 10 * words.length < leaves && winner.one.end !== "silence"
  const end = !ended ? "left" : winner.one.end === "finish" ? "finish" : `failure ${winner.name}`
  return { sent, text: words.slice(0, count).join(""), end }
}

/** A source made to measure, and how often it was opened and closed. */
const made = (name: string, one: Side) => {
  const seen = { opened: 0, closed: 0 }
  const after = (millis: number, next: ChatStream.Pull): ChatStream.Pull => Effect.zipRight(Effect.sleep(millis), next)
  const give = (...events: ReadonlyArray<Chat.Event>): ChatStream.Pull =>
    Effect.succeed(Chunk.unsafeFromArray([...events]) as Chunk.NonEmptyChunk<Chat.Event>)
  const fail: ChatStream.Pull = Effect.suspend(() => Effect.fail(Option.some(down(name))))
  const ends = { finish: give(finish), failure: fail, silence: Effect.never }
  const words = wordsOf(name, one)
  const first = { content: give(text(words[0] ?? "")), failure: fail, silence: Effect.never }[one.first]
  const pulls: ReadonlyArray<ChatStream.Pull> = [
    give(start(name)),
    after(one.millis, first),
    ...words.slice(1).map((word) => after(10, give(text(word)))),
    after(10, ends[one.end])
  ]
  const source: ChatStream.Source = Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => {
        seen.opened += 1
        return { next: 0 }
      }),
      () =>
        Effect.sync(() => {
          seen.closed += 1
        })
    ),
    (at) => Effect.suspend(() => pulls[at.next++] ?? Effect.fail(Option.none()))
  )
  return { seen, source }
}

describe("for any two targets, any delay and any reader", () => {
  it("there is one end, one attempt's events are delivered, and everything is closed", async () => {
    const law = fc.asyncProperty(drawn, async (given) => {
      const one = made("first", given.first)
      const two = made("second", given.second)
      const { hedge, told } = fixed(given.delay, given.may)
      const options = { hedge, group: "second", healthy: () => true }
      const source = Hedging.source(
        () => one.source,
        () => two.source,
        prompt,
        options
      )
      const events: Array<Chat.Event> = []
      const { clock, run } = steppedClock()
      const program = Effect.gen(function* () {
        const supervisor = yield* Supervisor.track
        const reading = Stream.runForEach(ChatStream.toStream(source), (event) => Effect.sync(() => events.push(event)))
        const reader = yield* Effect.supervised(Effect.fork(reading), supervisor)
        yield* Effect.raceFirst(Fiber.await(reader), Effect.sleep(given.leaves))
        const exit = yield* Fiber.interrupt(reader)
        // A timer that was called off ends a moment later.
        yield* Effect.yieldNow()
        const fibers = yield* supervisor.value
        return { exit, alive: Array.from(fibers).filter((fiber) => fiber.unsafePoll() === null).length }
      })
      const fiber = Effect.runFork(Effect.withClock(program, clock))
      await run(() => fiber.unsafePoll() !== null)
      const { alive, exit } = Exit.getOrElse(await Effect.runPromise(Fiber.await(fiber)), () => assert.fail("died"))

      const error = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
      const finishes = events.filter((event) => event._tag === "Finish").length
      const end = Exit.isSuccess(exit) ? "finish" : error === undefined ? "left" : `failure ${error.provider}`
      const delivered = events.map((event) => (event._tag === "TextDelta" ? event.text : "")).join("")
      const { sent, ...outcome } = expected(given)
      assert.deepStrictEqual({ text: delivered, end }, outcome)

      assert.strictEqual(finishes, end === "finish" ? 1 : 0)
      if (finishes === 1) assert.strictEqual(events.at(-1)?._tag, "Finish")
      assert.deepStrictEqual(
        events.map((event) => event._tag === "Start").lastIndexOf(true),
        events.length > 0 ? 0 : -1
      )
      assert.deepStrictEqual(
        [one.seen, two.seen],
        [
          { opened: 1, closed: 1 },
          { opened: sent ? 1 : 0, closed: sent ? 1 : 0 }
        ]
      )
      assert.strictEqual(alive, 0)
      assert.deepStrictEqual(told.map(([, side]) => side).toSorted(), sent ? ["first", "second"] : ["first"])
      assert.isAtMost(told.filter(([what]) => what === "answered").length, 1)
    })
    await fc.assert(law, { numRuns: cases(5000) })
  })
})
