/**
 * An HTTP gateway over named models, for clients of OpenAI's, Anthropic's, Gemini's, Ollama's and Cohere's
 * APIs.
 *
 * It adds dialects, configuration and operation to the library, and no second resilience engine: each request is one
 * call of a model with its retries, fallbacks, pacing and breakers, and leaves one record.
 *
 * {@link make} builds the gateway of a configuration; its `handle` is a listener for `node:http`. `GatewayServer` puts
 * it on a port and stops it in order.
 *
 * Gotchas:
 * - Limits of client keys, and what clients have spent today, live in memory: of the process, or of the primary of its
 *   workers.
 * - Put nothing before it that repeats requests.
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { Dialect } from "../http/Dialect.js"
import * as Sdk from "../http/Sdk.js"
import type * as Body from "./Body.js"
import * as Chats from "./Chats.js"
import * as ClientKeys from "./ClientKeys.js"
import * as Counting from "./Counting.js"
import * as Current from "./Current.js"
import type { Config } from "./config/Resolved.js"
import * as Embeddings from "./Embeddings.js"
import { Exchange } from "./Exchange.js"
import * as Failures from "./Failures.js"
import * as Listing from "./Listing.js"
import * as Nearby from "./Nearby.js"
import * as Operator from "./Operator.js"
import * as Passthrough from "./Passthrough.js"
import * as Policies from "./Policies.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import * as Route from "./Route.js"
import { Shared } from "./Shared.js"

/**
 * A gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Gateway {
  /** Serves a request. It never throws, and always answers or breaks the connection off. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  /** Serves new requests by another configuration. Running ones end by theirs. If it fails, nothing has changed. */
  readonly reload: (config: Config) => Effect.Effect<void, ConfigError.ConfigError>
  /** The configuration in force. */
  readonly config: () => Config
  /** How many requests run now. */
  readonly running: () => number
  /** From now on the gateway says that it is not ready, and asks clients to close their connections. */
  readonly stopping: () => void
}

/** All bodies that are being read may take so much memory: eight of the largest, or 256 MiB. */
const mostHeld = ({ server }: Config): number => Math.max(8 * server.maxBodyBytes, 256 * 1024 * 1024)

/**
 * The gateway of a configuration. Its calls run under the context in which it is made: observers, prices, tracer.
 * Fails with a `ConfigError` if a model cannot be made.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  config: Config
): Effect.Effect<Gateway, ConfigError.ConfigError, HttpClient.HttpClient | Scope.Scope> =>
  Effect.gen(function* () {
    const http = yield* HttpClient.HttpClient
    const runtime = yield* Effect.runtime<never>()
    const policies = yield* Policies.make
    const shared = Option.getOrUndefined(yield* Effect.serviceOption(Shared))
    let now = yield* Current.make(config, policies, undefined, shared?.seats)
    let running = 0
    let stops = false
    const held: Body.Held = {
      bytes: 0,
      get most() {
        return mostHeld(now.config)
      }
    }
    const remembering = (): Failures.Failures =>
      Failures.make(() => Duration.toMillis(now.config.server.rememberFailures), shared?.failures)
    let failures = remembering()
    const operator = yield* Operator.make({
      policies,
      shared,
      current: () => now,
      running: () => running,
      stops: () => stops
    })
    const relay = Passthrough.relaying(policies)
    const passthrough = Passthrough.make(relay)

    const serve = (exchange: Exchange, route: Route.Route): undefined => {
      switch (route._tag) {
        case "Chat":
          return Chats.handle(exchange, route, failures)
        case "CountTokens":
          return Counting.handle(exchange, route, relay)
        case "Embeddings":
          return Embeddings.handle(exchange, route, failures)
        case "Models":
          return Listing.handle(exchange, route)
        case "Show":
          return Listing.show(exchange)
        case "Version":
          return Listing.version(exchange)
        case "Passthrough":
          return passthrough(exchange, route.path)
        default:
          return exchange.refuse(Refusal.unknownPath(exchange.request.method ?? "", exchange.request.url ?? ""))
      }
    }

    const handle = (request: IncomingMessage, response: ServerResponse): undefined => {
      const { headers, method = "GET", url = "/" } = request
      const route = Route.of(method, url)
      const id = globalThis.crypto.randomUUID()
      const dialect: Dialect = "dialect" in route ? route.dialect : "openai"
      const telling = { dialect, requestId: id, sdk: Sdk.of(url, headers["user-agent"]) }
      const refuse = (refusal: Refusal.Refusal): undefined => Respond.refuse(response, refusal, telling)
      // A client that breaks off while it is told something is no event.
      request.on("error", ignore)
      response.on("error", ignore)
      if (stops) response.setHeader("connection", "close")
      if (route._tag === "Operator" || route._tag === "Welcome") return operator.handle(request, response, route)
      if (route._tag === "WrongMethod") {
        response.setHeader("allow", route.allowed)
        return refuse(Refusal.wrongMethod(method, route.allowed))
      }
      if (route._tag === "Unknown") return refuse(Refusal.unknownPath(method, url))
      const client = now.clients.of(headers, url, request.socket)
      if (now.clients.open && !now.config.server.open && Nearby.isForeign(headers)) return refuse(Refusal.foreign)
      if (client === undefined) return refuse(Refusal.unauthorized(isShown(headers)))
      if (running >= now.config.server.maxConcurrent) return refuse(Refusal.busy)
      running++
      const exchange = new Exchange(now, client, request, response, id, telling, runtime, held, () => {
        running--
      })
      exchange.guarded(() => serve(exchange, route))
    }

    return {
      handle,
      reload: (next) =>
        Effect.map(
          Effect.provideService(Current.make(next, policies, now, shared?.seats), HttpClient.HttpClient, http),
          (made) => {
            now = made
            failures.end()
            failures = remembering()
          }
        ),
      config: () => now.config,
      running: () => running,
      stopping: () => {
        stops = true
      }
    }
  })

const ignore = (): undefined => {}

const isShown = (headers: IncomingMessage["headers"]): boolean =>
  headers.authorization !== undefined || ClientKeys.keyHeaders.some((name) => headers[name] !== undefined)
