/**
 * The pages for the operator: whether the gateway lives and can serve, its metrics, its state, and the dashboard.
 *
 * `/healthz` and `/readyz` are open, because who asks has no key. The others want the admin key; without one they are
 * there for this machine alone.
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as About from "../calls/About.js"
import { TypeId as ChatTypeId } from "../chat/ChatModel.js"
import { TypeId as EmbeddingTypeId } from "../embeddings/Model.js"
import * as Loopback from "../http/Loopback.js"
import * as CallLog from "../observability/CallLog.js"
import * as Dashboard from "../observability/Dashboard.js"
import * as DashboardLive from "../observability/DashboardLive.js"
import { Degradation } from "../observability/Degradation.js"
import * as PrometheusText from "../observability/PrometheusText.js"
import type * as CircuitBreaker from "../policies/circuit/CircuitBreaker.js"
import * as Times from "../policies/Times.js"
import * as ClientKeys from "./ClientKeys.js"
import type * as Current from "./Current.js"
import type * as ModelTable from "./ModelTable.js"
import * as Nearby from "./Nearby.js"
import type { Policies } from "./Policies.js"
import * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import type { Route } from "./Route.js"
import type { Everywhere, Shared } from "./Shared.js"

/**
 * What the pages tell of.
 *
 * @since 0.2.0
 * @category models
 */
export interface Told {
  readonly policies: Policies
  /** The other processes of the gateway, if there are any. */
  readonly shared: Shared | undefined
  readonly current: () => Current.Current
  readonly running: () => number
  readonly stops: () => boolean
}

const everything = { fallback: true, mayAsk: () => true }

const aboutOf = (entry: ModelTable.Entry): About.About =>
  entry.kind === "chat" ? entry.model(everything)[ChatTypeId] : entry.model(everything)[EmbeddingTypeId]

/** From when on one of a model's targets takes traffic, in milliseconds of `Times.now`. */
const readyAt = (entry: ModelTable.Entry): number => aboutOf(entry).readyAt()

/** A breaker whose states are those of all models: it asks for what only other processes have seen. */
const knowing = (breaker: CircuitBreaker.CircuitBreaker, current: Told["current"]): CircuitBreaker.CircuitBreaker => ({
  ...breaker,
  states: Effect.suspend(() => {
    const targets = current().table.all.flatMap((entry) => aboutOf(entry).targets)
    const keys = new Set(targets.map((target) => About.keyOf({ targets: [target] })))
    const seen = Effect.forEach(keys, breaker.state, { concurrency: "unbounded", discard: true })
    return Effect.zipRight(seen, breaker.states)
  })
})

const isOperator = ({ headers, socket, url = "" }: IncomingMessage, hash: string | undefined): boolean => {
  if (hash === undefined) {
    return Loopback.isPeer(socket.remoteAddress) && Loopback.isNamed(headers.host) && !Nearby.isProxied(headers)
  }
  const basic = /^Basic\s+(\S+)$/i.exec(headers.authorization ?? "")?.[1]
  // A browser asks for a name and a key: the name says nothing.
  const key =
    basic === undefined
      ? ClientKeys.shown(headers, url)
      : Buffer.from(basic, "base64")
          .toString("utf8")
          .replace(/^[^:]*:/, "")
  return key !== undefined && ClientKeys.hashOf(key) === hash
}

const total = (numbers: ReadonlyArray<number>): number => numbers.reduce((sum, number) => sum + number, 0)

const plus = (
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>
): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(a).map(([name, value]) => [name, value + (b[name] ?? 0)]))

const metrics = (response: ServerResponse, text: string): undefined =>
  Respond.text(response, 200, text, { "content-type": PrometheusText.contentType })

const json = (value: unknown): string => JSON.stringify(value, undefined, 2)

const textHeaders = { "content-type": "text/plain; charset=utf-8", "cache-control": "no-store" }

/**
 * The pages.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = ({ current, policies, running, shared, stops }: Told) =>
  Effect.gen(function* () {
    const sql = yield* Effect.serviceOption(SqlClient.SqlClient)
    const log = yield* Effect.serviceOption(CallLog.CallLog)
    const degradation = yield* Effect.serviceOption(Degradation)
    const runtime = yield* Effect.runtime<never>()
    const sources: DashboardLive.Sources = {
      breakers: [shared === undefined ? policies.breaker : knowing(policies.breaker, current)],
      get pacers() {
        return policies.pacers()
      },
      get pools() {
        return policies.pools()
      },
      degradation: Option.getOrUndefined(degradation)
    }
    const live = yield* DashboardLive.make(sources)
    const pages = Option.isNone(sql)
      ? undefined
      : yield* NodeHttpServer.makeHandler(
          HttpRouter.empty.pipe(
            HttpRouter.mountApp("/dashboard", yield* Dashboard.make({ live: sources })),
            Effect.provideService(SqlClient.SqlClient, sql.value)
          )
        )

    /** This process, as the others are told of it. */
    const own = Effect.gen(function* () {
      const stats = Option.isNone(log) ? undefined : yield* log.value.stats
      return {
        pid: process.pid,
        running: running(),
        residentBytes: process.memoryUsage().rss,
        clients: Object.fromEntries(current().clients.all.map(({ key, state }) => [key.name, state.running])),
        callLog: stats && { ...stats }
      }
    })
    shared?.tells(Effect.provide(own, runtime.context))

    /** The state of the gateway, as `/status` tells it. */
    const status = Effect.gen(function* () {
      const now = yield* Times.current
      const { clients, config, since, table } = current()
      const everywhere: Everywhere =
        shared === undefined ? { processes: [yield* own], clients: {} } : yield* shared.everywhere
      const { processes } = everywhere
      const logs = processes.flatMap(({ callLog }) => (callLog === undefined ? [] : [callLog]))
      return {
        since: new Date(since).toISOString(),
        uptimeSeconds: Math.round(process.uptime()),
        running: total(processes.map(({ running }) => running)),
        stopping: stops(),
        residentBytes: total(processes.map(({ residentBytes }) => residentBytes)),
        workers:
          shared === undefined
            ? undefined
            : processes.map(({ pid, residentBytes, running }) => ({ pid, running, residentBytes })),
        models: table.all.map((entry) => ({
          name: entry.config.name,
          aliases: entry.config.aliases,
          targets: entry.config.targets.map(({ model, provider }) => `${provider}/${model}`),
          readyInMillis: Math.max(0, Math.round(readyAt(entry) - now))
        })),
        clients: clients.all.map(({ key, seats, state }) => {
          const used = seats && everywhere.clients[key.name]
          return {
            name: key.name,
            running: used?.running ?? total(processes.map(({ clients }) => clients[key.name] ?? 0)),
            usdToday:
              seats === undefined && state.spend !== undefined ? state.spend.account.spent.usd / 1e9 : used?.usdToday,
            usdPerDay: key.usdPerDay
          }
        }),
        callLog: logs.length === 0 ? undefined : logs.reduce(plus),
        live: yield* live,
        notes: config.notes
      }
    })

    const ready = (response: ServerResponse): undefined => {
      const { table } = current()
      Effect.runFork(
        Effect.map(Times.current, (now) => {
          const models = table.all.map((entry) => ({
            name: entry.config.name,
            ready: readyAt(entry) <= now
          }))
          const isReady = !stops() && models.some((model) => model.ready)
          Respond.json(response, isReady ? 200 : 503, { ready: isReady, stopping: stops(), models })
        })
      )
    }

    const told = (response: ServerResponse, page: Effect.Effect<void>): undefined => {
      const guarded = Effect.catchAllCause(page, (cause) => {
        response.destroy()
        return Effect.logError("the state could not be told", cause)
      })
      Effect.runFork(guarded)
    }

    const admin = (request: IncomingMessage, response: ServerResponse, page: string): undefined => {
      switch (page) {
        case "metrics":
          if (shared === undefined) return metrics(response, PrometheusText.current())
          return told(
            response,
            Effect.map(shared.metrics, (text) => metrics(response, text))
          )
        case "status":
          return told(
            response,
            Effect.map(Effect.provide(status, runtime.context), (found) =>
              Respond.text(response, 200, json(found), { ...textHeaders, "content-type": "application/json" })
            )
          )
        default:
          if (pages === undefined) {
            return Respond.text(response, 404, "no call log: set observability.callLog\n", textHeaders)
          }
          // The page asks by relative addresses.
          if (request.url === "/dashboard") {
            response.writeHead(308, { location: "/dashboard/", "content-length": "0" }).end()
            return
          }
          pages(request, response)
      }
    }

    return {
      handle: (
        request: IncomingMessage,
        response: ServerResponse,
        route: Extract<Route, { readonly _tag: "Operator" | "Welcome" }>
      ): undefined => {
        request.resume()
        if (route._tag === "Welcome") return Respond.text(response, 200, welcome, textHeaders)
        if (route.page === "healthz") return Respond.text(response, 200, "ok\n", textHeaders)
        if (route.page === "readyz") return ready(response)
        const { adminKeyHash } = current().config.server
        if (isOperator(request, adminKeyHash)) return admin(request, response, route.page)
        if (adminKeyHash === undefined) {
          return Respond.refuse(response, Refusal.notAllowed(`/${route.page}`))
        }
        Respond.text(response, 401, "the admin key is needed\n", {
          ...textHeaders,
          "www-authenticate": 'Basic realm="steadfast", charset="UTF-8"'
        })
      }
    }
  })

const welcome = `Steadfast: a gateway that makes LLM calls hold.

POST /v1/chat/completions   POST /v1/responses   POST /v1/messages   POST /v1/embeddings   GET /v1/models
GET /healthz   GET /readyz   GET /metrics   GET /status   GET /dashboard/
`
