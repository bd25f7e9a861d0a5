import { Reply } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { kits } from "./faces.ai.js"
import * as EffectAi from "./faces.effect.js"
import * as LangChain from "./faces.langchain.js"
import * as More from "./faces.more.js"
import { clientKey, kinds, leaks, requestsOf, type Stage, staged } from "./gateway.js"
import { type Client, how, installed, load, packages } from "./installed.js"
import * as Replies from "./replies.js"

const { call, parameters, question, words } = Replies

const forecast = "Snow until noon"
const text = JSON.stringify({ forecast })

/** What a tool was called with. */
type Called = Array<unknown>

const openAi = async ({ url }: Stage) => {
  const { OpenAI } = await load("openai")
  return new OpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })
}

const runTools =
  (stream: boolean) =>
  async (stage: Stage, called: Called): Promise<unknown> => {
    const run = async (given: unknown) => {
      called.push(given)
      return text
    }
    const made = { name: call.name, description: "The weather", parameters, parse: JSON.parse, function: run }
    const asked = { model: "smart", messages: [{ role: "user", content: question }], stream }
    return (await openAi(stage)).chat.completions
      .runTools({ ...asked, tools: [{ type: "function", function: made }] })
      .finalContent()
  }

const responses = async (stage: Stage, called: Called): Promise<unknown> => {
  const client = await openAi(stage)
  const asked = {
    model: "smart",
    store: false,
    tools: [{ type: "function", name: call.name, description: "The weather", parameters, strict: true }]
  }
  const { output } = await client.responses.create({ ...asked, input: question })
  const made = output.find(({ type }: { readonly type: string }) => type === "function_call")
  called.push(JSON.parse(made.arguments))
  const result = { type: "function_call_output", call_id: made.call_id, output: text }
  const input = [{ role: "user", content: question }, ...output, result]
  return (await client.responses.create({ ...asked, input })).output_text
}

const messages = async ({ url }: Stage, called: Called): Promise<unknown> => {
  const { Anthropic } = await load("@anthropic-ai/sdk")
  const client = new Anthropic({ apiKey: clientKey, baseURL: url })
  const tools = [{ name: call.name, description: "The weather", input_schema: parameters }]
  const asked = { model: "smart", max_tokens: 4000, tools }
  const first = { role: "user", content: question }
  const { content } = await client.messages.stream({ ...asked, messages: [first] }).finalMessage()
  const made = content.find(({ type }: { readonly type: string }) => type === "tool_use")
  called.push(made.input)
  const result = { role: "user", content: [{ type: "tool_result", tool_use_id: made.id, content: text }] }
  return client.messages.stream({ ...asked, messages: [first, { role: "assistant", content }, result] }).finalText()
}

const generate =
  (streams: boolean, kit: (typeof kits)[number]) =>
  async (stage: Stage, called: Called): Promise<unknown> => {
    const ai: Client = await load(kit.ai)
    const execute = async (given: unknown) => {
      called.push(given)
      return { forecast }
    }
    const weather = ai.tool({ description: "The weather", inputSchema: ai.jsonSchema(parameters), execute })
    const asked = {
      model: await kit.model(stage),
      prompt: question,
      tools: { [call.name]: weather },
      stopWhen: ai.stepCountIs(3)
    }
    return streams ? await ai.streamText(asked).text : (await ai.generateText(asked)).text
  }

const contents = async ({ url }: Stage, called: Called): Promise<unknown> => {
  const { GoogleGenAI } = await load("@google/genai")
  const { models } = new GoogleGenAI({ apiKey: clientKey, httpOptions: { baseUrl: url } })
  const tools = [
    { functionDeclarations: [{ name: call.name, description: "The weather", parametersJsonSchema: parameters }] }
  ]
  const first = { role: "user", parts: [{ text: question }] }
  const { candidates, functionCalls } = await models.generateContent({
    model: "smart",
    contents: [first],
    config: { tools }
  })
  const [{ args, id, name }] = functionCalls
  called.push(args)
  const result = { role: "user", parts: [{ functionResponse: { id, name, response: { forecast } } }] }
  const asked = { model: "smart", contents: [first, candidates[0].content, result], config: { tools } }
  return (await models.generateContent(asked)).text
}

const ollama = async ({ url }: Stage, called: Called): Promise<unknown> => {
  const { Ollama } = await load("ollama")
  const client = new Ollama({ host: url, headers: { authorization: `Bearer ${clientKey}` } })
  const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
  const first = { role: "user", content: question }
  const { message } = await client.chat({ model: "smart", messages: [first], tools })
  called.push(message.tool_calls[0].function.arguments)
  const result = { role: "tool", tool_name: call.name, content: text }
  return (await client.chat({ model: "smart", messages: [first, message, result], tools })).message.content
}

const cohere = async ({ url }: Stage, called: Called): Promise<unknown> => {
  const { CohereClientV2 } = await load("cohere-ai")
  const client = new CohereClientV2({ token: clientKey, baseUrl: url })
  const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
  const first = { role: "user", content: question }
  const { message } = await client.chat({ model: "smart", messages: [first], tools })
  const [made] = message.toolCalls
  called.push(JSON.parse(made.function.arguments))
  const content = [{ type: "document", document: { data: { forecast } } }]
  const result = { role: "tool", toolCallId: made.id, content }
  return (await client.chat({ model: "smart", messages: [first, message, result], tools })).message.content[0].text
}

const agent =
  (api: string) =>
  async (stage: Stage, called: Called): Promise<unknown> => {
    const library = await load("@openai/agents")
    library.setTracingDisabled(true)
    const execute = async (given: unknown) => {
      called.push(given)
      return text
    }
    const weather = library.tool({ name: call.name, description: "The weather", parameters, execute })
    const model = new library[api](await openAi(stage), "smart")
    return (await library.run(new library.Agent({ name: "guide", model, tools: [weather] }), question)).finalOutput
  }

const router = async (stage: Stage, called: Called): Promise<unknown> => {
  const client = await More.openrouter(stage)
  const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
  const asked = { model: "smart", tools }
  const first = { role: "user", content: question }
  const { message } = (await client.send({ chatRequest: { ...asked, messages: [first] } })).choices[0]
  const [made] = message.toolCalls
  called.push(JSON.parse(made.function.arguments))
  const result = { role: "tool", toolCallId: made.id, content: text }
  const { choices } = await client.send({ chatRequest: { ...asked, messages: [first, message, result] } })
  return choices[0].message.content
}

const chain =
  (kit: (typeof LangChain.kits)[number]) =>
  async (stage: Stage, called: Called): Promise<unknown> => {
    const { HumanMessage, ToolMessage } = await load("@langchain/core/messages")
    const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
    const model = (await kit.model(stage, 0)).bindTools(tools)
    const first = new HumanMessage(question)
    const answer = await model.invoke([first])
    const [made] = answer.tool_calls
    called.push(made.args)
    return (await model.invoke([first, answer, new ToolMessage({ content: text, tool_call_id: made.id })])).text
  }

const effectful =
  (kit: (typeof EffectAi.kits)[number]) =>
  (stage: Stage, called: Called): Promise<unknown> =>
    EffectAi.run(kit, stage, (ai, effect) => {
      const { Chat } = ai
      const { Effect } = effect
      const kitOfTools = EffectAi.toolkit(ai, effect)
      const handlers = kitOfTools.toLayer({
        [call.name]: (given: unknown) =>
          Effect.sync(() => {
            called.push(given)
            return { forecast }
          })
      })
      return Effect.gen(function* () {
        const chat: Client = yield* Chat.empty
        yield* chat.generateText({ prompt: question, toolkit: kitOfTools })
        return (yield* chat.generateText({ prompt: [], toolkit: kitOfTools })).text
      }).pipe(Effect.provide(handlers))
    })

const loops: Readonly<Record<string, (stage: Stage, called: Called) => Promise<unknown>>> = {
  "openai: runTools": runTools(false),
  "openai: runTools, streamed": runTools(true),
  "openai: responses": responses,
  "@anthropic-ai/sdk: messages": messages,
  ...Object.fromEntries(
    kits.flatMap((kit) => [
      [`${kit.name}: generateText`, generate(false, kit)],
      [`${kit.name}: streamText`, generate(true, kit)]
    ])
  ),
  "@google/genai: generateContent": contents,
  ollama,
  "cohere-ai": cohere,
  "@openrouter/sdk: chat": router,
  ...Object.fromEntries(LangChain.kits.map((kit) => [`${kit.name}: invoke`, chain(kit)])),
  ...Object.fromEntries(EffectAi.kits.map((kit) => [`${kit.name}: generateText`, effectful(kit)])),
  "@openai/agents: OpenAIChatCompletionsModel": agent("OpenAIChatCompletionsModel"),
  "@openai/agents: OpenAIResponsesModel": agent("OpenAIResponsesModel")
}

describe.skipIf(!installed)(`clients that call tools through a gateway${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.concurrent.each(Object.entries(loops))("%s", (_, loop) => {
    it.each(kinds)("brings the result of the tool to %s, and the answer back", (kind) =>
      staged({ kind, script: [Reply.toolCall(call), Replies.text] }, async (stage) => {
        const called: Called = []
        assert.strictEqual(await loop(stage, called), words)
        assert.deepStrictEqual(called, [call.arguments])
        const [[, second, ...more]] = await requestsOf(stage)
        assert.deepStrictEqual(more, [])
        assert.include(JSON.stringify(second?.body), forecast)
        assert.deepStrictEqual(await leaks(stage), [])
      })
    )
  })
})
