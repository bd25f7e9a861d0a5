import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted, Schedule, type Scope, Stream } from "effect"
import { Chat, ChatModel, ChatStream, LlmError, OpenAi, Spend } from "effect-steadfast"
import { AnswerBody, EventStream } from "effect-steadfast/http"
import { Fault, Reply, type Step } from "effect-steadfast/testing"
import * as Passage from "../../src/chat/Passage.js"
import { answers as anyAnswer } from "../http/support.js"
import { cases } from "../support/cases.js"
import {
  answer,
  answers,
  ask,
  bodyOf,
  dialectOf,
  frames,
  framesOf,
  makes,
  sentOf,
  sse,
  usageChunk,
  wires
} from "./Passage.support.js"
import { at, peer } from "./support.js"

/** Under the real clock: the promises of a web response do not wait for a test's. */
const live = (name: string, test: () => Effect.Effect<void, unknown, Scope.Scope>) => it.scopedLive(name, test)

const again = ChatModel.retry(Schedule.recurs(3))

/** The frames of an error, as each dialect writes it. */
const isError = (text: string): boolean => /^(?:event: error\n)?data: \{.*"(?:error|message)":.*\}\n\n$/s.test(text)

for (const wire of wires) {
  const { before, content } = frames[wire]
  const all = framesOf(wire)
  const whole = all.join("")

  describe(`in a passage over ${wire}`, () => {
    live("a target gets the client's body, and the client the provider's answer", () =>
      Effect.gen(function* () {
        const got = yield* ask({ wire, stream: false, options: { script: [answer(wire)] } })
        assert.deepStrictEqual(got.bodies, [sentOf(bodyOf(wire, false))])
        assert.strictEqual(got.text, answers[wire])
        assert.strictEqual(got.headers.get("content-type"), "application/json")
        assert.strictEqual(got.headers.get("content-length"), String(new TextEncoder().encode(got.text).byteLength))
        assert.deepInclude(got.records[0]?.attempts[0]?.usage, { inputTokens: 3, outputTokens: 5 })
      })
    )

    live("a stream comes as it came, wherever the network cut it", () =>
      Effect.gen(function* () {
        const bytes = new TextEncoder().encode(whole)
        const cuts = fc.uniqueArray(fc.nat({ max: bytes.length }), { maxLength: 12 })
        const drawn = fc.sample(cuts, { numRuns: cases(1000), seed: 1 })
        for (const places of [[], ...drawn]) {
          const sorted = [0, ...places.sort((a, b) => a - b), bytes.length]
          const pieces = sorted.slice(1).map((place, index) => bytes.slice(sorted[index], place))
          const got = yield* ask({ wire, stream: true, options: { script: [sse(pieces)] } })
          assert.deepStrictEqual(got.bodies, [sentOf(bodyOf(wire, true))])
          assert.strictEqual(got.text, whole)
          assert.isFalse(got.broken)
          assert.strictEqual(got.records[0]?.outcome, "success")
          assert.deepInclude(got.records[0]?.attempts[0]?.usage, { inputTokens: 3, outputTokens: 5 })
        }
      })
    )

    live("an attempt that fails before content is retried, and the client does not notice", () =>
      Effect.gen(function* () {
        const script = [
          Fault.status(503),
          Fault.resetBeforeHeaders(),
          Fault.resetInBody({ events: before.length, reply: sse(before.concat(content)) }),
          sse(all)
        ]
        const got = yield* ask({ wire, stream: true, options: { script }, compose: again })
        assert.strictEqual(got.text, whole)
        assert.lengthOf(got.bodies, 4)
        assert.deepStrictEqual(new Set(got.bodies), new Set([sentOf(bodyOf(wire, true))]))
        assert.lengthOf(got.records[0]?.attempts ?? [], 4)
      })
    )

    live("a stream that is cut after content ends with an error, and nothing of its end", () =>
      Effect.gen(function* () {
        const most = before.length + content.length
        for (let count = before.length + 1; count <= most; count++) {
          const cut = sse(all.slice(0, count))
          const got = yield* ask({ wire, stream: true, options: { script: [cut, sse(all)] }, compose: again })
          assert.isTrue(got.broken)
          assert.lengthOf(got.bodies, 1)
          const shown = all.slice(0, count).join("")
          assert.isTrue(got.text.startsWith(shown), got.text)
          assert.isTrue(isError(got.text.slice(shown.length)), got.text)
          assert.strictEqual(got.records[0]?.outcome, "failure")
        }
      })
    )

    live("an error of the provider in its stream is told in our words", () =>
      Effect.gen(function* () {
        const reply = Reply.text("one two three")
        const script = [Fault.errorEvent("overloaded", { afterTokens: 1, reply })]
        const got = yield* ask({ wire, stream: true, options: { script } })
        assert.isTrue(got.broken)
        assert.notInclude(got.text, "two")
        const early = yield* ask({ wire, stream: true, options: { script: [Fault.errorEvent("overloaded")] } })
        assert.isFalse(early.broken)
        assert.isAtLeast(early.status, 500)
      })
    )

    live("a target of another wire answers in the client's dialect", () =>
      Effect.gen(function* () {
        const other = wire === "anthropic" ? "openai-chat" : "anthropic"
        for (const stream of [true, false]) {
          const got = yield* ask({
            wire,
            stream,
            options: { rules: [{ format: wire, script: [Fault.status(503)] }, { script: [Reply.text("well then")] }] },
            compose: (own, make) => Effect.map(make(other), (model) => own.pipe(ChatModel.orElse(model)))
          })
          assert.strictEqual(got.bodies[0], sentOf(bodyOf(wire, stream)))
          assert.notInclude(got.bodies[1] ?? "", "x_new")
          const { model } = yield* peer(makes[wire], {
            script: [
              stream ? sse([got.text]) : Reply.raw(got.text, { headers: { "content-type": "application/json" } })
            ]
          })
          const request = Chat.prompt("hi")
          const read = yield* stream
            ? Stream.runFold(
                model.stream(request),
                "",
                (text, event) => text + (event._tag === "TextDelta" ? event.text : "")
              )
            : Effect.map(model.generate(request), ({ text }) => text)
          assert.strictEqual(read, "well then")
        }
      })
    )

    live("a whole answer to a request for a stream is written as one", () =>
      Effect.gen(function* () {
        const got = yield* ask({ wire, stream: true, options: { script: [answer(wire)] } })
        assert.isFalse(got.broken)
        assert.notInclude(got.text, "x_new")
        assert.include(got.text, "look")
      })
    )

    live("a request that a limit changed has the limit in the client's body, and its answer comes as it came", () =>
      Effect.gen(function* () {
        for (const stream of [true, false]) {
          const script = [stream ? sse(all) : answer(wire)]
          const got = yield* ask({ wire, stream, options: { script }, within: Spend.within({ tokens: 500 }) })
          const body = got.bodies[0] ?? ""
          // In Gemini's bodies the limit is no field at the top: they are encoded.
          if (wire === "gemini") assert.notInclude(body, "x_new")
          else assert.include(body, "x_new")
          assert.match(body, /max_?\w*tokens/i)
          assert.strictEqual(got.text, stream ? whole : answers[wire])
        }
      })
    )
  })
}

describe("the usage of Chat Completions", () => {
  const wire = "openai-chat"
  const all = framesOf(wire)
  const quiet = all.map((frame) => (frame === usageChunk ? "" : frame.replace(',"usage":null', ""))).join("")
  const streaming = (options: string) => `{"model":"mine","stream":true,"messages":[]${options}}`

  live("is asked for, and kept from a client that did not ask", () =>
    Effect.gen(function* () {
      const options: ReadonlyArray<readonly [string, string, string]> = [
        ["", '{"stream_options":{"include_usage":true},', ""],
        [',"stream_options":null', "{", ',"stream_options":{"include_usage":true}'],
        [',"stream_options":{ "x":1}', "{", ',"stream_options":{"include_usage":true, "x":1}'],
        [',"stream_options":{"include_usage":false}', "{", ',"stream_options":{"include_usage":true}']
      ]
      for (const [given, begin, end] of options) {
        const got = yield* ask({ wire, stream: true, body: streaming(given), options: { script: [sse(all)] } })
        assert.deepStrictEqual(got.bodies, [sentOf(streaming(end)).replace("{", begin)])
        assert.strictEqual(got.text, quiet)
        assert.strictEqual(got.records[0]?.attempts[0]?.usage?.outputTokens, 5)
      }
    })
  )

  live("goes to a client of OpenRouter without asking, and no null with it", () =>
    Effect.gen(function* () {
      const nulls = all.map((frame) => frame.replace('"choices":', '"system_fingerprint": null,"choices":'))
      const options = { script: [sse(nulls)] }
      const passage = { openrouter: true }
      const got = yield* ask({ wire, stream: true, body: streaming(""), options, passage })
      assert.strictEqual(got.text, all.map((frame) => frame.replace(',"usage":null', "")).join(""))
      assert.include(got.text, usageChunk)
    })
  )

  live("is not asked for where the server tells it anyway", () =>
    Effect.gen(function* () {
      const target = OpenAi.make({ provider: "mistral", model: "target-1", apiKey: Redacted.make("key") })
      const body = streaming("")
      const got = yield* ask({ wire, stream: true, target, body, options: { script: [sse(all)] } })
      assert.deepStrictEqual(got.bodies, [sentOf(body)])
      assert.strictEqual(got.text, quiet)
      assert.strictEqual(got.records[0]?.attempts[0]?.usage?.outputTokens, 5)
    })
  )

  live("is not asked for where the answer is whole", () =>
    Effect.gen(function* () {
      const body = '{"model":"mine","messages":[]}'
      const got = yield* ask({ wire, stream: false, body, options: { script: [answer(wire)] } })
      assert.deepStrictEqual(got.bodies, [sentOf(body)])
    })
  )
})

describe("the end of a stream", () => {
  live("is added where the server left it out, or broke off before it", () =>
    Effect.gen(function* () {
      const chat = framesOf("openai-chat")
      const messages = framesOf("anthropic")
      const left: ReadonlyArray<readonly [Passage.Wire, Step.Step]> = [
        ["openai-chat", sse(chat.slice(0, -1))],
        ["openai-chat", Fault.resetInBody({ events: chat.length - 1, reply: sse(chat) })],
        ["anthropic", sse([...messages.slice(0, -1), "data: [DONE]\n\n"])]
      ]
      for (const [wire, step] of left) {
        const got = yield* ask({ wire, stream: true, options: { script: [step] } })
        assert.strictEqual(got.text, framesOf(wire).join(""))
        assert.isFalse(got.broken)
      }
    })
  )

  live("is not the client's while a refusal may follow", () =>
    Effect.gen(function* () {
      const got = yield* ask({
        wire: "openai-chat",
        stream: true,
        options: { script: [Reply.refusal("I will not do it")] }
      })
      assert.notStrictEqual(got.status, 200)
      assert.strictEqual(got.headers.get("content-type"), "application/json")
      assert.strictEqual(got.records[0]?.attempts[0]?.error?._tag, "ContentFiltered")
    })
  )

  live("is that of the frames that follow a finish reason that was none", () =>
    Effect.gen(function* () {
      const frame = (text: string) =>
        `data: {"candidates":[{"content":{"parts":[{"text":"${text}"}]},"finishReason":"STOP"}]}\n\n`
      const all = ["a", "b", "c"].map(frame)
      const got = yield* ask({ wire: "gemini", stream: true, options: { script: [sse(all)] } })
      assert.strictEqual(got.text, all.join(""))
      const held = yield* ask({
        wire: "gemini",
        stream: true,
        options: { script: [Fault.stall({ reply: sse(all), events: 2 })] },
        compose: ChatModel.timeout({ idle: "50 millis" })
      })
      assert.isTrue(held.text === all.slice(0, 2).join("") || held.text.startsWith(all[0] ?? ""), held.text)
    })
  )
})

describe("a call of a tool", () => {
  live("comes live from its first argument on", () =>
    Effect.gen(function* () {
      for (const wire of ["openai-chat", "openai-responses", "anthropic"] as const) {
        const { before, content } = frames[wire]
        const pieces = [...before, ...content.slice(2)]
        const at = before.length
        for (const count of [at + 1, at + 2, at + 3]) {
          const script = [sse(pieces.slice(0, count)), sse(framesOf(wire))]
          const got = yield* ask({ wire, stream: true, options: { script }, compose: again })
          const isBegun = count > at + 1
          assert.strictEqual(got.broken, isBegun)
          assert.lengthOf(got.bodies, isBegun ? 1 : 2)
          const shown = (isBegun ? pieces.slice(0, count) : framesOf(wire)).join("")
          assert.isTrue(got.text.startsWith(shown), got.text)
        }
      }
    })
  )
})

describe("frames that say nothing here", () => {
  live("are left out: heartbeats, comments, and [DONE] where the dialect has none", () =>
    Effect.gen(function* () {
      const { before, content, end } = frames.anthropic
      const noise = [": comment\n\n", "data: ping\n\n", "data:\n\n"]
      const got = yield* ask({
        wire: "anthropic",
        stream: true,
        options: { script: [sse([...noise, ...before, ...noise, ...content, ...noise, ...end, "data: [DONE]\n\n"])] }
      })
      assert.strictEqual(got.text, framesOf("anthropic").join(""))
    })
  )

  live("are bounded", () =>
    Effect.gen(function* () {
      const ping = `event: ping\ndata: {"type":"ping","x":"${"x".repeat(1 << 20)}"}\n\n`
      const got = yield* ask({
        wire: "anthropic",
        stream: true,
        options: { script: [sse([...Array<string>(80).fill(ping), ...framesOf("anthropic")])] }
      })
      assert.isFalse(got.broken)
      assert.include(got.records[0]?.attempts[0]?.error?.message, "too large")
    })
  )
})

describe("a body that could not be read", () => {
  const only = new LlmError.InvalidRequest({ provider: "steadfast", message: "messages: odd", delivery: "not-sent" })

  live("goes to targets of its own wire", () =>
    Effect.gen(function* () {
      const got = yield* ask({
        wire: "openai-chat",
        stream: false,
        passage: { only },
        options: { rules: [{ format: "openai-chat", script: [answer("openai-chat")] }] },
        compose: (own, make) => Effect.map(make("anthropic"), (other) => other.pipe(ChatModel.orElse(own)))
      })
      assert.strictEqual(got.text, answers["openai-chat"])
      assert.lengthOf(got.bodies, 1)
      const [first] = got.records[0]?.attempts ?? []
      assert.strictEqual(first?.error?._tag, "InvalidRequest")
      assert.strictEqual(first?.provider, "anthropic")
    })
  )

  live("is refused if there is none", () =>
    Effect.gen(function* () {
      for (const stream of [true, false]) {
        const got = yield* ask({
          wire: "openai-chat",
          stream,
          passage: { only },
          compose: (_, make) => make("gemini")
        })
        assert.strictEqual(got.status, 400)
        assert.include(got.text, "messages: odd")
        assert.lengthOf(got.bodies, 0)
      }
    })
  )
})

describe("a request", () => {
  live("that is not that of the passage is encoded, and its answer is our own", () =>
    Effect.gen(function* () {
      const got = yield* ask({
        wire: "openai-chat",
        stream: false,
        options: { script: [answer("openai-chat")] },
        passage: { request: Chat.prompt("another") }
      })
      assert.notInclude(got.bodies[0] ?? "", "x_new")
      assert.notInclude(got.text, "x_new")
      assert.include(got.text, "look")
    })
  )

  live("whose body wants the other kind of answer is encoded", () =>
    Effect.gen(function* () {
      const body = bodyOf("openai-chat", true)
      const got = yield* ask({
        wire: "openai-chat",
        stream: false,
        body,
        options: { script: [answer("openai-chat")] }
      })
      assert.notInclude(got.bodies[0] ?? "", "x_new")
      assert.strictEqual(got.text, answers["openai-chat"])
    })
  )

  live("carries what the client says of the API, and no other header of it", () =>
    Effect.gen(function* () {
      const headers = {
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "b-1,b-2",
        "x-api-key": "of the client",
        authorization: "Bearer of the client",
        cookie: "a=b"
      }
      const got = yield* ask({
        wire: "anthropic",
        stream: false,
        passage: { headers },
        options: { script: [answer("anthropic")] }
      })
      const sent = got.requests[0]?.headers ?? {}
      assert.strictEqual(sent["anthropic-version"], "2026-10-21")
      assert.strictEqual(sent["anthropic-beta"], "b-1,b-2")
      assert.strictEqual(sent["x-api-key"], "key-of-a-test")
      assert.isUndefined(sent.authorization)
      assert.isUndefined(sent.cookie)
    })
  )

  live("in a mode that takes text back is strict", () =>
    Effect.gen(function* () {
      const all = framesOf("anthropic")
      const { before, content } = frames.anthropic
      for (const mode of ["restart", "continue"] as const) {
        const got = yield* ask({
          wire: "anthropic",
          stream: true,
          options: { script: [sse([...before, ...content]), sse(all)] },
          compose: ChatModel.retry(Schedule.recurs(2), { mode })
        })
        assert.isTrue(got.broken)
        assert.lengthOf(got.bodies, 1)
        assert.isTrue(got.text.startsWith([...before, ...content].join("")))
      }
    })
  )
})

describe("an answer that the provider keeps", () => {
  live("goes on after a cut with the frame that was next", () =>
    Effect.gen(function* () {
      const body = '{"model":"mine","stream":true,"background":true,"input":"hi"}'
      const reply = Reply.text("one two three four five", { fragment: 16 })
      const options = { script: [reply] }
      const whole = yield* ask({ wire: "openai-responses", stream: true, body, options })
      assert.include(whole.text, "response.completed")
      for (const events of [3, 5, 6, 7, 8]) {
        const got = yield* ask({
          wire: "openai-responses",
          stream: true,
          body,
          options: { script: [Fault.resetInBody({ events, reply }), reply] },
          compose: again
        })
        // Another answer, made in another second.
        const timeless = (text: string) => text.replaceAll(/"created_at":\d+/g, "")
        assert.strictEqual(timeless(got.text), timeless(whole.text), `cut after ${events}`)
        assert.lengthOf(got.requests, 2)
      }
    })
  )

  live("does not say again what a server repeats", () =>
    Effect.gen(function* () {
      const all = framesOf("openai-responses").map((frame) =>
        frame.replace('"id":"r-1",', '"id":"r-1","background":true,')
      )
      const script = [sse(all.slice(0, 4)), sse(all)]
      const got = yield* ask({ wire: "openai-responses", stream: true, options: { script }, compose: again })
      assert.deepStrictEqual(
        got.requests.map(({ method }) => method),
        ["POST", "GET"]
      )
      assert.strictEqual(got.text, all.join(""))
    })
  )
})

describe("any answer in the frames of a dialect", () => {
  const origin = { id: "answer-1", created: 1 }

  for (const wire of wires) {
    const dialect = dialectOf[wire]

    live(`comes as it came over ${wire}, or breaks off`, () =>
      Effect.gen(function* () {
        const drawn = fc.sample(fc.tuple(anyAnswer, fc.double({ min: 0, max: 1, noNaN: true })), cases(2000))
        for (const [events, share] of drawn) {
          const encoder = EventStream.make(dialect, origin)
          const whole = events.map((event) => encoder.push(event)).join("")
          const bytes = new TextEncoder().encode(whole)
          const place = Math.floor(share * bytes.length)
          const pieces = [bytes.slice(0, place), bytes.slice(place)]
          const got = yield* ask({ wire, stream: true, options: { script: [sse(pieces)] } })
          assert.strictEqual(got.text, whole)
          assert.isFalse(got.broken)

          const cut = yield* ask({ wire, stream: true, options: { script: [sse(pieces.slice(0, 1))] } })
          if (cut.broken) {
            const shown = cut.text.replace(/(?:event: error\n)?data: [^\n]*\n\n$/, "")
            assert.isTrue(whole.startsWith(shown))
            assert.strictEqual(cut.records[0]?.outcome, "failure")
          } else if (cut.status === 200) {
            // The protocol has no more to say, but perhaps its terminator.
            assert.isTrue(whole.startsWith(cut.text.replace("data: [DONE]\n\n", "")))
            assert.strictEqual(cut.records[0]?.outcome, "success")
          } else assert.strictEqual(cut.records[0]?.outcome, "failure")

          const answer = yield* ChatStream.collect(Stream.fromIterable(events))
          const text = JSON.stringify(AnswerBody.make(dialect, answer, origin))
          const json = { headers: { "content-type": "application/json" } }
          const body = yield* ask({ wire, stream: false, options: { script: [Reply.raw(text, json)] } })
          assert.strictEqual(body.text, text)
        }
      })
    )
  }
})

it.effect("outside of a passage no answer is kept", () =>
  Effect.gen(function* () {
    for (const wire of wires) {
      const { model } = yield* peer(makes[wire], { script: [answer(wire), sse(framesOf(wire))] })
      assert.isUndefined(Passage.rawOf(yield* model.generate(Chat.prompt("hi")), wire))
      const events = [...(yield* Stream.runCollect(model.stream(Chat.prompt("hi"))))]
      assert.isFalse(events.some(Passage.isKept))
      assert.isFalse(events.some((event) => event._tag === "TextDelta" && event.text === ""))
      assert.strictEqual(at(events.at(-1), "_tag"), "Finish")
      assert.isString(dialectOf[wire])
    }
  })
)
