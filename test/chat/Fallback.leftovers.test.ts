import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { type ConfigError, Effect, Redacted, Stream } from "effect"
import { Anthropic, Chat, ChatModel, Gemini, OpenAi } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"

type Make = Effect.Effect<ChatModel.ChatModel, ConfigError.ConfigError, HttpClient.HttpClient>

const apiKey = Redacted.make("key-1")

const makes: Record<string, Make> = {
  openai: OpenAi.make({ model: "gpt-4o", apiKey }),
  anthropic: Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
  gemini: Gemini.make({ model: "gemini-3-pro-preview", apiKey }),
  minimax: Anthropic.make({ model: "MiniMax-M2", apiKey }),
  flash: Gemini.make({ model: "gemini-3-flash-preview", apiKey })
}

const names = ["openai", "anthropic", "gemini"]

/** Options that would be refused by everybody but the one they are for. */
const options: Chat.Request["providerOptions"] = {
  openai: { reasoning_effort: "low", logit_bias: { 50256: -100 } },
  anthropic: { top_k: 5, thinking: { type: "enabled", budget_tokens: 1024 } },
  gemini: { generationConfig: { thinkingConfig: { thinkingBudget: 128 } }, cachedContent: "cachedContents/x" },
  nobody: { secret_sauce: true }
}

/** A leaf that talks to a provider of its own, and the bodies that came there. */
const leaf = (name: string, ...script: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({ script: script.length === 0 ? [Reply.text("hi")] : script })
    const make = makes[name] ?? assert.fail(name)
    const model = yield* Effect.orDie(Effect.provideService(make, HttpClient.HttpClient, provider.client))
    return { model, bodies: Effect.map(provider.requests, (all) => all.map(({ body }) => body)) }
  })

const ask = (model: ChatModel.ChatModel, request: Chat.Request, streaming: boolean) =>
  streaming ? Stream.runDrain(model.stream(request)) : Effect.asVoid(model.generate(request))

/** The request of a leaf without a failure or an earlier answer before it. */
const alone = (name: string, request: Chat.Request, streaming: boolean) =>
  Effect.gen(function* () {
    const { bodies, model } = yield* leaf(name)
    yield* ask(model, request, streaming)
    return (yield* bodies)[0]
  })

const pairs = names.flatMap((first) => names.filter((second) => second !== first).map((second) => [first, second]))

describe("the options of a provider", () => {
  for (const [first = "", second = ""] of pairs) {
    it.effect(`go to nobody else: from ${first} to ${second}`, () =>
      Effect.gen(function* () {
        for (const streaming of [false, true]) {
          const one = yield* leaf(first, Fault.status(503))
          const two = yield* leaf(second)
          yield* ask(ChatModel.orElse(one.model, two.model), Chat.prompt("hi", { providerOptions: options }), streaming)
          for (const [name, sent] of [
            [first, yield* one.bodies],
            [second, yield* two.bodies]
          ] as const) {
            const own = { [name]: options?.[name] ?? {} }
            const expected = yield* alone(name, Chat.prompt("hi", { providerOptions: own }), streaming)
            assert.deepStrictEqual(sent, [expected])
            assert.notDeepEqual(expected, yield* alone(name, Chat.prompt("hi"), streaming))
          }
        }
      })
    )
  }
})

describe("what a model left in a conversation", () => {
  const tools: ReadonlyArray<Chat.Tool> = [{ name: "clock", parameters: { type: "object" } }]
  const question = Chat.request({
    messages: [Chat.user("How late is it?")],
    tools,
    reasoning: { budgetTokens: 1024 }
  })

  /** Answers that call a tool and carry what only their own provider may get back. */
  const thoughtful: Record<string, Step.Step> = {
    openai: Reply.toolCall({ name: "clock", id: "call_0fypS1hVX" }),
    anthropic: Reply.json({
      content: [
        { type: "thinking", thinking: "Hm.", signature: "c2lnbmVk" },
        { type: "tool_use", id: "toolu_1", name: "clock", input: {} }
      ],
      stop_reason: "tool_use"
    }),
    gemini: Reply.json({
      candidates: [
        {
          content: {
            role: "model",
            parts: [{ functionCall: { id: "fc-1", name: "clock", args: {} }, thoughtSignature: "c2lnbmVk" }]
          },
          finishReason: "STOP"
        }
      ]
    })
  }

  const nextTurn = (answer: Chat.Response): Chat.Request => ({
    ...question,
    messages: [
      ...question.messages,
      Chat.reply(answer),
      ...answer.toolCalls.map(({ id }) => Chat.toolResult(id, "noon"))
    ]
  })

  for (const [first = "", second = ""] of pairs) {
    it.effect(`goes to nobody else: from ${first} to ${second}`, () =>
      Effect.gen(function* () {
        for (const streaming of [false, true]) {
          const one = yield* leaf(first, thoughtful[first] ?? Reply.text("hi"), Fault.status(503))
          const two = yield* leaf(second)
          const turn = nextTurn(yield* one.model.generate(question))
          yield* ask(ChatModel.orElse(one.model, two.model), turn, streaming)
          assert.deepStrictEqual(yield* two.bodies, [yield* alone(second, turn, streaming)])
          assert.notInclude(JSON.stringify(yield* two.bodies), "c2lnbmVk")
          const again = JSON.stringify((yield* one.bodies)[1])
          if (first !== "openai") assert.include(again, "c2lnbmVk")
        }
      })
    )
  }

  it.effect("an answer that was begun goes to nobody who refuses to go on with it", () =>
    Effect.gen(function* () {
      const begun = Chat.request({ messages: [Chat.user("Tell me a story."), Chat.assistant("Once upon")] })
      for (const streaming of [false, true]) {
        const one = yield* leaf("anthropic", Fault.status(503))
        const two = yield* leaf("openai")
        const three = yield* leaf("gemini")
        const error = yield* Effect.flip(ask(ChatModel.orElse(one.model, two.model), begun, streaming))
        assert.deepStrictEqual([error._tag, error.provider], ["Overloaded", "anthropic"])
        yield* ask(one.model.pipe(ChatModel.orElse(two.model), ChatModel.orElse(three.model)), begun, streaming)
        assert.deepStrictEqual(yield* two.bodies, [])
        assert.lengthOf(yield* three.bodies, 1)
      }
    })
  )

  it.effect("goes to no other model that does not know it", () =>
    Effect.gen(function* () {
      for (const [name, other] of [
        ["anthropic", "minimax"],
        ["gemini", "flash"]
      ] as const) {
        const one = yield* leaf(name, thoughtful[name] ?? Reply.text("hi"), Fault.status(503))
        const two = yield* leaf(other)
        const turn = nextTurn(yield* one.model.generate(question))
        yield* ask(ChatModel.orElse(one.model, two.model), turn, false)
        assert.notInclude(JSON.stringify(yield* two.bodies), "c2lnbmVk")
      }
    })
  )
})
