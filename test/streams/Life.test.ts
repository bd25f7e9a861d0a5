import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, FastCheck as fc, Logger, LogLevel, TestClock } from "effect"
import { ChatModel, CircuitBreaker, type LlmError, RetryPolicy } from "effect-steadfast"
import { fixed, hedged } from "../chat/stream/Hedging.support.js"
import { attempts, elapse, read, recorded } from "../chat/support.js"
import { breathe, cases } from "../support/cases.js"
import { manualClock } from "../support/manualClock.js"
import {
  argumentsOf,
  closing,
  modelOver,
  reaching,
  serving,
  type Timed,
  type Way,
  ways,
  wires
} from "./Life.support.js"
import { callsOf, type Format, find, formats, prompt, textOf } from "./support.js"

const limits = { firstToken: "10 seconds", idle: "5 seconds" } as const

const phaseOf = (error: LlmError.LlmError | undefined) => (error?._tag === "Timeout" ? error.phase : error?._tag)

const called = (pieces: number) => [{ name: "f", arguments: argumentsOf(pieces) }]

/** A tool call that takes 15 seconds, a piece each two of them. */
const slowCall = (format: Format): Timed => [
  [0, wires[format].begin],
  [1000, wires[format].open],
  ...Array.from({ length: 6 }, () => [2000, wires[format].more] as const),
  [2000, closing(format, 6)],
  [0, null]
]

/** The end of a message of Anthropic whose blocks are closed. */
const messageEnd = wires.anthropic.close.slice(wires.anthropic.close.indexOf("event: message_delta"))

/** Pings of all kinds, one a second, for ever. */
const pinging = (pings: ReadonlyArray<string>, seconds = 12): Timed =>
  Array.from({ length: seconds }, (_, i) => [1000, pings[i % pings.length] ?? ""] as const)

const all = formats.flatMap((format) => (Object.keys(ways) as ReadonlyArray<Way>).map((way) => [format, way] as const))

/** What a reader saw of a model over these bodies, and what the provider saw. */
const seen = (
  [format, way]: readonly [Format, Way],
  held: (model: ChatModel.ChatModel) => ChatModel.ChatModel,
  ...bodies: ReadonlyArray<Timed>
) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock
    const { fetch, requests } = serving(clock, ...bodies)
    const model = held(yield* modelOver(format, way))
    const { records, value } = yield* recorded(elapse(reaching(fetch)(read(model.stream(prompt))), "1 minute"))
    return { ...value, requests, record: records[0] }
  })

describe.each(all)("%s over %s", (format, way) => {
  const { begin, hidden, inside, more, open, pings, text } = wires[format]
  const timeout = ChatModel.timeout(limits)
  const policy = ChatModel.retry(RetryPolicy.standard)
  const see = (held: (model: ChatModel.ChatModel) => ChatModel.ChatModel, ...bodies: ReadonlyArray<Timed>) =>
    seen([format, way], held, ...bodies)

  it.effect("a tool call may take longer than the limits, while its pieces come in time", () =>
    Effect.gen(function* () {
      const result = yield* see((model) => policy(timeout(model)), slowCall(format))
      assert.deepStrictEqual([result.error, result.ended], [undefined, 15_000])
      assert.deepStrictEqual(callsOf(result.events), called(6))
      assert.deepStrictEqual(attempts(result.record), ["success"])
    })
  )

  it.effect("pings and empty pieces are no first token", () =>
    Effect.gen(function* () {
      const result = yield* see(timeout, [[0, begin], ...pinging(pings)])
      assert.deepStrictEqual([phaseOf(result.error), result.ended], ["first-token", 10_000])
      assert.deepStrictEqual([result.events, result.requests.map(({ hungUpAt }) => hungUpAt)], [[], [10_000]])
    })
  )

  it.effect("pings and empty pieces after the pieces of a call are no life", () =>
    Effect.gen(function* () {
      const body: Timed = [[0, begin], [1000, open], [3000, more], ...pinging([...pings, ...inside])]
      const result = yield* see(timeout, body)
      assert.deepStrictEqual([phaseOf(result.error), result.ended], ["idle", 9000])
      assert.deepStrictEqual([result.events, result.requests.map(({ hungUpAt }) => hungUpAt)], [[], [9000]])
    })
  )

  it.effect("a call that begins in the same piece as its message is life", () =>
    Effect.gen(function* () {
      const result = yield* see(timeout, [[2000, begin + open]])
      assert.deepStrictEqual([phaseOf(result.error), result.ended], ["idle", 7000])
    })
  )

  it.effect("a hidden thought is life", () =>
    Effect.gen(function* () {
      const result = yield* see(timeout, [
        [0, begin],
        [9000, hidden],
        [4000, hidden],
        [4000, text]
      ])
      assert.deepStrictEqual([textOf(result.events), phaseOf(result.error), result.ended], ["t", "idle", 22_000])
    })
  )

  it.effect("the limits of the attempt and of the whole end a stream that lives", () =>
    Effect.gen(function* () {
      const attempt = ChatModel.timeout({ ...limits, attempt: "7 seconds" })
      const held = [
        [attempt, "attempt"],
        [(model: ChatModel.ChatModel) => ChatModel.deadline(timeout(model), "7 seconds"), "total"],
        [(model: ChatModel.ChatModel) => timeout(ChatModel.deadline(model, "7 seconds")), "total"]
      ] as const
      for (const [limited, phase] of held) {
        const { ended, error, events } = yield* see(limited, slowCall(format))
        assert.deepStrictEqual([phaseOf(error), ended, events], [phase, 7000, []])
      }
    })
  )

  it.effect("limits around other limits hear of it too", () =>
    Effect.gen(function* () {
      const result = yield* see(
        (model) => timeout(ChatModel.timeout(timeout(model), { idle: "4 seconds" })),
        slowCall(format)
      )
      assert.deepStrictEqual([result.error, result.ended], [undefined, 15_000])
    })
  )

  it.effect("no hedge is sent while the first target lives, and its time is that of its first sign", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      for (const delay of [3000, undefined]) {
        const { fetch, requests } = serving(clock, slowCall(format))
        const model = yield* modelOver(format, way)
        const { hedge, told } = fixed(delay)
        const result = yield* elapse(reaching(fetch)(read(hedged(model, model, hedge).stream(prompt))), "1 minute")
        assert.deepStrictEqual([callsOf(result.events), result.ended, requests.length], [called(6), 15_000, 1])
        assert.deepStrictEqual(told, [["answered", "first", 1000]])
      }
    })
  )

  it.effect("pings of the first target hold no hedge back", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const bodies: ReadonlyArray<Timed> = [
        [[0, begin], ...pinging(pings)],
        [
          [0, begin],
          [500, text]
        ]
      ]
      const { fetch, requests } = serving(clock, ...bodies)
      const model = yield* modelOver(format, way)
      const { hedge } = fixed(3000)
      const held = timeout(hedged(model, model, hedge))
      const result = yield* elapse(reaching(fetch)(read(held.stream(prompt))), "1 minute")
      assert.deepStrictEqual([textOf(result.events), result.times.at(-1), requests.length], ["t", 3500, 2])
      assert.deepStrictEqual([phaseOf(result.error), result.ended], ["idle", 8500])
    })
  )

  it.effect("a circuit counts a call that takes its time as a success", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const { fetch } = serving(clock, slowCall(format))
      const model = yield* modelOver(format, way)
      const breaker = yield* CircuitBreaker.make({ tripPolicy: CircuitBreaker.consecutive(1), maxWait: 0 })
      const held = model.pipe(ChatModel.timeout(limits), ChatModel.breaker(breaker))
      for (let i = 0; i < 3; i++) {
        const { error } = yield* elapse(reaching(fetch)(read(held.stream(prompt))), "1 minute")
        assert.isUndefined(error)
      }
      assert.strictEqual((yield* breaker.state(ChatModel.keyOf(model)))._tag, "Closed")
    })
  )
})

describe("while both targets of a hedge run", () => {
  it.effect("the first content wins, whichever showed life before", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const { begin, more, open, text } = wires.anthropic
      const first: Timed = [
        [0, begin],
        [4000, open],
        [2000, more],
        [2000, text]
      ]
      const second: Timed = [
        [0, begin],
        [2000, open],
        [2500, text]
      ]
      for (const [bodies, winner, times] of [
        [
          [first, second],
          "second",
          [
            ["answered", "first", 4000],
            ["answered", "second", 2000]
          ]
        ],
        [
          [
            first,
            [
              [0, begin],
              [500, open],
              [9000, text]
            ] satisfies Timed
          ],
          "first",
          [
            ["answered", "first", 4000],
            ["silent", "second", 500]
          ]
        ]
      ] as const) {
        const { fetch, requests } = serving(clock, ...bodies)
        const model = yield* modelOver("anthropic", "a transport")
        const { hedge, told } = fixed(3000)
        const fiber = yield* Effect.fork(reaching(fetch)(read(hedged(model, model, hedge).stream(prompt))))
        yield* TestClock.adjust("1 minute")
        assert.deepStrictEqual([requests.length, told], [2, times], winner)
        assert.deepStrictEqual(
          requests.map(({ hungUpAt }) => hungUpAt !== undefined),
          [winner === "second", winner === "first"]
        )
        yield* Fiber.interrupt(fiber)
      }
    })
  )
})

describe("a balance that goes by time", () => {
  it.effect("takes a target that is soon with its first sign for a quick one", () =>
    Effect.gen(function* () {
      const clock = yield* Effect.clock
      const quick = serving(clock, slowCall("openai-chat"))
      const { begin, text } = wires.anthropic
      const slow = serving(clock, [
        [3000, begin + text],
        [0, messageEnd]
      ])
      const fetch: typeof globalThis.fetch = (url, init) =>
        (String(url).includes("anthropic") ? slow : quick).fetch(url, init)
      const members = [yield* modelOver("openai-chat", "a transport"), yield* modelOver("anthropic", "a transport")]
      const model = ChatModel.balance(members, { strategy: "fastest" })
      for (let i = 0; i < 6; i++) yield* elapse(reaching(fetch)(read(model.stream(prompt))), "1 minute")
      assert.isAbove(quick.requests.length, slow.requests.length)
    })
  )
})

describe("content that a mode holds back", () => {
  const call = (index: number): string =>
    [
      {
        type: "content_block_start",
        index,
        content_block: { type: "tool_use", id: `c-${index}`, name: "f", input: {} }
      },
      { type: "content_block_stop", index }
    ]
      .map((data) => `event: ${data.type}\ndata: ${JSON.stringify(data)}\n\n`)
      .join("")
  const body: Timed = [
    [0, wires.anthropic.begin],
    ...[0, 1, 2, 3].map((index) => [4000, call(index)] as const),
    [4000, messageEnd]
  ]
  const retried = ChatModel.retry(RetryPolicy.standard, { mode: "restart" })

  it.effect("is life for the limits around the retry", () =>
    Effect.gen(function* () {
      const result = yield* seen(
        ["anthropic", "a transport"],
        (model) => ChatModel.timeout(retried(model), limits),
        body
      )
      assert.deepStrictEqual([result.error, result.ended], [undefined, 20_000])
      assert.lengthOf(find(result.events, "ToolCall"), 4)
    })
  )

  it.effect("is an answer for the hedge around the retry", () =>
    Effect.gen(function* () {
      const { hedge, told } = fixed(6000)
      const result = yield* seen(["anthropic", "a transport"], (model) => hedged(retried(model), model, hedge), body)
      assert.deepStrictEqual([result.error, result.ended, result.requests.length], [undefined, 20_000, 1])
      assert.deepStrictEqual(told, [["answered", "first", 4000]])
    })
  )
})

describe("for any pieces at any times", () => {
  type Piece = "life" | "ping" | "text"

  const firstToken = 10_001
  const idle = 5001

  /** How a stream ends by the definition: with the first gap without life that is longer than its limit. */
  const expected = (pieces: ReadonlyArray<readonly [number, Piece]>): { phase: string | undefined; ended: number } => {
    let last = 0
    let limit = firstToken
    let now = 0
    for (const [after, piece] of pieces) {
      now += after
      if (now > last + limit) break
      if (piece === "ping") continue
      last = now
      limit = idle
    }
    return { phase: limit === firstToken ? "first-token" : "idle", ended: last + limit }
  }

  const piece = fc.tuple(
    // Even, so that none comes in the millisecond of a limit.
    fc.integer({ min: 0, max: 6000 }).map((n) => 2 * n),
    fc.constantFrom<Piece>("life", "life", "ping", "text")
  )

  it("a stream is ended where its life has a gap of more than the limit, and nowhere else", async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...all), fc.array(piece, { maxLength: 12 }), async ([format, way], pieces) => {
        await breathe()
        const wire = wires[format]
        const { adjust, clock } = manualClock()
        const data = {
          life: wire.more,
          ping: wire.pings[0] ?? "",
          text: wire.text
        }
        // The call is open from the start of the first living piece on.
        let opened = false
        const body = pieces.map(([after, kind]) => {
          const first = kind === "life" && !opened
          opened ||= first
          return [after, first ? wire.open : data[kind]] as const
        })
        const { fetch } = serving(clock, [[0, wire.begin], ...body])
        const running = Effect.gen(function* () {
          const model = ChatModel.timeout(yield* modelOver(format, way), { firstToken, idle })
          return yield* reaching(fetch)(read(model.stream(prompt)))
        })
        const fiber = Effect.runFork(Logger.withMinimumLogLevel(Effect.withClock(running, clock), LogLevel.None))
        await adjust(200_000)
        const exit = fiber.unsafePoll()
        if (exit === null || !Exit.isSuccess(exit)) return assert.fail(`the stream has not ended: ${String(exit)}`)
        const { ended, error } = exit.value
        assert.deepStrictEqual({ phase: phaseOf(error), ended }, expected(pieces))
      }),
      { numRuns: cases(3000, 100) }
    )
  })
})
