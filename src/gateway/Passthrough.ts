/**
 * Hands a request on to a provider as it is, and the answer back: files, batches, images, audio, moderations.
 *
 * The gateway puts its own key into it, keeps the provider's limits of requests, and records the attempt. A request
 * that may have an effect is sent once: it is repeated only if it was not sent. No redirect is followed.
 *
 * @since 0.2.0
 */

import type { ServerResponse } from "node:http"
import { PassThrough, pipeline } from "node:stream"
import * as Undici from "@effect/platform-node/Undici"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Attempt from "../calls/Attempt.js"
import * as Call from "../calls/Call.js"
import * as Resilience from "../calls/Resilience.js"
import * as Classify from "../errors/Classify.js"
import * as ErrorMessage from "../errors/ErrorMessage.js"
import * as LlmError from "../errors/LlmError.js"
import * as ErrorResponse from "../http/ErrorResponse.js"
import * as RetryPolicy from "../policies/retry/RetryPolicy.js"
import type * as Address from "../providers/http/Address.js"
import * as ClientKeys from "./ClientKeys.js"
import * as Controls from "./Controls.js"
import * as Current from "./Current.js"
import type { Provider } from "./config/Resolved.js"
import type { Exchange } from "./Exchange.js"
import type * as ModelTable from "./ModelTable.js"
import * as Need from "./Need.js"
import type { Policies } from "./Policies.js"
import * as ProviderKey from "./ProviderKey.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"

/**
 * What is handed on.
 *
 * @since 0.2.0
 * @category models
 */
export interface Sent {
  readonly provider: Provider
  /** The model in the record. */
  readonly model: string
  readonly operation: string
  /** The path behind the base URL, with its query. */
  readonly path: string
  /** The body; `undefined` streams the client's. */
  readonly body: Buffer | undefined
  /** Whether it may be sent again after it was sent. */
  readonly isSafe: boolean
}

/**
 * Hands a request on. `otherwise` answers where the provider cannot.
 *
 * @since 0.2.0
 * @category models
 */
export type Relay = (exchange: Exchange, sent: Sent, controls: Controls.Controls, otherwise?: () => void) => undefined

/** Bodies up to this size are held, so that one that was not sent can be sent again. */
const heldBytes = 1_048_576

/** What an error tells of itself is read so far. */
const errorBytes = 65_536

/** What a provider takes money for, in amounts that nobody here can count. */
const costs = /^\/(?:images|audio|rerank)(?:\/|$)|^\/batches\/?$/

/** Headers that speak of the connection, or of the client to us, and are not handed on. */
const dropped = new Set([
  ...ClientKeys.keyHeaders,
  ...[
    "authorization cookie host connection keep-alive proxy-authorization te trailer",
    "transfer-encoding upgrade content-length expect forwarded via x-forwarded-for x-forwarded-host x-forwarded-proto",
    // Who pays is said by the configuration.
    "openai-organization openai-project"
  ]
    .join(" ")
    .split(" ")
])

/** Headers that are for a gateway: ours, and Portkey's, which may hold keys of providers. */
const toGateways = /^x-(?:steadfast|portkey)-/

/** Headers of an answer that are handed back. */
const returned =
  /^(?:content-(?:type|disposition|encoding|language)|etag|last-modified|openai-.*|anthropic-.*|x-ratelimit-.*)$/

const requestHeaders = (headers: Controls.Headers): Record<string, string> => {
  const own: Record<string, string> = {}
  for (const name in headers) {
    const value = Controls.one(headers, name)
    if (value !== undefined && !dropped.has(name) && !toGateways.test(name)) own[name] = value
  }
  return own
}

const responseHeaders = (headers: Controls.Headers): Record<string, string> => {
  const own: Record<string, string> = {}
  for (const name in headers) {
    const value = Controls.one(headers, name)
    if (value !== undefined && returned.test(name)) own[name] = value
  }
  return own
}

type Answer = Undici.Dispatcher.ResponseData

const textOf = async (body: Answer["body"]): Promise<string> => {
  let text = ""
  for await (const chunk of body) {
    text += String(chunk)
    if (text.length > errorBytes) break
  }
  return text
}

/**
 * A status that the client can mend is told as the provider said it; others become our errors. So does a redirect: our
 * key is not meant for the place that it leads to.
 */
const isTheCallers = (status: number): boolean =>
  status < 300 ||
  status === 304 ||
  (status >= 400 &&
    status < 500 &&
    status !== 401 &&
    status !== 403 &&
    status !== 407 &&
    status !== 408 &&
    status !== 429)

/** One request, until its head is there. */
const once = (
  { isSafe, model, operation, provider }: Sent,
  address: Address.Resolved,
  body: Buffer | Exchange["request"] | undefined,
  { headers, method = "GET" }: Exchange["request"]
): Effect.Effect<Answer, LlmError.LlmError> =>
  Attempt.run({ provider: provider.name, model, key: address.key, group: address.group, operation }, (attempt) =>
    Effect.flatMap(
      Effect.async<Answer, LlmError.LlmError>((resume, signal) => {
        const context = { provider: provider.name, model, secrets: address.secrets }
        Undici.request(address.url(false), {
          method: method as Undici.Dispatcher.HttpMethod,
          headers: { ...requestHeaders(headers), ...address.headers },
          // undici closes a body that it cannot send to its end, and the client is still to be told why.
          body: body === undefined || Buffer.isBuffer(body) ? (body ?? null) : body.pipe(new PassThrough()),
          signal,
          headersTimeout: 600_000,
          bodyTimeout: 0
        }).then(
          (answer) => resume(Effect.succeed(answer)),
          (cause) => resume(Effect.fail(Classify.transport(context, cause, "before-headers")))
        )
      }),
      (answer) => {
        const { statusCode: status } = answer
        const received = Object.fromEntries(
          Object.entries(answer.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : value])
        )
        const requestId = Classify.requestId(received)
        attempt.note({ status, requestId: requestId && ErrorMessage.scrub(requestId, address.secrets) })
        if (isTheCallers(status)) return Effect.succeed(answer)
        return Effect.flatMap(
          Effect.promise(() => textOf(answer.body).catch(() => "")),
          (text) =>
            Effect.fail(
              Classify.response({
                provider: provider.name,
                model,
                status,
                headers: received,
                body: text,
                now: Date.now(),
                secrets: address.secrets
              })
            )
        )
      }
    )
  ).pipe(
    Effect.mapError((error) =>
      isSafe || error.delivery === "not-sent" || error.delivery === "rejected"
        ? error
        : LlmError.override(error, { retryable: false })
    )
  )

/** Breaks off where the client takes nothing for so long, although there is something for it. */
const watched = (response: ServerResponse, millis: number): (() => void) => {
  let takes = true
  const taken = (): void => {
    takes = true
  }
  const timer = setInterval(() => {
    if (response.writableLength > 0 && !takes) response.destroy()
    takes = false
  }, millis)
  response.on("drain", taken)
  return () => {
    clearInterval(timer)
    response.off("drain", taken)
  }
}

/** Hands an answer back, as fast as the client takes it. */
const back = (answer: Answer, { id, now, response }: Exchange): Effect.Effect<void> =>
  Effect.async((resume) => {
    response.writeHead(answer.statusCode, { ...responseHeaders(answer.headers), "x-request-id": id })
    const stop = watched(response, Duration.toMillis(now.config.server.readerTimeout))
    pipeline(answer.body, response, (error) => {
      stop()
      // What broke off is no answer, whatever has come of it.
      if (error) response.destroy()
      resume(Effect.void)
    })
    return Effect.sync(() => answer.body.destroy())
  })

/**
 * Hands requests on within shared policies.
 *
 * @since 0.2.0
 * @category constructors
 */
export const relaying =
  (policies: Policies): Relay =>
  (exchange, sent, controls, otherwise) => {
    const { request, response } = exchange
    const { model, operation, provider } = sent
    const { name } = provider
    const body = sent.body ?? (request.method === "GET" || request.method === "HEAD" ? undefined : request)
    const mayRepeat = body === undefined || Buffer.isBuffer(body)
    const work = Effect.gen(function* () {
      const pacer = yield* policies.pacer(provider)
      let group: string | undefined
      const asking = { ...sent, mayRepeat, client: exchange.client.key.name }
      const asked = ProviderKey.asking(policies, asking, (address) => {
        group = address.group
        const ask = { key: `${group} ${operation} ${address.key ?? ""}`, provider: name, model }
        return pacer.pace(once(sent, address, body, request), ask)
      })
      const { maxAttempts, timeout } = controls
      const policy = maxAttempts === undefined ? RetryPolicy.standard : RetryPolicy.make({ maxAttempts })
      const held = mayRepeat ? Resilience.retry(asked, policy, { group: () => group }) : asked
      return yield* timeout === undefined ? held : Resilience.deadline(held, timeout)
    }).pipe(Call.make(`${name} ${operation}`))
    const served = Effect.matchEffect(work, {
      onFailure: (error) =>
        Effect.sync(() => {
          if (otherwise !== undefined) return otherwise()
          const { verboseErrors } = exchange.now.config.server
          Respond.error(response, ErrorResponse.make(error, { ...exchange.telling, verbose: verboseErrors }))
        }),
      onSuccess: (answer) => back(answer, exchange)
    })
    exchange.run(served, controls)
  }

/** The provider of a request: that of its model, else the one of the configuration. */
const providerFor = ({ now }: Exchange, name: string | undefined): Provider | undefined => {
  const { passthrough, providers } = now.config
  const target = name === undefined ? undefined : Current.entryOf(now, name)?.config.targets[0]
  const chosen = target?.provider ?? passthrough
  if (chosen !== undefined) return providers.get(chosen)
  return [...providers.values()].find(({ kind }) => kind === "openai" || kind === "responses")
}

const modelIn = (body: Buffer | undefined): string | undefined => {
  try {
    const { model } = JSON.parse(body?.toString("utf8") ?? "") as { readonly model?: unknown }
    return typeof model === "string" ? model : undefined
  } catch {
    return undefined
  }
}

/**
 * Serves the paths that are handed on.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make =
  (relay: Relay) =>
  (exchange: Exchange, path: string): undefined => {
    const { method = "GET", headers, url = "" } = exchange.request
    const controls = Controls.read(headers, bounds)
    if (controls instanceof LlmError.InvalidRequest) return exchange.invalid(controls)
    const query = url.indexOf("?")
    const operation = path.split("/")[1] ?? ""
    const hand = (body: Buffer | undefined): undefined => {
      const named = modelIn(body)
      const provider = providerFor(exchange, named)
      if (provider === undefined || provider.kind === "faulty" || provider.kind === "gemini") {
        return exchange.refuse(Refusal.notServed(`no provider of this gateway serves ${path}`))
      }
      const { client, now } = exchange
      const entry = named === undefined ? undefined : Current.entryOf(now, named)
      const rights = client.key.models
      if (rights !== undefined && (entry === undefined || !rights.includes(entry.config.name))) {
        return exchange.refuse(Refusal.notAllowed(named ?? path))
      }
      if (client.key.usdPerDay !== undefined && method === "POST" && costs.test(path)) {
        return exchange.refuse(Refusal.uncounted(path))
      }
      exchange.enter(Need.free, () => onward(body, provider, entry, named))
    }
    const onward = (
      body: Buffer | undefined,
      provider: Provider,
      entry: ModelTable.Entry | undefined,
      named: string | undefined
    ): undefined => {
      const target = entry?.config.targets[0]
      const own =
        body === undefined || target === undefined || named === target.model
          ? body
          : Buffer.from(JSON.stringify({ ...(JSON.parse(body.toString("utf8")) as object), model: target.model }))
      relay(
        exchange,
        {
          provider,
          model: target?.model ?? named ?? operation,
          operation,
          path: query < 0 ? path : path + withoutKey(url.slice(query)),
          body: own,
          isSafe: method === "GET" || method === "HEAD"
        },
        controls
      )
    }
    const size = Number(headers["content-length"] ?? Number.NaN)
    const isJson = /\bjson\b/i.test(headers["content-type"] ?? "")
    if (method === "GET" || method === "HEAD") return hand(undefined)
    if (isJson || size <= heldBytes) return exchange.bytes(hand)
    hand(undefined)
  }

/** A query without the client's key. */
const withoutKey = (query: string): string => {
  const fields = new URLSearchParams(query)
  fields.delete("key")
  const rest = fields.toString()
  return rest === "" ? "" : `?${rest}`
}

/** There is no model to bound it: as many attempts as the standard policy has, and any time. */
const bounds = { maxAttempts: 4, timeout: Duration.infinity }
