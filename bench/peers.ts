/** Others, each loaded only where it is measured. All of them use the `fetch` of the process, or undici. */
import { bareBody, bareStreamBody, deltaOf, model, question, textOf, url } from "./wire.js"

const apiKey = "sk-bench"
const headers = { authorization: `Bearer ${apiKey}`, "content-type": "application/json" }
const messages = [{ role: "user" as const, content: question }]

/** Reads frames by hand, as short as it can be. */
const frames = () => {
  const decoder = new TextDecoder()
  let rest = ""
  let length = 0
  return {
    read: (piece: Uint8Array): void => {
      const events = (rest + decoder.decode(piece, { stream: true })).split("\n\n")
      rest = events.pop() ?? ""
      for (const event of events) {
        if (event !== "data: [DONE]") length += deltaOf(JSON.parse(event.slice(6))).length
      }
    },
    length: () => length
  }
}

const completions = (baseUrl: string | undefined) => (baseUrl === undefined ? url : `${baseUrl}/chat/completions`)

export const fetchAlone = (baseUrl?: string) => {
  const target = completions(baseUrl)
  return {
    call: async () => textOf(await (await fetch(target, { method: "POST", headers, body: bareBody() })).text()),
    stream: async () => {
      const response = await fetch(target, { method: "POST", headers, body: bareStreamBody() })
      const { length, read } = frames()
      const reader = response.body?.getReader()
      for (let piece = await reader?.read(); piece?.value !== undefined; piece = await reader?.read()) read(piece.value)
      return length()
    }
  }
}

export const undici = async (baseUrl: string) => {
  const { Agent, request } = await import("@effect/platform-node/Undici")
  const dispatcher = new Agent()
  const send = (body: string) => request(completions(baseUrl), { method: "POST", headers, body, dispatcher })
  return {
    call: async () => textOf(await (await send(bareBody())).body.text()),
    stream: async () => {
      const { body } = await send(bareStreamBody())
      const { length, read } = frames()
      for await (const piece of body) read(piece)
      return length()
    }
  }
}

export const openai = async (baseUrl?: string) => {
  const { default: OpenAI } = await import("openai")
  const client = new OpenAI({ apiKey, ...(baseUrl === undefined ? {} : { baseURL: baseUrl }) })
  return {
    call: () => client.chat.completions.create({ model, messages }),
    open: () => client.chat.completions.create({ model, messages, stream: true }),
    stream: async () => {
      let length = 0
      for await (const chunk of await client.chat.completions.create({ model, messages, stream: true })) {
        length += chunk.choices[0]?.delta.content?.length ?? 0
      }
      return length
    }
  }
}

export const anthropic = async () => {
  const { default: Anthropic } = await import("@anthropic-ai/sdk")
  const client = new Anthropic({ apiKey })
  return { call: () => client.messages.create({ model: "claude-haiku-4-5", max_tokens: 100, messages }) }
}

export const aiSdk = async (baseUrl?: string) => {
  const { createOpenAI } = await import("@ai-sdk/openai")
  const { generateText, streamText } = await import("ai")
  const chat = createOpenAI({ apiKey, ...(baseUrl === undefined ? {} : { baseURL: baseUrl }) }).chat(model)
  return {
    call: () => generateText({ model: chat, prompt: question }),
    stream: async () => {
      let length = 0
      for await (const text of streamText({ model: chat, prompt: question }).textStream) length += text.length
      return length
    }
  }
}
