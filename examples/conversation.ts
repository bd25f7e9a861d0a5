// An agent thinks, calls a tool and asks again. Its signed thoughts go back, after a failure and from disk too.
import { Effect, Schema } from "effect"
import { Anthropic, Chat, ChatModel, type LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

type Messages = Chat.Request["messages"]

const weather: Chat.Tool = {
  name: "weather",
  description: "The weather in a city, now",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] }
}

const results: Record<string, (call: Chat.ToolCall) => string> = { weather: () => "rain, 4 °C" }

const run = (call: Chat.ToolCall) => Chat.toolResult(call.id, results[call.name]?.(call) ?? "There is no such tool.")

/** Asks, and runs tools, until the model wants no more of them. Returns the conversation so far. */
const turn = (model: ChatModel.ChatModel, messages: Messages): Effect.Effect<Messages, LlmError.LlmError> =>
  Effect.gen(function* () {
    const answer = yield* model.generate({ messages, tools: [weather], reasoning: { effort: "low" } })
    const longer: Messages = [...messages, Chat.reply(answer), ...answer.toolCalls.map(run)]
    return answer.toolCalls.length === 0 ? longer : yield* turn(model, longer)
  })

/** What a request had in it, one line a message: the types of its blocks. */
const show = ({ body }: { readonly body: unknown }, index: number) => {
  const { messages } = body as { messages: ReadonlyArray<{ role: string; content: ReadonlyArray<{ type: string }> }> }
  console.log(`request ${index + 1}`)
  for (const { content, role } of messages) {
    console.log(`  ${role.padEnd(9)} ${content.map((block) => block.type).join(", ")}`)
    for (const block of content) if ("signature" in block) console.log(`            signed ${block.signature}`)
  }
}

const program = Effect.gen(function* () {
  const claude = yield* Anthropic.make({ model: "claude-haiku-4-5" })
  const model = claude.pipe(ChatModel.retry(RetryPolicy.make({ initialDelay: "50 millis" })))
  const first = yield* turn(model, [Chat.user("Do I need an umbrella in Oslo?")])

  // A conversation is plain JSON: it can wait in a file or a database, and go on in another process.
  const stored = JSON.stringify(first)
  const messages = yield* Schema.decodeUnknown(Chat.Request.fields.messages)(JSON.parse(stored))
  yield* turn(model, [...messages, Chat.user("And a coat?")])

  const { requests } = yield* FaultyProvider.FaultyProvider
  ;(yield* requests).forEach(show)
})

const thinksAndCalls = [
  { type: "thinking", thinking: "I have to know the weather.", signature: "c2lnbmVk" },
  { type: "tool_use", id: "toolu_1", name: "weather", input: { city: "Oslo" } }
]
const asked = Reply.json({ type: "message", content: thinksAndCalls, stop_reason: "tool_use" })
const script = [asked, Fault.status(529), Reply.text("Yes, it rains."), Reply.text("Yes: 4 °C.")]

await Effect.runPromise(program.pipe(Effect.provide(FaultyProvider.layer({ script }))))
