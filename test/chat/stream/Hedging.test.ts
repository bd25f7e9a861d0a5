import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Option, Stream, TestClock } from "effect"
import { ChatModel, ChatStream } from "effect-steadfast"
import * as Hedging from "../../../src/chat/stream/Hedging.js"
import { collectLogs } from "../../support/evidence.js"
import { attempts, elapse, prompt, read, readAll, recorded } from "../support.js"
import {
  answering,
  byHand,
  counted,
  down,
  failing,
  finish,
  fixed,
  hedged,
  late,
  race,
  type Script,
  scripted,
  soon,
  start,
  text
} from "./Hedging.support.js"

describe("the first content", () => {
  it.effect("before the delay is read on from, and nobody else is asked", () =>
    Effect.gen(function* () {
      const { ended, one, record, tags, text, told, two } = yield* race(answering("first", 900), soon)
      assert.deepStrictEqual([tags, text], [["Start", "TextDelta", "TextDelta", "Finish"], "first:a first:b"])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 0, closed: 0 }
        ]
      )
      assert.deepStrictEqual([ended, told], [1000, [["answered", "first", 900]]])
      assert.deepStrictEqual(attempts(record), ["success"])
    })
  )

  it.effect("that comes at once costs no timer", () =>
    Effect.gen(function* () {
      const { hedge, told } = fixed(1000)
      const now = Effect.succeed(byHand([[0, [start("first"), text("a"), finish]]]))
      const source = Hedging.source(
        () => Effect.flatten(now),
        () => Effect.die("asked"),
        prompt,
        {
          hedge,
          group: "second",
          healthy: () => true
        }
      )
      const { sleeping, value } = yield* Effect.gen(function* () {
        const fiber = yield* Effect.fork(read(ChatStream.toStream(source)))
        yield* TestClock.adjust(0)
        const value = yield* Fiber.join(fiber)
        return { value, sleeping: yield* TestClock.sleeps() }
      })
      assert.deepStrictEqual([value.text, told, Array.from(sleeping)], ["a", [["answered", "first", 0]], []])
    })
  )

  it.effect("of the hedge wins, and only that is read; the first is left at once", () =>
    Effect.gen(function* () {
      const { ended, one, record, tags, text, times, told, two } = yield* race(late, soon)
      assert.deepStrictEqual([tags, text], [["Start", "TextDelta", "TextDelta", "Finish"], "second:a second:b"])
      assert.deepStrictEqual([times, ended], [[1300, 1300, 1400, 1400], 1400])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 1, closed: 1 }
        ]
      )
      assert.deepStrictEqual(told, [
        ["answered", "second", 300],
        ["silent", "first", 1300]
      ])
      assert.deepStrictEqual(
        record?.attempts.map((one) => [one.index, one.provider, one.outcome, one.hedge, one.durationMillis]),
        [
          [1, "first", "interrupted", undefined, 1300],
          [2, "second", "success", true, 400]
        ]
      )
    })
  )

  it.effect("of the first wins over a hedge that is slower, which is left at once", () =>
    Effect.gen(function* () {
      const { ended, one, record, text, told, two } = yield* race(answering("first", 1500), answering("second", 5000))
      assert.deepStrictEqual([text, ended], ["first:a first:b", 1600])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 1, closed: 1 }
        ]
      )
      assert.deepStrictEqual(told, [
        ["answered", "first", 1500],
        ["silent", "second", 500]
      ])
      assert.deepStrictEqual(attempts(record), ["success", "interrupted"])
      assert.deepStrictEqual(
        record?.attempts.map((one) => one.durationMillis),
        [1600, 500]
      )
    })
  )

  it.effect("of both at once is that of one", () =>
    Effect.gen(function* () {
      const { one, record, text, two } = yield* race(answering("first", 1500), answering("second", 500))
      assert.include(["first:a first:b", "second:a second:b"], text)
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 1, closed: 1 }
        ]
      )
      assert.deepStrictEqual(attempts(record).toSorted(), ["interrupted", "success"])
      const lost = record?.attempts.find((one) => one.outcome === "interrupted")
      assert.strictEqual(lost?.durationMillis, lost?.index === 1 ? 1500 : 500)
    })
  )

  it.effect("is not what comes before it: a start, a ping or an empty answer's start", () =>
    Effect.gen(function* () {
      const { hedge } = fixed(1000)
      const first = byHand([
        [10, [start("first")]],
        [5000, [text("first"), finish]]
      ])
      const second = byHand([
        [10, [start("second")]],
        [10, [counted(1, 0)]],
        [300, [text("second"), finish]]
      ])
      const source = Hedging.source(
        () => first,
        () => second,
        prompt,
        { hedge, group: "g", healthy: () => true }
      )
      const { tags, times, text: seen } = yield* elapse(read(ChatStream.toStream(source)))
      assert.deepStrictEqual([tags, seen], [["Start", "Usage", "TextDelta", "Finish"], "second"])
      assert.deepStrictEqual(times, [1320, 1320, 1320, 1320])
    })
  )

  it.effect("need not come: an answer without any ends with its Finish, and wins with it", () =>
    Effect.gen(function* () {
      const { tags, told } = yield* race(late, {
        steps: [
          [0, start("second")],
          [200, finish]
        ]
      })
      assert.deepStrictEqual(tags, ["Start", "Finish"])
      assert.deepStrictEqual(told[0], ["answered", "second", 200])
    })
  )
})

describe("a side that fails", () => {
  it.effect("before the delay is the end: no hedge mends it", () =>
    Effect.gen(function* () {
      const { ended, error, one, record, told, two } = yield* race(failing("first", 900), soon)
      assert.deepStrictEqual([error?.provider, error?._tag, ended], ["first", "ServerError", 900])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 0, closed: 0 }
        ]
      )
      assert.deepStrictEqual(told, [["silent", "first", 900]])
      assert.deepStrictEqual(attempts(record), ["failure ServerError"])
    })
  )

  it.effect("as the first leaves the hedge to go on alone, and is closed there and then", () =>
    Effect.gen(function* () {
      const { ended, one, record, text, told, two } = yield* race(failing("first", 1200), answering("second", 3000))
      assert.deepStrictEqual([text, ended], ["second:a second:b", 4100])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 1, closed: 1 }
        ]
      )
      assert.deepStrictEqual(told, [
        ["silent", "first", 1200],
        ["answered", "second", 3000]
      ])
      assert.deepStrictEqual(attempts(record), ["failure ServerError", "success"])
      assert.strictEqual(record?.attempts[0]?.durationMillis, 1200)
    })
  )

  it.effect("as the hedge leaves the first to go on alone; its error is evidence only", () =>
    Effect.gen(function* () {
      const { ended, one, record, text, told, two } = yield* race(answering("first", 5000), failing("second", 300))
      assert.deepStrictEqual([text, ended], ["first:a first:b", 5100])
      assert.deepStrictEqual(
        [one, two],
        [
          { opened: 1, closed: 1 },
          { opened: 1, closed: 1 }
        ]
      )
      assert.deepStrictEqual(told, [
        ["silent", "second", 300],
        ["answered", "first", 5000]
      ])
      assert.deepStrictEqual(attempts(record), ["success", "failure ServerError"])
      assert.strictEqual(record?.attempts[1]?.durationMillis, 300)
    })
  )

  it.effect("after the other did ends the stream with the error of the first, whoever was first to fail", () =>
    Effect.gen(function* () {
      for (const [first, second] of [
        [failing("first", 1200), failing("second", 3000)],
        [failing("first", 5000), failing("second", 300)]
      ] as const) {
        const { error, one, record, tags, two } = yield* race(first, second)
        assert.deepStrictEqual([error?.provider, error?._tag, tags], ["first", "ServerError", []])
        assert.deepStrictEqual(
          [one, two],
          [
            { opened: 1, closed: 1 },
            { opened: 1, closed: 1 }
          ]
        )
        assert.deepStrictEqual(attempts(record), ["failure ServerError", "failure ServerError"])
      }
    })
  )

  it.effect("after its first content is not replaced by the other, which is gone", () =>
    Effect.gen(function* () {
      const cut: Script = {
        steps: [
          [0, start("second")],
          [300, text("second:a ")]
        ],
        end: [100, "fail"]
      }
      const { error, text: seen, record } = yield* race(late, cut)
      assert.deepStrictEqual([error?.provider, seen], ["second", "second:a "])
      assert.deepStrictEqual(attempts(record), ["interrupted", "failure ServerError"])
    })
  )

  it.effect("with a defect as the first ends the call with it, hedge or not", () =>
    Effect.gen(function* () {
      for (const millis of [500, 1200]) {
        const broken: Script = { steps: [], end: [millis, "die"] }
        const { ended, exit, one, two } = yield* race(broken, answering("second", 3000))
        assert.deepStrictEqual([exit._tag === "Failure" && exit.cause._tag, ended], ["Die", millis])
        assert.strictEqual(one.closed, one.opened)
        assert.strictEqual(two.closed, two.opened)
      }
    })
  )

  it.effect("with a defect as the hedge is told in the log, and does no harm", () =>
    Effect.gen(function* () {
      const { layer, lines } = collectLogs()
      const broken: Script = { steps: [], end: [100, "die"] }
      const { record, text } = yield* Effect.provide(race(late, broken), layer)
      assert.strictEqual(text, "first:a first:b")
      assert.deepStrictEqual(attempts(record), ["success", "defect"])
      assert.deepStrictEqual(
        lines.filter((line) => line.level === "WARN").map((line) => [line.message, line.cause.includes("a bug")]),
        [["a hedge died", true]]
      )
    })
  )
})

describe("the reader", () => {
  it.effect("who leaves while both are asked closes both, each once", () =>
    Effect.gen(function* () {
      for (const at of [500, 1100]) {
        const one = scripted("first", late)
        const two = scripted("second", answering("second", 3000))
        const { hedge, told } = fixed(1000)
        const { records } = yield* recorded(
          Effect.gen(function* () {
            const fiber = yield* Effect.fork(read(hedged(one.model, two.model, hedge).stream(prompt)))
            yield* TestClock.adjust(at)
            yield* Fiber.interrupt(fiber)
          })
        )
        const sent = at > 1000 ? 1 : 0
        assert.deepStrictEqual(
          [one.seen, two.seen],
          [
            { opened: 1, closed: 1 },
            { opened: sent, closed: sent }
          ]
        )
        assert.deepStrictEqual(attempts(records[0]), new Array(1 + sent).fill("interrupted"))
        assert.deepStrictEqual(
          told,
          sent === 0
            ? [["silent", "first", 500]]
            : [
                ["silent", "first", 1100],
                ["silent", "second", 100]
              ]
        )
      }
    })
  )

  it.effect("waits until whoever is left has hung up, both where one wins and where the reader leaves", () =>
    Effect.gen(function* () {
      const one = scripted("first", late, 50)
      const two = scripted("second", soon)
      const { times } = yield* readAll(hedged(one.model, two.model, fixed(1000).hedge))
      assert.strictEqual(times[0], 1350)
      for (const at of [500, 1100]) {
        const one = scripted("first", late, 50)
        const two = scripted("second", late, 50)
        const reading = yield* Effect.fork(read(hedged(one.model, two.model, fixed(1000).hedge).stream(prompt)))
        yield* TestClock.adjust(at)
        const leaving = yield* Effect.fork(Fiber.interrupt(reading))
        yield* TestClock.adjust(49)
        assert.isNull(leaving.unsafePoll())
        yield* TestClock.adjust(51)
        yield* Fiber.join(leaving)
        assert.deepStrictEqual([one.seen.closed, two.seen.closed], [1, at > 1000 ? 1 : 0])
      }
    })
  )

  it.effect("who leaves while a loser hangs up waits for it too", () =>
    Effect.gen(function* () {
      const one = scripted("first", late, 50)
      const two = scripted("second", soon)
      const reading = yield* Effect.fork(read(hedged(one.model, two.model, fixed(1000).hedge).stream(prompt)))
      yield* TestClock.adjust(1320)
      const leaving = yield* Effect.fork(Fiber.interrupt(reading))
      yield* TestClock.adjust(29)
      assert.isNull(leaving.unsafePoll())
      yield* TestClock.adjust(1)
      yield* Fiber.join(leaving)
      assert.deepStrictEqual([one.seen.closed, two.seen.closed], [1, 1])
    })
  )

  it.effect("gets nothing from a loser that cannot be stopped before it has content, which is closed then", () =>
    Effect.gen(function* () {
      const closed: Array<number> = []
      const stubborn = Effect.zipRight(
        Effect.addFinalizer(() => Effect.map(Clock.currentTimeMillis, (now) => closed.push(now))),
        Effect.map(byHand([[500, [start("second"), text("second"), finish]]]), Effect.uninterruptible)
      )
      const first = byHand([
        [1400, [start("first"), text("first")]],
        [1000, [finish]]
      ])
      const { hedge } = fixed(1000)
      const source = Hedging.source(
        () => first,
        () => stubborn,
        prompt,
        { hedge, group: "g", healthy: () => true }
      )
      const { text: seen, times } = yield* elapse(read(ChatStream.toStream(source)))
      assert.deepStrictEqual([seen, times, closed], ["first", [1500, 1500, 2500], [1500]])
    })
  )

  it.effect("who pulls again after the end is told it again, and nobody is asked again", () =>
    Effect.gen(function* () {
      const { hedge } = fixed(1000)
      const open = () =>
        byHand([
          [10, down("first")],
          [10, [text("again"), finish]]
        ])
      const source = Hedging.source(open, open, prompt, { hedge, group: "g", healthy: () => true })
      const twice = Effect.scoped(Effect.flatMap(source, (pull) => Effect.all([Effect.flip(pull), Effect.flip(pull)])))
      const [a, b] = yield* elapse(twice)
      assert.strictEqual(Option.getOrThrow(a), Option.getOrThrow(b))
    })
  )

  it.effect("whose deadline is up is told so, and so are both attempts", () =>
    Effect.gen(function* () {
      const { hedge } = fixed(1000)
      const pair = hedged(scripted("first", late).model, scripted("second", late).model, hedge)
      const { records, value } = yield* recorded(readAll(pair.pipe(ChatModel.timeout({ firstToken: "2 seconds" }))))
      assert.deepStrictEqual([value.error?._tag, value.ended], ["Timeout", 2000])
      assert.deepStrictEqual(attempts(records[0]), ["failure Timeout", "failure Timeout"])
    })
  )

  it.effect("may stop after the first word, and the winner is closed", () =>
    Effect.gen(function* () {
      const [one, two] = [scripted("first", late), scripted("second", soon)]
      const pair = hedged(one.model, two.model, fixed(1000).hedge)
      const { text } = yield* elapse(read(Stream.take(pair.stream(prompt), 2)))
      assert.deepStrictEqual(
        [text, one.seen, two.seen],
        ["second:a ", { opened: 1, closed: 1 }, { opened: 1, closed: 1 }]
      )
    })
  )
})
