import { Reply } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { kits } from "./faces.ai.js"
import { clientKey, kinds, type Stage, staged } from "./gateway.js"
import { type Client, how, installed, load, packages } from "./installed.js"
import { question, words } from "./replies.js"

/** What a client tells of an answer that the limit of tokens cut: tokens in, tokens out, and why it ended. */
type Told = readonly [input: unknown, output: unknown, finish: unknown]

const messages = [{ role: "user", content: question }]
const chat = { model: "smart", messages }

const openAi = async ({ url }: Stage) => {
  const { OpenAI } = await load("openai")
  return new OpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })
}

const ofResponse = ({ incomplete_details, status, usage }: Client): Told => [
  usage.input_tokens,
  usage.output_tokens,
  `${status}: ${incomplete_details?.reason}`
]

const ofMessage = ({ stop_reason, usage }: Client): Told => [usage.input_tokens, usage.output_tokens, stop_reason]

const anthropic = async ({ url }: Stage) => {
  const { Anthropic } = await load("@anthropic-ai/sdk")
  return new Anthropic({ apiKey: clientKey, baseURL: url }).messages
}

const asked = { ...chat, max_tokens: 99 }

const google = async ({ url }: Stage) => {
  const { GoogleGenAI } = await load("@google/genai")
  return new GoogleGenAI({ apiKey: clientKey, httpOptions: { baseUrl: url } }).models
}

const contents = { model: "smart", contents: question }

const ofContent = ({ candidates, usageMetadata }: Client): Told => [
  usageMetadata.promptTokenCount,
  usageMetadata.candidatesTokenCount,
  candidates[0].finishReason
]

const counts: Readonly<Record<string, readonly [finish: string, told: (stage: Stage) => Promise<Told>]>> = {
  "openai: chat": [
    "length",
    async (stage) => {
      const { choices, usage } = await (await openAi(stage)).chat.completions.create(chat)
      return [usage.prompt_tokens, usage.completion_tokens, choices[0].finish_reason]
    }
  ],
  "openai: chat, streamed": [
    "length",
    async (stage) => {
      const { completions } = (await openAi(stage)).chat
      const read: Array<Client> = []
      const stream = await completions.create({ ...chat, stream: true, stream_options: { include_usage: true } })
      for await (const chunk of stream) read.push(chunk)
      const usage = read.at(-1)?.usage
      const finish = read.flatMap(({ choices }) => choices[0]?.finish_reason ?? [])
      return [usage.prompt_tokens, usage.completion_tokens, finish.join()]
    }
  ],
  "openai: responses": [
    "incomplete: max_output_tokens",
    async (stage) => ofResponse(await (await openAi(stage)).responses.create({ model: "smart", input: question }))
  ],
  "openai: responses, streamed": [
    "incomplete: max_output_tokens",
    async (stage) => {
      const { responses } = await openAi(stage)
      return ofResponse(await responses.stream({ model: "smart", input: question }).finalResponse())
    }
  ],
  "@anthropic-ai/sdk: messages": [
    "max_tokens",
    async (stage) => ofMessage(await (await anthropic(stage)).create(asked))
  ],
  "@anthropic-ai/sdk: messages, streamed": [
    "max_tokens",
    async (stage) => ofMessage(await (await anthropic(stage)).stream(asked).finalMessage())
  ],
  ...Object.fromEntries(
    kits.flatMap((kit) => [
      [
        `${kit.name}: generateText`,
        [
          "length",
          async (stage: Stage): Promise<Told> => {
            const ai = await load(kit.ai)
            const { finishReason, usage } = await ai.generateText({ model: await kit.model(stage), prompt: question })
            return [usage.inputTokens, usage.outputTokens, finishReason]
          }
        ] as const
      ],
      [
        `${kit.name}: streamText`,
        [
          "length",
          async (stage: Stage): Promise<Told> => {
            const ai = await load(kit.ai)
            const result = ai.streamText({ model: await kit.model(stage), prompt: question })
            await result.consumeStream()
            const usage = await result.usage
            return [usage.inputTokens, usage.outputTokens, await result.finishReason]
          }
        ] as const
      ]
    ])
  ),
  "@google/genai: generateContent": [
    "MAX_TOKENS",
    async (stage) => ofContent(await (await google(stage)).generateContent(contents))
  ],
  "@google/genai: generateContentStream": [
    "MAX_TOKENS",
    async (stage) => {
      const read: Array<Client> = []
      for await (const chunk of await (await google(stage)).generateContentStream(contents)) read.push(chunk)
      return ofContent(read.at(-1))
    }
  ],
  "@mistralai/mistralai: chat": [
    "length",
    async ({ url }) => {
      const { Mistral } = await load("@mistralai/mistralai")
      const { choices, usage } = await new Mistral({ apiKey: clientKey, serverURL: url }).chat.complete(chat)
      return [usage.promptTokens, usage.completionTokens, choices[0].finishReason]
    }
  ],
  "@langchain/openai: invoke": [
    "length",
    async ({ url }) => {
      const { ChatOpenAI } = await load("@langchain/openai")
      const model = new ChatOpenAI({ model: "smart", apiKey: clientKey, configuration: { baseURL: `${url}/v1` } })
      const { response_metadata, usage_metadata } = await model.invoke(question)
      return [usage_metadata.input_tokens, usage_metadata.output_tokens, response_metadata.finish_reason]
    }
  ]
}

describe.skipIf(!installed)(`what clients of a gateway hear of tokens${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.concurrent.each(Object.entries(counts))("%s", (_, [finish, told]) => {
    it.each(kinds)("and of the limit that cut the answer of %s", (kind) => {
      const reply = Reply.text(words, { finish: "length", usage: { inputTokens: 11, outputTokens: 7 } })
      return staged({ kind, script: [reply] }, async (stage) => {
        assert.deepStrictEqual(await told(stage), [11, 7, finish])
      })
    })
  })
})
