import type { Face } from "./faces.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, words } = Replies

/** A version of ai, with the API that it speaks. */
interface Kit {
  readonly name: string
  readonly ai: string
  readonly dialect: Face["dialect"]
  readonly model: (stage: Stage) => Promise<Client>
}

const openai =
  (name: string, api: "chat" | "responses") =>
  async ({ url }: Stage) =>
    (await load(name)).createOpenAI({ apiKey: clientKey, baseURL: `${url}/v1` })[api]("smart")

const anthropic =
  (name: string) =>
  async ({ url }: Stage) =>
    (await load(name)).createAnthropic({ apiKey: clientKey, baseURL: `${url}/v1` })("smart")

const version = (ai: string, suffix: string): ReadonlyArray<Kit> => [
  { name: `${ai} on chat`, ai, dialect: "openai", model: openai(`@ai-sdk/openai${suffix}`, "chat") },
  { name: `${ai} on responses`, ai, dialect: "responses", model: openai(`@ai-sdk/openai${suffix}`, "responses") },
  { name: `${ai} on messages`, ai, dialect: "anthropic", model: anthropic(`@ai-sdk/anthropic${suffix}`) }
]

export const kits = [...version("ai", ""), ...version("ai-6", "-6")]

const quiet = () => {}

const facesOf = (kit: Kit): ReadonlyArray<Face> => {
  const face = (
    name: string,
    rest: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: (ai: Client, model: Client) => Promise<unknown> }
  ): Face => ({
    dialect: kit.dialect,
    repeats: true,
    errorName: () => "AI_APICallError",
    ...rest,
    name: `${kit.name}: ${name}`,
    ask: async (stage) => rest.ask(await load(kit.ai), await kit.model(stage))
  })
  const prompt = { prompt: question }
  return [
    face("generateText", {
      reply: Replies.text,
      says: words,
      ask: async (ai, model) => (await ai.generateText({ model, ...prompt })).text
    }),
    face("streamText", {
      reply: Replies.text,
      says: words,
      streams: true,
      ask: async (ai, model) => {
        let failure: unknown
        const onError = ({ error }: { readonly error: unknown }) => {
          failure ??= error
        }
        let read = ""
        try {
          for await (const text of ai.streamText({ model, ...prompt, onError }).textStream) read += text
        } catch (error) {
          failure ??= error
        }
        if (failure !== undefined) throw failure
        return read
      }
    }),
    face("generateText with tools", {
      reply: Replies.tool,
      says: call,
      ask: async (ai, model) => {
        const tools = { [call.name]: ai.tool({ description: "The weather", inputSchema: ai.jsonSchema(parameters) }) }
        const [made] = (await ai.generateText({ model, ...prompt, tools })).toolCalls
        return { name: made.toolName, arguments: made.input }
      }
    }),
    face("generateObject", {
      reply: Replies.json,
      says: city,
      ask: async (ai, model) => (await ai.generateObject({ model, ...prompt, schema: ai.jsonSchema(schema) })).object
    }),
    face("streamObject", {
      reply: Replies.json,
      says: city,
      streams: true,
      ask: async (ai, model) => {
        let failure: unknown
        const onError = ({ error }: { readonly error: unknown }) => {
          failure ??= error
        }
        const result = ai.streamObject({ model, ...prompt, schema: ai.jsonSchema(schema), onError })
        const object = result.object.catch((error: unknown) => {
          throw failure ?? error
        })
        for await (const _ of result.partialObjectStream) quiet()
        return object
      }
    })
  ]
}

export const faces: ReadonlyArray<Face> = kits.flatMap(facesOf)
