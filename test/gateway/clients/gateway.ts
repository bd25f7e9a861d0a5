import type { IncomingMessage, ServerResponse } from "node:http"
import { Duration, Effect, Logger, ManagedRuntime, Redacted } from "effect"
import { Gateway, GatewayServer } from "effect-steadfast/gateway"
import { NodeTransport } from "effect-steadfast/node"
import { FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import * as ClientKeys from "../../../src/gateway/ClientKeys.js"
import type { Config, Kind, Model, Provider } from "../../../src/gateway/config/Resolved.js"

/** What speaks the dialects behind the gateway. */
export const kinds = ["openai", "responses", "anthropic", "gemini"] as const

export type Dialect = (typeof kinds)[number]

/** The key of the client, which no provider may see. */
export const clientKey = "sk-client-3f9a1c77b2"

/** The keys of the providers, which no client may see. */
export const providerKeys = ["sk-provider-a-81d0e6", "sk-provider-b-5c24f9"] as const

const server: Config["server"] = {
  host: "127.0.0.1",
  port: 0,
  maxBodyBytes: 1_000_000,
  maxConcurrent: 100,
  maxConnections: 100,
  requestTimeout: Duration.seconds(30),
  drain: Duration.seconds(1),
  keepAlive: Duration.seconds(15),
  readerTimeout: Duration.seconds(30),
  rememberFailures: Duration.seconds(60),
  processing: true,
  open: false,
  verboseErrors: false,
  adminKeyHash: undefined
}

const observability: Config["observability"] = {
  callLog: undefined,
  retention: undefined,
  otlp: undefined,
  logLevel: "debug",
  logFormat: "text",
  metricLabels: []
}

const paths: { readonly [K in Kind]: string } = {
  openai: "/v1",
  responses: "/v1",
  anthropic: "/v1",
  gemini: "/v1beta",
  azure: "",
  faulty: ""
}

const provider = (name: string, kind: Dialect, url: string, key: string): Provider => ({
  name,
  kind,
  baseUrl: url + paths[kind],
  keys: [Redacted.make(key)],
  keyGroup: undefined,
  headers: {},
  apiVersion: undefined,
  limits: undefined,
  faults: undefined
})

/** At most two attempts at each target, at once after one another; hints above half a second end the call. */
const retry: Model["retry"] = {
  maxAttempts: 2,
  initialDelay: "2 millis",
  overloadedDelay: "2 millis",
  maxDelay: "5 millis",
  maxHint: "500 millis",
  jitter: "none"
}

const model = (kind: Model["kind"], name: string, targets: number, attempt: Duration.DurationInput): Model => ({
  name,
  aliases: [],
  kind,
  targets: ["first", "second"].slice(0, targets).map((provider) => ({
    provider,
    model: `${provider}-model`,
    weight: undefined,
    retry: undefined,
    timeout: undefined
  })),
  fallbacks: [],
  retry,
  timeout: { attempt },
  deadline: Duration.seconds(60),
  fallback: undefined,
  balance: undefined,
  hedge: undefined,
  mode: "strict",
  bounds: { maxAttempts: 8, timeout: Duration.seconds(60) }
})

/** A request that a client has sent to the gateway. */
export interface Heard {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage["headers"]
}

/** A gateway, the providers behind it, and all that went through it. */
export interface Stage {
  readonly url: string
  readonly first: FaultyProvider.Served
  readonly second: FaultyProvider.Served
  /** The requests of clients. */
  readonly heard: ReadonlyArray<Heard>
  /** All that the gateway has said to clients, as it stood on the wire. */
  readonly said: () => string
  /** What the gateway has logged. */
  readonly logged: () => string
}

export interface Options {
  readonly kind: Dialect
  readonly script: ReadonlyArray<Step.Step>
  /** The dialect of a second target. Default: there is none. */
  readonly next?: Dialect | undefined
  /** What the second target answers. */
  readonly reply?: Step.Step | undefined
  /** Whether clients see what providers say of errors. Default `false`. */
  readonly verbose?: boolean | undefined
  /** The time of an attempt. Default 30 seconds. */
  readonly attempt?: Duration.DurationInput | undefined
}

/** Reads along on the sockets of clients. */
const tapped = (gateway: Gateway.Gateway, heard: Array<Heard>, chunks: Array<Buffer>): Gateway.Gateway => {
  const known = new WeakSet<object>()
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    const { headers, method = "", socket, url = "" } = request
    heard.push({ method, url, headers })
    if (!known.has(socket)) {
      known.add(socket)
      const write = socket.write.bind(socket) as (chunk: string | Uint8Array, ...rest: Array<never>) => boolean
      socket.write = (chunk: string | Uint8Array, ...rest: Array<never>) => {
        chunks.push(Buffer.from(chunk as string, typeof rest[0] === "string" ? rest[0] : "utf8"))
        return write(chunk, ...rest)
      }
    }
    gateway.handle(request, response)
  }
  return { ...gateway, handle }
}

const transport = ManagedRuntime.make(NodeTransport.layer)

/** Runs a test against a gateway of its own. */
export const staged = async <A>(options: Options, use: (stage: Stage) => Promise<A>): Promise<A> => {
  const heard: Array<Heard> = []
  const chunks: Array<Buffer> = []
  const lines: Array<string> = []
  const program = Effect.gen(function* () {
    const first = yield* FaultyProvider.serve({ script: options.script })
    const second = yield* FaultyProvider.serve({ script: [options.reply ?? Reply.text("ok")] })
    const targets = options.next === undefined ? 1 : 2
    const attempt = options.attempt ?? "30 seconds"
    const config: Config = {
      server: { ...server, verboseErrors: options.verbose ?? false },
      observability,
      providers: new Map([
        ["first", provider("first", options.kind, first.url, providerKeys[0])],
        ["second", provider("second", options.next ?? options.kind, second.url, providerKeys[1])]
      ]),
      models: [model("chat", "smart", targets, attempt), model("embeddings", "vectors", 1, attempt)],
      keys: [
        {
          name: "team",
          hash: ClientKeys.hashOf(clientKey),
          models: undefined,
          requestsPerMinute: undefined,
          tokensPerMinute: undefined,
          maxConcurrent: undefined,
          usdPerDay: undefined,
          labels: {}
        }
      ],
      prices: {},
      passthrough: undefined,
      notes: []
    }
    const gateway = tapped(yield* Gateway.make(config), heard, chunks)
    const { url } = yield* GatewayServer.listen(gateway)
    const said = () => Buffer.concat(chunks).toString("utf8")
    return yield* Effect.promise(() => use({ url, first, second, heard, said, logged: () => lines.join("\n") }))
  })
  const logger = Logger.replace(
    Logger.defaultLogger,
    Logger.map(Logger.jsonLogger, (line) => void lines.push(line))
  )
  return transport.runPromise(Effect.scoped(program).pipe(Effect.provide(logger)))
}

/** The requests at both providers. */
export const requestsOf = (stage: Stage) => Effect.runPromise(Effect.all([stage.first.requests, stage.second.requests]))

const key = /sk-(?:client|provider)-/

/** Whom a key has reached for whom it was not. */
export const leaks = async (stage: Stage): Promise<ReadonlyArray<string>> => {
  const requests = (await requestsOf(stage)).flat()
  return [
    ...(key.test(stage.said()) ? ["a client"] : []),
    ...(key.test(stage.logged()) ? ["the log"] : []),
    ...(JSON.stringify(requests).includes(clientKey) ? ["a provider"] : []),
    ...(requests.every(({ key }) => providerKeys.some((own) => own === key)) ? [] : ["a provider of another"])
  ]
}
