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

export const faces: ReadonlyArray<Face> = ollamas
