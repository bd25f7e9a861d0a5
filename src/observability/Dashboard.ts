/**
 * A page over the call log, and the JSON behind it.
 *
 * {@link routes} is a router: mount it in a server of your own, under any path and behind your own authentication, with
 * the `SqlClient` of the log. {@link make} is the same with the live state of the application's policies: circuits,
 * queues, retry budgets, keys, alarms. `DashboardServer.layer` serves either on this machine alone.
 *
 * The page asks again every few seconds. It holds no connection open: that would need a notice of each write, which
 * SQL does not give, and would keep a server from stopping. An unchanged answer is a 304 without a body, a page in the
 * background asks nothing, and one that gets slow answers asks less often, so that it takes a twentieth of the
 * database's time at most.
 *
 * `api/overview`, `api/calls` and `api/calls/:id` return the figures of `CallReport`, for `range` (`1h`, `24h`, `7d` or
 * `30d`), `provider`, `model` and `label.<name>`; `api/live` returns the live state. Wrong parameters are a 400 that
 * names them, a log that cannot be read is a 503.
 *
 * Gotchas: there is no login. Names, labels and error messages of calls are shown to whoever reaches the routes. With
 * libSQL a query stops the whole process while it runs: serve the page of a large log from a process of its own.
 *
 * @example
 * import { HttpRouter } from "@effect/platform"
 * import { Dashboard } from "effect-steadfast/observability"
 *
 * const app = HttpRouter.empty.pipe(HttpRouter.mount("/llm", Dashboard.routes))
 *
 * @since 0.2.0
 */

import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerRequest from "@effect/platform/HttpServerRequest"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import type * as SqlClient from "@effect/sql/SqlClient"
import type { SqlError } from "@effect/sql/SqlError"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { textOf } from "./CallLogRows.js"
import { whyOf } from "./CallLogWriter.js"
import { load } from "./DashboardAssets.js"
import * as DashboardLive from "./DashboardLive.js"
import { latest, overview, whole } from "./DashboardQuery.js"
import { CallsSearch, OverviewSearch } from "./DashboardSearch.js"

export type { Sources } from "./DashboardLive.js"

const headers = {
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff"
}

const hashOf = (text: string): Effect.Effect<string> =>
  Effect.map(
    Effect.promise(() => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))),
    (digest) => Array.from(new Uint8Array(digest, 0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("")
  )

/** May be kept, and has to be asked for again each time: the answer is then a 304 if nothing changed. */
const asked = "private, no-cache"

/** The name changes with the content. */
const forever = "public, max-age=31536000, immutable"

interface Answer {
  readonly body: string
  readonly contentType: string
  readonly cacheControl: string
}

/** A text with its tag, or a 304 for who has it. */
const answer = ({ body, cacheControl, contentType }: Answer) =>
  Effect.gen(function* () {
    const request = yield* HttpServerRequest.HttpServerRequest
    const etag = `"${yield* hashOf(body)}"`
    const all = { ...headers, etag, "cache-control": cacheControl }
    const known = (request.headers["if-none-match"] ?? "").split(",").map((tag) => tag.trim().replace(/^W\//, ""))
    return known.includes(etag) || known.includes("*")
      ? HttpServerResponse.empty({ status: 304, headers: all })
      : HttpServerResponse.text(body, { contentType, headers: all })
  })

const refuse = (status: number, error: string) =>
  HttpServerResponse.text(JSON.stringify({ error }), {
    status,
    contentType: "application/json",
    headers: { ...headers, "cache-control": "no-store" }
  })

/** What is wrong with the parameters: each by its name. */
const wrong = (error: ParseResult.ParseError): string =>
  ParseResult.ArrayFormatter.formatErrorSync(error)
    .map(({ message, path }) => `${path.join(".")}: ${message}`)
    .join("; ")

const json = (body: unknown) =>
  answer({ body: JSON.stringify(body), contentType: "application/json", cacheControl: asked })

/** A JSON answer to a query that a schema describes. */
const api = <A, I extends Readonly<Record<string, string | ReadonlyArray<string> | undefined>>, B>(
  search: Schema.Schema<A, I>,
  read: (search: A) => Effect.Effect<B, SqlError, SqlClient.SqlClient>
) =>
  HttpServerRequest.schemaSearchParams(search, { onExcessProperty: "error", errors: "all" }).pipe(
    Effect.flatMap(read),
    Effect.flatMap((found) => json(found)),
    Effect.catchTags({ ParseError: (error) => Effect.succeed(refuse(400, wrong(error))), SqlError: unreadable })
  )

const unreadable = (error: SqlError) =>
  Effect.as(
    Effect.logWarning(`dashboard: cannot read the call log: ${whyOf(Cause.fail(error))}`),
    refuse(503, "the call log cannot be read; the server's own log tells why")
  )

const one = Effect.flatMap(HttpRouter.params, ({ id = "" }) => whole(textOf(id))).pipe(
  Effect.flatMap(
    Option.match({
      onNone: () => Effect.succeed(refuse(404, "the log holds no such call")),
      onSome: (found) => json(found)
    })
  ),
  Effect.catchTag("SqlError", unreadable)
)

/** A store that processes share may be out of reach. */
const now = (live: Effect.Effect<DashboardLive.Live>) =>
  Effect.flatMap(live, (found) => json(found)).pipe(
    Effect.catchAllCause((cause) =>
      Effect.as(
        Effect.logWarning("dashboard: cannot read the states of the policies", cause),
        refuse(503, "the live state cannot be read; the server's own log tells why")
      )
    )
  )

const assets = Effect.gen(function* () {
  const { script, style } = yield* Effect.promise(load)
  return {
    [`page-${yield* hashOf(script)}.js`]: { body: script, contentType: "text/javascript; charset=utf-8" },
    [`page-${yield* hashOf(style)}.css`]: { body: style, contentType: "text/css; charset=utf-8" }
  }
})

const asset = Effect.gen(function* () {
  const { file = "" } = yield* HttpRouter.params
  const found = Object.entries(yield* assets).find(([name]) => name === file)?.[1]
  return found === undefined ? refuse(404, "no such file") : yield* answer({ ...found, cacheControl: forever })
})

const escaped = (text: string): string => text.replace(/[&"<>]/g, (sign) => `&#${sign.charCodeAt(0)};`)

/**
 * The way from the page to what lies below it. The path that the browser sees may have no slash at its end, and a proxy
 * may have cut off its begin: only its last part is sure.
 */
const below = (url: string): string => {
  const [path = ""] = url.split("?")
  const last = path.slice(path.lastIndexOf("/") + 1)
  return last === "" ? "." : `./${last}`
}

const page = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  const [script = "", style = ""] = Object.keys(yield* assets)
  const base = escaped(below(request.originalUrl))
  const body = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>LLM calls</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="${base}/assets/${style}">
<script type="module" src="${base}/assets/${script}"></script>
</head>
<body><noscript>This page needs JavaScript.</noscript></body>
</html>
`
  return yield* answer({ body, contentType: "text/html; charset=utf-8", cacheControl: asked })
})

/**
 * A question that nobody waits for any more is answered all the same: with PostgreSQL, an interrupted query can cancel
 * another one of the pool.
 */
const toTheEnd = { uninterruptible: true }

const routesOf = (live: Effect.Effect<DashboardLive.Live>): HttpRouter.HttpRouter<never, SqlClient.SqlClient> =>
  HttpRouter.empty.pipe(
    HttpRouter.get("/", page),
    HttpRouter.get("/assets/:file", asset),
    HttpRouter.get("/api/overview", api(OverviewSearch, overview), toTheEnd),
    HttpRouter.get("/api/calls", api(CallsSearch, latest), toTheEnd),
    HttpRouter.get("/api/calls/:id", one, toTheEnd),
    HttpRouter.get("/api/live", now(live))
  )

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /**
   * The policies of this process, whose states the page shows. Default: none, and the page says that live state is not
   * known here.
   */
  readonly live?: DashboardLive.Sources | undefined
}

/**
 * The page and its JSON, below any path. Needs the `SqlClient` of the call log. Keeps the changes of circuits and
 * alarms for as long as the scope is open, and shows the retry budgets of the context that it is made in.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  options: Options = {}
): Effect.Effect<HttpRouter.HttpRouter<never, SqlClient.SqlClient>, never, Scope.Scope> =>
  options.live === undefined ? Effect.succeed(routes) : Effect.map(DashboardLive.make(options.live), routesOf)

/**
 * The page and its JSON for a process that makes no calls of its own: what is in the log, without live state.
 *
 * @since 0.2.0
 * @category routes
 */
export const routes: HttpRouter.HttpRouter<never, SqlClient.SqlClient> = routesOf(DashboardLive.unknown)
