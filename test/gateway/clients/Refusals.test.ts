import { Reply } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { clientKey, requestsOf, type Stage, staged } from "./gateway.js"
import { type Client, how, installed, load, packages } from "./installed.js"

/** A client of one API. */
interface Kit {
  readonly make: (stage: Stage, key: string) => Promise<Client>
  readonly ask: (client: Client, model: string) => Promise<unknown>
  /** The names of the models in the list, if it reads that of OpenAI. */
  readonly list: ((client: Client) => Promise<ReadonlyArray<unknown>>) | undefined
  /** The names that are expected. */
  readonly names?: ReadonlyArray<string> | undefined
  /** Its errors for a wrong key, and for an unknown model. */
  readonly errors: readonly [unauthorized: string, unknown: string]
}

const messages = [{ role: "user", content: "hi" }]

const all = async (models: AsyncIterable<{ readonly id?: string; readonly name?: string }>) => {
  const names: Array<unknown> = []
  for await (const { id, name } of models) names.push(id ?? name)
  return names
}

const errors = ["AuthenticationError 401", "NotFoundError 404"] as const

const openAi = (name: string): Kit => ({
  errors,
  make: async ({ url }, apiKey) => new (await load(name)).OpenAI({ apiKey, baseURL: `${url}/v1` }),
  ask: ({ chat }, model) => chat.completions.create({ model, messages }),
  list: async ({ models }) => all(await models.list())
})

const kits: Readonly<Record<string, Kit>> = {
  openai: openAi("openai"),
  "openai-6": openAi("openai-6"),
  "groq-sdk": {
    errors,
    make: async ({ url }, apiKey) => new (await load("groq-sdk")).default({ apiKey, baseURL: url }),
    ask: ({ chat }, model) => chat.completions.create({ model, messages }),
    list: async ({ models }) => all((await models.list()).data)
  },
  "@anthropic-ai/sdk": {
    errors,
    make: async ({ url }, apiKey) => new (await load("@anthropic-ai/sdk")).Anthropic({ apiKey, baseURL: url }),
    ask: (client, model) => client.messages.create({ model, max_tokens: 9, messages }),
    list: async ({ models }) => all(await models.list())
  },
  "@google/genai": {
    errors: ["ApiError 401", "ApiError 404"],
    names: ["models/smart", "models/vectors"],
    make: async ({ url }, apiKey) =>
      new (await load("@google/genai")).GoogleGenAI({ apiKey, httpOptions: { baseUrl: url } }),
    ask: ({ models }, model) => models.generateContent({ model, contents: "hi" }),
    list: async ({ models }) => all(await models.list())
  },
  "together-ai": {
    errors,
    list: undefined,
    make: async ({ url }, apiKey) => new (await load("together-ai")).Together({ apiKey, baseURL: `${url}/v1` }),
    ask: ({ chat }, model) => chat.completions.create({ model, messages })
  },
  "portkey-ai": {
    errors,
    make: async ({ url }, apiKey) => new (await load("portkey-ai")).Portkey({ apiKey, baseURL: `${url}/v1` }),
    ask: ({ chat }, model) => chat.completions.create({ model, messages }),
    list: async ({ models }) => (await models.list()).data.map(({ id }: Client) => id)
  },
  "@openrouter/sdk": {
    errors: ["UnauthorizedResponseError 401", "NotFoundResponseError 404"],
    list: undefined,
    make: async ({ url }, apiKey) =>
      new (await load("@openrouter/sdk")).OpenRouter({ apiKey, serverURL: `${url}/api/v1` }),
    ask: ({ chat }, model) => chat.send({ chatRequest: { model, messages } })
  },
  "@huggingface/inference": {
    errors: ["InferenceClientProviderApiError 401", "InferenceClientProviderApiError 404"],
    list: undefined,
    make: async ({ url }, apiKey) =>
      new (await load("@huggingface/inference")).InferenceClient(apiKey, { endpointUrl: `${url}/v1` }),
    ask: (client, model) => client.chatCompletion({ model, messages })
  },
  "@mistralai/mistralai": {
    errors: ["SDKError 401", "SDKError 404"],
    make: async ({ url }, apiKey) => new (await load("@mistralai/mistralai")).Mistral({ apiKey, serverURL: url }),
    ask: ({ chat }, model) => chat.complete({ model, messages }),
    // What is no model of Mistral's is unknown to it, and shown as it came.
    list: async ({ models }) => (await models.list()).data.map(({ raw }: Client) => raw.id)
  },
  "cohere-ai": {
    errors: ["UnauthorizedError 401", "NotFoundError 404"],
    make: async ({ url }, token) => new (await load("cohere-ai")).CohereClient({ token, baseUrl: url }),
    ask: (client, model) => client.v2.chat({ model, messages }),
    list: async (client) => all((await client.models.list()).models)
  },
  ollama: {
    errors: ["ResponseError 401", "ResponseError 404"],
    make: async ({ url }, key) =>
      new (await load("ollama")).Ollama({ host: url, headers: { authorization: `Bearer ${key}` } }),
    ask: (client, model) => client.chat({ model, messages }),
    list: async (client) => all((await client.list()).models)
  }
}

const told = async (asked: Promise<unknown>): Promise<string> => {
  try {
    return `answered ${JSON.stringify(await asked)}`
  } catch (error) {
    const { constructor, httpResponse, status, statusCode, status_code } = error as Client
    return `${constructor.name} ${status ?? statusCode ?? status_code ?? httpResponse?.status}`
  }
}

describe.skipIf(!installed)(`what a gateway refuses its clients${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.each(Object.entries(kits))(
    "%s",
    (_, { ask, errors: [unauthorized, unknown], list, make, names = ["smart", "vectors"] }) => {
      it("hears by its own errors of a wrong key and of an unknown model, and no provider is asked", () =>
        staged({ kind: "openai", script: [Reply.text("hi")] }, async (stage) => {
          const wrong = await make(stage, "sk-client-wrong")
          assert.strictEqual(await told(ask(wrong, "smart")), unauthorized)
          const right = await make(stage, clientKey)
          assert.strictEqual(await told(ask(right, "other")), unknown)
          assert.strictEqual(stage.heard.length, 2)
          assert.deepStrictEqual((await requestsOf(stage)).flat(), [])
          assert.notInclude(stage.said() + stage.logged(), "sk-client")
        }))

      it.skipIf(list === undefined)("lists the models", () =>
        staged({ kind: "openai", script: [Reply.text("hi")] }, async (stage) => {
          assert.deepStrictEqual(await list?.(await make(stage, clientKey)), names)
          assert.deepStrictEqual((await requestsOf(stage)).flat(), [])
        })
      )
    }
  )
})
