/** An agent of ten answers, nine of which call a tool, over a `fetch` that answers at once. */
import { type Case, promiseBatch, type Table } from "./case.js"
import { model, openAiBody, question, responseHeaders } from "./wire.js"

const apiKey = "sk-bench"

const sdk = "AI SDK generateText with tools"
const steps = 10

const calling = (step: number): string =>
  JSON.stringify({
    ...JSON.parse(openAiBody),
    choices: [
      {
        index: 0,
        message: {
          role: "assistant",
          content: null,
          refusal: null,
          tool_calls: [
            { id: `call_${step}`, type: "function", function: { name: "look", arguments: `{"order":${step}}` } }
          ]
        },
        logprobs: null,
        finish_reason: "tool_calls"
      }
    ]
  })

const bodies = [...Array.from({ length: steps - 1 }, (_, step) => calling(step)), openAiBody]

/** Answers by the number of messages: a request with one result more gets the next answer. */
const answering: typeof globalThis.fetch = (_, init) => {
  const body = init?.body
  const text = typeof body === "string" ? body : new TextDecoder().decode(body as Uint8Array)
  const answered = text.split('"role":"tool"').length - 1
  return Promise.resolve(new Response(bodies[answered] ?? openAiBody, { headers: responseHeaders }))
}

const stubbed = (name: string, load: () => Promise<() => Promise<string>>, more: Partial<Case> = {}): Case => ({
  name,
  units: steps,
  make: async () => {
    globalThis.fetch = answering
    const run = await load()
    const text = await run()
    if (text !== "Paris.") throw new Error(`${name} answered ${JSON.stringify(text)}`)
    return { batch: promiseBatch(run) }
  },
  ...more
})

const aiSdk = async () => {
  const { createOpenAI } = await import("@ai-sdk/openai")
  const { generateText, stepCountIs, tool } = await import("ai")
  const { z } = await import("zod")
  const chat = createOpenAI({ apiKey }).chat(model)
  const look = tool({
    description: "Looks an order up.",
    inputSchema: z.object({ order: z.number().int() }),
    execute: async ({ order }) => ({ order, paid: true })
  })
  return async () => {
    const { text } = await generateText({
      model: chat,
      prompt: question,
      tools: { look },
      stopWhen: stepCountIs(steps)
    })
    return text
  }
}

const ours = (all: boolean) => async () => {
  const { Effect, Schema } = await import("effect")
  const { Chat } = await import("effect-steadfast")
  const { Agent, Tool, Toolkit } = await import("effect-steadfast/agent")
  const { open } = await import("./ours.js")
  const { assistant, runtime } = await open({ all })
  const Look = Tool.make({
    name: "look",
    description: "Looks an order up.",
    parameters: Schema.Struct({ order: Schema.Int }),
    success: Schema.Struct({ order: Schema.Int, paid: Schema.Boolean })
  })
  const tools = Toolkit.make(Look)
  const program = Agent.run(assistant, tools, Chat.prompt(question), { steps }).pipe(
    Effect.provide(tools.toLayer({ look: ({ order }) => Effect.succeed({ order, paid: true }) }))
  )
  return () => runtime.runPromise(Effect.map(program, ({ text }) => text))
}

const table: Table = {
  title: "an agent of ten answers over a stub fetch",
  base: sdk,
  cases: [
    stubbed(sdk, aiSdk),
    stubbed("Steadfast, leaf", ours(false), { rounds: 1 }),
    stubbed("Steadfast, all on", ours(true), { goals: [{ figure: "cpu", against: sdk, most: 0.7 }] })
  ]
}

export const tables: ReadonlyArray<Table> = [table]
