import { Effect } from "effect"
import { Fault, Reply } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { kits } from "./faces.ai.js"
import * as EffectAi from "./faces.effect.js"
import * as LangChain from "./faces.langchain.js"
import * as More from "./faces.more.js"
import { clientKey, type Dialect, kinds, type Stage, staged } from "./gateway.js"
import { how, installed, load, packages } from "./installed.js"
import { question } from "./replies.js"

/** Begins to read a stream, and calls `began` at each piece of the answer. */
type Read = (stage: Stage, signal: AbortSignal, began: () => void) => Promise<void>

const messages = [{ role: "user", content: question }]

const all = async (stream: AsyncIterable<unknown>, began: () => void): Promise<void> => {
  for await (const _ of stream) began()
}

const openAi =
  (name: string): Read =>
  async ({ url }, signal, began) => {
    const { OpenAI } = await load(name)
    const { chat } = new OpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })
    await all(await chat.completions.create({ model: "smart", messages, stream: true }, { signal }), began)
  }

/** Of a `Request` that nobody holds, Node 20 forgets the signal when it collects garbage. */
const keeping = () => {
  const kept: Array<Request> = []
  return {
    request: (one: Request): Promise<Response> => {
      kept.push(one)
      return fetch(one)
    },
    kept
  }
}

const readers: Readonly<Record<string, Read>> = {
  openai: openAi("openai"),
  "openai-6": openAi("openai-6"),
  "groq-sdk": async ({ url }, signal, began) => {
    const { default: Groq } = await load("groq-sdk")
    const { chat } = new Groq({ apiKey: clientKey, baseURL: url })
    await all(await chat.completions.create({ model: "smart", messages, stream: true }, { signal }), began)
  },
  "@anthropic-ai/sdk": async ({ url }, signal, began) => {
    const { Anthropic } = await load("@anthropic-ai/sdk")
    const client = new Anthropic({ apiKey: clientKey, baseURL: url })
    await all(
      await client.messages.create({ model: "smart", max_tokens: 99, messages, stream: true }, { signal }),
      began
    )
  },
  ...Object.fromEntries(
    kits.map((kit): [string, Read] => [
      kit.name,
      async (stage, abortSignal, began) => {
        const ai = await load(kit.ai)
        const onError = () => {}
        const model = await kit.model(stage)
        await all(ai.streamText({ model, prompt: question, abortSignal, onError }).textStream, began)
      }
    ])
  ),
  "@google/genai": async ({ url }, abortSignal, began) => {
    const { GoogleGenAI } = await load("@google/genai")
    const { models } = new GoogleGenAI({ apiKey: clientKey, httpOptions: { baseUrl: url } })
    await all(
      await models.generateContentStream({ model: "smart", contents: question, config: { abortSignal } }),
      began
    )
  },
  "@mistralai/mistralai": async ({ url }, signal, began) => {
    const { Mistral } = await load("@mistralai/mistralai")
    const { chat } = new Mistral({ apiKey: clientKey, serverURL: url, httpClient: keeping() })
    await all(await chat.stream({ model: "smart", messages }, { fetchOptions: { signal } }), began)
  },
  ollama: async ({ url }, signal, began) => {
    const { Ollama } = await load("ollama")
    const client = new Ollama({
      host: url,
      headers: { authorization: `Bearer ${clientKey}` },
      fetch: (input: string, init: RequestInit) => fetch(input, { ...init, signal })
    })
    await all(await client.chat({ model: "smart", messages, stream: true }), began)
  },
  "cohere-ai": async ({ url }, abortSignal, began) => {
    const { CohereClientV2 } = await load("cohere-ai")
    const client = new CohereClientV2({ token: clientKey, baseUrl: url })
    await all(await client.chatStream({ model: "smart", messages }, { abortSignal }), began)
  },
  "together-ai": async ({ url }, signal, began) => {
    const { Together } = await load("together-ai")
    const { chat } = new Together({ apiKey: clientKey, baseURL: `${url}/v1` })
    await all(await chat.completions.create({ model: "smart", messages, stream: true }, { signal }), began)
  },
  "@openrouter/sdk": async (stage, signal, began) => {
    const chatRequest = { model: "smart", messages, stream: true }
    await all(await (await More.openrouter(stage)).send({ chatRequest }, { signal }), began)
  },
  "@huggingface/inference": async (stage, signal, began) => {
    await all((await More.huggingface(stage)).chatCompletionStream({ model: "smart", messages }, { signal }), began)
  },
  ...Object.fromEntries(
    LangChain.kits.map((kit): [string, Read] => [
      kit.name,
      async (stage, signal, began) => all(await (await kit.model(stage, 0)).stream(question, { signal }), began)
    ])
  ),
  ...Object.fromEntries(
    EffectAi.kits.map((kit): [string, Read] => [
      kit.name,
      async (stage, signal, began) => {
        const read: Parameters<typeof EffectAi.run>[2] = ({ LanguageModel }, { Effect, Stream }) =>
          Stream.runForEach(LanguageModel.streamText({ prompt: question }), () => Effect.sync(began))
        await EffectAi.run(kit, stage, read, signal)
      }
    ])
  )
}

/** Waits until the provider has lost its client. */
const lost = ({ first }: Stage) => Effect.runPromise(first.until((all) => all.some(({ hungUp }) => hungUp)))

describe.skipIf(!installed)(`clients that leave a gateway${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.concurrent.each(Object.entries(readers).map(([name, read], at) => ({ name, read, at })))(
    "$name",
    ({ at, read }) => {
      const kind = kinds[at % kinds.length] as Dialect

      it(`closes the socket of ${kind} in the middle of an answer`, () =>
        staged(
          { kind, script: [Fault.stall({ tokens: 2, reply: Reply.text("one two three four") })] },
          async (stage) => {
            const leaving = new AbortController()
            const reading = read(stage, leaving.signal, () => leaving.abort()).catch(() => {})
            const [only, ...more] = await lost(stage)
            await reading
            assert.strictEqual(only?.status, 200)
            assert.deepStrictEqual(more, [])
          }
        ))

      it(`closes the socket of ${kind} before the answer`, () =>
        staged({ kind, script: [Fault.hang] }, async (stage) => {
          const leaving = new AbortController()
          const reading = read(stage, leaving.signal, () => {}).catch(() => {})
          await Effect.runPromise(stage.first.until((all) => all.length > 0))
          leaving.abort()
          const [only, ...more] = await lost(stage)
          await reading
          assert.isUndefined(only?.status)
          assert.deepStrictEqual(more, [])
        }))
    }
  )
})
