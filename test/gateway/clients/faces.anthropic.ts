import type { Face } from "./faces.js"
import { errorNames } from "./faces.openai.js"
import { clientKey, type Stage } from "./gateway.js"
import { type Client, load } from "./installed.js"
import * as Replies from "./replies.js"

const { call, parameters, question, thoughts, words } = Replies

const asked = { model: "smart", max_tokens: 4000, messages: [{ role: "user", content: question }] }
const thinking = { ...asked, thinking: { type: "enabled", budget_tokens: 1024 } }
const tools = [{ name: call.name, description: "The weather", input_schema: parameters }]

interface Block {
  readonly type: string
  readonly text?: string
  readonly thinking?: string
  readonly name?: string
  readonly input?: unknown
}

const block = ({ content }: { readonly content: ReadonlyArray<Block> }, type: string): Block | undefined =>
  content.find((one) => one.type === type)

const shown = (one: Block | undefined) => ({ name: one?.name, arguments: one?.input })

const names: Readonly<Record<number, string>> = { 504: "GatewayTimeoutError", 529: "OverloadedError" }

const face = (
  name: string,
  rest: Omit<Face, "name" | "ask" | "errorName"> & { readonly ask: (client: Client) => Promise<unknown> }
): Face => ({
  dialect: "anthropic",
  errorName: (status) => names[status] ?? errorNames(status),
  ...rest,
  name: `@anthropic-ai/sdk: ${name}`,
  ask: async ({ url }: Stage) => {
    const { Anthropic } = await load("@anthropic-ai/sdk")
    return rest.ask(new Anthropic({ apiKey: clientKey, baseURL: url }))
  }
})

export const faces: ReadonlyArray<Face> = [
  face("messages", {
    reply: Replies.text,
    says: words,
    ask: async (client) => block(await client.messages.create(asked), "text")?.text
  }),
  face("messages, streamed", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => {
      let read = ""
      for await (const event of await client.messages.create({ ...asked, stream: true }))
        read += event.delta?.text ?? ""
      return read
    }
  }),
  face("messages.stream()", {
    reply: Replies.text,
    says: words,
    streams: true,
    ask: async (client) => client.messages.stream(asked).finalText()
  }),
  face("tools", {
    reply: Replies.tool,
    says: call,
    ask: async (client) => shown(block(await client.messages.create({ ...asked, tools }), "tool_use"))
  }),
  face("tools, streamed", {
    reply: Replies.tool,
    says: call,
    streams: true,
    late: true,
    ask: async (client) => shown(block(await client.messages.stream({ ...asked, tools }).finalMessage(), "tool_use"))
  }),
  face("thinking", {
    reply: Replies.thinking,
    says: { thoughts, words },
    ask: async (client) => {
      const message = await client.messages.create(thinking)
      return { thoughts: block(message, "thinking")?.thinking, words: block(message, "text")?.text }
    }
  }),
  face("thinking, streamed", {
    reply: Replies.thinking,
    says: { thoughts, words },
    streams: true,
    ask: async (client) => {
      const message = await client.messages.stream(thinking).finalMessage()
      return { thoughts: block(message, "thinking")?.thinking, words: block(message, "text")?.text }
    }
  })
]
