import { inspect } from "node:util"
import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, LogLevel, Redacted, Schedule, Stream } from "effect"
import {
  Anthropic,
  Call,
  Chat,
  ChatModel,
  Gemini,
  type LlmError,
  OpenAi,
  OpenAiResponses,
  Resilience,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { share } from "../support/cases.js"
import { apiKey, collectLogs, scripted } from "../support/evidence.js"
import { evidenceOf, leaksOf } from "../support/leaks.js"
import { under } from "../support/time.js"

const hello = Chat.prompt("Hello")

const echo = `Incorrect API key provided: ${apiKey} (Authorization: Bearer ${apiKey}) at https://x.test/?key=${apiKey}`

const headers = {
  "x-request-id": `req-${apiKey}`,
  "x-echo": echo,
  authorization: `Bearer ${apiKey}`,
  "www-authenticate": `Bearer error="${apiKey}"`,
  "retry-after-ms": "1"
}

const body = {
  error: { message: echo, type: apiKey, code: apiKey, param: apiKey, metadata: { raw: echo, headers } },
  request_id: apiKey,
  key: apiKey
}

const message = { role: "assistant", content: "hi" }

const completion = (more: object) =>
  Reply.json({ id: "c-1", model: "m-1", choices: [{ index: 0, message, finish_reason: "stop" }], ...more }, { headers })

const event = (data: object) => `data: ${JSON.stringify(data)}\n\n`
const sse = (...events: ReadonlyArray<object>) =>
  Reply.raw(events.map(event), { headers: { ...headers, "content-type": "text/event-stream" } })
const delta = (content: string) => ({ id: apiKey, model: apiKey, choices: [{ index: 0, delta: { content } }] })

const call = (fields: object) => ({ id: "t-1", type: "function", function: { name: "f", arguments: "{}", ...fields } })

const statuses = [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 520, 529]

const steps: ReadonlyArray<readonly [string, Step.Step]> = [
  ["success", Reply.text("hi", { headers, model: apiKey })],
  ["success with the key everywhere", completion({ id: apiKey, model: apiKey, system_fingerprint: apiKey })],
  ...statuses.map((status) => [`status ${status}`, Fault.status(status, { headers, body })] as const),
  ["status 401 as text", Fault.status(401, { headers, body: echo })],
  ["status 500 as HTML", Fault.status(500, { headers, body: `<html><title>${echo}</title></html>` })],
  ["an error in a 200", Reply.json(body, { headers })],
  ["no JSON in a 200", Reply.raw(echo, { headers })],
  ["cut JSON in a 200", Reply.raw(`{"error": {"message": "${echo}`, { headers })],
  ["no choices", Reply.json({ id: apiKey, object: apiKey }, { headers })],
  ["a finish reason that is the key", completion({ choices: [{ message, finish_reason: apiKey }] })],
  ["content filter", completion({ choices: [{ message: { refusal: echo }, finish_reason: "content_filter" }] })],
  [
    "arguments that are no JSON",
    completion({
      choices: [{ message: { tool_calls: [call({ arguments: `{${apiKey}` })] }, finish_reason: "tool_calls" }]
    })
  ],
  [
    "a tool named like the key",
    completion({
      choices: [{ message: { tool_calls: [call({ name: apiKey, arguments: "{" })] }, finish_reason: "stop" }]
    })
  ],
  ["connection refused", Fault.noConnection("ECONNREFUSED")],
  ["a bad certificate", Fault.noConnection("CERT_HAS_EXPIRED")],
  ["a reset before headers", Fault.resetBeforeHeaders()],
  ["a reset in the body", Fault.resetInBody({ reply: Reply.json(body, { headers }) })],
  ["a hang", Fault.hang],
  ["a stall", Fault.stall({ reply: Reply.json(body, { headers }) })]
]

const streams: ReadonlyArray<readonly [string, Step.Step]> = [
  ["ends well", sse(delta("hi"), { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })],
  ["ends early", sse(delta(echo))],
  ["error event at once", sse(body)],
  ["error event later", sse(delta(echo), body)],
  ["is no JSON", Reply.raw([`data: ${echo}\n\n`], { headers: { ...headers, "content-type": "text/event-stream" } })],
  ["is reset", Fault.resetInBody({ events: 2, reply: Reply.text(`${echo} ${echo}`, { headers }) })],
  [
    "has a tool call that is no JSON",
    sse(
      { choices: [{ delta: { tool_calls: [{ index: 0, ...call({ arguments: `{${apiKey}` }) }] } }] },
      { choices: [{ delta: {}, finish_reason: "tool_calls" }] }
    )
  ],
  ["stalls", Fault.stall({ events: 2, reply: Reply.text(`${echo} ${echo}`, { headers }) })]
]

const held = (model: ChatModel.ChatModel) =>
  model.pipe(
    ChatModel.timeout({ attempt: "5 seconds", idle: "3 seconds" }),
    ChatModel.retry(RetryPolicy.make({ maxAttempts: 2 })),
    ChatModel.deadline("1 minute")
  )

type Ask = (model: ChatModel.ChatModel) => Effect.Effect<unknown, LlmError.LlmError>

const cleanAt = (make: typeof openAi, step: Step.Step, ask: Ask) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script: [step] })
    const model = yield* Effect.provideService(make, HttpClient.HttpClient, provider.client)
    const { found, records, spans } = yield* evidenceOf(ask(held(model)))
    // The key was really there to leak, and there was really something to search.
    const [request] = yield* provider.requests
    assert.strictEqual(request?.key, apiKey)
    assert.isAtLeast(spans, 2)
    assert.strictEqual(records, 1)
    assert.isAtLeast(found.length, 6)
    assert.deepStrictEqual(leaksOf(found), [])
  })

const key = Redacted.make(apiKey)
const openAi = OpenAi.make({ model: "gpt-4o-mini", apiKey: key })
const clean = (step: Step.Step, ask: Ask) => cleanAt(openAi, step, ask)

/** The other wire formats, and what any provider may send whatever it speaks. */
const others = {
  "OpenAI Responses": OpenAiResponses.make({ model: "gpt-4o-mini", apiKey: key }),
  Anthropic: Anthropic.make({ model: "claude-haiku-4-5", apiKey: key }),
  Gemini: Gemini.make({ model: "gemini-2.5-flash", apiKey: key })
}

const anywhere: ReadonlyArray<readonly [string, Step.Step]> = [
  ...steps.filter(([, step]) => step._tag !== "Raw"),
  ["an error in a 200", Reply.json(body, { headers })],
  ["no JSON in a 200", Reply.raw(echo, { headers })],
  [
    "nothing of what is needed",
    Reply.json({ id: apiKey, model: apiKey, content: apiKey, output: apiKey }, { headers })
  ],
  ["an echo", Reply.text(`${echo} ${echo}`, { headers, model: apiKey })],
  ["an echo that is cut", Fault.earlyEnd({ tokens: 6, reply: Reply.text(`${echo} ${echo}`, { headers }) })],
  ["an echo that is reset", Fault.resetInBody({ events: 5, reply: Reply.text(`${echo} ${echo}`, { headers }) })],
  ["an error event", Fault.errorEvent("server-error", { afterTokens: 3, message: echo, reply: Reply.text(echo) })]
]

describe("the key is in no span, log line, record or error", () => {
  for (const [name, step] of share(steps, 4)) {
    it.effect(`generate: ${name}`, () => clean(step, (model) => model.generate(hello)))
  }

  for (const [name, step] of share(steps, 6)) {
    it.effect(`stream: ${name}`, () => clean(step, (model) => Stream.runDrain(model.stream(hello))))
  }

  for (const [name, step] of streams) {
    it.effect(`a stream that ${name}`, () => clean(step, (model) => Stream.runDrain(model.stream(hello))))
  }
})

for (const [name, make] of Object.entries(others)) {
  describe(`the key is in no span, log line, record or error of ${name}`, () => {
    for (const [what, step] of share(anywhere, 9)) {
      it.effect(`generate: ${what}`, () => cleanAt(make, step, (model) => model.generate(hello)))
      it.effect(`stream: ${what}`, () => cleanAt(make, step, (model) => Stream.runDrain(model.stream(hello))))
    }
  })
}

/** Every composition that logs in its own way: policies and plain schedules, fallbacks, refusals; with and without a call. */
const told = (self: ChatModel.ChatModel, ask: Ask): ReadonlyArray<Effect.Effect<unknown, unknown>> => {
  const two = ChatModel.retry(self, RetryPolicy.make({ maxAttempts: 2 }))
  return [
    Effect.retry(ask(self), RetryPolicy.standard),
    Effect.retry(ask(self), Schedule.recurs(2)),
    Resilience.orElse(ask(self), () => ask(self)),
    ask(ChatModel.orElse(two, two, { when: () => true })),
    ask(ChatModel.balance([self, self])),
    Spend.within(ask(two), { usd: 1 }),
    Call.make("greeting")(Effect.retry(ask(self), Schedule.recurs(2)))
  ].map((program) => Resilience.deadline(program, "1 minute"))
}

describe("the key is in no line of any composition", () => {
  for (const [name, step] of share(steps, 3, 1)) {
    it.effect(name, () =>
      Effect.gen(function* () {
        for (const ask of [
          (model: ChatModel.ChatModel) => model.generate(hello),
          (model: ChatModel.ChatModel) => Stream.runDrain(model.stream(hello))
        ]) {
          const { model } = yield* scripted({ script: [step] })
          for (const program of told(model, ask)) {
            const { layer, lines } = collectLogs(LogLevel.All)
            yield* under(Effect.provide(program, layer))
            assert.isNotEmpty(lines)
            assert.deepStrictEqual(leaksOf(lines.map((line) => [line.message, inspect(line, { depth: 9 })])), [])
          }
        }
      })
    )
  }
})

describe("the search itself", () => {
  it.effect("finds a key that leaks", () =>
    Effect.gen(function* () {
      const leaking = Effect.zipRight(
        Effect.annotateLogs(Effect.logWarning("a line"), { header: `Bearer ${apiKey}` }),
        Effect.withSpan(Effect.annotateCurrentSpan("header", apiKey), "leaky")
      )
      const { found } = yield* evidenceOf(leaking)
      assert.isNotEmpty(leaksOf(found))
      const places = new Set(found.filter(([, text]) => text.includes(apiKey)).map(([where]) => where))
      assert.includeMembers([...places], ["JSON log", "logfmt log", "string log", "structured log", "span attributes"])
    })
  )
})

describe("a model says nothing of its key", () => {
  it.effect("printed in any way", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted()
      for (const text of [String(model), JSON.stringify(model), inspect(model, { depth: 9, showHidden: true })]) {
        assert.notInclude(text, apiKey)
      }
    })
  )
})
