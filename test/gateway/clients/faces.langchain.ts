import type { Face } from "./faces.js"
import { errorNames } from "./faces.openai.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, words } = Replies

const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]

/** A package, with the API that it speaks. */
interface Kit {
  readonly name: string
  readonly face: Pick<Face, "dialect" | "errorName" | "noCredit">
  /** What it tells of an answer that the limit of tokens cut. */
  readonly length: string
  readonly model: (stage: Stage, maxRetries: number) => Promise<Client>
}

const openai =
  (useResponsesApi: boolean): Kit["model"] =>
  async ({ url }, maxRetries) => {
    const { ChatOpenAI } = await load("@langchain/openai")
    const configuration = { baseURL: `${url}/v1` }
    return new ChatOpenAI({ model: "smart", apiKey: clientKey, configuration, maxRetries, useResponsesApi })
  }

const errors = { noCredit: "InsufficientQuotaError 429", errorName: errorNames }

export const kits: ReadonlyArray<Kit> = [
  { name: "@langchain/openai", face: { dialect: "openai", ...errors }, length: "length", model: openai(false) },
  {
    name: "@langchain/openai on responses",
    face: { dialect: "responses", ...errors },
    length: "max_output_tokens",
    model: openai(true)
  },
  {
    name: "@langchain/anthropic",
    face: { dialect: "anthropic", noCredit: "RateLimitCapacityError 429", errorName: errorNames },
    length: "max_tokens",
    model: async ({ url }, maxRetries) => {
      const { ChatAnthropic } = await load("@langchain/anthropic")
      return new ChatAnthropic({ model: "smart", apiKey: clientKey, anthropicApiUrl: url, maxRetries })
    }
  }
]

const facesOf = (kit: Kit): ReadonlyArray<Face> => {
  const face = (
    name: string,
    { ask, ...rest }: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: (model: Client) => Promise<unknown> }
  ): Face => ({
    ...kit.face,
    ...rest,
    repeats: (status) => status >= 429,
    name: `${kit.name}: ${name}`,
    // One that repeats once: with its own default of six it would sleep a minute.
    ask: async (stage) => ask(await kit.model(stage, 1))
  })
  return [
    face("invoke", {
      reply: Replies.text,
      says: words,
      ask: async (model) => (await model.invoke(question)).text
    }),
    face("stream", {
      reply: Replies.text,
      says: words,
      streams: true,
      ask: async (model) => {
        let read = ""
        for await (const chunk of await model.stream(question)) read += chunk.text
        return read
      }
    }),
    face("tools", {
      reply: Replies.tool,
      says: call,
      ask: async (model) => {
        const [made] = (await model.bindTools(tools).invoke(question)).tool_calls
        return { name: made.name, arguments: made.args }
      }
    }),
    face("withStructuredOutput", {
      reply: Replies.json,
      says: city,
      ask: async (model) =>
        model.withStructuredOutput({ ...schema, title: "place" }, { method: "jsonSchema" }).invoke(question)
    })
  ]
}

export const faces: ReadonlyArray<Face> = kits.flatMap(facesOf)
