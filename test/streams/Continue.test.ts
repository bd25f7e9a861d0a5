import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted, Schedule } from "effect"
import { Chat, ChatModel, OpenAi } from "effect-steadfast"
import * as Continuation from "../../src/chat/stream/Continuation.js"
import {
  answers,
  bytesOf,
  continuing,
  type Format,
  find,
  formats,
  marksOf,
  modelOf,
  prompt,
  type Reply,
  see,
  stub,
  tagsOf,
  textOf
} from "./support.js"
import { written } from "./wire.js"

const first = "Once upon a time there was a fox. It lived in the woods by the river. "
const second = "One day it met a hare. They became friends."

/** An answer that ends after its text without an end. */
const cut = (format: Format, text: string): Reply => {
  const bytes = written(format, {}, [text.slice(0, 9), text.slice(9)])
  const marks = marksOf(bytes)
  const at = marks.find((mark) => mark.text === text)?.at
  return { pieces: [bytes.subarray(0, at)], ending: "reset" }
}

const whole = (format: Format, ...pieces: ReadonlyArray<string>): Reply => ({
  pieces: [written(format, {}, pieces)],
  ending: "end"
})

const scripted = (format: Format, replies: ReadonlyArray<Reply>, model?: string) =>
  Effect.gen(function* () {
    const provider = stub((_, index) => replies[index] ?? assert.fail("asked too often"))
    return { provider, leaf: yield* modelOf(format, provider, model) }
  })

const goOn = ChatModel.retry(Schedule.recurs(4), { mode: "continue" })

const run = (format: Format, replies: ReadonlyArray<Reply>, request: Chat.Request = prompt, model?: string) =>
  Effect.gen(function* () {
    const { leaf, provider } = yield* scripted(format, replies, model)
    const { error, events } = yield* see(goOn(leaf).stream(request))
    const asked = provider.asked.map(continuing)
    return { error, events, asked, text: textOf(events), seams: find(events, "Seam") }
  })

describe("methodOf", () => {
  const table: ReadonlyArray<readonly [string, string, Continuation.Method | undefined]> = [
    ["anthropic", "claude-3-5-sonnet-latest", "prefill"],
    ["anthropic", "claude-3-haiku-20240307", "prefill"],
    ["anthropic", "claude-sonnet-4-20250514", "prefill"],
    ["anthropic", "claude-sonnet-4-0", "prefill"],
    ["anthropic", "claude-opus-4-1", "prefill"],
    ["anthropic", "claude-opus-4-1-20250805", "prefill"],
    ["anthropic", "claude-sonnet-4-5-20250929", "prefill"],
    ["anthropic", "claude-haiku-4-5", "prefill"],
    ["anthropic", "claude-opus-4-5", "prefill"],
    ["bedrock", "anthropic.claude-sonnet-4-5-20250929-v1:0", "prefill"],
    ["bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", "prefill"],
    ["vertex", "claude-sonnet-4-5@20250929", "prefill"],
    ["openrouter", "anthropic/claude-sonnet-4.5", "prefill"],
    ["anthropic", "claude-opus-4-6", "turn"],
    ["anthropic", "claude-sonnet-4-6", "turn"],
    ["openrouter", "anthropic/claude-opus-4.6", "turn"],
    ["anthropic", "claude-opus-5", "turn"],
    ["anthropic", "claude-opus-4-10", "turn"],
    ["gemini", "gemini-2.5-flash", "prefill"],
    ["gemini", "gemini-4-argon", "turn"],
    ["mistral", "mistral-large-latest", "prefill"],
    ["openai", "gpt-4o-mini", "turn"],
    ["openai", "gpt-4.1", "turn"],
    ["openai", "gpt-5", "turn"],
    ["openai", "my-own-model", undefined]
  ]
  it.each(table)("%s %s: %s", (provider, model, method) => {
    assert.strictEqual(Continuation.methodOf({ provider, model }), method)
  })
})

describe("a model that goes on", () => {
  const cases: ReadonlyArray<
    readonly [string, ReadonlyArray<string>, string, { overlap: number; startedOver: boolean }]
  > = [
    ["well", [" ", second], first + second, { overlap: 0, startedOver: false }],
    [
      "and repeats the last sentence",
      ["It lived in the ", `woods by the river. ${second}`],
      first + second,
      { overlap: "It lived in the woods by the river.".length, startedOver: false }
    ],
    [
      "and repeats everything",
      [first, second],
      first + second,
      { overlap: first.trimEnd().length, startedOver: false }
    ],
    [
      "and apologises first",
      ["I am sorry for the interruption. ", second],
      `${first.trimEnd()}I am sorry for the interruption. ${second}`,
      { overlap: 0, startedOver: false }
    ],
    [
      "and starts over with different words",
      ["Once upon a time there lived a wolf. ", second],
      `${first.trimEnd()}Once upon a time there lived a wolf. ${second}`,
      { overlap: 0, startedOver: true }
    ],
    [
      "and repeats too little to be sure",
      ["the river. ", second],
      `${first.trimEnd()}the river. ${second}`,
      { overlap: 0, startedOver: false }
    ],
    ["and has only white space to add", [" ", "\n"], `${first.trimEnd()} \n`, { overlap: 0, startedOver: false }]
  ]
  for (const format of formats) {
    it.effect.each(cases)(`${format}: %s`, ([, pieces, expected, report]) =>
      Effect.gen(function* () {
        const { asked, error, events, seams, text } = yield* run(format, [cut(format, first), whole(format, ...pieces)])
        assert.isUndefined(error)
        assert.strictEqual(text, expected)
        const method = format.startsWith("openai") ? "turn" : "prefill"
        assert.deepStrictEqual(asked[1], { text: first.trimEnd(), method, prefix: undefined })
        assert.deepStrictEqual(seams, [{ _tag: "Seam", offset: first.trimEnd().length, method, ...report }])
        assert.deepStrictEqual([tagsOf(events)[0], tagsOf(events).at(-1)], ["Start", "Finish"])
        assert.lengthOf(find(events, "Start"), 1)
      })
    )
  }

  it.effect("goes on again when it is cut again", () =>
    Effect.gen(function* () {
      for (const format of formats) {
        const parts = ["Once upon a time", " there was a fox", " that had no tail", ", and it was happy."]
        const replies = parts.map((part, i) => (i === 3 ? whole(format, part) : cut(format, part)))
        const { asked, error, seams, text } = yield* run(format, replies)
        assert.isUndefined(error)
        assert.strictEqual(text, parts.join(""))
        assert.deepStrictEqual(
          asked.map((one) => one?.text),
          [undefined, 1, 2, 3].map((n) => (n === undefined ? undefined : parts.slice(0, n).join("")))
        )
        assert.deepStrictEqual(
          seams.map((seam) => seam.offset),
          [16, 32, 49]
        )
      }
    })
  )

  it.effect("asks Mistral with a prefix", () =>
    Effect.gen(function* () {
      const provider = stub((_, i) => (i === 0 ? cut("openai-chat", first) : whole("openai-chat", second)))
      const leaf = yield* OpenAi.make({
        provider: "mistral",
        model: "mistral-large-latest",
        apiKey: Redacted.make("key-1")
      }).pipe(Effect.provideService(HttpClient.HttpClient, provider.client))
      const { error } = yield* see(goOn(leaf).stream(prompt))
      assert.isUndefined(error)
      assert.deepStrictEqual(provider.asked.map(continuing)[1], {
        text: first.trimEnd(),
        method: "prefill",
        prefix: true
      })
    })
  )

  it.effect("keeps the white space at a cut, once", () =>
    Effect.gen(function* () {
      const before = "A sentence before. One"
      for (const blank of [" ", "\n\n", "\u00a0\t "]) {
        const replies = [cut("anthropic", before + blank), whole("anthropic", blank, "Two")]
        const { asked, seams, text } = yield* run("anthropic", replies)
        assert.strictEqual(asked[1]?.text, before)
        assert.strictEqual(text, `${before}${blank}Two`)
        assert.strictEqual(seams[0]?.offset, before.length)
      }
      const { text } = yield* run("anthropic", [whole("anthropic", "One \n", "\n Two \n")])
      assert.strictEqual(text, "One \n\n Two \n")
    })
  )
})

describe("the error stands", () => {
  const stands = (format: Format, reply: Reply, request?: Chat.Request, model?: string) =>
    Effect.gen(function* () {
      const { asked, error, seams } = yield* run(format, [reply], request, model)
      assert.strictEqual(error?._tag, "StreamInterrupted")
      assert.lengthOf(asked, 1)
      assert.lengthOf(seams, 0)
    })

  it.effect("with a model that nothing is known of", () =>
    stands("openai-chat", cut("openai-chat", first), prompt, "my-own-model")
  )

  it.effect("in an answer that must be JSON", () =>
    Effect.forEach(formats, (format) =>
      stands(format, cut(format, first), Chat.prompt("Say it.", { responseFormat: { type: "json" } }))
    )
  )

  it.effect("after a tool call has begun", () =>
    Effect.forEach(formats, (format) => {
      const bytes = bytesOf(format, "tools")
      const at = marksOf(bytes).find((mark) => mark.tool)?.at
      return stands(format, { pieces: [bytes.subarray(0, at)], ending: "reset" })
    })
  )

  it.effect("after reasoning", () =>
    Effect.forEach(formats, (format) => {
      const bytes = bytesOf(format, "reasoning")
      const at = marksOf(bytes).find((mark) => mark.reasoning !== "" && mark.text !== "")?.at
      return stands(format, { pieces: [bytes.subarray(0, at)], ending: "reset" })
    })
  )
})

describe("what follows", () => {
  it.effect("usage that lost attempts told is added", () =>
    Effect.gen(function* () {
      const { events } = yield* run("anthropic", [cut("anthropic", first), whole("anthropic", second)])
      const usage = find(events, "Usage")
      assert.lengthOf(usage, 1)
      assert.deepInclude(usage[0]?.usage, { inputTokens: 24, outputTokens: 10 })
    })
  )

  it.effect("a whole answer whose connection breaks before its last byte is not one to go on with", () =>
    Effect.gen(function* () {
      for (const format of ["openai-chat", "gemini"] as const) {
        const bytes = bytesOf(format, "plain")
        const at = marksOf(bytes).find((mark) => mark.ended)?.at
        const { leaf, provider } = yield* scripted(format, [
          { pieces: [bytes.subarray(0, at)], ending: "reset" },
          whole(format, "Anything else?")
        ])
        const { events } = yield* see(goOn(leaf).stream(prompt))
        assert.strictEqual(textOf(events), answers.plain.text)
        assert.lengthOf(provider.asked, 1)
      }
    })
  )

  it.effect("retry inside orElse, each in its mode", () =>
    Effect.gen(function* () {
      for (const mode of ["restart", "continue"] as const) {
        const a = yield* scripted("openai-chat", [
          cut("openai-chat", "Once upon a time"),
          cut("openai-chat", " there was a fox")
        ])
        const b = yield* scripted("anthropic", [whole("anthropic", mode === "continue" ? " in a box." : first)])
        const inner = ChatModel.retry(a.leaf, Schedule.recurs(1), { mode: "continue" })
        const { error, events } = yield* see(ChatModel.orElse(inner, b.leaf, { mode }).stream(prompt))
        assert.isUndefined(error)
        const at = events.findIndex((event) => event._tag === "Reset")
        assert.strictEqual(at !== -1, mode === "restart")
        if (mode === "restart") assert.strictEqual(textOf(events.slice(at)), first)
        else {
          assert.strictEqual(textOf(events), "Once upon a time there was a fox in a box.")
          assert.deepStrictEqual(b.provider.asked.map(continuing)[0]?.text, "Once upon a time there was a fox")
        }
        assert.deepStrictEqual(
          find(events, "Seam").map((seam) => seam.offset),
          mode === "continue" ? [16, 32] : [16]
        )
      }
    })
  )
})

describe("a seam", () => {
  it.prop(
    "cuts off what is repeated, exactly when it is exact and long enough, however it comes",
    [
      fc.array(fc.constantFrom("a", "b", "ä", "日", " ", "🙂"), { minLength: 1, maxLength: 60 }),
      fc.nat({ max: 60 }),
      fc.array(fc.constantFrom("X", "Y", " "), { maxLength: 30 }),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 })
    ],
    ([units, repeated, rest, sizes]) => {
      const old = units.map((unit, i) => `${i}${unit}`).join("")
      const overlap = Math.min(repeated, old.length)
      const answer = old.slice(old.length - overlap) + rest.map((unit) => `${unit}-`).join("")
      const seam = Continuation.seam(old)
      let out: string | undefined
      let settled: Continuation.Settled | undefined
      for (let at = 0, i = 0; at < answer.length; i++) {
        const piece = answer.slice(at, at + (sizes[i % sizes.length] ?? 1))
        at += piece.length
        if (out !== undefined) out += piece
        else {
          settled = seam.add(piece)
          out = settled?.text
        }
      }
      settled ??= seam.end()
      out ??= settled.text
      const trimmed = overlap >= Continuation.minOverlap
      assert.strictEqual(settled.overlap, trimmed ? overlap : 0)
      assert.strictEqual(out, trimmed ? answer.slice(overlap) : answer)
    }
  )
})
