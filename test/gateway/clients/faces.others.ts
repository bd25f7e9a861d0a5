import type { Face } from "./faces.js"
import { errorNames } from "./faces.openai.js"
import { clientKey, type Stage } from "./gateway.js"
import { load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, thoughts, words } = Replies

const genai = async ({ url }: Stage) => {
  const { GoogleGenAI } = await load("@google/genai")
  return new GoogleGenAI({ apiKey: clientKey, httpOptions: { baseUrl: url } }).models
}

const contents = { model: "smart", contents: question }
const google = { dialect: "gemini", errorName: () => "ApiError", broken: "ApiError 502" } as const
const declared = [
  { functionDeclarations: [{ name: call.name, description: "The weather", parametersJsonSchema: parameters }] }
]

interface Part {
  readonly thought?: boolean
  readonly text?: string
}

const googles: ReadonlyArray<Face> = [
  {
    ...google,
    name: "@google/genai: generateContent",
    reply: Replies.text,
    says: words,
    ask: async (stage) => (await (await genai(stage)).generateContent(contents)).text
  },
  {
    ...google,
    name: "@google/genai: generateContentStream",
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (stage) => {
      let read = ""
      for await (const chunk of await (await genai(stage)).generateContentStream(contents)) read += chunk.text ?? ""
      return read
    }
  },
  {
    ...google,
    name: "@google/genai: tools",
    reply: Replies.tool,
    says: call,
    ask: async (stage) => {
      const asked = { ...contents, config: { tools: declared } }
      const [made] = (await (await genai(stage)).generateContent(asked)).functionCalls
      return { name: made.name, arguments: made.args }
    }
  },
  {
    ...google,
    name: "@google/genai: structured output",
    reply: Replies.json,
    says: city,
    ask: async (stage) => {
      const config = { responseMimeType: "application/json", responseJsonSchema: schema }
      return JSON.parse((await (await genai(stage)).generateContent({ ...contents, config })).text)
    }
  },
  {
    ...google,
    name: "@google/genai: thoughts",
    reply: Replies.thinking,
    says: { thoughts, words },
    ask: async (stage) => {
      const config = { thinkingConfig: { includeThoughts: true } }
      const { candidates } = await (await genai(stage)).generateContent({ ...contents, config })
      const { parts } = candidates[0].content as { readonly parts: ReadonlyArray<Part> }
      const said = (isThought: boolean) =>
        parts.flatMap((part) => ((part.thought === true) === isThought ? (part.text ?? "") : "")).join("")
      return { thoughts: said(true), words: said(false) }
    }
  }
]

const mistral = async ({ url }: Stage) => {
  const { Mistral } = await load("@mistralai/mistralai")
  return new Mistral({ apiKey: clientKey, serverURL: url }).chat
}

/** Its parser refuses whatever is no chunk of an answer, and calls of tools in pieces: it gets no frames as they came. */
const strict = { errorName: () => "SDKError", broken: "ZodError undefined", anew: true } as const

const messages = [{ role: "user", content: question }]
const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
const asked = { model: "smart", messages }

const parsed = (one: { readonly name: string; readonly arguments: unknown }) => ({
  name: one.name,
  arguments: typeof one.arguments === "string" ? JSON.parse(one.arguments) : one.arguments
})

const mistrals: ReadonlyArray<Face> = [
  {
    name: "@mistralai/mistralai: chat",
    reply: Replies.text,
    says: words,
    ...strict,
    ask: async (stage) => (await (await mistral(stage)).complete(asked)).choices[0].message.content
  },
  {
    name: "@mistralai/mistralai: chat, streamed",
    reply: Replies.text,
    says: words,
    streams: true,
    ...strict,
    ask: async (stage) => {
      let read = ""
      for await (const { data } of await (await mistral(stage)).stream(asked))
        read += data.choices[0]?.delta.content ?? ""
      return read
    }
  },
  {
    name: "@mistralai/mistralai: tools",
    reply: Replies.tool,
    says: call,
    ...strict,
    ask: async (stage) =>
      parsed((await (await mistral(stage)).complete({ ...asked, tools })).choices[0].message.toolCalls[0].function)
  },
  {
    name: "@mistralai/mistralai: tools, streamed",
    reply: Replies.tool,
    says: call,
    streams: true,
    late: true,
    ...strict,
    ask: async (stage) => {
      for await (const { data } of await (await mistral(stage)).stream({ ...asked, tools })) {
        const made = data.choices[0]?.delta.toolCalls?.[0]
        if (made !== undefined) return parsed(made.function)
      }
      return undefined
    }
  }
]

const agents = (api: "OpenAIChatCompletionsModel" | "OpenAIResponsesModel"): ReadonlyArray<Face> => {
  const common = {
    dialect: api === "OpenAIResponsesModel" ? "responses" : "openai",
    errorName: errorNames,
    reply: Replies.text,
    says: words
  } as const
  const agent = async ({ url }: Stage) => {
    const { OpenAI } = await load("openai")
    const library = await load("@openai/agents")
    const client = new OpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })
    library.setTracingDisabled(true)
    return { library, agent: new library.Agent({ name: "guide", model: new library[api](client, "smart") }) }
  }
  return [
    {
      ...common,
      name: `@openai/agents ${api}: run`,
      ask: async (stage) => {
        const { agent: guide, library } = await agent(stage)
        return (await library.run(guide, question)).finalOutput
      }
    },
    {
      ...common,
      name: `@openai/agents ${api}: run, streamed`,
      streams: true,
      ask: async (stage) => {
        const { agent: guide, library } = await agent(stage)
        const result = await library.run(guide, question, { stream: true })
        for await (const _ of result.toStream());
        await result.completed
        return result.finalOutput
      }
    }
  ]
}

export const faces: ReadonlyArray<Face> = [
  ...googles,
  ...mistrals,
  ...agents("OpenAIChatCompletionsModel"),
  ...agents("OpenAIResponsesModel")
]
