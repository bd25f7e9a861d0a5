import { request as send } from "node:http"
import { connect, type Socket } from "node:net"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert } from "@effect/vitest"
import { type Cause, Console, Context, Effect, Layer, type Scope } from "effect"
import { Gateway, GatewayConfig, GatewayServer, Observed } from "effect-steadfast/gateway"
import { NodeTransport } from "effect-steadfast/node"
import type { CallLog } from "effect-steadfast/observability"
import { FaultyProvider } from "effect-steadfast/testing"

/** Keys that may be seen by nobody but those they are meant for. */
export const keys = {
  alice: "sk-alice-5d0a3c9e71",
  bob: "sk-bob-81f2c4d6e0",
  admin: "sk-admin-77aa01bc9f",
  first: "sk-provider-first-93b1",
  second: "sk-provider-second-4e7c"
} as const

/** The configuration of a text. */
export const configOf = (text: string): GatewayConfig.Config =>
  Effect.runSync(
    GatewayConfig.parse(text, { file: "gateway.yaml", env: {}, readFile: () => Effect.fail("there is no file") })
  )

/** Attempts follow each other at once, and hints are waited for. */
export const swift =
  'retry: { maxAttempts: 2, initialDelay: "1 millis", overloadedDelay: "1 millis", maxDelay: "2 millis", jitter: none }'

export interface Stage {
  readonly gateway: Gateway.Gateway
  readonly server: GatewayServer.Running
  readonly url: string
  /** What was logged. */
  readonly lines: ReadonlyArray<string>
  readonly services: Context.Context<CallLog.CallLog | SqlClient.SqlClient>
}

/** A console that keeps what it is told. */
const keeping = (lines: Array<string>): Console.Console => {
  const keep = (...parts: ReadonlyArray<unknown>): void => void lines.push(parts.map(String).join(" "))
  const unsafe = new Proxy(console, { get: () => keep })
  const quiet = new Proxy(
    {},
    {
      get: (_, name) =>
        name === "unsafe" ? unsafe : (...parts: ReadonlyArray<unknown>) => Effect.sync(() => keep(...parts))
    }
  )
  return quiet as Console.Console
}

/** A gateway on a socket, with the observers that its configuration says. */
export const stage = (
  text: string
): Effect.Effect<Stage, Cause.YieldableError | GatewayConfig.ConfigProblems | unknown, Scope.Scope> =>
  Effect.gen(function* () {
    const config = configOf(`${text}\n`)
    const json = { ...config, observability: { ...config.observability, logFormat: "json" as const } }
    const lines: Array<string> = []
    const console = Console.setConsole(keeping(lines))
    const services = yield* Layer.build(
      Layer.provideMerge(Layer.merge(Observed.layer(json), NodeTransport.layer), console)
    )
    return yield* Effect.gen(function* () {
      const gateway = yield* Gateway.make(json)
      const server = yield* GatewayServer.listen(gateway, { host: "127.0.0.1", port: 0 })
      return { gateway, server, url: server.url, lines, services }
    }).pipe(Effect.provide(services), Effect.provide(console))
  })

export interface Heard {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  /** Whether the body was broken off. */
  readonly cut: boolean
}

export interface Asked {
  readonly method?: string
  readonly path?: string
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | object | undefined
  readonly signal?: AbortSignal
}

/** Asks over a connection of its own. Fails only where nothing was answered. */
export const ask = (url: string, asked: Asked = {}): Promise<Heard> =>
  new Promise((resolve, reject) => {
    const { body, headers = {}, key, path = "/v1/chat/completions", signal } = asked
    const bytes =
      body === undefined
        ? undefined
        : typeof body === "string" || body instanceof Uint8Array
          ? Buffer.from(body)
          : Buffer.from(JSON.stringify(body))
    const { hostname, port } = new URL(url)
    const request = send(
      {
        hostname,
        port,
        // The path as it is: a URL would mend it.
        path,
        method: asked.method ?? (bytes === undefined ? "GET" : "POST"),
        agent: false,
        signal,
        headers: {
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          ...(bytes === undefined ? {} : { "content-type": "application/json", "content-length": bytes.byteLength }),
          ...headers
        }
      },
      (response) => {
        let text = ""
        let ended = false
        response.setEncoding("utf8").on("data", (chunk: string) => {
          text += chunk
        })
        response.on("end", () => {
          ended = true
        })
        response.on("error", () => {})
        response.on("close", () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)])),
            body: text,
            cut: !ended
          })
        )
      }
    )
    request.on("error", reject)
    request.end(bytes)
  })

export const asking = (url: string, asked: Asked = {}): Effect.Effect<Heard> => Effect.promise(() => ask(url, asked))

/** A chat request of OpenAI's clients. */
export const chat = (model: string, more: object = {}) => ({
  model,
  messages: [{ role: "user", content: "say hello" }],
  ...more
})

/** The fields of an error that clients read. */
export const errorOf = ({ body }: Heard): { readonly [name: string]: unknown } =>
  (JSON.parse(body) as { readonly error: { readonly [name: string]: unknown } }).error

/** A connection without manners. */
export const dial = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: "127.0.0.1", port })
    socket.once("error", reject)
    socket.once("connect", () => {
      socket.off("error", reject).on("error", () => {})
      resolve(socket)
    })
  })

/** All that comes over a connection until it is closed. */
export const heardOn = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = ""
    socket.setEncoding("latin1").on("data", (chunk: string) => {
      text += chunk
    })
    socket.once("close", () => resolve(text))
  })

/** Waits until something holds; dies where it does not in time. */
export const eventually = (holds: () => boolean, what: string, millis = 15_000): Effect.Effect<void> =>
  Effect.repeat(Effect.delay(Effect.sync(holds), "5 millis"), { until: (held) => held }).pipe(
    Effect.timeoutFail({ duration: millis, onTimeout: () => new Error(`not in time: ${what}`) }),
    Effect.orDie,
    Effect.asVoid
  )

/** Two providers of OpenAI's kind and a gateway before them; `more` is said besides. */
export const staged = (
  first: FaultyProvider.ServeOptions = {},
  second: FaultyProvider.ServeOptions = {},
  more: {
    readonly server?: string
    readonly keys?: string
    readonly models?: string
    readonly providers?: string
    readonly rest?: string
  } = {}
) =>
  Effect.gen(function* () {
    const one = yield* FaultyProvider.serve(first)
    const two = yield* FaultyProvider.serve(second)
    const made = yield* stage(`
server: { adminKey: ${keys.admin}${more.server ?? ""} }
providers:
  first: { kind: openai, baseUrl: "${one.url}/v1", key: ${keys.first} }
  second: { kind: openai, baseUrl: "${two.url}/v1", key: ${keys.second} }
${more.providers ?? ""}
keys:
  - { name: alice, key: ${keys.alice} }
${more.keys ?? ""}
models:
  fast: { targets: [first/m1, second/m2], ${swift} }
  single: { targets: [first/m1], ${swift} }
${more.models ?? ""}
${more.rest ?? ""}
`)
    return { ...made, first: one, second: two }
  })

/** How often a provider was asked. */
export const count = (provider: FaultyProvider.Control): Effect.Effect<number> =>
  Effect.map(provider.requests, ({ length }) => length)

/** A path of each dialect, with a body for it. Ollama streams unless it is told otherwise. */
export const dialects = [
  ["openai", "/v1/chat/completions", chat("fast")],
  ["responses", "/v1/responses", { model: "fast", input: "say hello" }],
  ["anthropic", "/v1/messages", { ...chat("fast"), max_tokens: 9 }],
  ["gemini", "/v1beta/models/fast:generateContent", { contents: [{ role: "user", parts: [{ text: "say hello" }] }] }],
  ["ollama", "/api/chat", chat("fast", { stream: false })],
  ["ollama", "/api/generate", { model: "fast", prompt: "say hello", stream: false }],
  ["cohere", "/v2/chat", chat("fast")]
] as const

/** An error as a client of a dialect reads it. */
export const isRefused = (heard: Heard, status: number, dialect: string): void => {
  assert.strictEqual(heard.status, status, heard.body)
  assert.strictEqual(heard.headers["x-should-retry"], "false")
  assert.include(heard.headers["content-type"], "application/json")
  assert.isFalse(heard.cut)
  if (dialect === "ollama") {
    assert.isString(errorOf(heard))
    return
  }
  const { code, message, type } = errorOf(heard)
  assert.isString(message)
  assert.isString(type)
  if (dialect === "gemini") assert.strictEqual(code, status)
  else assert.isString(code)
}
