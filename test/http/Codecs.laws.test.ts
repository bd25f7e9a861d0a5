import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Stream } from "effect"
import { Chat, ChatStream } from "effect-steadfast"
import { AnswerBody, type Dialect, EventStream } from "effect-steadfast/http"
import { Reply } from "effect-steadfast/testing"
import { events as delivered, generate, plain } from "../providers/support.js"
import { cases } from "../support/cases.js"
import { errorOf } from "../support/errors.js"
import { answers, dialects, readers } from "./support.js"

/**
 * The law of the server codecs: what our own decoders read from a frame or a body is the answer that was written.
 */

const origin = { id: "answer-0", created: 1_790_000_000 }

/** Some dialects count everything, and tell an unknown part as zero. */
const counted = (usage: Chat.Usage | undefined): object => ({
  input: usage?.inputTokens ?? 0,
  output: usage?.outputTokens ?? 0,
  cached: usage?.cachedInputTokens ?? 0
})

/** What an answer says, whoever brought it. Anthropic counts no reasoning apart. */
const said = (answer: Chat.Response) => ({
  id: answer.id,
  model: answer.model,
  text: answer.text,
  reasoning: answer.reasoning,
  toolCalls: answer.toolCalls.map(({ arguments: args, id, name }) => [id, name, JSON.stringify(args)]),
  finishReason: answer.finishReason,
  usage: counted(answer.usage)
})

const collected = (events: ReadonlyArray<Chat.Event>) => ChatStream.collect(Stream.fromIterable(events))

const framesOf = (dialect: Dialect.Dialect, events: ReadonlyArray<Chat.Event>): ReadonlyArray<string> => {
  const encoder = EventStream.make(dialect, origin)
  return events.map((event) => {
    const frames = encoder.push(event)
    return typeof frames === "string" ? frames : assert.fail(frames.message)
  })
}

const sse = (frames: ReadonlyArray<string>) => Reply.raw(frames, { headers: { "content-type": "text/event-stream" } })

const deltas = (events: ReadonlyArray<Chat.Event>, tag: "TextDelta" | "ReasoningDelta") =>
  events.flatMap((event) => (event._tag === tag ? [event.text] : []))

describe("what our own decoders read", () => {
  for (const dialect of dialects) {
    it.effect(`from the frames of ${dialect} are the events that went in`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(answers, (events) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const read = yield* delivered(readers[dialect], sse(framesOf(dialect, events)))
                assert.strictEqual(read.error, undefined)
                assert.deepStrictEqual(said(yield* collected(read.delivered)), said(yield* collected(events)))
                assert.deepStrictEqual(deltas(read.delivered, "TextDelta"), deltas(events, "TextDelta"))
                assert.deepStrictEqual(deltas(read.delivered, "ReasoningDelta"), deltas(events, "ReasoningDelta"))
              })
            )
          ),
          { numRuns: cases(2000) }
        )
      )
    )

    it.effect(`from a body of ${dialect} is the answer that went in`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(answers, (events) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const answer = yield* collected(events)
                // In a body the calls are last, and one at the token limit cannot be known to be whole.
                if (answer.finishReason === "length" && answer.toolCalls.length > 0) return
                const body = AnswerBody.make(dialect, answer, origin)
                const read = yield* generate(readers[dialect], Reply.raw([JSON.stringify(body)]))
                assert.deepStrictEqual(said(plain(read)), said(answer))
              })
            )
          ),
          { numRuns: cases(2000) }
        )
      )
    )

    it.effect(`from a part of the frames of ${dialect} is never a whole answer`, () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(answers, fc.nat({ max: 99 }), (events, cut) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const encoder = EventStream.make(dialect, origin)
                const upTo = cut % (events.length - 1)
                const frames = events.slice(0, upTo).map((event) => String(encoder.push(event)))
                const broken = encoder.fail(bug)
                const read = yield* delivered(readers[dialect], sse([...frames, broken]))
                assert.notStrictEqual(read.error, undefined)
                assert.notInclude(broken, "[DONE]")
                assert.deepStrictEqual(deltas(read.delivered, "TextDelta"), deltas(events.slice(0, upTo), "TextDelta"))
              })
            )
          ),
          { numRuns: cases(1000) }
        )
      )
    )
  }
})

const bug = errorOf("Overloaded")
