import { HttpClientRequest, type HttpClientResponse } from "@effect/platform"
import { Stream } from "effect"

/**
 * The request that each wire format is asked with.
 */
export const formats = {
  "openai-chat": {
    json: "/v1/chat/completions",
    stream: "/v1/chat/completions",
    body: { model: "m-1", messages: [{ role: "user", content: "four words of prompt" }] },
    headers: { authorization: "Bearer key-1" }
  },
  "openai-responses": {
    json: "/v1/responses",
    stream: "/v1/responses",
    body: { model: "m-1", input: "four words of prompt" },
    headers: { authorization: "Bearer key-1" }
  },
  anthropic: {
    json: "/v1/messages",
    stream: "/v1/messages",
    body: { model: "m-1", max_tokens: 10, messages: [{ role: "user", content: "four words of prompt" }] },
    headers: { "x-api-key": "key-1" }
  },
  gemini: {
    json: "/v1beta/models/m-1:generateContent",
    stream: "/v1beta/models/m-1:streamGenerateContent?alt=sse",
    body: { contents: [{ role: "user", parts: [{ text: "four words of prompt" }] }] },
    headers: { "x-goog-api-key": "key-1" }
  }
} as const

export type Format = keyof typeof formats

export const names = Object.keys(formats) as ReadonlyArray<Format>

const bodyOf = (format: Format, stream: boolean, more: object) => ({
  ...formats[format].body,
  ...(stream && format !== "gemini" ? { stream: true } : {}),
  ...more
})

export const request = (format: Format, stream = false, more: object = {}): HttpClientRequest.HttpClientRequest =>
  HttpClientRequest.post(`https://api.example.com${formats[format][stream ? "stream" : "json"]}`).pipe(
    HttpClientRequest.setHeaders(formats[format].headers),
    HttpClientRequest.bodyUnsafeJson(bodyOf(format, stream, more))
  )

export const ask = (url: string, format: Format, stream = false, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}${formats[format][stream ? "stream" : "json"]}`, {
    method: "POST",
    headers: { ...formats[format].headers, "content-type": "application/json" },
    body: JSON.stringify(bodyOf(format, stream, {})),
    ...init
  })

/**
 * Parsed `data:` of a stream of events, with `[DONE]` as a string.
 */
export const events = (text: string): ReadonlyArray<Record<string, unknown>> =>
  text
    .split(/\r?\n\r?\n/)
    .filter((block) => block !== "")
    .map((block) => {
      const data = /^data: (.*)$/m.exec(block)?.[1] ?? block
      return data === "[DONE]" ? { done: true } : (JSON.parse(data) as Record<string, unknown>)
    })

/**
 * A value inside a value: `at(x, "choices", 0, "delta")`.
 */
export const at = (u: unknown, ...path: ReadonlyArray<string | number>): unknown =>
  path.reduce<unknown>(
    (value, key) => (typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined),
    u
  )

const string = (u: unknown): string => (typeof u === "string" ? u : "")

const deltaOf = (format: Format, event: unknown): string => {
  switch (format) {
    case "openai-chat":
      return string(at(event, "choices", 0, "delta", "content"))
    case "openai-responses":
      return at(event, "type") === "response.output_text.delta" ? string(at(event, "delta")) : ""
    case "anthropic":
      return string(at(event, "delta", "text"))
    case "gemini": {
      const part = at(event, "candidates", 0, "content", "parts", 0)
      return at(part, "thought") === true ? "" : string(at(part, "text"))
    }
  }
}

/**
 * The text that a client would put together from a stream's events.
 */
export const textOf = (format: Format, all: ReadonlyArray<unknown>): string =>
  all.map((event) => deltaOf(format, event)).join("")

/**
 * The text of an answer that is not streamed.
 */
export const wholeText = (format: Format, body: unknown): unknown => {
  switch (format) {
    case "openai-chat":
      return at(body, "choices", 0, "message", "content")
    case "openai-responses":
      return at(body, "output", 0, "content", 0, "text")
    case "anthropic":
      return at(body, "content", 0, "text")
    case "gemini":
      return at(body, "candidates", 0, "content", "parts", 0, "text")
  }
}

export const readStream = (response: HttpClientResponse.HttpClientResponse) =>
  response.stream.pipe(Stream.decodeText(), Stream.mkString)
