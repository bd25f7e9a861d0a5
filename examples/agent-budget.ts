// One step of an agent may take so many tokens, attempts and dollars, retries included; what does not fit is not sent.
import { Effect } from "effect"
import { Chat, ChatModel, OpenAi, Prices, RetryPolicy, Spend } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const usage = { inputTokens: 900, outputTokens: 300 }
const answer = Reply.text("and then I looked at the next file", { usage })

const questions = ["list the files", "read the first", "read the second", "compare them", "write the report"]

const step = (model: ChatModel.ChatModel, limits: Spend.Limits) =>
  Effect.gen(function* () {
    for (const question of questions) yield* model.generate(Chat.prompt(question, { maxTokens: 400 }))
    return "all five questions answered"
  }).pipe(
    Effect.catchTag("BudgetExceeded", (error) =>
      Effect.succeed(`stopped at its limit of ${error.budget}: ${error.message}`)
    ),
    Effect.tap((outcome) => Effect.logInfo(outcome)),
    Effect.zipRight(Spend.spent),
    Effect.tap((spent) =>
      Effect.logInfo(`spent ${spent.tokens} tokens, ${spent.attempts} attempts, $${spent.usd.toFixed(6)}`)
    ),
    Spend.within(limits, { name: "step" }),
    Effect.catchTag("Timeout", () => Effect.logError("stopped by its time"))
  )

const program = Effect.gen(function* () {
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini" })
  const model = gpt.pipe(ChatModel.retry(RetryPolicy.make({ initialDelay: "50 millis" })))
  yield* step(model, { tokens: 20_000, attempts: 10, time: "1 minute" })
  yield* step(model, { attempts: 4 })
  yield* step(model, { usd: 0.001 })
  // A tool inside the step may spend a part of it, and never more than what is left of the whole.
  yield* step(model, { attempts: 2 }).pipe(Spend.within({ attempts: 8 }, { name: "agent" }))
})

// The public table of all models is in effect-steadfast/prices; this is one of your own, in dollars for a million tokens.
const prices = Prices.layer(Prices.table({ "openai/gpt-4o-mini": { input: 0.15, output: 0.6 } }))

const provider = FaultyProvider.layer({ script: [answer, Fault.status(500), answer, answer, answer] })

await Effect.runPromise(program.pipe(Effect.provide([provider, prices])))
