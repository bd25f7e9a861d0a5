import { callOf, shown, textOf } from "./chunks.js"
import type { Face } from "./faces.js"
import type { Stage } from "./gateway.js"
import { clientKey } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, words } = Replies

const messages = [{ role: "user", content: question }]
const chat = { model: "smart", messages }
const response = { model: "smart", input: question }
const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
const flatTools = [{ type: "function", name: call.name, description: "The weather", parameters, strict: true }]
const format = { type: "json_schema", name: "place", schema, strict: true }

/** The name and the arguments of a call, as a client shows them. */
const names: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  401: "AuthenticationError",
  403: "PermissionDeniedError",
  404: "NotFoundError",
  429: "RateLimitError"
}

/** The error classes of the clients that one generator makes. */
export const errorNames = (status: number): string => names[status] ?? "InternalServerError"

interface Sdk {
  readonly name: string
  readonly package: string
  readonly of: (made: Client, stage: Stage) => Client
  readonly face?: Pick<Face, "broken" | "repeats">
}

const openai = (name: string): Sdk => ({
  name,
  package: name,
  of: ({ OpenAI }, { url }) => new OpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })
})

const groq: Sdk = {
  name: "groq-sdk",
  package: "groq-sdk",
  of: ({ default: Groq }, { url }) => new Groq({ apiKey: clientKey, baseURL: url })
}

const together: Sdk = {
  name: "together-ai",
  package: "together-ai",
  of: ({ default: Together }, { url }) => new Together({ apiKey: clientKey, baseURL: `${url}/v1` })
}

const portkey: Sdk = {
  name: "portkey-ai",
  package: "portkey-ai",
  of: ({ Portkey }, { url }) => new Portkey({ apiKey: clientKey, baseURL: `${url}/v1` }),
  face: { repeats: (status) => status >= 500, broken: "TypeError undefined" }
}

const face = (
  sdk: Sdk,
  name: string,
  rest: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: (client: Client, stage: Stage) => Promise<unknown> }
): Face => ({
  errorName: errorNames,
  ...sdk.face,
  ...rest,
  name: `${sdk.name}: ${name}`,
  ask: async (stage) => rest.ask(sdk.of(await load(sdk.package), stage), stage)
})

const chats = (sdk: Sdk): ReadonlyArray<Face> => [
  face(sdk, "chat", {
    reply: Replies.text,
    says: words,
    ask: async (client) => (await client.chat.completions.create(chat)).choices[0].message.content
  }),
  face(sdk, "chat, streamed", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => textOf(await client.chat.completions.create({ ...chat, stream: true }))
  }),
  face(sdk, "tools", {
    reply: Replies.tool,
    says: call,
    ask: async (client) =>
      shown((await client.chat.completions.create({ ...chat, tools })).choices[0].message.tool_calls[0].function)
  }),
  face(sdk, "tools, streamed", {
    reply: Replies.tool,
    says: call,
    streams: true,
    late: true,
    ask: async (client) => callOf(await client.chat.completions.create({ ...chat, tools, stream: true }))
  })
]

const all = (sdk: Sdk): ReadonlyArray<Face> => [
  ...chats(sdk),
  face(sdk, "chat.stream()", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => client.chat.completions.stream(chat).finalContent()
  }),
  face(sdk, "structured output", {
    reply: Replies.json,
    says: city,
    ask: async (client) => {
      const { name, strict } = format
      const asked = { ...chat, response_format: { type: "json_schema", json_schema: { name, strict, schema } } }
      return JSON.parse((await client.chat.completions.parse(asked)).choices[0].message.content)
    }
  }),
  face(sdk, "responses", {
    reply: Replies.text,
    says: words,
    ask: async (client) => (await client.responses.create(response)).output_text
  }),
  face(sdk, "responses, streamed", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => {
      let read = ""
      for await (const event of await client.responses.create({ ...response, stream: true })) {
        if (event.type === "response.output_text.delta") read += event.delta
      }
      return read
    }
  }),
  face(sdk, "responses.stream()", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => (await client.responses.stream(response).finalResponse()).output_text
  }),
  face(sdk, "responses, tools", {
    reply: Replies.tool,
    says: call,
    ask: async (client) => {
      const { output } = await client.responses.create({ ...response, tools: flatTools })
      return shown(output.find(({ type }: { readonly type: string }) => type === "function_call"))
    }
  }),
  face(sdk, "responses, structured output", {
    reply: Replies.json,
    says: city,
    ask: async (client) => JSON.parse((await client.responses.parse({ ...response, text: { format } })).output_text)
  }),
  face(sdk, "embeddings", {
    reply: Replies.text,
    says: [8, 8],
    kinds: ["openai", "gemini"],
    ask: async (client) => {
      const { data } = await client.embeddings.create({ model: "vectors", input: ["one", "two"] })
      return data.map(({ embedding }: { readonly embedding: ReadonlyArray<number> }) => embedding.length)
    }
  })
]

export const faces: ReadonlyArray<Face> = [
  ...all(openai("openai")),
  ...all(openai("openai-6")),
  ...chats(groq),
  ...chats(together),
  ...chats(portkey)
]
