import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted, Schedule, Stream } from "effect"
import {
  Call,
  Chat,
  ChatModel,
  CircuitBreaker,
  KeyPool,
  LlmError,
  Pacer,
  Resilience,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import { Fault, Reply, type Step } from "effect-steadfast/testing"
import { errorOf } from "../support/errors.js"
import { apiKey, collectLogs, only, scripted } from "../support/evidence.js"
import { drawing, under } from "../support/time.js"

const hello = Chat.prompt("Hello")

/** Both ways of asking. */
const asks = {
  generate: (model: ChatModel.ChatModel, request = hello) => Effect.asVoid(model.generate(request)),
  stream: (model: ChatModel.ChatModel, request = hello) => Stream.runDrain(model.stream(request))
} as const

const linesOf = (program: Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const { layer, lines } = collectLogs()
    yield* under(drawing(1)(Effect.provide(program, layer)))
    for (const line of lines) assert.notInclude(JSON.stringify(line), apiKey)
    return lines
  })

const levels = (lines: ReadonlyArray<{ readonly level: string }>) => lines.map(({ level }) => level)

const modelOf = (script: ReadonlyArray<Step.Step>, model = "first") =>
  Effect.map(scripted({ script }, { model }), (one) => one.model)

const two = RetryPolicy.make({ maxAttempts: 2 })

/** Every combinator, alone around a model. */
const combinators = (self: ChatModel.ChatModel) =>
  Effect.gen(function* () {
    const breaker = yield* CircuitBreaker.make()
    const pacer = yield* Pacer.make()
    const keys = yield* KeyPool.make({ keys: [Redacted.make("k-1"), Redacted.make("k-2")] })
    const pooled = ChatModel.pooled(keys, () => Effect.succeed(self))
    return {
      retry: ChatModel.retry(self, RetryPolicy.standard),
      timeout: ChatModel.timeout(self, { attempt: "30 seconds" }),
      deadline: ChatModel.deadline(self, "30 seconds"),
      orElse: ChatModel.orElse(self, self),
      breaker: ChatModel.breaker(self, breaker),
      pace: ChatModel.pace(self, pacer),
      hedge: ChatModel.hedge(self, self),
      balance: ChatModel.balance([self]),
      named: ChatModel.named(self, "assistant"),
      pooled: yield* pooled
    }
  })

for (const [way, ask] of Object.entries(asks)) {
  describe(`a failed ${way} of a composed model is one ERROR`, () => {
    it.effect("whatever the combinator, also for one attempt that no policy was asked about", () =>
      Effect.gen(function* () {
        const models = yield* combinators(yield* modelOf([Fault.status(422)]))
        for (const [name, model] of Object.entries(models)) {
          const lines = yield* linesOf(ask(model))
          assert.deepStrictEqual(levels(lines), ["ERROR"], name)
          assert.match(only(lines).message, /^call failed after 1 attempt: InvalidRequest/, name)
        }
      })
    )

    it.effect("where the first attempt hangs past the deadline", () =>
      Effect.gen(function* () {
        const leaf = yield* modelOf([Fault.hang])
        const model = leaf.pipe(ChatModel.retry(RetryPolicy.standard), ChatModel.deadline("2 seconds"))
        const error = only(yield* linesOf(ask(model)))
        assert.strictEqual(error.level, "ERROR")
        assert.match(error.message, /^call failed after 1 attempt: Timeout: no answer within 2s \(total\)$/)
      })
    )

    it.effect("where a limit outside of it ends it", () =>
      Effect.gen(function* () {
        const model = ChatModel.retry(yield* modelOf([Fault.hang]), RetryPolicy.standard)
        assert.deepStrictEqual(levels(yield* linesOf(Resilience.deadline(ask(model), "2 seconds"))), ["ERROR"])
        assert.deepStrictEqual(levels(yield* linesOf(Spend.within(ask(model), { time: "2 seconds" }))), ["ERROR"])
      })
    )

    it.effect("with the reason of the last error, not of a policy that gave up on another", () =>
      Effect.gen(function* () {
        const a = ChatModel.retry(yield* modelOf([Fault.serverError()]), two)
        const b = yield* modelOf([Fault.unauthorized()], "second")
        const error = (yield* linesOf(ask(ChatModel.orElse(a, b)))).at(-1)
        assert.match(error?.message ?? "", /^call failed after 3 attempts: AuthError: /)
        assert.notInclude(error?.message ?? "", "ServerError")
      })
    )

    it.effect("and a lone model still leaves its failure to the application", () =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* linesOf(ask(yield* modelOf([Fault.serverError()]))), [])
      })
    )
  })

  describe(`a ${way} of which nothing was sent`, () => {
    it.effect("says so, and why: an open circuit", () =>
      Effect.gen(function* () {
        const breaker = yield* CircuitBreaker.make({
          tripPolicy: [CircuitBreaker.consecutive(1)],
          openDuration: "5 hours",
          maxWait: 0
        })
        const model = ChatModel.breaker(yield* modelOf([Fault.serverError()]), breaker)
        yield* linesOf(ask(model))
        // Refused at once: whether a call may wait for the circuit is not the matter here.
        const refused = ChatModel.deadline(ChatModel.retry(model, RetryPolicy.standard), "10 millis")
        const error = (yield* linesOf(ask(refused))).at(-1)
        assert.strictEqual(error?.level, "ERROR")
        assert.match(error?.message ?? "", /^call failed before any attempt: CircuitOpen: \w/)
        assert.notMatch(error?.message ?? "", /attempt \d|0 attempts/)
      })
    )

    it.effect("says so, and why: a budget", () =>
      Effect.gen(function* () {
        const model = ChatModel.retry(yield* modelOf([Reply.text("hi")]), RetryPolicy.standard)
        const error = only(yield* linesOf(Spend.within(ask(model), { usd: 0.05 })))
        assert.match(error.message, /^call failed before any attempt: BudgetExceeded: spend: no price is known/)
        assert.notMatch(error.message, /attempt \d|0 attempts/)
        assert.strictEqual(error.annotations.error, "BudgetExceeded")
        assert.include(String(error.annotations.error_message), 'Prices.layer(Prices.table({ "openai/first"')
      })
    )

    it.effect("an attempt that was refused after others is told as such", () =>
      Effect.gen(function* () {
        const model = ChatModel.retry(yield* modelOf([Fault.serverError()]), RetryPolicy.standard)
        const lines = yield* linesOf(Spend.within(ask(model), { attempts: 1 }))
        assert.deepStrictEqual(levels(lines), ["WARN", "ERROR"])
        assert.match(
          lines[1]?.message ?? "",
          /^call failed after 1 attempt: BudgetExceeded \(attempt 2 of 4 at openai\/first was not sent: BudgetExceeded; giving up, /
        )
      })
    )
  })

  describe(`the lines of a ${way} carry what a reader asks next`, () => {
    const headers = { "x-request-id": "req-7" }
    const script = [Fault.status(503, { headers }), Fault.status(422, { headers })]

    it.effect("error, message, status, request id and call", () =>
      Effect.gen(function* () {
        const a = ChatModel.retry(yield* modelOf([Fault.status(503, { headers })]), two)
        const b = ChatModel.retry(yield* modelOf(script, "second"), two)
        const lines = yield* linesOf(Call.make("greeting")(ask(ChatModel.orElse(a, b))))
        assert.deepStrictEqual(
          lines.map(({ level, message }) => [level, message.split(";")[0]?.split(" (")[0]]),
          [
            ["WARN", "attempt 1 of 2 at openai/first failed: Overloaded"],
            ["WARN", "falling back from openai/first: Overloaded"],
            ["WARN", "attempt 1 of 2 at openai/second failed: Overloaded"],
            ["ERROR", "call failed after 4 attempts: InvalidRequest"]
          ]
        )
        const [id] = new Set(lines.map(({ annotations }) => annotations.call_id))
        assert.isString(id)
        for (const [index, { annotations }] of lines.entries()) {
          assert.include(annotations, {
            provider: "openai",
            model: index < 2 ? "first" : "second",
            error: index < 3 ? "Overloaded" : "InvalidRequest",
            status: index < 3 ? 503 : 422,
            request_id: "req-7",
            call: "greeting",
            call_id: id
          })
          assert.isNotEmpty(annotations.error_message)
        }
      })
    )

    it.effect("unknown facts are absent", () =>
      Effect.gen(function* () {
        const model = ChatModel.retry(yield* modelOf([Fault.noConnection("ECONNREFUSED")]), two)
        for (const { annotations } of yield* linesOf(ask(model))) {
          assert.isNotEmpty(annotations.error_message)
          assert.doesNotHaveAnyKeys(annotations, ["status", "request_id"])
        }
      })
    )

    it.effect("a fallback that is not possible too", () =>
      Effect.gen(function* () {
        const long = Chat.prompt("word ".repeat(100))
        const a = yield* modelOf([Fault.serverError()])
        const b = ChatModel.make({
          provider: "small",
          model: "s",
          capabilities: { contextWindow: 1 },
          generate: () => Effect.fail(errorOf("ServerError")),
          stream: () => Stream.fail(errorOf("ServerError"))
        })
        const [declined, ended] = yield* linesOf(ask(ChatModel.orElse(a, b), long))
        assert.match(declined?.message ?? "", /^not falling back to small\/s: /)
        assert.include(declined?.annotations, { error: "ServerError", call: "openai/first | small/s" })
        assert.isString(declined?.annotations.call_id)
        assert.strictEqual(ended?.level, "ERROR")
      })
    )
  })

  describe(`Level 1: a ${way} under Effect's own operators`, () => {
    const held = (self: Effect.Effect<void, LlmError.LlmError>, that: Effect.Effect<void, LlmError.LlmError>) =>
      self.pipe(
        Effect.retry(RetryPolicy.standard),
        Effect.orElse(() => that)
      )

    it.effect("logs no ERROR where it succeeds in the end", () =>
      Effect.gen(function* () {
        const a = ask(yield* modelOf([Fault.serverError()]))
        const b = ask(yield* modelOf([Reply.text("hi")], "second"))
        const lines = yield* linesOf(held(a, b))
        assert.deepStrictEqual(levels(lines), ["WARN", "WARN", "WARN", "WARN"])
        assert.match(lines[3]?.message ?? "", /^attempt 4 of 4 at openai\/first failed: ServerError; giving up, /)
        assert.include(lines[3]?.annotations, { error: "ServerError", status: 500 })
        const inCall = yield* linesOf(Call.make("greeting")(held(a, b)))
        assert.deepStrictEqual(levels(inCall), ["WARN", "WARN", "WARN", "INFO"])
      })
    )

    it.effect("ends with one ERROR where it fails, and is a call", () =>
      Effect.gen(function* () {
        const a = ask(yield* modelOf([Fault.serverError()]))
        const b = ask(yield* modelOf([Fault.unauthorized()], "second"))
        const lines = yield* linesOf(Call.make("greeting")(held(a, b)))
        assert.deepStrictEqual(levels(lines), ["WARN", "WARN", "WARN", "ERROR"])
        assert.match(lines[3]?.message ?? "", /^call failed after 5 attempts: AuthError: /)
      })
    )

    it.effect("a plain schedule says each retry, in a call and without one", () =>
      Effect.gen(function* () {
        const script = [Fault.serverError(), Fault.overloaded(), Reply.text("hi")]
        const plain = Effect.map(modelOf(script), (model) => Effect.retry(ask(model), Schedule.spaced("1 second")))
        const alone = yield* linesOf(yield* plain)
        const said = [
          ["WARN", "attempt 1 at openai/first failed: ServerError; retrying, as the schedule says"],
          ["WARN", "attempt 2 at openai/first failed: Overloaded; retrying, as the schedule says"]
        ]
        assert.deepStrictEqual(
          alone.map(({ level, message }) => [level, message]),
          said
        )
        assert.include(alone[0]?.annotations, { error: "ServerError", status: 500, reason: "schedule", attempt: 1 })
        const inCall = yield* linesOf(Call.make("greeting")(yield* plain))
        assert.deepStrictEqual(
          inCall.slice(0, 2).map(({ level, message }) => [level, message]),
          said
        )
        assert.include(inCall[0]?.annotations, { call: "greeting" })
        assert.deepStrictEqual(levels(inCall), ["WARN", "WARN", "INFO"])
      })
    )

    it.effect("and says it once, however many attempts the round makes", () =>
      Effect.gen(function* () {
        const a = ask(yield* modelOf([Fault.serverError()]))
        const b = ask(yield* modelOf([Fault.unauthorized()], "second"))
        const round = Effect.orElse(a, () => b)
        const lines = yield* linesOf(Effect.retry(round, Schedule.recurs(2)))
        assert.deepStrictEqual(
          lines.map(({ message }) => message.split(";")[0]),
          ["attempt 1 at openai/second failed: AuthError", "attempt 2 at openai/second failed: AuthError"]
        )
      })
    )
  })
}

describe("a stream that is cut after its first content", () => {
  it.effect("is one ERROR, also where the mode allows no second attempt", () =>
    Effect.gen(function* () {
      for (const cut of [Fault.earlyEnd({ tokens: 1 }), Fault.resetInBody({ events: 3 }), Fault.stall({ events: 3 })]) {
        const leaf = yield* modelOf([cut])
        const model = leaf.pipe(
          ChatModel.timeout({ idle: "5 seconds" }),
          ChatModel.retry(RetryPolicy.standard),
          ChatModel.deadline("1 minute")
        )
        const error = only(yield* linesOf(asks.stream(model)))
        assert.strictEqual(error.level, "ERROR")
        assert.match(error.message, /^call failed after 1 attempt: (StreamInterrupted|Timeout): /)
      }
    })
  )

  it.effect("is no ERROR where its reader leaves, or where another attempt restores it", () =>
    Effect.gen(function* () {
      const model = ChatModel.retry(yield* modelOf([Reply.text("one two three")]), RetryPolicy.standard)
      assert.deepStrictEqual(yield* linesOf(Stream.runDrain(Stream.take(model.stream(hello), 1))), [])
      const cut = [Fault.earlyEnd({ tokens: 1 }), Reply.text("one two three")]
      const restarted = ChatModel.retry(yield* modelOf(cut), RetryPolicy.standard, { mode: "restart" })
      assert.deepStrictEqual(levels(yield* linesOf(asks.stream(restarted))), ["WARN", "INFO"])
    })
  )
})

describe("an effect of the application in a call", () => {
  it.effect("records no attempt, and is not said to have sent nothing", () =>
    Effect.gen(function* () {
      const program = Resilience.retry(Effect.fail(errorOf("ServerError")), two)
      const lines = yield* linesOf(Call.make("job")(program))
      assert.deepStrictEqual(levels(lines), ["WARN", "ERROR"])
      assert.match(lines[0]?.message ?? "", /^attempt 1 of 2 at openai\/gpt-4o-mini failed: ServerError; retrying/)
      assert.match(lines[1]?.message ?? "", /^call failed: ServerError: it failed \(no attempts left\)$/)
    })
  )

  it.effect("that a breaker of its own refuses was not sent, also outside of a call", () =>
    Effect.gen(function* () {
      const refused = Effect.fail(errorOf("CircuitOpen", { delivery: "not-sent" }))
      const line = only(yield* linesOf(Effect.retry(refused, RetryPolicy.standard)))
      assert.match(line.message, /^attempt 1 of 4 at openai\/gpt-4o-mini was not sent: CircuitOpen; giving up, /)
    })
  )
})
