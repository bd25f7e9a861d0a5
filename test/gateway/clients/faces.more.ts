import { callOf, shown, textOf } from "./chunks.js"
import type { Face } from "./faces.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, words } = Replies

const messages = [{ role: "user", content: question }]
const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
const format = { name: "place", schema, strict: true }

/** One that asks three times, soon after one another: by its own default it goes on for an hour. */
export const openrouter = async ({ url }: Stage): Promise<Client> => {
  const { OpenRouter } = await load("@openrouter/sdk")
  const backoff = { initialInterval: 5, maxInterval: 20, exponent: 1, maxElapsedTime: 3_600_000 }
  const retryConfig = { strategy: "backoff", backoff, retryConnectionErrors: true }
  const retryCodes = ["5XX"]
  // Of a `Request` that nobody holds, Node 20 forgets the signal when it collects garbage.
  const asked: Array<Request> = []
  const request = (one: Request): Promise<Response> => {
    if (asked.push(one) === 3) retryCodes.pop()
    return fetch(one)
  }
  const options = { apiKey: clientKey, serverURL: `${url}/api/v1`, retryConfig, httpClient: { request } }
  const { chat } = new OpenRouter(options)
  return { send: (asked: object, more: object = {}) => chat.send(asked, { ...more, retryCodes }) }
}

const chat = { model: "smart", messages }

const openrouterErrors: Readonly<Record<number, string>> = {
  400: "BadRequestResponseError",
  403: "ForbiddenResponseError",
  404: "NotFoundResponseError",
  429: "TooManyRequestsResponseError",
  500: "InternalServerResponseError",
  502: "BadGatewayResponseError",
  503: "ServiceUnavailableResponseError"
}

const openrouters: ReadonlyArray<Face> = (
  [
    {
      name: "chat",
      reply: Replies.text,
      says: words,
      ask: async (stage) => (await (await openrouter(stage)).send({ chatRequest: chat })).choices[0].message.content
    },
    {
      name: "chat, streamed",
      reply: Replies.text,
      says: words,
      streams: true,
      ask: async (stage) => textOf(await (await openrouter(stage)).send({ chatRequest: { ...chat, stream: true } }))
    },
    {
      name: "tools",
      reply: Replies.tool,
      says: call,
      ask: async (stage) => {
        const { choices } = await (await openrouter(stage)).send({ chatRequest: { ...chat, tools } })
        return shown(choices[0].message.toolCalls[0].function)
      }
    },
    {
      name: "tools, streamed",
      reply: Replies.tool,
      says: call,
      streams: true,
      late: true,
      ask: async (stage) => {
        const chatRequest = { ...chat, tools, stream: true }
        return callOf(await (await openrouter(stage)).send({ chatRequest }), "toolCalls")
      }
    },
    {
      name: "structured output",
      reply: Replies.json,
      says: city,
      ask: async (stage) => {
        const chatRequest = { ...chat, responseFormat: { type: "json_schema", jsonSchema: format } }
        return JSON.parse((await (await openrouter(stage)).send({ chatRequest })).choices[0].message.content)
      }
    }
  ] satisfies ReadonlyArray<Omit<Face, "errorName">>
).map((face) => ({
  ...face,
  name: `@openrouter/sdk: ${face.name}`,
  repeats: (status: number) => status >= 500,
  // The socket breaks, and the chunk before it tells why.
  broken: "TypeError undefined",
  errorName: (status: number) => openrouterErrors[status] ?? "OpenRouterDefaultError"
}))

export const huggingface = async ({ url }: Stage): Promise<Client> => {
  const { InferenceClient } = await load("@huggingface/inference")
  return new InferenceClient(clientKey, { endpointUrl: `${url}/v1` })
}

const huggingfaces: ReadonlyArray<Face> = (
  [
    {
      name: "chatCompletion",
      reply: Replies.text,
      says: words,
      ask: async (stage) => (await (await huggingface(stage)).chatCompletion(chat)).choices[0].message.content
    },
    {
      name: "chatCompletionStream",
      reply: Replies.text,
      says: words,
      streams: true,
      ask: async (stage) => textOf((await huggingface(stage)).chatCompletionStream(chat))
    },
    {
      name: "tools",
      reply: Replies.tool,
      says: call,
      ask: async (stage) => {
        const { choices } = await (await huggingface(stage)).chatCompletion({ ...chat, tools })
        return shown(choices[0].message.tool_calls[0].function)
      }
    },
    {
      name: "tools, streamed",
      reply: Replies.tool,
      says: call,
      streams: true,
      late: true,
      ask: async (stage) => callOf((await huggingface(stage)).chatCompletionStream({ ...chat, tools }))
    }
  ] satisfies ReadonlyArray<Omit<Face, "errorName">>
).map((face) => ({
  ...face,
  name: `@huggingface/inference: ${face.name}`,
  overloaded: 529,
  broken: "ProviderApiError 200",
  errorName: () => "ProviderApiError"
}))

export const faces: ReadonlyArray<Face> = [...openrouters, ...huggingfaces]
