import { Reply } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { kits } from "./faces.ai.js"
import * as EffectAi from "./faces.effect.js"
import * as LangChain from "./faces.langchain.js"
import * as More from "./faces.more.js"
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

const ofEffect = ({ finishReason, reason, usage }: Client): Told => [
  usage.inputTokens,
  usage.outputTokens,
  finishReason ?? reason
]

/** Why an answer ended, what a client tells, and whether it reads the tokens in at the beginning of a stream alone. */
type Count = readonly [finish: string, told: (stage: Stage) => Promise<Told>, early?: boolean]

const counts: Readonly<Record<string, Count>> = {
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
  "together-ai: chat": [
    "length",
    async ({ url }) => {
      const { Together } = await load("together-ai")
      const { completions } = new Together({ apiKey: clientKey, baseURL: `${url}/v1` }).chat
      const { choices, usage } = await completions.create(chat)
      return [usage.prompt_tokens, usage.completion_tokens, choices[0].finish_reason]
    }
  ],
  "portkey-ai: chat": [
    "length",
    async ({ url }) => {
      const { Portkey } = await load("portkey-ai")
      const { completions } = new Portkey({ apiKey: clientKey, baseURL: `${url}/v1` }).chat
      const { choices, usage } = await completions.create(chat)
      return [usage.prompt_tokens, usage.completion_tokens, choices[0].finish_reason]
    }
  ],
  "@openrouter/sdk: chat": [
    "length",
    async (stage) => {
      const { choices, usage } = await (await More.openrouter(stage)).send({ chatRequest: chat })
      return [usage.promptTokens, usage.completionTokens, choices[0].finishReason]
    }
  ],
  "@openrouter/sdk: chat, streamed": [
    "length",
    async (stage) => {
      const read: Array<Client> = []
      const stream = await (await More.openrouter(stage)).send({ chatRequest: { ...chat, stream: true } })
      for await (const chunk of stream) read.push(chunk)
      const usage = read.at(-1)?.usage
      const finish = read.flatMap(({ choices }) => choices[0]?.finishReason ?? [])
      return [usage.promptTokens, usage.completionTokens, finish.join()]
    }
  ],
  "@huggingface/inference: chatCompletion": [
    "length",
    async (stage) => {
      const { choices, usage } = await (await More.huggingface(stage)).chatCompletion(chat)
      return [usage.prompt_tokens, usage.completion_tokens, choices[0].finish_reason]
    }
  ],
  ...Object.fromEntries(
    LangChain.kits.map((kit) => [
      `${kit.name}: invoke`,
      [
        kit.length,
        async (stage: Stage): Promise<Told> => {
          const { response_metadata: said, usage_metadata: usage } = await (await kit.model(stage, 0)).invoke(question)
          const finish = said.finish_reason ?? said.stop_reason ?? said.incomplete_details?.reason
          return [usage.input_tokens, usage.output_tokens, finish]
        }
      ] as const
    ])
  ),
  ...Object.fromEntries(
    EffectAi.kits.flatMap((kit) => [
      [
        `${kit.name}: generateText`,
        [
          "length",
          (stage: Stage) =>
            EffectAi.run(kit, stage, ({ LanguageModel }, { Effect }) =>
              Effect.map(LanguageModel.generateText({ prompt: question }), ofEffect)
            ) as Promise<Told>
        ] as const
      ],
      [
        `${kit.name}: streamText`,
        [
          "length",
          (stage: Stage) =>
            EffectAi.run(kit, stage, ({ LanguageModel }, { Effect, Stream }) => {
              const parts = Stream.runCollect(LanguageModel.streamText({ prompt: question }))
              return Effect.map(parts, (all: Iterable<Client>) =>
                ofEffect([...all].find(({ type }) => type === "finish"))
              )
            }) as Promise<Told>,
          kit.dialect === "anthropic"
        ] as const
      ]
    ])
  )
}

describe.skipIf(!installed)(`what clients of a gateway hear of tokens${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.concurrent.each(Object.entries(counts))("%s", (_, [finish, told, early = false]) => {
    it.each(kinds)("and of the limit that cut the answer of %s", (kind) => {
      const reply = Reply.text(words, { finish: "length", usage: { inputTokens: 11, outputTokens: 7 } })
      return staged({ kind, script: [reply] }, async (stage) => {
        // Only a provider of Anthropic's dialect tells the tokens in before the answer.
        assert.deepStrictEqual(await told(stage), [early && kind !== "anthropic" ? 0 : 11, 7, finish])
      })
    })
  })
})
