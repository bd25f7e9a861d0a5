// A support agent with tools, one of them with a side effect, while the provider fails in between: nobody is paid twice.
import { Effect, Logger, LogLevel, Schema } from "effect"
import { Chat, OpenAi, Resilient } from "effect-steadfast"
import { Agent, Tool, Toolkit } from "effect-steadfast/agent"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const Order = Schema.Struct({ order: Schema.Int })
const Look = Tool.make({ name: "look", description: "Looks an order up.", parameters: Order })
const Refund = Tool.make({
  name: "refund",
  description: "Pays an order back. Give the reason.",
  parameters: Schema.Struct({ ...Order.fields, reason: Schema.NonEmptyString }),
  failure: Schema.Struct({ problem: Schema.String })
})
const tools = Toolkit.make(Look, Refund)

const handlers = tools.toLayer({
  look: ({ order }) => Effect.succeed({ order, paid: 19.9, delivered: false }),
  refund: ({ order, reason }) =>
    order === 7
      ? Effect.as(Effect.logInfo(`--- pays order ${order} back: ${reason}`), "paid back")
      : Effect.fail({ problem: `there is no order ${order}` })
})

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const model = yield* Resilient.make(gpt, { deadline: "30 seconds" })
  const question = Chat.prompt("Order 7 never came. Please pay it back.")
  const { messages, text, usage } = yield* Agent.run(model, tools, question, { steps: 10 })
  yield* Effect.logInfo(`--- ${text} (${messages.length} messages, ${usage?.outputTokens} tokens)`)
}).pipe(
  Effect.provide(handlers),
  Effect.catchTag("AgentStopped", ({ message }) => Effect.logError(message))
)

// The model makes every mistake that tools know: a wrong argument, a wrong order, a tool that does not exist.
const call = (name: string, args: object) => Reply.toolCall({ name, arguments: args })
const provider = FaultyProvider.layer({
  script: [
    call("look", { order: "seven" }),
    Fault.rateLimited({ retryAfter: "1 second" }),
    call("look", { order: 7 }),
    Fault.status(503),
    call("pay_back", { order: 7 }),
    call("refund", { order: 77, reason: "It never came." }),
    Fault.resetInBody(),
    call("refund", { order: 7, reason: "It never came." }),
    Fault.status(500),
    Reply.text("I have paid order 7 back to you.")
  ]
})

await Effect.runPromise(program.pipe(Effect.provide(provider), Logger.withMinimumLogLevel(LogLevel.Info)))
