import { Chunk, Effect, Option, Ref, Stream } from "effect"
import { type Chat, ChatModel, type ChatStream, LlmError } from "effect-steadfast"
import { compose, either } from "../../../src/chat/Model.js"
import * as Hedging from "../../../src/chat/stream/Hedging.js"
import type * as Hedge from "../../../src/policies/Hedge.js"
import { readAll, recorded } from "../support.js"

export const start = (provider: string): Chat.Event => ({ _tag: "Start", provider, model: "m" })
export const text = (text: string): Chat.Event => ({ _tag: "TextDelta", text })
export const counted = (inputTokens: number, outputTokens: number): Chat.Event => ({
  _tag: "Usage",
  usage: { inputTokens, outputTokens }
})
export const finish: Chat.Event = { _tag: "Finish", reason: "stop" }

export const down = (provider: string): LlmError.LlmError =>
  new LlmError.ServerError({ provider, model: "m", message: "down", delivery: "unknown" })

/** Events, each so many milliseconds after the one before, and then an end, which takes its time too. */
export interface Script {
  readonly steps: ReadonlyArray<readonly [millis: number, event: Chat.Event]>
  readonly end?: readonly [millis: number, end: "fail" | "die" | "hang"] | undefined
}

/** An answer of some words, the first of them after so many milliseconds and the others 100 apart. */
export const answering = (provider: string, millis: number, more: ReadonlyArray<Chat.Event> = []): Script => ({
  steps: [
    [0, start(provider)],
    [millis, text(`${provider}:a `)],
    [100, text(`${provider}:b`)],
    ...more.map((event) => [0, event] as const),
    [0, finish]
  ]
})

/** Fails after so many milliseconds. */
export const failing = (provider: string, millis: number): Script => ({
  steps: [[0, start(provider)]],
  end: [millis, "fail"]
})

/** A scripted provider that counts its open streams and closes them slowly. */
export const scripted = (provider: string, script: Script, closing = 0) => {
  const seen = { opened: 0, closed: 0 }
  const events = script.steps.map(([millis, event]) => Stream.fromEffect(Effect.as(Effect.sleep(millis), event)))
  const [millis, end] = script.end ?? [0, undefined]
  const ended = {
    fail: Effect.fail(down(provider)),
    die: Effect.die("a bug"),
    hang: Effect.never
  }
  const tail = end === undefined ? Stream.empty : Stream.fromEffect(Effect.zipRight(Effect.sleep(millis), ended[end]))
  const line = Effect.acquireRelease(
    Effect.sync(() => {
      seen.opened += 1
    }),
    () =>
      Effect.zipRight(
        Effect.sleep(closing),
        Effect.sync(() => {
          seen.closed += 1
        })
      )
  )
  const stream = Stream.unwrapScoped(Effect.as(line, Stream.concat(Stream.concatAll(Chunk.fromIterable(events)), tail)))
  const model = ChatModel.make({
    provider,
    model: "m",
    generate: () => Effect.sync(() => ({ provider, model: "m", text: provider, toolCalls: [], finishReason: "stop" })),
    stream: () => stream
  })
  return { model, seen, provider }
}

/** A hedge with a fixed delay that sends every hedge it may, and records its calls. */
export const fixed = (delay: number | undefined, may = true) => {
  const told: Array<readonly [what: string, side: Hedge.Side, millis: number]> = []
  const asked = { begun: 0, launched: 0 }
  const hedge: Hedge.Hedge = {
    begin: () => {
      asked.begun += 1
      return delay
    },
    launch: (agreed) => {
      const sent = may && agreed()
      if (sent) asked.launched += 1
      return sent
    },
    answered: (side, millis) => {
      told.push(["answered", side, millis])
    },
    silent: (side, millis) => {
      told.push(["silent", side, millis])
    },
    snapshot: () => ({
      delayMillis: delay,
      medianMillis: { first: undefined, second: undefined },
      ratio: 0.05,
      available: 1
    })
  }
  return { hedge, told, asked }
}

/** A model that hedges the first with the second. */
export const hedged = (
  first: ChatModel.ChatModel,
  second: ChatModel.ChatModel,
  hedge: Hedge.Hedge,
  healthy: (now: number) => boolean = () => true
): ChatModel.ChatModel =>
  compose({
    name: "pair",
    generate: first.generate,
    source: (request) =>
      Hedging.source(first[ChatModel.TypeId].open, second[ChatModel.TypeId].open, request, {
        hedge,
        group: "second",
        healthy
      }),
    about: either(first[ChatModel.TypeId], second[ChatModel.TypeId])
  })

/** A source by hand: each pull takes its time and gives events, until one fails. */
export const byHand = (
  pulls: ReadonlyArray<readonly [millis: number, events: ReadonlyArray<Chat.Event> | LlmError.LlmError]>
): ChatStream.Source =>
  Effect.map(Ref.make(0), (next) =>
    Effect.flatMap(
      Ref.getAndUpdate(next, (n) => n + 1),
      (n): ChatStream.Pull => {
        const [millis, events] = pulls[n] ?? [0, []]
        const result: ChatStream.Pull = Array.isArray(events)
          ? events.length === 0
            ? Effect.fail(Option.none())
            : Effect.succeed(Chunk.unsafeFromArray(events) as Chunk.NonEmptyChunk<Chat.Event>)
          : Effect.fail(Option.some(events as LlmError.LlmError))
        return Effect.zipRight(Effect.sleep(millis), result)
      }
    )
  )

/** Takes five seconds to its first content. */
export const late = answering("first", 5000)

/** Takes 300 ms. */
export const soon = answering("second", 300)

/** Two targets, the first hedged after one second, and the result of one stream. */
export const race = (first: Script, second: Script) =>
  Effect.gen(function* () {
    const one = scripted("first", first)
    const two = scripted("second", second)
    const { hedge, told } = fixed(1000)
    const { records, value } = yield* recorded(readAll(hedged(one.model, two.model, hedge)))
    return { ...value, one: one.seen, two: two.seen, told, record: records[0] }
  })
