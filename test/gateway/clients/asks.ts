import { clientKey, type Dialect, type Stage } from "./gateway.js"
import { question } from "./replies.js"

const messages = [{ role: "user", content: question }]

/** The path and the body of a plain question in each dialect. */
export const asks: { readonly [K in Dialect]: (stream: boolean) => readonly [path: string, body: object] } = {
  openai: (stream) => ["/v1/chat/completions", { model: "smart", stream, messages }],
  responses: (stream) => ["/v1/responses", { model: "smart", stream, input: question }],
  anthropic: (stream) => ["/v1/messages", { model: "smart", stream, max_tokens: 99, messages }],
  gemini: (stream) => [
    `/v1beta/models/smart:${stream ? "streamGenerateContent?alt=sse" : "generateContent"}`,
    { contents: [{ role: "user", parts: [{ text: question }] }] }
  ]
}

/** Asks without a client. */
export const post = (
  { url }: Stage,
  dialect: Dialect,
  stream: boolean,
  more: Readonly<Record<string, string>> = {}
): Promise<Response> => {
  const [path, body] = asks[dialect](stream)
  const headers = { authorization: `Bearer ${clientKey}`, "content-type": "application/json", ...more }
  return fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) })
}
