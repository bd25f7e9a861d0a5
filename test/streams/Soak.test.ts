import { assert, describe, it } from "@effect/vitest"
import { Effect, Schedule, Stream } from "effect"
import { type Chat, ChatModel, LlmError } from "effect-steadfast"
import type * as Replay from "../../src/chat/stream/Replay.js"
import { breathe, cases } from "../support/cases.js"
import { find, prompt, see, textOf } from "./support.js"

const streams = cases(10_000, 50)
const chunks = 50
const hazard = 0.001
const attempts = 4

const words = Array.from({ length: chunks }, (_, i) => `[${i}]`)
const whole = words.join("")

/** A generator of numbers in [0, 1) that gives the same ones every time. */
const seeded = (seed: number) => {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A model that breaks before each chunk with the hazard, and continues exactly where it broke. */
const fragile = (random: () => number): ChatModel.ChatModel =>
  ChatModel.make({
    provider: "openai",
    model: "gpt-4o-mini",
    generate: () => Effect.die("not asked"),
    stream: (request) => {
      const said = request.messages.findLast((message) => message.role === "assistant")
      const from =
        typeof said?.content === "string" ? words.findIndex((_, i) => words.slice(0, i).join("") === said.content) : 0
      const broken = words.findIndex((_, i) => i >= from && random() < hazard)
      const events: Array<Chat.Event> = [{ _tag: "Start", provider: "openai", model: "m" }]
      for (const text of words.slice(from, broken === -1 ? undefined : broken)) events.push({ _tag: "TextDelta", text })
      if (broken === -1) events.push({ _tag: "Finish", reason: "stop" })
      const given = Stream.fromIterable(events)
      if (broken === -1) return given
      const error = new LlmError.StreamInterrupted({
        provider: "openai",
        model: "m",
        message: "cut",
        delivery: "unknown",
        received: 0,
        partial: ""
      })
      return Stream.concat(given, Stream.fail(error))
    }
  })

const keep = 1 - hazard
/** The chance that a stream of n chunks is whole. */
const whole1 = keep ** chunks

/** The chance that the rest of the answer is complete within some attempts, each continuing where the last one broke. */
const goingOn = (from: number, left: number): number => {
  if (left === 0) return 0
  let sum = keep ** (chunks - from)
  for (let at = from; at < chunks; at++) sum += keep ** (at - from) * hazard * goingOn(at, left - 1)
  return sum
}

/** Only what breaks before the first chunk is sent again. */
const unseen = Array.from({ length: attempts }, (_, i) => hazard ** i).reduce((sum, one) => sum + one, 0)

const rows: ReadonlyArray<readonly [name: string, mode: Replay.Mode | undefined, theory: number]> = [
  ["no retry", undefined, whole1],
  ["strict", "strict", whole1 * unseen],
  ["restart", "restart", 1 - (1 - whole1) ** attempts],
  ["continue", "continue", goingOn(0, attempts)]
]

const violates = (events: ReadonlyArray<Chat.Event>, finished: boolean): boolean => {
  const last = textOf(events.slice(events.findLastIndex((event) => event._tag === "Reset") + 1))
  const finishes = find(events, "Finish").length
  if (finishes !== (finished ? 1 : 0) || (finished && events.at(-1)?._tag !== "Finish")) return true
  return finished ? last !== whole : !whole.startsWith(last)
}

describe("streams that break with 0.1 % at each of 50 chunks", () => {
  it.effect.each(rows)("%s", ([name, mode, theory]) =>
    Effect.gen(function* () {
      const leaf = fragile(seeded(42))
      const model = mode === undefined ? leaf : ChatModel.retry(leaf, Schedule.recurs(attempts - 1), { mode })
      let finished = 0
      let violations = 0
      for (let i = 0; i < streams; i++) {
        const { error, events } = yield* see(model.stream(prompt))
        if (error === undefined) finished++
        if (violates(events, error === undefined)) violations++
        if (i % 200 === 0) yield* Effect.promise(breathe)
      }
      const rate = finished / streams
      const sigma = Math.sqrt((theory * (1 - theory)) / streams)
      console.log(
        `soak ${name}: ${(100 * rate).toFixed(3)} % whole, theory ${(100 * theory).toFixed(4)} %, ${violations} violations`
      )
      assert.strictEqual(violations, 0)
      // One stream more or less is no deviation where almost none fails.
      assert.isAtMost(Math.abs(rate - theory), Math.max(4 * sigma, 1 / streams))
    }).pipe(Effect.withTracerEnabled(false))
  )
})
