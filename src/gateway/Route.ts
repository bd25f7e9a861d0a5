/**
 * What a client asks the gateway for, from method and path alone.
 *
 * Clients put the base URL together in their own ways: with `/v1` or without, with it twice, under `/openai` or `/api`.
 * The path decides, never the query.
 *
 * @since 0.2.0
 */

import type { Dialect } from "../http/Dialect.js"
import type * as EmbeddingsBody from "../http/EmbeddingsBody.js"

/**
 * A route of the gateway.
 *
 * @since 0.2.0
 * @category models
 */
export type Route =
  /** An answer of a model. Gemini's clients name the model, and whether to stream, in the path. */
  | { readonly _tag: "Chat"; readonly dialect: Dialect; readonly model?: string; readonly stream?: boolean }
  | { readonly _tag: "CountTokens"; readonly dialect: "anthropic" | "gemini"; readonly model?: string }
  | { readonly _tag: "Embeddings"; readonly dialect: EmbeddingsBody.Dialect }
  /** The list of models, or one of them. */
  | { readonly _tag: "Models"; readonly dialect: Dialect; readonly id?: string }
  /** What an Ollama client wants to know of the model in its body, and of its server. */
  | { readonly _tag: "Show" | "Version"; readonly dialect: "ollama" }
  /** An API of the provider that the gateway hands on as it is. `path` is without the version. */
  | { readonly _tag: "Passthrough"; readonly path: string }
  /** A page for the operator. */
  | { readonly _tag: "Operator"; readonly page: "healthz" | "readyz" | "metrics" | "status" | "dashboard" }
  | { readonly _tag: "Welcome" }
  /** The path is known, and takes other methods. */
  | { readonly _tag: "WrongMethod"; readonly dialect: Dialect; readonly allowed: string }
  | { readonly _tag: "Unknown"; readonly dialect: Dialect }

/** The APIs that are handed on. */
const handedOn = /^\/(?:files|uploads|batches|images|audio|rerank|moderations)(?:\/|$)/

/** Steps that lead out of a path, as a URL reads them: what is handed on has our key. */
const leavesPath = /(?:^|[/\\])(?:\.|%2e){1,2}(?:[/\\]|$)/i

const pages = new Set(["healthz", "readyz", "metrics", "status"])

const versions = /^(?:\/(?:openai|api))?((?:\/v1(?:beta)?)*)(\/.*)$/

const action = /^\/models\/([^/:]+|[^:]+):(generateContent|streamGenerateContent|countTokens)$/

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** The route of a path that is there for one method alone. */
const only = (method: string, allowed: string, dialect: Dialect, route: Route): Route =>
  method === allowed || (method === "HEAD" && allowed === "GET") ? route : { _tag: "WrongMethod", dialect, allowed }

/** The routes of Gemini's clients: the model stands in the path. */
const geminiOf = (method: string, rest: string): Route | undefined => {
  const asked = action.exec(rest)
  if (asked === null) return undefined
  const model = decoded(asked[1] as string)
  return only(
    method,
    "POST",
    "gemini",
    asked[2] === "countTokens"
      ? { _tag: "CountTokens", dialect: "gemini", model }
      : { _tag: "Chat", dialect: "gemini", model, stream: asked[2] === "streamGenerateContent" }
  )
}

type Found = readonly [method: "GET" | "POST", route: Route & { readonly dialect: Dialect }]

/** The routes that their path alone decides. Ollama's are whole paths: `/api` is a base of other clients too. */
const fixed = new Map<string, Found>([
  ["/chat/completions", ["POST", { _tag: "Chat", dialect: "openai" }]],
  ["/responses", ["POST", { _tag: "Chat", dialect: "responses" }]],
  ["/messages", ["POST", { _tag: "Chat", dialect: "anthropic" }]],
  ["/messages/count_tokens", ["POST", { _tag: "CountTokens", dialect: "anthropic" }]],
  ["/embeddings", ["POST", { _tag: "Embeddings", dialect: "openai" }]],
  ["/v2/chat", ["POST", { _tag: "Chat", dialect: "cohere" }]],
  ["/v2/embed", ["POST", { _tag: "Embeddings", dialect: "cohere" }]],
  ["/api/chat", ["POST", { _tag: "Chat", dialect: "ollama" }]],
  ["/api/generate", ["POST", { _tag: "Chat", dialect: "ollama-generate" }]],
  ["/api/embed", ["POST", { _tag: "Embeddings", dialect: "ollama" }]],
  ["/api/show", ["POST", { _tag: "Show", dialect: "ollama" }]],
  ["/api/tags", ["GET", { _tag: "Models", dialect: "ollama" }]],
  ["/api/version", ["GET", { _tag: "Version", dialect: "ollama" }]]
])

/**
 * The route of a request. `url` is the request target, as HTTP sends it.
 *
 * @since 0.2.0
 * @category constructors
 */
export const of = (method: string, url: string): Route => {
  const query = url.indexOf("?")
  const whole = query < 0 ? url : url.slice(0, query)
  const path = whole.length > 1 && whole.endsWith("/") ? whole.slice(0, -1) : whole
  if (path === "/") return { _tag: "Welcome" }
  const page = path.slice(1)
  if (pages.has(page)) {
    return only(method, "GET", "openai", { _tag: "Operator", page: page as "healthz" })
  }
  if (path === "/dashboard" || path.startsWith("/dashboard/")) return { _tag: "Operator", page: "dashboard" }
  const [, version = "", rest = path] = versions.exec(path) ?? []
  const dialect: Dialect = version.includes("beta") ? "gemini" : "openai"
  const found = fixed.get(path) ?? fixed.get(rest)
  if (found !== undefined) return only(method, found[0], found[1].dialect, found[1])
  const gemini = geminiOf(method, rest)
  if (gemini !== undefined) return gemini
  if (rest === "/models") return only(method, "GET", dialect, { _tag: "Models", dialect })
  if (rest.startsWith("/models/")) {
    return only(method, "GET", dialect, { _tag: "Models", dialect, id: decoded(rest.slice("/models/".length)) })
  }
  if (handedOn.test(rest) && !leavesPath.test(rest)) return { _tag: "Passthrough", path: rest }
  return { _tag: "Unknown", dialect: version === "" && path.startsWith("/api/") ? "ollama" : dialect }
}
