import { assert, describe, it } from "@effect/vitest"
import { Chunk, Deferred, Effect, Exit, Fiber, Layer, Random, Stream, TestClock } from "effect"
import { Call, Chat, ChatModel, RetryPolicy } from "effect-steadfast"
import { Degradation, Evaluation } from "effect-steadfast/observability"
import { Fault, Reply } from "effect-steadfast/testing"
import { errorOf } from "../support/errors.js"
import { collect, scripted } from "../support/evidence.js"
import { collectGarbage, recordOf } from "./support.js"

const good = { score: 1, reason: "good" }

/** A call of the application that a retry serves, or its first attempt. It knows the answer before its record is there. */
const call = (
  answer: unknown,
  options: { readonly retried?: boolean; readonly id?: string; readonly input?: unknown } = {}
) =>
  Effect.gen(function* () {
    const { id = "call", input = "question", retried = false } = options
    const evaluation = yield* Evaluation.Evaluation
    const open = { id } as Call.Call
    const value = yield* Effect.succeed(answer).pipe(
      Evaluation.sampled({ input }),
      Effect.provideService(Call.CurrentCall, open)
    )
    yield* evaluation.observe(recordOf({ id, errors: retried ? ["Overloaded"] : [] }))
    return value
  })

/** Also what the tasks of the runtime hold. */
const collected = Effect.gen(function* () {
  for (let i = 0; i < 5; i++) {
    yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
    collectGarbage()
  }
})

const settle = TestClock.adjust("1 second")

/** A judge that keeps what it was asked. */
const keeping = (options: Partial<Evaluation.Options> = {}) => {
  const asked: Array<Evaluation.Evaluated> = []
  const judge = (one: Evaluation.Evaluated) => {
    asked.push(one)
    return Effect.succeed(good)
  }
  return { asked, layer: Evaluation.layer({ judge, normal: 1, ...options }) }
}

const summary = Evaluation.summary

describe("a sampled call", () => {
  it.effect("is judged after its end, with its question, its answer and its record", () => {
    const { asked, layer } = keeping()
    return Effect.gen(function* () {
      assert.strictEqual(yield* call("answer", { retried: true }), "answer")
      assert.strictEqual(asked.length, 0)
      yield* settle
      assert.deepInclude(asked[0], { retried: true, input: "question", output: "answer" })
      assert.strictEqual(asked[0]?.record.id, "call")
      assert.deepInclude(yield* summary, { retried: { count: 1, mean: 1 }, normal: { count: 0, mean: undefined } })
    }).pipe(Effect.provide(layer))
  })

  it.effect("is found inside of Call.make and outside, where the model or a schedule makes the calls", () => {
    const { asked, layer } = keeping()
    return Effect.gen(function* () {
      const script = [
        Fault.status(529),
        Reply.text("a"),
        Fault.status(529),
        Reply.text("b"),
        Fault.status(529),
        Reply.text("c"),
        Reply.text("d")
      ]
      const { model } = yield* scripted({ script })
      const policy = RetryPolicy.make({ initialDelay: "1 second" })
      const judged = Evaluation.sampled({ input: "q", output: (answer: Chat.Response) => answer.text })
      const ask = model.generate(Chat.prompt("Hello"))
      const inside = ask.pipe(Effect.retry(policy), judged, Call.make("inside"))
      const outside = ask.pipe(Effect.retry(policy), Call.make("outside"), judged)
      const rounds = ask.pipe(Effect.retry(policy), judged)
      const first = model.pipe(ChatModel.retry(policy)).generate(Chat.prompt("Hello")).pipe(judged)
      const fiber = yield* Effect.fork(Effect.all([inside, outside, rounds, first]))
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(fiber)
      yield* settle
      assert.deepStrictEqual(
        asked.map(({ output, record, retried }) => [output, record.name, retried]),
        [
          ["a", "inside", true],
          ["b", "outside", true],
          ["c", "openai/gpt-4o-mini", true],
          ["d", "openai/gpt-4o-mini", false]
        ]
      )
    }).pipe(Effect.provide(layer))
  })

  it.effect("is not judged if its call failed in the end, or was interrupted, and nothing stays held", () => {
    const { asked, layer } = keeping()
    const answer = Effect.succeed("answer").pipe(Evaluation.sampled({ input: "question" }))
    return Effect.gen(function* () {
      yield* Effect.exit(answer.pipe(Effect.zipRight(Effect.fail(errorOf("Overloaded"))), Call.make("fails")))
      const fiber = yield* Effect.fork(answer.pipe(Effect.zipRight(Effect.never), Call.make("hangs")))
      yield* settle
      yield* Fiber.interrupt(fiber)
      const asking = yield* Effect.fork(
        Effect.never.pipe(Evaluation.sampled({ input: "question" }), Call.make("never"))
      )
      yield* settle
      assert.isTrue(Exit.isInterrupted(yield* Fiber.interrupt(asking)))
      yield* settle
      assert.deepStrictEqual(asked, [])
      assert.deepInclude(yield* summary, { dropped: 0, judgeFailures: 0 })
    }).pipe(Effect.provide(layer))
  })

  it.effect("keeps its error as it is", () => {
    const { layer } = keeping()
    const error = errorOf("AuthError")
    return Effect.gen(function* () {
      const exit = yield* Effect.exit(Effect.fail(error).pipe(Evaluation.sampled({ input: "question" })))
      assert.deepStrictEqual(exit, Exit.fail(error))
    }).pipe(Effect.provide(layer))
  })

  it.effect("is drawn by the share of its group, from the random numbers of the fiber", () => {
    const run = (seed: string, options: Partial<Evaluation.Options>) => {
      const { asked, layer } = keeping({ capacity: 10_000, ...options })
      return Effect.gen(function* () {
        for (let i = 0; i < 2000; i++) yield* call(i, { id: `${i}`, retried: i % 2 === 0 })
        yield* settle
        return [asked.filter(({ retried }) => retried).length, asked.filter(({ retried }) => !retried).length] as const
      }).pipe(Effect.provide(layer), Effect.withRandom(Random.make(seed)))
    }
    return Effect.gen(function* () {
      assert.deepStrictEqual(yield* run("a", { retried: 1, normal: 0 }), [1000, 0])
      assert.deepStrictEqual(yield* run("a", { retried: 0, normal: 1 }), [0, 1000])
      const [retried, normal] = yield* run("a", { retried: 0.5, normal: 0.1 })
      // Four standard deviations.
      assert.closeTo(retried, 500, 64)
      assert.closeTo(normal, 100, 38)
      assert.deepStrictEqual(yield* run("a", { retried: 0.5, normal: 0.1 }), [retried, normal])
      assert.notDeepEqual(yield* run("b", { retried: 0.5, normal: 0.1 }), [retried, normal])
    })
  })

  it.effect("that is not drawn leaves nothing behind, nor does one that was judged", () => {
    const kept = { judge: () => Effect.succeed(good), retried: 1, normal: 0 }
    const asked = (retried: boolean) =>
      Effect.gen(function* () {
        const [question, answer] = [{ text: "question" }, { text: "answer" }]
        yield* call(answer, { id: `${retried}`, input: question, retried })
        yield* settle
        return [new WeakRef(question), new WeakRef(answer)]
      })
    return Effect.gen(function* () {
      const refs = [...(yield* asked(false)), ...(yield* asked(true))]
      yield* collected
      assert.strictEqual((yield* summary).retried.count, 1)
      assert.deepStrictEqual(
        refs.map((ref) => ref.deref()),
        [undefined, undefined, undefined, undefined]
      )
    }).pipe(Effect.provide(Evaluation.layer(kept)))
  })
})

it.effect("a call that ends after the scope leaves nothing behind", () =>
  Effect.gen(function* () {
    const go = yield* Deferred.make<void>()
    const late = Effect.gen(function* () {
      yield* Deferred.await(go)
      return { text: "answer" }
    }).pipe(Evaluation.sampled({ input: "question" }), Call.make("late"))
    const evaluation = yield* Effect.scoped(
      Effect.gen(function* () {
        const made = yield* Evaluation.make({ judge: () => Effect.succeed(good), normal: 1 })
        const running = late.pipe(
          Effect.map((answer) => new WeakRef(answer)),
          Effect.provideService(Evaluation.Evaluation, made),
          Effect.provide(Call.observe(made.observe))
        )
        const fiber = yield* Effect.forkDaemon(running)
        yield* settle
        return { made, fiber }
      })
    )
    yield* Deferred.succeed(go, undefined)
    const ref = yield* Fiber.join(evaluation.fiber)
    yield* collected
    assert.isUndefined(ref.deref())
    assert.strictEqual((yield* evaluation.made.summary).normal.count, 0)
  })
)

describe("the judge", () => {
  it.effect("may be slower than the calls: they do not wait, and what finds no place is dropped and counted", () => {
    let [running, most] = [0, 0]
    const judge = () =>
      Effect.gen(function* () {
        most = Math.max(most, ++running)
        yield* Effect.sleep("10 seconds")
        running--
        return good
      })
    return Effect.gen(function* () {
      for (let i = 0; i < 50; i++) {
        yield* call(i, { id: `${i}` })
        yield* Effect.yieldNow()
      }
      // Two are judged, five wait.
      assert.deepInclude(yield* summary, { dropped: 43, normal: { count: 0, mean: undefined } })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* summary).normal.count, 7)
      assert.strictEqual(most, 2)
    }).pipe(Effect.provide(Evaluation.layer({ judge, normal: 1, capacity: 5 })))
  })

  it.effect(
    "may fail, die, hang, interrupt itself, or say nonsense: that is counted, logged once, and the next is judged",
    () => {
      const nonsense = (score: unknown) => Effect.succeed({ score: score as number, reason: "" })
      const ends: ReadonlyArray<() => ReturnType<Evaluation.Options["judge"]>> = [
        () => Effect.fail(errorOf("Overloaded")),
        () => Effect.die("defect"),
        () => {
          throw new Error("thrown")
        },
        () => Effect.never,
        () => Effect.interrupt,
        () => nonsense(1.5),
        () => nonsense(-0.1),
        () => nonsense(Number.NaN),
        () => nonsense("0.5 points"),
        () => Effect.succeed(undefined as never)
      ]
      const logs = collect()
      const judge = ({ input }: Evaluation.Evaluated) => ends[input as number]?.() ?? Effect.succeed(good)
      return Effect.gen(function* () {
        for (const input of [...ends.keys(), ends.length]) yield* call("answer", { id: `${input}`, input })
        yield* TestClock.adjust("2 minutes")
        assert.deepInclude(yield* summary, { judgeFailures: ends.length, normal: { count: 1, mean: 1 }, dropped: 0 })
        assert.deepStrictEqual(
          logs.lines.map(({ level }) => level),
          ["WARN"]
        )
        // An answer that cannot be read is the judge's failure too.
        yield* recordedWith("unread", {
          input: 99,
          output: () => {
            throw new Error("unread")
          }
        })
        yield* settle
        assert.strictEqual((yield* summary).judgeFailures, ends.length + 1)
      }).pipe(Effect.provide(Layer.provideMerge(Evaluation.layer({ judge, normal: 1, concurrency: 1 }), logs.layer)))
    }
  )

  const recordedWith = (id: string, options: Evaluation.SampledOptions<string>) =>
    Effect.gen(function* () {
      const evaluation = yield* Evaluation.Evaluation
      yield* Effect.succeed("answer").pipe(
        Evaluation.sampled(options),
        Effect.provideService(Call.CurrentCall, { id } as Call.Call)
      )
      yield* evaluation.observe(recordOf({ id }))
    })

  it.effect("makes calls that have a label, are no part of the judged call, and are never sampled", () => {
    const { layer, records } = collect()
    let judged = 0
    const judge = () => {
      judged++
      // Not for ever, should it be sampled after all.
      if (judged > 5) return Effect.succeed(good)
      return Effect.succeed(good).pipe(
        Call.make("judging"),
        (self) => Evaluation.sampled(self, { input: "again" }),
        Effect.provideServiceEffect(Evaluation.Evaluation, Deferred.await(own))
      )
    }
    const own = Effect.runSync(Deferred.make<Evaluation.Evaluation>())
    return Effect.gen(function* () {
      const made = Evaluation.make({ judge, normal: 1 })
      const evaluation = yield* Call.make("around the layer")(made)
      yield* Deferred.succeed(own, evaluation)
      yield* Effect.provideService(call("answer"), Evaluation.Evaluation, evaluation)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(judged, 1)
      assert.deepStrictEqual(
        records.map(({ labels, name }) => [name, labels]),
        [
          ["around the layer", undefined],
          ["judging", { "steadfast.evaluation": "judge" }]
        ]
      )
    }).pipe(Effect.scoped, Effect.provide(layer))
  })

  it.effect("stops with its scope", () => {
    let ended: Exit.Exit<unknown, unknown> | undefined
    const judge = () => Effect.onExit(Effect.never, (exit) => Effect.sync(() => (ended = exit)))
    return Effect.gen(function* () {
      const evaluation = yield* Effect.scoped(
        Effect.gen(function* () {
          const evaluation = yield* Evaluation.make({ judge, normal: 1, timeout: "1 hour" })
          yield* Effect.provideService(call("answer"), Evaluation.Evaluation, evaluation)
          yield* settle
          return evaluation
        })
      )
      assert.isTrue(ended !== undefined && Exit.isInterrupted(ended))
      // Calls go on.
      yield* Effect.provideService(call("answer"), Evaluation.Evaluation, evaluation)
    })
  })
})

it.effect("a layer inside of another that observes leaves both their calls", () => {
  const { asked, layer } = keeping()
  return Effect.gen(function* () {
    const { states } = yield* Degradation.Degradation
    const { model } = yield* scripted({ script: [Reply.text("hi")] })
    yield* model.generate(Chat.prompt("Hello")).pipe(Evaluation.sampled({ input: "question" }), Call.make("both"))
    yield* settle
    assert.strictEqual(asked.length, 1)
    assert.strictEqual((yield* states).get("openai/gpt-4o-mini")?.figures.calls, 1)
  }).pipe(Effect.provide(Layer.provideMerge(layer, Degradation.layer())))
})

describe("events", () => {
  it.effect("are judgements and feedback, bounded", () =>
    Effect.gen(function* () {
      const { events } = yield* Evaluation.Evaluation
      const fiber = yield* Effect.fork(Stream.runCollect(Stream.take(events, 3)))
      yield* Effect.yieldNow()
      yield* call("answer", { retried: true })
      yield* settle
      yield* Evaluation.feedback("call", { thumbs: "down", note: "wrong" })
      yield* Evaluation.feedback("x".repeat(500), { score: 0.5 })
      const [judged, down, half] = Chunk.toReadonlyArray(yield* Fiber.join(fiber))
      assert.deepStrictEqual(judged, {
        _tag: "Judged",
        callId: "call",
        at: 0,
        retried: true,
        score: 1,
        reason: "r".repeat(1000)
      })
      assert.deepStrictEqual(down, {
        _tag: "Feedback",
        callId: "call",
        at: 1000,
        opinion: { thumbs: "down", note: "wrong" }
      })
      assert.strictEqual(half?.callId.length, 200)
      for (const wrong of [{ score: 1.1 }, { thumbs: "sideways" }, { score: 1, note: "x".repeat(1001) }, {}, null]) {
        assert.strictEqual((yield* Effect.flip(Evaluation.feedback("call", wrong as never)))._tag, "ParseError")
      }
    }).pipe(Effect.provide(Evaluation.layer({ judge: () => Effect.succeed({ score: 1, reason: "r".repeat(5000) }) })))
  )
})

it("options that make no sense are refused", () => {
  const refused = (options: object, message: string) =>
    assert.throws(() => Evaluation.make({ judge: () => Effect.succeed(good), ...options }), RangeError, message)
  refused({ retried: 1.1 }, "Evaluation: retried: found 1.1, expected a number from 0 to 1")
  refused({ normal: -1 }, "Evaluation: normal")
  refused({ capacity: 0 }, "Evaluation: capacity")
  refused({ minimum: 2 }, "Evaluation: minimum")
  refused({ timeout: 0 }, "Evaluation: timeout")
})
