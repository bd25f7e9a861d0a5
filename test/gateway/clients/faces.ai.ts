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
  readonly broken: string
  /** Its error for an object that breaks. Default: the same, but that it is the frame. */
  readonly brokenObject?: string
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

/** `broken` is the error of a broken stream on each API. Before version 7 that is no error, but the frame itself. */
const version = (ai: string, suffix: string, broken: readonly [string, string, string]): ReadonlyArray<Kit> => {
  const openAi = `@ai-sdk/openai${suffix}`
  return [
    { name: `${ai} on chat`, ai, dialect: "openai", broken: broken[0], model: openai(openAi, "chat") },
    { name: `${ai} on responses`, ai, dialect: "responses", broken: broken[1], model: openai(openAi, "responses") },
    {
      name: `${ai} on messages`,
      ai,
      dialect: "anthropic",
      broken: broken[2],
      model: anthropic(`@ai-sdk/anthropic${suffix}`)
    }
  ]
}

const google = async ({ url }: Stage) =>
  (await load("@ai-sdk/google")).createGoogle({ apiKey: clientKey, baseURL: `${url}/v1beta` })("smart")

const openrouter = async ({ url }: Stage) =>
  (await load("@openrouter/ai-sdk-provider")).createOpenRouter({ apiKey: clientKey, baseURL: `${url}/api/v1` })("smart")

const streamError = "AI_StreamProviderError 500"

export const kits: ReadonlyArray<Kit> = [
  ...version("ai", "", [streamError, streamError, streamError]),
  { name: "ai on gemini", ai: "ai", dialect: "gemini", broken: "AI_StreamProviderError 502", model: google },
  {
    name: "ai on openrouter",
    ai: "ai",
    dialect: "openai",
    broken: "AI_StreamProviderError 502",
    brokenObject: "Object undefined",
    model: openrouter
  },
  ...version("ai-6", "-6", ["Object undefined", "Object 500", "Object undefined"])
]

const quiet = () => {}

const facesOf = (kit: Kit): ReadonlyArray<Face> => {
  const face = (
    name: string,
    rest: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: (ai: Client, model: Client) => Promise<unknown> }
  ): Face => ({
    dialect: kit.dialect,
    repeats: (status) => status >= 429,
    broken: kit.broken,
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
      // Here version 7, too, gives the frame.
      broken: kit.brokenObject ?? kit.broken.replace("AI_StreamProviderError", "Object"),
      ask: async (ai, model) => {
        let failure: unknown
        const onError = ({ error }: { readonly error: unknown }) => {
          failure ??= error
        }
        const result = ai.streamObject({ model, ...prompt, schema: ai.jsonSchema(schema), onError })
        const object = result.object.catch((error: unknown) => {
          failure ??= error
        })
        try {
          for await (const _ of result.partialObjectStream) quiet()
        } catch (error) {
          failure ??= error
        }
        await object
        if (failure !== undefined) throw failure
        return object
      }
    })
  ]
}

export const faces: ReadonlyArray<Face> = kits.flatMap(facesOf)
