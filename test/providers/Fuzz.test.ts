import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, FastCheck as fc, Option, Redacted, Schema, Stream } from "effect"
import { Anthropic, Chat, Gemini, LlmError, OpenAi, OpenAiResponses } from "effect-steadfast"
import { FaultyProvider, Reply } from "effect-steadfast/testing"
import { breathe, cases, seed } from "../support/cases.js"
import { type Make, secret } from "./support.js"

/**
 * Whatever a provider sends ends as an answer or as an `LlmError`: no defect, no hang, and no `Finish` without the
 * end that the format knows. The inputs are true answers with some of their bytes, values or events changed, and
 * noise.
 */

const apiKey = Redacted.make(secret)

interface Wire {
  readonly make: Make
  /** Where the format is served. */
  readonly path: (streaming: boolean) => string
}

const wires: Record<string, Wire> = {
  chat: { make: OpenAi.make({ model: "gpt-4o", apiKey }), path: () => "/v1/chat/completions" },
  responses: { make: OpenAiResponses.make({ model: "gpt-4o", apiKey }), path: () => "/v1/responses" },
  anthropic: { make: Anthropic.make({ model: "claude-haiku-4-5", apiKey }), path: () => "/v1/messages" },
  gemini: {
    make: Gemini.make({ model: "gemini-2.5-flash", apiKey }),
    path: (streaming) => `/v1beta/models/m:${streaming ? "streamGenerateContent?alt=sse" : "generateContent"}`
  }
}

const replies = [
  Reply.text("The answer is 42, née 41."),
  Reply.reasoning("Let me see", { text: "Well." }),
  Reply.toolCall([{ name: "f", arguments: { a: [1, { b: "c" }] } }, { name: "g" }], { text: "Look." }),
  Reply.text("cut", { finish: "length" })
]

/** The bodies that the format has for true answers. */
const bodiesOf = (wire: Wire, streaming: boolean) =>
  Effect.forEach(replies, (reply) =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [reply] })
      const url = `https://x.example${wire.path(streaming)}`
      const options = { headers: { "content-type": "application/json" } }
      const response = yield* HttpClient.post(url, options).pipe(
        Effect.provideService(
          HttpClient.HttpClient,
          HttpClient.mapRequest(provider.client, (request) => ({
            ...request,
            body: { ...request.body, _tag: "Raw", body: JSON.stringify({ model: "m", stream: streaming }) } as never
          }))
        )
      )
      return yield* response.text
    })
  )

// -----------------------------------------------------------------------------
// changes
// -----------------------------------------------------------------------------

type Change = (text: string) => string

const odd: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, "", 0, -1, 2 ** 53, 1e308, true, false, [], {}, [null], [[]], { error: {} }, "stop"),
  fc.constantFrom<unknown>("\u0000", "\ud800", "[DONE]", { text: 1 }, { error: { message: "x", code: 529 } }),
  fc.jsonValue({ maxDepth: 2 })
)

interface Slot {
  readonly at: Record<string, unknown>
  readonly key: string
}

const slotsOf = (u: unknown): ReadonlyArray<Slot> =>
  typeof u !== "object" || u === null
    ? []
    : Object.keys(u).flatMap((key) => [
        { at: u as Record<string, unknown>, key },
        ...slotsOf((u as Record<string, unknown>)[key])
      ])

/** Changes one value of one object: replaced, taken out, or under another name. */
const inJson =
  (where: number, value: unknown, how: number): Change =>
  (text) => {
    try {
      const root: unknown = JSON.parse(text)
      const slots = slotsOf(root)
      const slot = slots[where % slots.length]
      if (slot === undefined) return JSON.stringify(value)
      if (how === 0) slot.at[slot.key] = value
      else if (how === 1) delete slot.at[slot.key]
      else slot.at[`${slot.key}_`] = slot.at[slot.key]
      return JSON.stringify(root)
    } catch {
      return text
    }
  }

/** Changes the JSON of one line. */
const inLine =
  (line: number, change: Change): Change =>
  (text) => {
    const lines = text.split("\n")
    const found = lines.flatMap((one, at) => (/^(?:data: )?[[{]/.test(one) ? [at] : []))
    const at = found[line % found.length]
    if (at === undefined) return text
    const [, field = "", json = ""] = /^(data: )?(.*)$/s.exec(lines[at] ?? "") ?? []
    lines[at] = field + change(json)
    return lines.join("\n")
  }

const inEvents =
  (at: number, how: number, junk: string): Change =>
  (text) => {
    const events = text.split("\n\n")
    const index = at % events.length
    const event = events[index] ?? ""
    if (how === 0) events.splice(index, 1)
    else if (how === 1) events.splice(index, 0, event)
    else if (how === 2) events.splice(index, 0, junk)
    else events.push(...events.splice(index, 1))
    return events.join("\n\n")
  }

const inText =
  (at: number, length: number, junk: string): Change =>
  (text) => {
    const index = at % (text.length + 1)
    return text.slice(0, index) + junk + text.slice(index + length)
  }

const junk = fc.oneof(
  fc.string({ unit: "binary", maxLength: 6 }),
  fc.constantFrom(": ping", "event: error", "data", "data:", "id: 1\nretry: 5", "data: [DONE]", "data: null", "\ufeff"),
  fc.constantFrom("data: {}", 'data: {"error":"x"}', "<html>", "\r", "\r\n\r\n", '"', "}", "[", ",")
)

const change: fc.Arbitrary<Change> = fc.oneof(
  fc
    .tuple(fc.nat({ max: 50 }), fc.nat({ max: 200 }), odd, fc.nat({ max: 2 }))
    .map(([line, where, value, how]) => inLine(line, inJson(where, value, how))),
  fc.tuple(fc.nat({ max: 50 }), fc.nat({ max: 3 }), junk).map(([at, how, text]) => inEvents(at, how, text)),
  fc.tuple(fc.nat({ max: 3000 }), fc.nat({ max: 40 }), junk).map(([at, length, text]) => inText(at, length, text)),
  fc.nat({ max: 3000 }).map((at) => (text: string) => text.slice(0, at % (text.length + 1))),
  fc.constantFrom<Change>(
    (text) => text.replaceAll("\n", "\r\n"),
    (text) => text.replaceAll("\n", "\r"),
    (text) => `\ufeff${text}`,
    (text) => text + text,
    (_) => ""
  )
)

interface Input {
  readonly of: number
  readonly changes: ReadonlyArray<Change>
  readonly noise: string | undefined
  readonly status: number
  readonly type: string
  readonly fragment: number
}

const types = ["text/event-stream", "application/json", "text/html", "text/plain", "", "application/x-ndjson"]

const inputs: fc.Arbitrary<Input> = fc.record({
  of: fc.nat({ max: replies.length - 1 }),
  changes: fc.array(change, { minLength: 1, maxLength: 4 }),
  noise: fc.oneof(
    { weight: 7, arbitrary: fc.constant(undefined) },
    fc.oneof(
      fc.string({ unit: "binary" }),
      fc.json(),
      fc.json().map((json) => `data: ${json}\n\n`)
    )
  ),
  status: fc.oneof({ weight: 9, arbitrary: fc.constant(200) }, fc.constantFrom(201, 302, 400, 404, 429, 500, 503)),
  type: fc.oneof({ weight: 4, arbitrary: fc.constant("") }, fc.constantFrom(...types)),
  fragment: fc.constantFrom(1, 50, 4096, 4096, 4096, 4096)
})

// -----------------------------------------------------------------------------
// what must hold
// -----------------------------------------------------------------------------

/** Whether a value says anywhere that an answer has ended. */
const saysEnd = (u: unknown): boolean => {
  if (typeof u !== "object" || u === null) return false
  return Object.entries(u).some(
    ([key, value]) =>
      (/^(?:finish|stop|done)_?reason$/i.test(key) && typeof value === "string" && value !== "") ||
      (key === "type" &&
        typeof value === "string" &&
        /^(?:message_stop|response\.(?:completed|incomplete))$/.test(value)) ||
      (key === "status" && (value === "completed" || value === "incomplete")) ||
      saysEnd(value)
  )
}

/** Whether a body has an end, read by its lines only. */
const hasEnd = (body: string): boolean => {
  const data = body.split(/(?:\r\n|\n|\r)(?:\r\n|\n|\r)/).map((event) =>
    event
      .split(/\r\n|\n|\r/)
      .flatMap((line) => (/^\ufeff?data:/.test(line) ? [line.replace(/^\ufeff?data: ?/, "")] : []))
      .join("\n")
  )
  // An answer that came whole stands on a line of its own, and so does an event without the empty line after it.
  const lines = body.split(/\r\n|\n|\r/).map((line) => line.replace(/^\ufeff*(?:data: ?)?/, ""))
  return [...data, ...lines].some((text) => saysEnd(parsed(text)))
}

const parsed = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const encode = Schema.encodeSync(LlmError.LlmError)

/** An `LlmError` that can be written down, or an error of the test. */
const assertTyped = (exit: Exit.Exit<unknown, unknown>): void => {
  if (Exit.isSuccess(exit)) return
  const error = Option.getOrUndefined(Cause.failureOption(exit.cause))
  if (!LlmError.isLlmError(error)) throw new Error(Cause.pretty(exit.cause))
  assert.isAtMost(error.message.length, 501)
  assert.doesNotThrow(() => JSON.stringify(encode(error)))
}

describe(`anything that a provider may send, seed ${seed}`, () => {
  for (const [name, wire] of Object.entries(wires)) {
    it(name, async () => {
      const whole = await Effect.runPromise(bodiesOf(wire, false))
      const streamed = await Effect.runPromise(bodiesOf(wire, true))
      let step = Reply.raw("")
      const provider = await Effect.runPromise(FaultyProvider.make({ script: [() => step], record: false }))
      const model = await Effect.runPromise(Effect.provideService(wire.make, HttpClient.HttpClient, provider.client))
      const seen = { finished: 0, answered: 0, failed: 0 }

      const check = async ({ changes, fragment, noise, of, status, type }: Input): Promise<void> => {
        for (const streaming of [false, true]) {
          const from = (streaming ? streamed : whole)[of] ?? ""
          const body = noise ?? changes.reduce((text, change) => change(text), from)
          const bytes = new TextEncoder().encode(body)
          const pieces = Array.from({ length: Math.ceil(bytes.length / fragment) }, (_, index) =>
            bytes.subarray(index * fragment, (index + 1) * fragment)
          )
          const own = streaming ? "text/event-stream" : "application/json"
          step = Reply.raw(pieces, { status, headers: { "content-type": type === "" ? own : type } })
          const events: Array<Chat.Event> = []
          const ask = streaming
            ? Stream.runForEach(model.stream(Chat.prompt("hi")), (event) => Effect.sync(() => events.push(event)))
            : model.generate(Chat.prompt("hi"))
          const exit = await Effect.runPromiseExit(
            Effect.timeoutFail(ask, { duration: "20 seconds", onTimeout: () => new Error("it hangs") })
          )
          assertTyped(exit)
          const ends = events.filter((event) => event._tag === "Finish").length
          if (streaming) {
            assert.strictEqual(ends, Exit.isSuccess(exit) ? 1 : 0)
            if (ends === 1) assert.strictEqual(events.at(-1)?._tag, "Finish")
            if (events.length > 0) assert.strictEqual(events[0]?._tag, "Start")
            if (ends === 1) assert.isTrue(hasEnd(body), `a Finish without an end: ${JSON.stringify(body)}`)
            seen.finished += ends
          }
          if (Exit.isSuccess(exit)) seen.answered++
          else seen.failed++
        }
      }

      await fc.assert(fc.asyncProperty(inputs, check).beforeEach(breathe), {
        numRuns: cases(50_000, 300),
        verbose: fc.VerbosityLevel.None
      })
      // It tries both sides.
      assert.isAbove(seen.finished, 60)
      assert.isAbove(seen.failed, 100)
    })
  }
})
