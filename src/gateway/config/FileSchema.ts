/**
 * The schema of a configuration file, after shorthands were written out (`Shorthands`). The options of policies are
 * those of the library.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import * as ChatModel from "../../chat/ChatModel.js"
import * as LlmError from "../../errors/LlmError.js"
import * as Hedge from "../../policies/Hedge.js"
import * as PolicyOptions from "../../policies/Options.js"
import * as Pacer from "../../policies/pacer/Pacer.js"
import * as RetryPolicy from "../../policies/retry/RetryPolicy.js"
import * as Prices from "../../policies/spend/Prices.js"

// -----------------------------------------------------------------------------
// leaves
// -----------------------------------------------------------------------------

const optional = <S extends Schema.Schema.All>(schema: S) => Schema.optionalWith(schema, { exact: true })

const worded = (expected: string) => ({
  message: () => ({ message: `found it, expected ${expected}`, override: true })
})

const matching = (pattern: RegExp, expected: string) =>
  Schema.String.pipe(Schema.filter((text) => pattern.test(text))).annotations(worded(expected))

const text = matching(/\S/, "text")

const whole = (min: number, max?: number) => optional(PolicyOptions.number({ min, max, whole: true }).schema)

const duration = (bounds: Parameters<typeof PolicyOptions.duration>[0] = {}) =>
  optional(PolicyOptions.duration({ ...bounds, finite: true }).schema)

const boolean = optional(PolicyOptions.boolean.schema)

const providerName = matching(/^[A-Za-z0-9][\w.-]{0,99}$/, "a name of letters, digits, dots, dashes and underscores")

const modelName = matching(/^[A-Za-z0-9][\w.:/@+-]{0,199}$/, "a name of letters, digits and . : / @ + - _")

const headerName = matching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, "the name of a header")

const headerValue = matching(/^[\t\x20-\x7e\x80-\xff]*$/, "text that a header may have")

const webUrl = Schema.String.pipe(
  Schema.filter((text) => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    return url !== undefined && /^https?:$/.test(url.protocol) && url.username === "" && url.password === ""
  })
).annotations(worded('a URL with http or https, without a password, such as "https://api.openai.com/v1"'))

/** The words of the library's kinds. */
const kinds = ["openai", "responses", "anthropic", "gemini", "azure", "faulty"] as const

const units: Readonly<Record<string, number>> = { "": 1, k: 1e3, m: 1e6, g: 1e9, ki: 2 ** 10, mi: 2 ** 20, gi: 2 ** 30 }

/** Bytes of a text such as `32 MiB`. NaN for anything else. */
const bytesOf = (given: string | number): number => {
  if (typeof given === "number") return given
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]i?|)b?$/i.exec(given.trim())
  return match === null ? Number.NaN : Math.floor(Number(match[1]) * (units[(match[2] ?? "").toLowerCase()] as number))
}

const isSize = (given: string | number): boolean => {
  const bytes = bytesOf(given)
  return Number.isSafeInteger(bytes) && bytes >= 1024 && bytes <= 2 ** 30
}

const bytes = Schema.transform(Schema.Union(Schema.Number, Schema.String).pipe(Schema.filter(isSize)), Schema.Number, {
  strict: true,
  decode: bytesOf,
  encode: (bytes) => bytes
}).annotations(worded('a number of bytes from 1 KiB to 1 GiB, such as "32 MiB"'))

// -----------------------------------------------------------------------------
// server and observability
// -----------------------------------------------------------------------------

const Server = Schema.Struct({
  host: optional(text),
  port: whole(0, 65_535),
  open: boolean,
  maxBodyBytes: optional(bytes),
  maxConcurrent: whole(1),
  maxConnections: whole(1),
  requestTimeout: duration({ above: 0 }),
  drain: duration(),
  keepAlive: duration(),
  readerTimeout: duration({ above: 0 }),
  rememberFailures: duration({ max: "1 hour" }),
  processing: boolean,
  verboseErrors: boolean,
  adminKey: optional(text)
})

const Headers = Schema.Record({ key: headerName, value: headerValue })

const Observability = Schema.Struct({
  callLog: optional(text),
  retention: duration({ above: 0 }),
  otlp: optional(Schema.Struct({ url: webUrl, headers: optional(Headers) })),
  logLevel: optional(PolicyOptions.oneOf("debug", "info", "warn", "error").schema),
  logFormat: optional(PolicyOptions.oneOf("text", "json").schema),
  metricLabels: optional(Schema.Array(text))
})

// -----------------------------------------------------------------------------
// providers
// -----------------------------------------------------------------------------

const Faults = Schema.Struct({
  errorRate: optional(PolicyOptions.number({ min: 0, max: 1 }).schema),
  status: whole(400, 599),
  latency: duration({ max: "1 hour" })
})

const Provider = Schema.Struct({
  kind: optional(PolicyOptions.oneOf(...kinds).schema),
  baseUrl: optional(webUrl),
  keys: optional(Schema.Array(text)),
  keyGroup: optional(text),
  headers: optional(Headers),
  apiVersion: optional(text),
  limits: optional(Pacer.Options),
  faults: optional(Faults)
})

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

const either = PolicyOptions.boolean.schema

/** The rules of `Fallback` that a file can state. */
const Rules = Schema.Struct({
  ...(Object.fromEntries(
    Object.keys(LlmError.rules)
      .filter((tag) => tag !== "total" && tag !== "ContextLengthExceeded")
      .map((tag) => [tag, optional(either)])
  ) as { readonly [K in Exclude<LlmError.Tag, "ContextLengthExceeded">]: typeof boolean }),
  ContextLengthExceeded: optional(
    Schema.Union(Schema.Boolean, Schema.Literal("larger-window")).annotations(
      worded('true or false or "larger-window"')
    )
  )
})

const Target = Schema.Struct({
  target: optional(matching(/^[^/\s]+\/\S/, 'provider/model, such as "openai/gpt-4o-mini"')),
  provider: optional(text),
  model: optional(text),
  weight: optional(PolicyOptions.number({ above: 0, max: 1_000_000 }).schema),
  retry: optional(RetryPolicy.Options),
  timeout: optional(ChatModel.Timeouts)
})

const Bounds = Schema.Struct({ maxAttempts: whole(1, 100), timeout: duration({ above: 0 }) })

const policies = {
  retry: optional(RetryPolicy.Options),
  timeout: optional(ChatModel.Timeouts),
  deadline: duration({ above: 0 }),
  fallbacks: optional(Schema.Array(text)),
  fallback: optional(Schema.Union(Schema.Literal(false), Rules)),
  balance: optional(PolicyOptions.oneOf("weighted", "least-busy", "fastest", "cheapest").schema),
  hedge: optional(Schema.Union(Schema.Literal(false), Hedge.Options)),
  mode: optional(
    Schema.Literal("strict", "continue").annotations(
      worded('"strict" or "continue"; "restart" cannot be, as clients cannot take text back')
    )
  ),
  bounds: optional(Bounds)
}

/**
 * The policies that all models share.
 *
 * @since 0.2.0
 * @category schemas
 */
export const Defaults = Schema.Struct(policies)

/**
 * @since 0.2.0
 * @category models
 */
export type Defaults = typeof Defaults.Type

const Model = Schema.Struct({
  ...policies,
  kind: optional(PolicyOptions.oneOf("chat", "embeddings").schema),
  aliases: optional(Schema.Array(modelName)),
  targets: Schema.Array(Target)
})

// -----------------------------------------------------------------------------
// clients
// -----------------------------------------------------------------------------

const ClientKey = Schema.Struct({
  name: text,
  key: optional(text),
  hash: optional(matching(/^sha256:[0-9a-fA-F]{64}$/, "sha256: and 64 hexadecimal digits")),
  models: optional(Schema.Array(text)),
  requestsPerMinute: optional(PolicyOptions.number({ above: 0 }).schema),
  tokensPerMinute: optional(PolicyOptions.number({ above: 0 }).schema),
  maxConcurrent: whole(1),
  usdPerDay: optional(PolicyOptions.number({ above: 0 }).schema),
  labels: optional(Schema.Record({ key: modelName, value: text }))
})

/**
 * The file, with shorthands written out and secrets read.
 *
 * @since 0.2.0
 * @category schemas
 */
export const File = Schema.Struct({
  server: optional(Server),
  providers: optional(Schema.Record({ key: providerName, value: Provider })),
  models: optional(Schema.Record({ key: modelName, value: Model })),
  defaults: optional(Defaults),
  keys: optional(Schema.Array(ClientKey)),
  observability: optional(Observability),
  prices: optional(Prices.Table),
  passthrough: optional(text)
})

/**
 * @since 0.2.0
 * @category models
 */
export type File = typeof File.Type
