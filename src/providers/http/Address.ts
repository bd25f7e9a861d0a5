/**
 * The address of a provider, its key and its headers: what every API of a provider needs, chat or not.
 *
 * Secrets are read here once. {@link resolve} says which texts they are, so that nothing of a provider's answer repeats
 * one in an error, a span or a log.
 *
 * @since 0.2.0
 */

import type * as Config from "effect/Config"
import * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import * as Redacted from "effect/Redacted"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import * as KeyName from "../../policies/balance/KeyName.js"

/**
 * The options that every provider takes.
 *
 * @since 0.1.0
 * @category options
 */
export interface Options {
  /** The model, as the provider names it. */
  readonly model: string
  /** A key, or its `Config`. Without it no key is sent. */
  readonly apiKey?: Redacted.Redacted | Config.Config<Redacted.Redacted> | undefined
  /** The provider's name in errors, spans, records and `providerOptions`. Default: the name of the module. */
  readonly provider?: string | undefined
  /** The URL without the path of the API. Default: the provider's own. */
  readonly baseUrl?: string | undefined
  /**
   * Headers of every request. Default none. A `Redacted` value is a secret like the key, and so is a value under a name
   * such as `authorization`, `cookie` or `x-team-token`.
   */
  readonly headers?: Readonly<Record<string, string | Redacted.Redacted>> | undefined
  /** Whether the provider gets the trace of the attempt. Default `false`. */
  readonly traceHeaders?: boolean | undefined
  /**
   * The most bytes of an answer, whole or streamed, and of one event. Default 16 MiB. A larger answer is an
   * `InvalidResponse` that neither retry nor fallback follows, and its connection is closed.
   */
  readonly maxAnswerBytes?: number | undefined
  /** The owner of the key: each group has its own `RetryBudget`. Default: all models at a base URL share one. */
  readonly keyGroup?: string | undefined
}

/**
 * Options after every `Config` has been read.
 *
 * @since 0.1.0
 * @category models
 */
export type Plain<O> = { readonly [K in keyof O]: Exclude<O[K], Config.Config<Redacted.Redacted>> }

/**
 * The address of a provider, and the way to send the key.
 *
 * @since 0.1.0
 * @category models
 */
export interface Place {
  /** The name of the provider. */
  readonly provider: string
  /** The base URL; {@link resolve} fails without one. */
  readonly baseUrl: string | undefined
  /** The URL of requests, from the base URL without a slash at its end. */
  readonly url: (baseUrl: string, streaming: boolean) => string
  /** The headers that carry the key. */
  readonly auth: (key: string) => Readonly<Record<string, string>>
  /** Headers of every request. Default none. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/**
 * A provider's address with the key in its headers.
 *
 * @since 0.2.0
 * @category models
 */
export interface Resolved {
  /** The name of the provider. */
  readonly provider: string
  /** The model, as the provider names it. */
  readonly model: string
  /** The key's short hash. */
  readonly key: string | undefined
  /** The owner of the retry budget: provider, base URL, and the group of the key. */
  readonly group: string
  /** The URL of requests. */
  readonly url: (streaming: boolean) => string
  /** Headers of every request, the key included. */
  readonly headers: Readonly<Record<string, string>>
  /** Literal strings to scrub from errors, ids and other texts of the provider. */
  readonly secrets: ReadonlyArray<string>
  /** Whether the provider gets the trace of the attempt. Default `false`. */
  readonly traceHeaders?: boolean | undefined
  /** The most bytes of an answer that are held. Default 16 MiB. */
  readonly maxAnswerBytes?: number | undefined
}

/**
 * The address from options. Fails with a `ConfigError` if the key is not configured, or the base URL is missing or
 * invalid.
 *
 * @since 0.2.0
 * @category constructors
 */
export const resolve = (
  options: Omit<Options, "provider" | "baseUrl">,
  place: Place
): Effect.Effect<Resolved, ConfigError.ConfigError> =>
  Effect.gen(function* () {
    const key = yield* readKey(options.apiKey)
    const address = yield* readUrl(place)
    const own = yield* readHeaders(options.headers)
    return {
      provider: place.provider,
      model: options.model,
      key: key === undefined ? undefined : KeyName.nameOf(Redacted.make(key)),
      group: [place.provider, address.base, ...(options.keyGroup === undefined ? [] : [options.keyGroup])].join(" "),
      url: (streaming) => withQuery(place.url(address.base, streaming), address.query),
      headers: {
        ...place.headers,
        ...address.headers,
        ...(key === undefined ? {} : place.auth(key)),
        ...own.headers
      },
      secrets: [...(key === undefined ? [] : [key]), ...address.secrets, ...own.secrets],
      traceHeaders: options.traceHeaders,
      maxAnswerBytes: options.maxAnswerBytes
    }
  })

/** The key in clear text, for the request headers only. Blanks around it, as at the end of a file, are not of it. */
const readKey = (apiKey: Options["apiKey"]): Effect.Effect<string | undefined, ConfigError.ConfigError> => {
  if (apiKey === undefined) return Effect.succeed(undefined)
  const read = Redacted.isRedacted(apiKey) ? Effect.succeed(apiKey) : apiKey
  return Effect.flatMap(read, (redacted) => carried(["apiKey"], Redacted.value(redacted).trim()))
}

/** A value that a header can carry. The error names the option and never the value. */
const carried = (path: Array<string>, value: string): Effect.Effect<string, ConfigError.ConfigError> =>
  /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
    ? Effect.succeed(value)
    : Effect.fail(
        ConfigError.InvalidData(
          path,
          "found a character that no header can carry, such as a line break or a curly quote"
        )
      )

/** A token of RFC 9110. */
const headerName = /^[!#$%&'*+.^_`|~\w-]+$/

/** Names of headers whose values are secrets. */
const secretNames = /auth|cookie|key|token|secret|password|signature/i

/** The value of a header, and what a server may repeat without the rest: credentials, and the values of cookies. */
const partsOf = (value: string): ReadonlyArray<string> => [
  value,
  value.replace(/^[\w-]+ +/, ""),
  ...value.split(/; */).map((cookie) => cookie.replace(/^[\w-]+=/, ""))
]

const readHeaders = (headers: NonNullable<Options["headers"]> = {}) =>
  Effect.gen(function* () {
    const plain: Record<string, string> = {}
    const secrets: Array<string> = []
    for (const [name, value] of Object.entries(headers)) {
      if (!headerName.test(name)) {
        const found = `found "${ErrorMessage.clean(name)}", which is no name of a header`
        return yield* Effect.fail(ConfigError.InvalidData(["headers"], found))
      }
      const text = yield* carried(["headers", name], Redacted.isRedacted(value) ? Redacted.value(value) : value)
      plain[name] = text
      if (Redacted.isRedacted(value) || secretNames.test(name)) secrets.push(...partsOf(text))
    }
    return { headers: plain, secrets }
  })

/** An address in its parts: what identifies it, and what nobody may see. */
interface Address {
  /** Without user, password, query and a slash at its end. */
  readonly base: string
  /** The query, with its question mark, or empty. */
  readonly query: string
  readonly headers: Readonly<Record<string, string>>
  readonly secrets: ReadonlyArray<string>
}

const decoded = (text: string): string => {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const rawValues = (query: string): ReadonlyArray<string> =>
  query.split(/[?&]/).map((field) => field.replace(/^[^=]*=?/, ""))

const readUrl = ({ baseUrl, provider }: Place): Effect.Effect<Address, ConfigError.ConfigError> => {
  if (baseUrl === undefined) {
    return Effect.fail(ConfigError.MissingData(["baseUrl"], `${provider} has no known address: expected a baseUrl`))
  }
  const url = URL.canParse(baseUrl) ? new URL(baseUrl) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.port === "0") {
    // A password before the host is nobody's business.
    const found = ErrorMessage.clean((baseUrl.split(/[?#]/)[0] ?? "").replace(/[^/]*@/, ""))
    const expected = "expected a URL with http: or https:, and a port from 1 to 65535 if it has one"
    return Effect.fail(ConfigError.InvalidData(["baseUrl"], `found "${found}", ${expected}`))
  }
  const user = decoded(url.username)
  const password = decoded(url.password)
  const basic = user === "" && password === "" ? undefined : Encoding.encodeBase64(`${user}:${password}`)
  return Effect.succeed({
    base: `${url.origin}${url.pathname}`.replace(/\/+$/, ""),
    query: url.search,
    // No client takes them in an address.
    headers: basic === undefined ? {} : { authorization: `Basic ${basic}` },
    // Decoded, and as they stand in the address.
    secrets: [password, url.password, basic ?? "", ...url.searchParams.values(), ...rawValues(url.search)].filter(
      (secret) => secret !== ""
    )
  })
}

const withQuery = (url: string, query: string): string =>
  query === "" ? url : url + (url.includes("?") ? `&${query.slice(1)}` : query)
