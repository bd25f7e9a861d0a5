import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, FiberRef, Layer, LogLevel, type Scope, Stream } from "effect"
import { type Chat, ChatModel, ChatStream, RetryBudget, RetryPolicy } from "effect-steadfast"
import * as Hedging from "../../../src/chat/stream/Hedging.js"
import * as Layers from "../../../src/chat/stream/Layers.js"
import * as Replay from "../../../src/chat/stream/Replay.js"
import * as Hedge from "../../../src/policies/Hedge.js"
import { collectLogs } from "../../support/evidence.js"
import { collectSpans } from "../../support/spans.js"
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

const policy = RetryPolicy.make({ maxAttempts: 2, initialDelay: "1 second", jitter: "none" })

describe("a hedge is not sent", () => {
  it.effect("where hedging says so; only the time is taken, of failures too", () =>
    Effect.gen(function* () {
      const one = scripted("first", late)
      const two = scripted("second", soon)
      const { hedge, told } = fixed(undefined)
      const pair = hedged(one.model, two.model, hedge)
      const { ended, text } = yield* readAll(pair)
      assert.deepStrictEqual([text, ended], ["first:a first:b", 5100])
      yield* readAll(hedged(scripted("first", failing("first", 700)).model, two.model, hedge))
      assert.deepStrictEqual(told, [
        ["answered", "first", 5000],
        ["silent", "first", 700]
      ])
      assert.deepStrictEqual(
        [one.seen, two.seen],
        [
          { opened: 1, closed: 1 },
          { opened: 0, closed: 0 }
        ]
      )
    })
  )

  it.effect("and the time that is taken is that to the first content, or to the end of an answer without any", () =>
    Effect.gen(function* () {
      for (const content of [[text("a"), finish], [finish]]) {
        const { hedge, told } = fixed(undefined)
        const first = byHand([
          [10, [start("first")]],
          [500, content],
          [500, []]
        ])
        const source = Hedging.source(
          () => first,
          () => first,
          prompt,
          { hedge, group: "g", healthy: () => true }
        )
        yield* elapse(Effect.scoped(Effect.flatMap(source, (pull) => Effect.zip(pull, pull))))
        assert.deepStrictEqual(told, [["answered", "first", 510]])
      }
    })
  )

  it.effect("where the allowance is gone when it is due", () =>
    Effect.gen(function* () {
      const two = scripted("second", soon)
      const { hedge, told } = fixed(1000, false)
      const { text } = yield* readAll(hedged(scripted("first", late).model, two.model, hedge))
      assert.deepStrictEqual([text, two.seen.opened, told], ["first:a first:b", 0, [["answered", "first", 5000]]])
    })
  )

  it.effect("where a target is not healthy then", () =>
    Effect.gen(function* () {
      const two = scripted("second", soon)
      const { asked, hedge } = fixed(1000)
      const times: Array<number> = []
      const sick = (now: number) => {
        times.push(now)
        return false
      }
      const { text } = yield* readAll(hedged(scripted("first", late).model, two.model, hedge, sick))
      assert.deepStrictEqual([text, two.seen.opened, asked.launched, times], ["first:a first:b", 0, 0, [1000]])
    })
  )

  it.effect("where the request may not run twice; its time is taken, and it earns nothing", () =>
    Effect.gen(function* () {
      const two = scripted("second", soon)
      const { asked, hedge, told } = fixed(1000)
      const pair = hedged(scripted("first", late).model, two.model, hedge)
      const { text } = yield* readAll(pair, { ...prompt, idempotent: false })
      assert.deepStrictEqual([text, two.seen.opened, asked.begun], ["first:a first:b", 0, 0])
      assert.deepStrictEqual(told, [["answered", "first", 5000]])
    })
  )

  it.effect("within a hedge", () =>
    Effect.gen(function* () {
      const [a, b, c] = [scripted("a", late), scripted("b", late), scripted("c", soon)]
      const inner = fixed(1000)
      const pair = hedged(a.model, hedged(b.model, c.model, inner.hedge), fixed(1000).hedge)
      yield* readAll(pair)
      assert.deepStrictEqual([a.seen.opened, b.seen.opened, c.seen.opened, inner.asked.begun], [1, 1, 0, 0])
    })
  )

  it.effect("for the rest of an answer that the first target keeps, which tells nothing of its times either", () =>
    Effect.gen(function* () {
      const { asked, hedge, told } = fixed(1000)
      const source = Hedging.source(
        () => byHand([[5000, [text("rest"), finish]]]),
        () => Effect.die("asked"),
        prompt,
        { hedge, group: "g", healthy: () => true }
      )
      const resumed = Layers.provided(source, Replay.Resume, { id: "r-1", after: 3 })
      const { text: seen } = yield* elapse(read(ChatStream.toStream(resumed)))
      assert.deepStrictEqual([seen, asked.begun, told], ["rest", 0, []])
    })
  )

  it.effect("for a whole answer", () =>
    Effect.gen(function* () {
      const { asked, hedge } = fixed(0)
      const pair = hedged(scripted("first", late).model, scripted("second", soon).model, hedge)
      assert.strictEqual((yield* pair.generate(prompt)).text, "first")
      assert.strictEqual(asked.begun, 0)
    })
  )
})

describe("the retry budget", () => {
  const drained = RetryBudget.layer({ cap: 1, ratio: 0 })

  /** How many of some streams, one after the other, were hedged. */
  const sent = (second: Script, streams: number) =>
    Effect.gen(function* () {
      const two = scripted("second", second)
      const pair = hedged(scripted("first", late).model, two.model, fixed(1000).hedge)
      for (let i = 0; i < streams; i++) yield* read(pair.stream(prompt))
      return two.seen.opened
    })

  it.effect("is drawn on, and a hedge that loses is not given back", () =>
    Effect.gen(function* () {
      // One in ten seconds is earned, and a stream takes five.
      assert.strictEqual(yield* elapse(Effect.provide(sent(answering("second", 60_000), 4), drained)), 2)
    })
  )

  it.effect("gets back what was drawn for a hedge that won", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* elapse(Effect.provide(sent(soon, 4), drained)), 4)
    })
  )

  it.effect("is that of the second target, and hears of no first attempt where a hedge is sent", () =>
    Effect.gen(function* () {
      const deposits: Array<string> = []
      const budgets = Layer.succeed(RetryBudget.RetryBudgets, {
        known: () => new Map(),
        of: (group) => ({
          ...RetryBudget.make(),
          deposit: () => {
            deposits.push(`deposit ${group}`)
          },
          draw: () => {
            deposits.push(`draw ${group}`)
            return true
          },
          refund: () => {
            deposits.push(`refund ${group}`)
          },
          available: () => 1
        })
      }) as Layer.Layer<never>
      yield* Effect.provide(race(late, soon), budgets)
      assert.deepStrictEqual(deposits, ["deposit first", "draw second", "refund second"])
    })
  )
})

describe("what a race leaves", () => {
  it.effect("are two attempts under one call's span", () =>
    Effect.gen(function* () {
      const { layer, named } = collectSpans()
      yield* Effect.provide(race(late, soon), layer)
      const [call] = named("chat pair")
      const spans = named("attempt")
      assert.deepStrictEqual(
        spans.map((span) => [span.attributes["steadfast.attempt.target"], span.attributes["steadfast.attempt.index"]]),
        [
          ["first/m", 1],
          ["second/m", 2]
        ]
      )
      for (const span of spans) {
        assert.strictEqual(span.parentSpanContext?.spanId, call?.spanContext().spanId)
        assert.isTrue(span.ended)
      }
    })
  )

  it.effect("says at debug level why there are two", () =>
    Effect.gen(function* () {
      const { layer, lines } = collectLogs(LogLevel.Debug)
      yield* Effect.provide(race(late, soon), layer)
      assert.include(
        lines.map((line) => `${line.level} ${line.message}`),
        "DEBUG no first token within 1000ms: asking another target too"
      )
      assert.deepStrictEqual(
        lines.filter((line) => line.level !== "DEBUG"),
        []
      )
    })
  )

  it.effect("is the context of the reader for both", () =>
    Effect.gen(function* () {
      const ref = FiberRef.unsafeMake("unset")
      const seen: Array<string> = []
      const telling = (provider: string, script: Script) => {
        const { model } = scripted(provider, script)
        return ChatModel.make({
          provider,
          model: "m",
          generate: model.generate,
          stream: () =>
            Stream.concat(
              Stream.drain(
                Stream.fromEffect(Effect.map(FiberRef.get(ref), (value) => seen.push(`${provider} ${value}`)))
              ),
              model.stream(prompt)
            )
        })
      }
      const pair = hedged(telling("first", late), telling("second", soon), fixed(1000).hedge)
      yield* Effect.locally(readAll(pair), ref, "set")
      assert.deepStrictEqual(seen, ["first set", "second set"])
    })
  )
})

describe("what the other side is known to have cost", () => {
  /** A source that is known to have cost something as soon as it is asked. */
  const costing = (
    usage: Chat.Usage,
    source: ChatStream.Source,
    resume?: { readonly id: string; readonly after: number }
  ): ChatStream.Source =>
    Effect.flatMap(Effect.context<Scope.Scope>(), (context) =>
      Effect.map(source, (pull) =>
        Effect.suspend(() => {
          const progress = Context.getOption(context as Context.Context<never>, Replay.Progress)
          if (progress._tag === "Some") progress.value.cursor = { inside: "text", usage, resume }
          return pull
        })
      )
    )

  const tokens = (inputTokens: number, outputTokens = 0) => ({ inputTokens, outputTokens })

  const slow = costing(tokens(7), byHand([[5000, [start("first"), text("first"), counted(7, 9), finish]]]))

  const raced = (first: () => ChatStream.Source, second: () => ChatStream.Source) =>
    Hedging.source(first, second, prompt, { hedge: fixed(1000).hedge, group: "g", healthy: () => true })

  const usages = (events: ReadonlyArray<Chat.Event>) =>
    events.flatMap((event) =>
      event._tag === "Usage" ? [[event.usage.inputTokens, event.usage.outputTokens] as const] : []
    )

  it.effect("is added to the usage that the stream tells", () =>
    Effect.gen(function* () {
      const second = costing(
        tokens(3),
        byHand([
          [300, [start("second"), text("second")]],
          [100, [counted(3, 2), finish]]
        ])
      )
      const { events } = yield* elapse(
        read(
          ChatStream.toStream(
            raced(
              () => slow,
              () => second
            )
          )
        )
      )
      assert.deepStrictEqual(usages(events), [[10, 2]])
    })
  )

  it.effect("is told before the end where the stream tells none", () =>
    Effect.gen(function* () {
      const second = byHand([[300, [start("second"), text("second"), finish]]])
      const { events, tags } = yield* elapse(
        read(
          ChatStream.toStream(
            raced(
              () => slow,
              () => second
            )
          )
        )
      )
      assert.deepStrictEqual(tags, ["Start", "TextDelta", "Usage", "Finish"])
      assert.deepStrictEqual(usages(events), [[7, 0]])
    })
  )

  it.effect("is that of a hedge that lost or failed, too", () =>
    Effect.gen(function* () {
      const first = costing(tokens(7), byHand([[2000, [start("first"), text("first"), counted(7, 9), finish]]]))
      for (const second of [byHand([[5000, [finish]]]), byHand([[100, down("second")]])]) {
        const { events } = yield* elapse(
          read(
            ChatStream.toStream(
              raced(
                () => first,
                () => costing(tokens(3), second)
              )
            )
          )
        )
        assert.deepStrictEqual(usages(events), [[10, 9]])
      }
    })
  )

  it.effect("goes on to whoever replays the stream, once, and asks nobody for the rest of another's answer", () =>
    Effect.gen(function* () {
      let round = 0
      const first = () =>
        round++ === 0
          ? slow
          : costing(tokens(7), byHand([[10, [start("first"), text("first"), counted(7, 9), finish]]]))
      const broken = byHand([
        [300, [start("second"), text("second")]],
        [100, [text(" more")]],
        [100, down("second")]
      ])
      const candidate = { open: () => raced(first, () => costing(tokens(3), broken)), continuation: undefined }
      const source = Replay.retry(candidate, prompt, policy, "restart")
      const { events, tags } = yield* elapse(read(ChatStream.toStream(source)))
      assert.deepStrictEqual(tags, [
        "Start",
        "TextDelta",
        "TextDelta",
        "Reset",
        "Start",
        "TextDelta",
        "Usage",
        "Finish"
      ])
      assert.deepStrictEqual(usages(events), [[7 + 3 + 7, 9]])
    })
  )

  it.effect("does not lead whoever replays the stream to ask the first for the rest of what the second said", () =>
    Effect.gen(function* () {
      const opened = { first: 0, second: 0 }
      const counting = (name: "first" | "second", source: ChatStream.Source) => () => {
        opened[name] += 1
        return source
      }
      const broken = costing(
        tokens(3),
        byHand([
          [300, [start("second"), text("second")]],
          [100, down("second")]
        ]),
        { id: "r-2", after: 3 }
      )
      const first = costing(tokens(7), byHand([[5000, [text("first"), finish]]]), { id: "r-1", after: 1 })
      const candidate = {
        open: () => raced(counting("first", first), counting("second", broken)),
        continuation: undefined
      }
      const { error, text: seen } = yield* elapse(
        read(ChatStream.toStream(Replay.retry(candidate, prompt, policy, "strict")))
      )
      assert.deepStrictEqual([seen, error?.provider, opened], ["second", "second", { first: 1, second: 1 }])
    })
  )

  it.effect("goes on to whoever replays it where both failed", () =>
    Effect.gen(function* () {
      let round = 0
      const first = () =>
        costing(
          tokens(7),
          round++ === 0
            ? byHand([[2000, down("first")]])
            : byHand([[10, [start("first"), text("first"), counted(7, 9), finish]]])
        )
      const second = () => costing(tokens(3), byHand([[500, down("second")]]))
      const candidate = { open: () => raced(first, second), continuation: undefined }
      const { events } = yield* elapse(read(ChatStream.toStream(Replay.retry(candidate, prompt, policy, "strict"))))
      assert.deepStrictEqual(usages(events), [[7 + 3 + 7, 9]])
    })
  )
})

describe("in a composition", () => {
  it.effect("a timeout of the first while the hedge runs is an error like any other", () =>
    Effect.gen(function* () {
      const one = scripted("first", late)
      const two = scripted("second", answering("second", 3000))
      const first = one.model.pipe(ChatModel.timeout({ firstToken: "2 seconds" }))
      const { records, value } = yield* recorded(readAll(hedged(first, two.model, fixed(1000).hedge)))
      assert.deepStrictEqual([value.text, value.ended], ["second:a second:b", 4100])
      assert.deepStrictEqual(attempts(records[0]), ["failure Timeout", "success"])
    })
  )

  it.effect("retry asks both again, and numbers go on", () =>
    Effect.gen(function* () {
      const one = scripted("first", failing("first", 1200))
      const two = scripted("second", failing("second", 3000))
      const pair = hedged(one.model, two.model, fixed(1000).hedge).pipe(ChatModel.retry(policy))
      const { records, value } = yield* recorded(readAll(pair))
      assert.deepStrictEqual([value.error?.provider, value.error?._tag], ["first", "ServerError"])
      assert.deepStrictEqual(
        records[0]?.attempts.map((one) => [one.index, one.provider, one.hedge === true, one.retry !== undefined]),
        [
          [1, "first", false, false],
          [2, "second", true, false],
          [3, "first", false, true],
          [4, "second", true, false]
        ]
      )
      assert.deepStrictEqual(
        [one.seen, two.seen],
        [
          { opened: 2, closed: 2 },
          { opened: 2, closed: 2 }
        ]
      )
    })
  )

  it.effect("a hedge that broke after content is replayed as the mode says", () =>
    Effect.gen(function* () {
      const cut: Script = {
        steps: [
          [0, start("second")],
          [300, text("second:a ")]
        ],
        end: [100, "fail"]
      }
      const pair = hedged(scripted("first", late).model, scripted("second", cut).model, fixed(1000).hedge)
      const { error, tags } = yield* readAll(pair.pipe(ChatModel.retry(policy, { mode: "restart" })))
      assert.deepStrictEqual(
        [tags, error?._tag],
        [["Start", "TextDelta", "Reset", "Start", "TextDelta"], "ServerError"]
      )
    })
  )
})

describe("hedging that learns", () => {
  it.effect("hedges after the p95, once it has seen enough", () =>
    Effect.gen(function* () {
      const hedge = Hedge.make()
      let calls = 0
      const first = () => byHand([[++calls % 25 === 0 ? 5000 : 500, [start("first"), text("first"), finish]]])
      const second = () => byHand([[400, [start("second"), text("second"), finish]]])
      const source = Hedging.source
      const { from, times } = yield* elapse(
        Effect.gen(function* () {
          const from: Array<string> = []
          const times: Array<number> = []
          for (let i = 0; i < 100; i++) {
            const stream = ChatStream.toStream(
              source(first, second, prompt, { hedge, group: "g", healthy: () => true })
            )
            const seen = yield* read(stream)
            from.push(seen.text)
            times.push(seen.ended)
          }
          return { from, times }
        })
      )
      assert.deepStrictEqual(
        from.flatMap((text, i) => (text === "second" ? [i + 1] : [])),
        [50, 75, 100]
      )
      assert.strictEqual(times[24], 5000)
      for (const i of [49, 74, 99]) assert.approximately(times[i] ?? 0, 950, 50)
    })
  )
})
