import type { Face } from "./faces.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, city, parameters, question, schema, thoughts, words } = Replies

/** The clients of APIs that no provider behind the gateway speaks. */

const messages = [{ role: "user", content: question }]
const tools = [{ type: "function", function: { name: call.name, description: "The weather", parameters } }]
const asked = { model: "smart", messages }

const authorization = `Bearer ${clientKey}`

/** What a stream says, piece by piece. */
const joined = async (stream: AsyncIterable<Client>, of: (piece: Client) => string | undefined): Promise<string> => {
  let read = ""
  for await (const piece of stream) read += of(piece) ?? ""
  return read
}

/** The client of Ollama. It has a status only in a field of its own. */
const ollama = (
  name: string,
  face: Pick<Face, "reply" | "says" | "kinds" | "streams" | "late">,
  ask: (client: Client) => Promise<unknown>
): Face => ({
  ...face,
  name: `ollama: ${name}`,
  dialect: "ollama",
  errorName: () => "ResponseError",
  broken: "Error undefined",
  ask: async ({ url }: Stage) => {
    const { Ollama } = await load("ollama")
    return ask(new Ollama({ host: url, headers: { authorization } })).catch((error: Client) => {
      throw Object.assign(error, { status: error.status_code })
    })
  }
})

const called = ({ function: made }: Client) => ({ name: made.name, arguments: made.arguments })

const ollamas: ReadonlyArray<Face> = [
  ollama("chat", { reply: Replies.text, says: words }, async (client) => (await client.chat(asked)).message.content),
  ollama("chat, streamed", { reply: Replies.text, says: words, streams: true }, async (client) =>
    joined(await client.chat({ ...asked, stream: true }), ({ message }) => message.content)
  ),
  ollama("tools", { reply: Replies.tool, says: call }, async (client) =>
    called((await client.chat({ ...asked, tools })).message.tool_calls[0])
  ),
  ollama("tools, streamed", { reply: Replies.tool, says: call, streams: true, late: true }, async (client) => {
    const calls: Array<unknown> = []
    for await (const { message } of await client.chat({ ...asked, tools, stream: true })) {
      calls.push(...(message.tool_calls ?? []).map(called))
    }
    return calls[0]
  }),
  ollama("structured output", { reply: Replies.json, says: city }, async (client) =>
    JSON.parse((await client.chat({ ...asked, format: schema })).message.content)
  ),
  ollama("thoughts", { reply: Replies.thinking, says: { thoughts, words } }, async (client) => {
    const { message } = await client.chat({ ...asked, think: true })
    return { thoughts: message.thinking, words: message.content }
  }),
  ollama(
    "generate",
    { reply: Replies.text, says: words },
    async (client) => (await client.generate({ model: "smart", prompt: question })).response
  ),
  ollama("generate, streamed", { reply: Replies.text, says: words, streams: true }, async (client) =>
    joined(await client.generate({ model: "smart", prompt: question, stream: true }), ({ response }) => response)
  ),
  ollama("embed", { reply: Replies.text, says: [8, 8], kinds: ["openai", "gemini"] }, async (client) =>
    (await client.embed({ model: "vectors", input: ["one", "two"] })).embeddings.map(
      ({ length }: ReadonlyArray<number>) => length
    )
  )
]

/** The client of Cohere, which repeats by itself. It has a status only in an error of its own. */
const cohere = (
  name: string,
  face: Pick<Face, "reply" | "says" | "kinds" | "streams" | "late">,
  ask: (client: Client) => Promise<unknown>
): Face => ({
  ...face,
  name: `cohere-ai: ${name}`,
  dialect: "cohere",
  repeats: (status) => status >= 429,
  errorName: (status) => cohereErrors[status] ?? "CohereError",
  broken: "ParseError undefined",
  ask: async ({ url }: Stage) => {
    const { CohereClientV2 } = await load("cohere-ai")
    return ask(new CohereClientV2({ token: clientKey, baseUrl: url }))
  }
})

const cohereErrors: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  403: "ForbiddenError",
  404: "NotFoundError",
  429: "TooManyRequestsError",
  500: "InternalServerError",
  503: "ServiceUnavailableError",
  504: "GatewayTimeoutError"
}

const parsed = ({ function: made }: Client) => ({ name: made.name, arguments: JSON.parse(made.arguments) })

/** What a client puts together of the pieces of calls. */
const gathered = async (stream: AsyncIterable<Client>): Promise<ReadonlyArray<unknown>> => {
  const calls: Array<Client> = []
  for await (const { delta, index, type } of stream) {
    if (type === "tool-call-start") calls[index] = delta.message.toolCalls
    if (type === "tool-call-delta") calls[index].function.arguments += delta.message.toolCalls.function.arguments
  }
  return calls.map(parsed)
}

const coheres: ReadonlyArray<Face> = [
  cohere(
    "chat",
    { reply: Replies.text, says: words },
    async (client) => (await client.chat(asked)).message.content[0].text
  ),
  cohere("chatStream", { reply: Replies.text, says: words, streams: true }, async (client) =>
    joined(await client.chatStream(asked), ({ delta, type }) =>
      type === "content-delta" ? delta.message.content.text : undefined
    )
  ),
  cohere("tools", { reply: Replies.tool, says: call }, async (client) =>
    parsed((await client.chat({ ...asked, tools })).message.toolCalls[0])
  ),
  cohere("tools, streamed", { reply: Replies.tool, says: call, streams: true, late: true }, async (client) => {
    const [made] = await gathered(await client.chatStream({ ...asked, tools }))
    return made
  }),
  cohere("structured output", { reply: Replies.json, says: city }, async (client) => {
    const responseFormat = { type: "json_object", jsonSchema: schema }
    return JSON.parse((await client.chat({ ...asked, responseFormat })).message.content[0].text)
  }),
  cohere("thoughts", { reply: Replies.thinking, says: { thoughts, words } }, async (client) => {
    const { message } = await client.chat({ ...asked, thinking: { type: "enabled" } })
    const [first, second] = message.content
    return { thoughts: first.thinking, words: second.text }
  }),
  cohere("embed", { reply: Replies.text, says: [8, 8], kinds: ["openai", "gemini"] }, async (client) => {
    const wanted = { model: "vectors", texts: ["one", "two"], inputType: "search_query", embeddingTypes: ["float"] }
    return (await client.embed(wanted)).embeddings.float.map(({ length }: ReadonlyArray<number>) => length)
  })
]

export const faces: ReadonlyArray<Face> = [...ollamas, ...coheres]
