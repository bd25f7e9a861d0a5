/**
 * A gateway's configuration after it was read and checked: what the gateway is built from. Secrets are `Redacted`.
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import type * as Redacted from "effect/Redacted"
import type * as ChatModel from "../../chat/ChatModel.js"
import type * as LlmError from "../../errors/LlmError.js"
import type * as Balancer from "../../policies/balance/Balancer.js"
import type * as Hedge from "../../policies/Hedge.js"
import type * as Pacer from "../../policies/pacer/Pacer.js"
import type * as RetryPolicy from "../../policies/retry/RetryPolicy.js"
import type * as Prices from "../../policies/spend/Prices.js"

/**
 * The API that a provider speaks. `faulty` is the provider of tests, inside of the gateway.
 *
 * @since 0.2.0
 * @category models
 */
export type Kind = "openai" | "responses" | "anthropic" | "gemini" | "azure" | "faulty"

/**
 * A provider.
 *
 * @since 0.2.0
 * @category models
 */
export interface Provider {
  readonly name: string
  readonly kind: Kind
  /** Without a slash at its end. Absent: the provider's own. For `azure` the endpoint. */
  readonly baseUrl: string | undefined
  /** One or more: several are a pool. Empty: no key is sent. */
  readonly keys: ReadonlyArray<Redacted.Redacted>
  readonly keyGroup: string | undefined
  readonly headers: Readonly<Record<string, string | Redacted.Redacted>>
  readonly apiVersion: string | undefined
  /** The limits that each key has, and the longest wait for them. `undefined`: learned. */
  readonly limits: Pacer.Options | undefined
  /** `faulty` alone: what goes wrong, and how often. */
  readonly faults: Faults | undefined
}

/**
 * The faults of the embedded provider.
 *
 * @since 0.2.0
 * @category models
 */
export interface Faults {
  /** The share of requests that fail, 0 to 1. */
  readonly errorRate: number
  /** The status of those failures. */
  readonly status: number
  /** The time to each answer. */
  readonly latency: Duration.Duration
}

/**
 * A target: a provider and its model, with what differs from the model it serves.
 *
 * @since 0.2.0
 * @category models
 */
export interface Target {
  readonly provider: string
  readonly model: string
  /** The share of traffic where targets are balanced. Default 1. */
  readonly weight: number | undefined
  readonly retry: RetryPolicy.Options | undefined
  readonly timeout: ChatModel.Timeouts | undefined
}

/**
 * Whether an error of each tag goes over to the next target.
 *
 * @since 0.2.0
 * @category models
 */
export type FallbackRules = { readonly [K in Exclude<LlmError.Tag, "ContextLengthExceeded">]?: boolean } & {
  readonly ContextLengthExceeded?: "larger-window" | boolean
}

/**
 * A model that clients may name.
 *
 * @since 0.2.0
 * @category models
 */
export interface Model {
  readonly name: string
  readonly aliases: ReadonlyArray<string>
  /** Whether it answers chats or makes vectors. */
  readonly kind: "chat" | "embeddings"
  /** At least one, the first choice first. */
  readonly targets: ReadonlyArray<Target>
  /** Other models of this file that are asked when all targets failed. */
  readonly fallbacks: ReadonlyArray<string>
  /** `undefined`: the library's policy. */
  readonly retry: RetryPolicy.Options | undefined
  readonly timeout: ChatModel.Timeouts | undefined
  readonly deadline: Duration.Duration
  /** When the next target is asked, by the tag of the error; tags left out as in `Fallback`. `false`: never. */
  readonly fallback: FallbackRules | false | undefined
  /** How the targets share the traffic. `undefined`: in order, the next one only after a failure. */
  readonly balance: Balancer.Strategy | undefined
  /** Asks the second target too, where the first is late. */
  readonly hedge: Hedge.Options | undefined
  /** How a stream that broke goes on. Clients cannot take text back, so `restart` is none of them. */
  readonly mode: "strict" | "continue"
  /** Headers of a client may change the call only within these. */
  readonly bounds: { readonly maxAttempts: number; readonly timeout: Duration.Duration }
}

/**
 * A client, by its key.
 *
 * @since 0.2.0
 * @category models
 */
export interface ClientKey {
  readonly name: string
  /** SHA-256 of the key, in lower-case hexadecimal digits. The key itself is kept nowhere. */
  readonly hash: string
  /** The models that it may ask, by name. `undefined`: all. */
  readonly models: ReadonlyArray<string> | undefined
  readonly requestsPerMinute: number | undefined
  readonly tokensPerMinute: number | undefined
  readonly maxConcurrent: number | undefined
  /** US dollars a day, in UTC. */
  readonly usdPerDay: number | undefined
  readonly labels: Readonly<Record<string, string>>
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Server {
  readonly host: string
  readonly port: number
  /** Whether others than this machine may ask without a key. */
  readonly open: boolean
  readonly maxBodyBytes: number
  /** Requests at once; above it, clients get 503. */
  readonly maxConcurrent: number
  readonly maxConnections: number
  /** How long a client may take to send its request. */
  readonly requestTimeout: Duration.Duration
  /** How long running answers may take after SIGTERM. */
  readonly drain: Duration.Duration
  /**
   * How long an idle connection stays open. Load balancers close theirs after 60 seconds, most often: one that we close
   * before may have a request on its way.
   */
  readonly keepAlive: Duration.Duration
  readonly readerTimeout: Duration.Duration
  /** How long a failed request is answered from memory, if the same client repeats it. Zero: never. */
  readonly rememberFailures: Duration.Duration
  readonly processing: boolean
  readonly verboseErrors: boolean
  /** SHA-256 of the admin key. `undefined`: the pages of the operator are there for this machine alone. */
  readonly adminKeyHash: string | undefined
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Observability {
  /** A `file:` URL, a path or a `postgres://` URL of the call log. `undefined`: none. */
  readonly callLog: Redacted.Redacted | undefined
  readonly retention: Duration.Duration | undefined
  /** The base URL of an OTLP/HTTP receiver. */
  readonly otlp: { readonly url: string; readonly headers: Readonly<Record<string, Redacted.Redacted>> } | undefined
  readonly logLevel: "debug" | "info" | "warn" | "error"
  readonly logFormat: "text" | "json"
  /** Names of labels that become attributes of metrics. */
  readonly metricLabels: ReadonlyArray<string>
}

/**
 * The whole configuration.
 *
 * @since 0.2.0
 * @category models
 */
export interface Config {
  readonly server: Server
  readonly providers: ReadonlyMap<string, Provider>
  readonly models: ReadonlyArray<Model>
  /** Empty: no login. Allowed on loopback alone, unless `server.open` says so. */
  readonly keys: ReadonlyArray<ClientKey>
  readonly observability: Observability
  /** Prices laid over the built-in ones, by `provider/model`. */
  readonly prices: Prices.Table
  /** The provider that gets `/v1/files`, `/v1/batches` and their like. `undefined`: the first of kind `openai`. */
  readonly passthrough: string | undefined
  /** What was accepted, and is to be told: names of other gateways, settings without effect. */
  readonly notes: ReadonlyArray<string>
}
