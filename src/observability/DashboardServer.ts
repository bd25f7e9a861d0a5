/**
 * The dashboard as a server of its own, on Node. It stands in a module of its own, so that only this one needs
 * `@effect/platform-node`.
 *
 * Gotchas: there is no login. On another address than this machine's own, whoever reaches the port sees the calls.
 *
 * @example
 * import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"
 * import * as DashboardServer from "effect-steadfast/observability/DashboardServer"
 * import { Layer } from "effect"
 *
 * const server = DashboardServer.layer({ port: 4777 }).pipe(Layer.provide(CallLogLibsql.client("calls.db")))
 *
 * @since 0.2.0
 */

import { createServer } from "node:http"
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServer from "@effect/platform/HttpServer"
import type { ServeError } from "@effect/platform/HttpServerError"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import type * as SqlClient from "@effect/sql/SqlClient"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Loopback from "../http/Loopback.js"
import * as Dashboard from "./Dashboard.js"

/**
 * The options of {@link layer}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends Dashboard.Options {
  /** The port; 0 takes a free one. */
  readonly port: number
  /** The address. Default `127.0.0.1`: this machine alone. */
  readonly host?: string | undefined
}

/** Another name that leads here is a page elsewhere that wants to read the log. */
const guarded = <E, R>(routes: HttpRouter.HttpRouter<E, R>): HttpRouter.HttpRouter<E, R> =>
  HttpRouter.use(routes, (app) =>
    Effect.flatMap(HttpServerRequest.HttpServerRequest, ({ headers }) =>
      Loopback.isNamed(headers.host)
        ? app
        : Effect.succeed(HttpServerResponse.text("this dashboard is for this machine alone", { status: 403 }))
    )
  )

/**
 * Serves the dashboard until the scope closes. Provides the server, which tells its address. A port in use is a
 * `ServeError`.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = ({
  host = "127.0.0.1",
  live,
  port
}: Options): Layer.Layer<HttpServer.HttpServer, ServeError, SqlClient.SqlClient> =>
  Layer.unwrapScoped(
    Effect.map(Dashboard.make({ live }), (routes) => HttpServer.serve(Loopback.isHost(host) ? guarded(routes) : routes))
  ).pipe(Layer.provideMerge(NodeHttpServer.layerServer(createServer, { host, port })))
