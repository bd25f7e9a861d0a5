import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Logger, LogLevel, Schema, Stream } from "effect"
import { Call, CallRecord, Chat, ChatModel, type LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, Reply, type Step } from "effect-steadfast/testing"
import { apiKey, collectRecords, scripted } from "../support/evidence.js"
import { collectSpans } from "../support/spans.js"
import { under } from "../support/time.js"

const hello = Chat.prompt("Hello")

/** The key as it is, and as it may have been written on the way. */
const forms = [apiKey, encodeURIComponent(apiKey), Buffer.from(apiKey).toString("base64"), apiKey.slice(4)]

const deep = { depth: 9, maxStringLength: null }

/** Every place where evidence of a call can be read, as text. */
const evidenceOf = (program: Effect.Effect<unknown, LlmError.LlmError>) =>
  Effect.gen(function* () {
    const found: Array<readonly [where: string, text: string]> = []
    const keep = (where: string, text: unknown) => found.push([where, String(text)])
    const shown = (where: string) => (line: unknown) =>
      keep(where, typeof line === "string" ? line : inspect(line, deep))
    const print = console.log
    console.log = (...parts: ReadonlyArray<unknown>) =>
      keep("pretty log", parts.map((part) => inspect(part, deep)).join(" "))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        console.log = print
      })
    )
    const { layer: observed, records } = collectRecords()
    const { layer: tracer, spans } = collectSpans()
    const layers = Layer.mergeAll(
      Logger.add(Logger.prettyLogger({ colors: false, mode: "tty" })),
      Logger.add(Logger.map(Logger.jsonLogger, shown("JSON log"))),
      Logger.add(Logger.map(Logger.logfmtLogger, shown("logfmt log"))),
      Logger.add(Logger.map(Logger.stringLogger, shown("string log"))),
      Logger.add(Logger.map(Logger.structuredLogger, shown("structured log"))),
      Logger.minimumLogLevel(LogLevel.All),
      observed,
      tracer
    )
    const { exit } = yield* under(Effect.provide(Call.make("greeting")(program), layers))
    for (const span of spans()) {
      keep("span", inspect({ ...span, resource: undefined }, { depth: 9, maxStringLength: null }))
      for (const event of span.events) keep("span event", JSON.stringify(event))
      keep("span attributes", JSON.stringify(span.attributes))
      keep("span status", JSON.stringify(span.status))
    }
    for (const record of records) {
      keep("record", JSON.stringify(record))
      keep("record, encoded", JSON.stringify(Schema.encodeSync(CallRecord.CallRecord)(record)))
      keep("record, inspected", inspect(record, { depth: 9, maxStringLength: null }))
    }
    if (Exit.isFailure(exit)) {
      keep("cause", Cause.pretty(exit.cause, { renderErrorCause: true }))
      keep("exit", JSON.stringify(exit))
      for (const error of Cause.failures(exit.cause)) {
        keep("error", String(error))
        keep("error, JSON", JSON.stringify(error))
        keep("error, inspected", inspect(error, { depth: 9, showHidden: true, maxStringLength: null }))
        keep("error, stack", error.stack)
      }
    }
    return { found, exit, spans: spans().length, records: records.length }
  }).pipe(Effect.scoped)

/** What leaked, with the words before it; each leak once, however many places repeat it. */
const leaksOf = (found: ReadonlyArray<readonly [string, string]>): ReadonlyArray<string> =>
  Array.from(
    new Map(
      found.flatMap(([where, text]) => {
        const at = forms.map((form) => text.indexOf(form)).find((at) => at !== -1)
        if (at === undefined) return []
        const before = text.slice(Math.max(0, at - 40), at).replace(/\W+/g, " ")
        return [[before, `${where}: ${before}`] as const]
      })
    ).values()
  )

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

const clean = (step: Step.Step, ask: (model: ChatModel.ChatModel) => Effect.Effect<unknown, LlmError.LlmError>) =>
  Effect.gen(function* () {
    const { model, provider } = yield* scripted({ script: [step] })
    const { found, records, spans } = yield* evidenceOf(ask(held(model)))
    // The key was really there to leak, and there was really something to search.
    const [request] = yield* provider.requests
    assert.strictEqual(request?.key, apiKey)
    assert.isAtLeast(spans, 2)
    assert.strictEqual(records, 1)
    assert.isAtLeast(found.length, 6)
    assert.deepStrictEqual(leaksOf(found), [])
  })

describe("the key is in no span, log line, record or error", () => {
  for (const [name, step] of steps) {
    it.effect(`generate: ${name}`, () => clean(step, (model) => model.generate(hello)))
  }

  for (const [name, step] of steps) {
    it.effect(`stream: ${name}`, () => clean(step, (model) => Stream.runDrain(model.stream(hello))))
  }

  for (const [name, step] of streams) {
    it.effect(`a stream that ${name}`, () => clean(step, (model) => Stream.runDrain(model.stream(hello))))
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
