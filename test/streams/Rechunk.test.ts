import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Schedule } from "effect"
import { type Chat, ChatModel, ChatStream } from "effect-steadfast"
import { cases, seed, step } from "../support/cases.js"
import {
  answers,
  bodyOf,
  bytesOf,
  callsOf,
  type Format,
  formats,
  modelOf,
  pieces,
  prompt,
  reasoningOf,
  type Shape,
  see,
  shapes,
  stub,
  textOf
} from "./support.js"

const all = formats.flatMap((format) => shapes.map((shape) => [format, shape] as const))

/** Reads one answer again and again, each time cut into other pieces. */
const reader = (format: Format, _shape: Shape) =>
  Effect.gen(function* () {
    let given: ReadonlyArray<Uint8Array> = []
    const model = yield* modelOf(
      format,
      stub(() => ({ pieces: given, ending: "end" }))
    )
    return (cut: ReadonlyArray<Uint8Array>) => {
      given = cut
      return Effect.map(see(model.stream(prompt)), ({ error, events }) => {
        assert.isUndefined(error)
        return events
      })
    }
  })

const split = (bytes: Uint8Array, at: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const cuts = [0, ...[...at].sort((a, b) => a - b), bytes.length]
  return cuts.slice(1).map((end, i) => bytes.subarray(cuts[i], end))
}

describe("however the network cuts the bytes", () => {
  it.effect.each(all)("%s, %s: the events are the same", ([format, shape]) =>
    Effect.gen(function* () {
      const bytes = bytesOf(format, shape)
      const read = yield* reader(format, shape)
      const whole = yield* read([bytes])
      assert.strictEqual(textOf(whole), answers[shape].text)
      assert.strictEqual(reasoningOf(whole), answers[shape].reasoning)
      assert.deepStrictEqual(callsOf(whole), answers[shape].toolCalls)
      assert.strictEqual(whole[0]?._tag, "Start")
      assert.deepStrictEqual(
        whole.slice(-2).map((event) => event._tag),
        ["Usage", "Finish"]
      )
      const expected = JSON.stringify(whole)
      const same = (events: ReadonlyArray<Chat.Event>, how: string) => {
        if (JSON.stringify(events) !== expected) assert.deepStrictEqual(events, whole, how)
      }
      const every = step(211)
      for (let at = 1; at < bytes.length; at += every) same(yield* read(split(bytes, [at])), `split at ${at}`)
      same(yield* read(pieces(bytes, 1)), "byte by byte")
      const splits = fc.sample(fc.array(fc.nat({ max: bytes.length }), { maxLength: 40 }), {
        numRuns: cases(50, 3),
        seed
      })
      for (const at of splits) same(yield* read(split(bytes, at)), `split at ${at}`)
    })
  )
})

describe("an uncut stream", () => {
  it.effect.each(all)("%s, %s: says what generate says, in every mode", ([format, shape]) =>
    Effect.gen(function* () {
      const leaf = yield* modelOf(
        format,
        stub(() => ({ pieces: pieces(bytesOf(format, shape), 64), ending: "end" }))
      )
      const plain = yield* modelOf(
        format,
        stub(() => ({ body: bodyOf(format, shape) }))
      )
      const { raw: _, ...expected } = yield* plain.generate(prompt)
      assert.strictEqual(expected.text, answers[shape].text)
      assert.strictEqual(expected.toolCalls.length, answers[shape].toolCalls.length)
      const retrying = (["strict", "restart", "continue"] as const).map((mode) =>
        ChatModel.retry(leaf, Schedule.recurs(1), { mode })
      )
      for (const model of [leaf, ...retrying]) {
        assert.deepStrictEqual(yield* ChatStream.collect(model.stream(prompt)), expected)
      }
    })
  )
})
