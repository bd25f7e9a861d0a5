import { assert, describe, it } from "@effect/vitest"
import {
  Context,
  Deferred,
  Effect,
  Exit,
  Fiber,
  Layer,
  Logger,
  LogLevel,
  Ref,
  Schema,
  Stream,
  TestClock,
  TestContext
} from "effect"
import { Call, Chat, ChatModel, type LlmError, RetryPolicy, Spend } from "effect-steadfast"
import { Agent, Tool, Toolkit } from "effect-steadfast/agent"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import * as fc from "fast-check"
import { attempts, elapse, modelOf, recorded, scripted } from "../chat/support.js"
import { cases, seed } from "../support/cases.js"
import { collectSpans } from "../support/spans.js"

const Look = Tool.make({
  name: "look",
  description: "Looks an order up.",
  parameters: Schema.Struct({ order: Schema.NumberFromString }),
  success: Schema.Struct({ order: Schema.Number, paid: Schema.Boolean })
})
const Refund = Tool.make({
  name: "refund",
  parameters: Schema.Struct({ order: Schema.Number }),
  success: Schema.String,
  failure: Schema.Struct({ reason: Schema.String })
})
const tools = Toolkit.make(Look, Refund)

const question = Chat.prompt("Please pay order 7 back.")
const look = Reply.toolCall({ name: "look", id: "call-1", arguments: { order: "7" } })
const refund = Reply.toolCall({ name: "refund", id: "call-2", arguments: { order: 7 } })
const done = Reply.text("It is paid back.")

/** Handlers that write down what they were called with. */
const noting = Effect.map(Ref.make<ReadonlyArray<string>>([]), (notes) => ({
  notes,
  layer: tools.toLayer({
    look: ({ order }) =>
      Effect.as(
        Ref.update(notes, (all) => [...all, `look ${order}`]),
        { order, paid: true }
      ),
    refund: ({ order }) =>
      order === 7
        ? Effect.as(
            Ref.update(notes, (all) => [...all, `refund ${order}`]),
            "paid back"
          )
        : Effect.fail({ reason: "no such order" })
  })
}))

const held = (model: ChatModel.ChatModel) => model.pipe(ChatModel.retry(RetryPolicy.standard))

/** Runs the agent over these steps of a provider. */
const running = <E = never>(
  steps: ReadonlyArray<Step.Step>,
  options: Agent.Options<E, never> = {},
  request: Chat.Request = question
) =>
  Effect.gen(function* () {
    const { model, provider } = yield* scripted(...steps)
    const { layer, notes } = yield* noting
    const { records, value } = yield* recorded(
      elapse(Effect.exit(Agent.run(held(model), tools, request, options).pipe(Effect.provide(layer))))
    )
    const sent = (yield* provider.requests).map(({ body }) => body as { messages: Array<Record<string, unknown>> })
    return { exit: value, records, notes: yield* notes, sent }
  })

const roles = (messages: ReadonlyArray<Chat.Message>) => messages.map(({ role }) => role)

describe("run", () => {
  it.effect("asks, runs the tools with decoded arguments, tells the results, and ends with the answer", () =>
    Effect.gen(function* () {
      const { exit, notes, records, sent } = yield* running([look, refund, done])
      assert.isTrue(Exit.isSuccess(exit))
      if (!Exit.isSuccess(exit)) return
      assert.strictEqual(exit.value.text, "It is paid back.")
      assert.deepStrictEqual(roles(exit.value.messages), [
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "assistant"
      ])
      assert.deepStrictEqual(notes, ["look 7", "refund 7"])
      assert.lengthOf(records, 3)
      assert.strictEqual(
        exit.value.usage?.outputTokens,
        exit.value.responses.reduce((sum, { usage }) => sum + (usage?.outputTokens ?? 0), 0)
      )
      assert.deepInclude(sent[1]?.messages[2], { role: "tool", content: '{"order":7,"paid":true}' })
      assert.deepInclude(sent[2]?.messages[4], { role: "tool", content: "paid back" })
    })
  )

  it.effect("tells the model of a wrong argument, an unknown tool and the handler's own error", () =>
    Effect.gen(function* () {
      const { exit, notes, sent } = yield* running([
        Reply.toolCall([
          { name: "look", id: "a", arguments: { order: "seven" } },
          { name: "lookup", id: "b", arguments: {} },
          { name: "refund", id: "c", arguments: { order: 8 } },
          { name: "refund", id: "d", arguments: { order: "7" } }
        ]),
        done
      ])
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(notes, [])
      const told = sent[1]?.messages.slice(2).map(({ content }) => content)
      assert.match(String(told?.[0]), /^Error: arguments\.order: found a string, expected/)
      assert.strictEqual(told?.[1], 'Error: there is no tool "lookup". The tools are: look, refund')
      assert.strictEqual(told?.[2], 'Error: {"reason":"no such order"}')
      assert.strictEqual(told?.[3], "Error: arguments.order: found a string, expected number")
    })
  )

  it.effect("tells the model of arguments at which the schema's own code throws", () =>
    Effect.gen(function* () {
      const Link = Schema.transform(Schema.String, Schema.String, {
        strict: true,
        decode: (text) => new URL(text).href,
        encode: (text) => text
      })
      const kit = Toolkit.make(Tool.make({ name: "open", parameters: Schema.Struct({ link: Link }) }))
      const { model, provider } = yield* scripted(
        Reply.toolCall({ name: "open", id: "a", arguments: { link: "no link" } }),
        done
      )
      yield* elapse(
        Agent.run(model, kit, question).pipe(Effect.provide(kit.toLayer({ open: () => Effect.die("not run") })))
      )
      const [, sent] = yield* provider.requests
      assert.match(JSON.stringify(sent?.body), /the schema's own code threw \(TypeError\)/)
    })
  )

  it.effect("runs a tool once, whatever happens to the questions around it", () =>
    Effect.gen(function* () {
      const { exit, notes, records } = yield* running([
        Fault.status(503),
        look,
        Fault.rateLimited(),
        Fault.status(500),
        refund,
        Fault.resetInBody(),
        done
      ])
      assert.isTrue(Exit.isSuccess(exit))
      assert.deepStrictEqual(notes, ["look 7", "refund 7"])
      assert.deepStrictEqual(
        records.map((record) => attempts(record).length),
        [2, 3, 2]
      )
    })
  )

  it.effect("stops after its steps, at an empty answer, at a cut one, and at the same calls again and again", () =>
    Effect.gen(function* () {
      const stopped = (steps: ReadonlyArray<Step.Step>, options: Agent.Options = {}) =>
        Effect.map(running(steps, options), ({ exit, notes }) => {
          const error = Exit.isFailure(exit) && exit.cause._tag === "Fail" ? exit.cause.error : undefined
          return error?._tag === "AgentStopped" ? { ...error, notes } : assert.fail(String(exit))
        })
      const steps = yield* stopped([look, refund], { steps: 2 })
      assert.deepStrictEqual([steps.reason, steps.steps, steps.notes], ["steps", 2, ["look 7"]])
      assert.deepStrictEqual(roles(steps.messages), ["user", "assistant", "tool", "assistant", "tool"])
      const empty = yield* stopped([look, Reply.text(" ")])
      assert.strictEqual(empty.reason, "empty")
      const length = yield* stopped([Reply.text("It is", { finish: "length" })])
      assert.strictEqual(length.reason, "length")
      const repeated = yield* stopped([look])
      assert.deepStrictEqual([repeated.reason, repeated.steps, repeated.notes], ["repeated", 3, ["look 7", "look 7"]])
    })
  )

  it.effect("fails with the error of a question that could not be saved, and keeps what was saved", () =>
    Effect.gen(function* () {
      const saved: Array<ReadonlyArray<Chat.Message>> = []
      const save = (messages: ReadonlyArray<Chat.Message>) => Effect.sync(() => saved.push(messages))
      const first = yield* running([look, Fault.status(401)], { save })
      assert.isTrue(Exit.isFailure(first.exit))
      const last = JSON.parse(JSON.stringify(saved.at(-1))) as ReadonlyArray<unknown>
      assert.lengthOf(last, 3)
      const messages = yield* Schema.decodeUnknown(Chat.Request.fields.messages)(last)
      const second = yield* running([refund, done], {}, { messages })
      assert.isTrue(Exit.isSuccess(second.exit))
      assert.deepStrictEqual(second.notes, ["refund 7"])
    })
  )

  it.effect("does not run a call again that was cut off, unless its tool is idempotent", () =>
    Effect.gen(function* () {
      const Idempotent = Tool.make({ name: "look", parameters: Schema.Struct({}), idempotent: true })
      const Once = Tool.make({ name: "refund", parameters: Schema.Struct({}) })
      const both = Toolkit.make(Idempotent, Once)
      const ran: Array<string> = []
      const handler = (name: string) => () => Effect.sync(() => ran.push(name))
      const calls = ["look", "refund"].map((name) => ({ id: name, name, arguments: {} }))
      const { model, provider } = yield* scripted(done)
      const request = Chat.request({ messages: [Chat.user("go"), Chat.assistant("", calls)] })
      yield* elapse(
        Agent.run(model, both, request).pipe(
          Effect.provide(both.toLayer({ look: handler("look"), refund: handler("refund") }))
        )
      )
      assert.deepStrictEqual(ran, ["look"])
      const [sent] = yield* provider.requests
      const body = sent?.body as { readonly messages: ReadonlyArray<{ readonly content: unknown }> } | undefined
      assert.match(String(body?.messages[3]?.content), /cut off\. Whether it took effect is not known/)
    })
  )

  it.effect("gives the end of a conversation that has ended, without a question", () =>
    Effect.gen(function* () {
      const { exit, sent } = yield* running([done], {}, { messages: [Chat.user("Hi"), Chat.assistant("Hello")] })
      assert.isTrue(Exit.isSuccess(exit) && exit.value.text === "Hello")
      assert.lengthOf(sent, 0)
    })
  )

  it.effect("goes on where it stopped: an answer that was cut or empty is asked for again", () =>
    Effect.gen(function* () {
      for (const [last, text] of [
        [Reply.text("It is", { finish: "length" }), "It is"],
        [Reply.text(" "), " "]
      ] as const) {
        const saved: Array<ReadonlyArray<Chat.Message>> = []
        const first = yield* running([look, last], { save: (messages) => Effect.sync(() => saved.push(messages)) })
        const error =
          Exit.isFailure(first.exit) && first.exit.cause._tag === "Fail" ? first.exit.cause.error : undefined
        if (error?._tag !== "AgentStopped") return assert.fail(String(first.exit))
        assert.strictEqual(error.text, text)
        assert.deepStrictEqual(roles(error.messages), ["user", "assistant", "tool"])
        assert.deepStrictEqual(saved.at(-1), error.messages)
        const messages = yield* Schema.decodeUnknown(Chat.Request.fields.messages)(error.messages)
        const second = yield* running([done], {}, { messages })
        assert.isTrue(Exit.isSuccess(second.exit) && second.exit.value.text === "It is paid back.")
      }
    })
  )

  it.effect("gives each of two calls with one id its own result", () =>
    Effect.gen(function* () {
      const calls = ["7", "8"].map((order) => ({ id: "same", name: "look", arguments: { order } }))
      const asked = Chat.assistant("", calls)
      const results = (messages: ReadonlyArray<Chat.Message>) =>
        messages.flatMap((message) => (message.role === "tool" ? [message.content] : []))
      const Idempotent = Toolkit.make(Tool.make({ ...Look, idempotent: true }))
      const handlers = Idempotent.toLayer({ look: ({ order }) => Effect.succeed({ order, paid: true }) })
      const run = (messages: Chat.Request["messages"]) =>
        Effect.gen(function* () {
          const { model } = yield* scripted(done)
          return yield* elapse(Effect.provide(Agent.run(model, Idempotent, { messages }), handlers))
        })
      const both = yield* run([Chat.user("go"), asked])
      assert.deepStrictEqual(results(both.messages), ['{"order":7,"paid":true}', '{"order":8,"paid":true}'])
      const second = yield* run([Chat.user("go"), asked, Chat.toolResult("same", "seven")])
      assert.deepStrictEqual(results(second.messages), ["seven", '{"order":8,"paid":true}'])
    })
  )

  it.effect("throws for an option that is out of its range, for a wrong name and for the same name twice", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(done)
      const wrong: ReadonlyArray<Agent.Options> = [
        { steps: 0 },
        { steps: Number.NaN },
        { repeats: 1.5 },
        { concurrency: 0 },
        { concurrency: Number.NaN }
      ]
      for (const options of wrong) assert.throws(() => Agent.run(model, tools, question, options), RangeError)
      assert.throws(() => Tool.make({ name: "pay back", parameters: Schema.Struct({}) }), RangeError)
      assert.throws(() => Toolkit.make(Look, Look), RangeError)
    })
  )

  it.effect("names each tool once, also if the request has it already", () =>
    Effect.gen(function* () {
      const request = { ...question, tools: Toolkit.described([Look]) }
      const { sent } = yield* running([done], {}, request)
      const named = (sent[0] as unknown as { tools: ReadonlyArray<{ function: { name: string } }> }).tools
      assert.deepStrictEqual(
        named.map((tool) => tool.function.name),
        ["look", "refund"]
      )
    })
  )

  it.effect("takes null for an argument that is absent, as strict parameters make a model write it", () =>
    Effect.gen(function* () {
      const parameters = Schema.Struct({
        order: Schema.NullOr(Schema.Int),
        note: Schema.optional(Schema.String),
        items: Schema.Array(Schema.Struct({ count: Schema.optionalWith(Schema.Int, { default: () => 1 }) }))
      })
      const strict = Toolkit.make(Tool.make({ name: "pack", parameters, strict: true }))
      const given: Array<unknown> = []
      const handlers = strict.toLayer({ pack: (args) => Effect.sync(() => given.push(args)) })
      const args = { order: null, note: null, items: [{ count: null }, { count: 2 }] }
      const { model, provider } = yield* scripted(Reply.toolCall({ name: "pack", arguments: args }), done)
      yield* elapse(Effect.provide(Agent.run(model, strict, question), handlers))
      assert.deepStrictEqual(given, [{ order: null, items: [{ count: 1 }, { count: 2 }] }])
      const [first] = yield* provider.requests
      assert.nestedPropertyVal(first?.body, "tools[0].function.strict", true)
      assert.nestedPropertyVal(first?.body, "tools[0].function.parameters.required[1]", "note")
    })
  )

  it.effect("keeps labels, spend and deadline over the whole run, tools included", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(look)
      const { layer } = yield* noting
      const limited = Agent.run(held(model), tools, question, { repeats: 100 }).pipe(
        Effect.provide(layer),
        Spend.within({ attempts: 4 }),
        Call.withLabels({ tenant: "acme" })
      )
      const { records, value } = yield* recorded(elapse(Effect.flip(limited)))
      assert.strictEqual(value._tag, "BudgetExceeded")
      assert.deepStrictEqual(
        records.map(({ labels }) => labels),
        records.map(() => ({ tenant: "acme" }))
      )
      const Wait = Tool.make({ name: "look", parameters: Schema.Struct({ order: Schema.String }) })
      const slow = Toolkit.make(Wait)
      const error = yield* elapse(
        Effect.flip(Agent.run(model, slow, question, { deadline: "5 seconds" })).pipe(
          Effect.provide(slow.toLayer({ look: () => Effect.never }))
        )
      )
      assert.deepInclude(error, { _tag: "Timeout", phase: "total" })
    })
  )

  it.effect("is one span, with one for each question and each tool, and usage on the questions alone", () =>
    Effect.gen(function* () {
      const { layer: traced, named, spans } = collectSpans()
      const { model } = yield* scripted(look, Fault.status(503), refund, done)
      const { layer } = yield* noting
      yield* elapse(
        Agent.run(held(model), tools, question, { name: "support" }).pipe(Effect.provide(layer), Effect.provide(traced))
      )
      const [run] = named("invoke_agent support")
      assert.strictEqual(run?.attributes["gen_ai.agent.name"], "support")
      const inside = spans().filter((span) => span.parentSpanContext?.spanId === run?.spanContext().spanId)
      assert.deepStrictEqual(
        inside.map(({ name }) => name),
        ["chat m-1", "execute_tool look", "chat m-1", "execute_tool refund", "chat m-1"]
      )
      assert.strictEqual(named("execute_tool look")[0]?.attributes["gen_ai.tool.call.id"], "call-1")
      const counting = spans().filter(({ attributes }) => attributes["gen_ai.usage.output_tokens"] !== undefined)
      assert.lengthOf(counting, 3)
    })
  )

  it.effect("interrupts its tools and its question", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(look)
      const begun = yield* Deferred.make<void>()
      const ended = yield* Deferred.make<void>()
      const Wait = Tool.make({ name: "look", parameters: Schema.Struct({ order: Schema.String }) })
      const slow = Toolkit.make(Wait)
      const handler = () =>
        Effect.onInterrupt(Effect.zipRight(Deferred.succeed(begun, undefined), Effect.never), () =>
          Deferred.succeed(ended, undefined)
        )
      const fiber = yield* Effect.fork(
        Agent.run(model, slow, question).pipe(Effect.provide(slow.toLayer({ look: handler })))
      )
      yield* TestClock.adjust("1 second")
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(fiber)
      assert.isTrue(yield* Deferred.isDone(ended))
    })
  )
})

describe("stream", () => {
  it.effect("tells the events of the answers, the results, and at last what run gives", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(look, refund, done, look, refund, done)
      const { layer } = yield* noting
      const events = yield* elapse(
        Stream.runCollect(Agent.stream(held(model), tools, question)).pipe(Effect.provide(layer))
      )
      const all = Array.from(events)
      const result = yield* elapse(Agent.run(held(model), tools, question).pipe(Effect.provide(layer)))
      const last = all.at(-1)
      assert.strictEqual(last?._tag, "Done")
      if (last?._tag === "Done") {
        assert.strictEqual(last.result.text, result.text)
        assert.deepStrictEqual(roles(last.result.messages), roles(result.messages))
      }
      assert.deepStrictEqual(
        all.flatMap((event) => (event._tag === "ToolResult" ? [[event.step, event.call.name, event.isFailure]] : [])),
        [
          [1, "look", false],
          [2, "refund", false]
        ]
      )
      const text = all.flatMap((event) =>
        event._tag === "Answer" && event.event._tag === "TextDelta" && event.step === 3 ? [event.event.text] : []
      )
      assert.strictEqual(text.join(""), "It is paid back.")
    })
  )

  it.effect("ends with the error of the run, and stops the run when its reader stops", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(look)
      const { layer, notes } = yield* noting
      const exit = yield* elapse(
        Effect.exit(Stream.runDrain(Agent.stream(model, tools, question)).pipe(Effect.provide(layer)))
      )
      assert.isTrue(Exit.isFailure(exit) && exit.cause._tag === "Fail" && exit.cause.error._tag === "AgentStopped")
      const before = (yield* notes).length
      const many = yield* scripted(Reply.text("word ".repeat(1000), { chunks: 1000 }))
      const some = yield* elapse(
        Stream.runCollect(Stream.take(Agent.stream(many.model, tools, question), 3)).pipe(Effect.provide(layer))
      )
      assert.strictEqual(some.length, 3)
      assert.lengthOf(yield* notes, before)
    })
  )
})

describe("options", () => {
  it("that are out of their range are refused where run and stream are called", () => {
    const model = undefined as unknown as ChatModel.ChatModel
    const kit = Toolkit.make()
    assert.throws(() => Agent.run({ name: "m" } as typeof model, kit, question, { steps: 0 }), /Agent: steps/)
    assert.throws(() => Agent.stream({ name: "m" } as typeof model, kit, question, { repeats: 0 }), /Agent: repeats/)
  })
})

describe("a law", () => {
  it("a handler runs at most once for each call, whatever fails, retries, falls back or is interrupted", async () => {
    const faults: ReadonlyArray<Step.Step> = [
      Fault.status(503),
      Fault.rateLimited(),
      Fault.resetInBody(),
      Fault.status(500)
    ]
    const one = fc.record({
      script: fc.array(
        fc.oneof(
          fc.constantFrom(...faults),
          fc.nat(2).map((n) => ["a", "b", "c"].slice(0, n + 1))
        ),
        {
          minLength: 1,
          maxLength: 8
        }
      ),
      interruptAt: fc.option(fc.nat(20_000), { nil: undefined }),
      isStream: fc.boolean(),
      slow: fc.nat(2000)
    })
    await fc.assert(
      fc.asyncProperty(one, async ({ interruptAt, isStream, script, slow }) => {
        let call = 0
        const steps = script.map((step) =>
          Array.isArray(step)
            ? Reply.toolCall(
                step.map(() => {
                  call++
                  return { name: "count", id: `call-${call}`, arguments: { n: call } }
                })
              )
            : step
        ) as ReadonlyArray<Step.Step>
        const ran: Array<string> = []
        const Count = Tool.make({ name: "count", parameters: Schema.Struct({ n: Schema.Number }) })
        const kit = Toolkit.make(Count)
        const handlers = kit.toLayer({
          count: (_, { id }) =>
            Effect.zipRight(
              Effect.sync(() => ran.push(id)),
              Effect.sleep(slow)
            )
        })
        const program = Effect.gen(function* () {
          const provider = yield* FaultyProvider.make({ script: [...steps, done] })
          const model = yield* modelOf(provider)
          const second = yield* modelOf(provider, { model: "m-2" })
          const both = held(model).pipe(ChatModel.orElse(held(second)))
          const whole = isStream
            ? Stream.runDrain(Agent.stream(both, kit, question))
            : Effect.asVoid(Agent.run(both, kit, question))
          const fiber = yield* Effect.fork(Effect.exit(Effect.provide(whole, handlers)))
          if (interruptAt !== undefined) {
            yield* TestClock.adjust(interruptAt)
            yield* Fiber.interrupt(fiber)
          } else yield* TestClock.adjust("1 hour")
          yield* Fiber.await(fiber)
        })
        await Effect.runPromise(
          program.pipe(Logger.withMinimumLogLevel(LogLevel.None), Effect.provide(TestContext.TestContext))
        )
        assert.deepStrictEqual(ran, [...new Set(ran)])
      }),
      { numRuns: cases(2000, 20), seed }
    )
  })
})

describe("types", () => {
  it("keep the handlers in R until they are given, and their needs where the layer is built", () => {
    class Db extends Context.Tag("test/Db")<Db, { readonly find: (order: number) => Effect.Effect<boolean> }>() {}
    const model = undefined as unknown as ChatModel.ChatModel
    const program = () => Agent.run(model, tools, question)
    const typed: () => Effect.Effect<
      Agent.Result,
      LlmError.LlmError | Agent.AgentStopped,
      Toolkit.Handler<"look"> | Toolkit.Handler<"refund">
    > = program
    const layer: Layer.Layer<Toolkit.Handler<"look"> | Toolkit.Handler<"refund">, never, Db> = tools.toLayer({
      look: ({ order }) => Effect.flatMap(Db, (db) => Effect.map(db.find(order), (paid) => ({ order, paid }))),
      refund: () => Effect.succeed("done")
    })
    assert.isDefined(typed)
    assert.isDefined(layer)
    // @ts-expect-error look's handler gives no text
    tools.toLayer({ look: () => Effect.succeed("no"), refund: () => Effect.succeed("done") })
    // @ts-expect-error the handler of refund is missing
    tools.toLayer({ look: () => Effect.succeed({ order: 1, paid: true }) })
    tools.toLayer({
      look: () => Effect.succeed({ order: 1, paid: true }),
      // @ts-expect-error an error that the tool does not have
      refund: () => Effect.fail("no")
    })
  })
})
