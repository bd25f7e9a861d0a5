import { connect, createServer } from "node:net"
import { HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Layer, Logger, Option, Redacted, Scope } from "effect"
import { Call, Chat, ChatModel, OpenAi, RetryPolicy } from "effect-steadfast"
import { Telemetry } from "effect-steadfast/observability"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { apiKey, collectLogs } from "../support/evidence.js"
import { collector, type Export, type Json, serving } from "./collector.js"
import * as Prometheus from "./prometheus.js"

const prompt = "the-secret-question"
const answer = "the-secret-answer in words"
const token = "collector-token-7"

/** What a layer does to a program: it is closed at the end, which is when the last export is made. */
const within = <A, E>(layer: Layer.Layer<never>, program: Effect.Effect<A, E>) =>
  Effect.gen(function* () {
    const scope = yield* Scope.make()
    const runtime = yield* Scope.extend(Layer.toRuntime(layer), scope)
    yield* Effect.provide(program, runtime)
    const [time] = yield* Effect.timed(Scope.close(scope, Exit.void))
    return Duration.toMillis(time)
  })

const asked = Effect.gen(function* () {
  const provider = yield* FaultyProvider.make({
    script: [Fault.serverError(), Reply.text(answer, { usage: { inputTokens: 12, outputTokens: 3 } })]
  })
  const model = yield* Effect.provideService(
    OpenAi.make({ model: "exported", apiKey: Redacted.make(apiKey) }),
    HttpClient.HttpClient,
    provider.client
  )
  const held = ChatModel.retry(model, RetryPolicy.make({ maxAttempts: 2, initialDelay: "10 millis" }))
  yield* held.generate(Chat.prompt(prompt)).pipe(Call.withLabels({ tenant: "t" }))
}).pipe(Effect.provide(Logger.remove(Logger.defaultLogger)))

const options = (url: string) => ({
  url,
  resource: { serviceName: "my-app", serviceVersion: "1.2.3", attributes: { "deployment.environment.name": "test" } },
  headers: { authorization: Redacted.make(`Bearer ${token}`), "x-plain": "yes" }
})

const otlp = (url: string, more: Partial<Telemetry.OtlpOptions> = {}) =>
  Layer.provide(Telemetry.layerOtlp({ ...options(url), ...more }), NodeHttpClient.layerUndici)

const last = (exports: ReadonlyArray<Export>, path: string): Export => {
  const found = exports.filter((one) => one.path === path).at(-1)
  if (found === undefined) throw new Error(`nothing came to ${path}`)
  return found
}

const attributesOf = (one: Json): Record<string, unknown> =>
  Object.fromEntries(one.attributes.map(({ key, value }: Json) => [key, Object.values(value)[0]]))

describe("OTLP", () => {
  it.live("sends metrics with the units of the table, and spans with usage on the call only", () =>
    Effect.gen(function* () {
      const { exports, url } = yield* collector
      const layer = Layer.merge(Telemetry.layerMetrics({ labels: ["tenant"] }), otlp(`${url}/`))
      yield* within(layer, asked)

      const { body, headers } = last(exports, "/v1/metrics")
      assert.strictEqual(headers.authorization, `Bearer ${token}`)
      assert.strictEqual(headers["x-plain"], "yes")
      const [{ resource, scopeMetrics }] = body.resourceMetrics
      assert.deepInclude(attributesOf(resource), {
        "service.name": "my-app",
        "service.version": "1.2.3",
        "deployment.environment.name": "test"
      })
      const metrics: ReadonlyArray<Json> = scopeMetrics[0].metrics
      const named = (name: string) => metrics.find((metric) => metric.name === name)
      for (const { attributes, kind, name, unit } of Object.values<Telemetry.Definition>(Telemetry.table)) {
        const metric = named(name)
        if (metric === undefined) continue
        assert.strictEqual(metric.unit, unit, name)
        const data = kind === "counter" ? metric.sum : metric[kind]
        assert.isDefined(data, name)
        if (kind === "counter") assert.deepInclude(data, { isMonotonic: true, aggregationTemporality: 2 })
        for (const point of data.dataPoints) {
          const own = Object.keys(attributesOf(point)).filter((key) => !key.startsWith("steadfast.label."))
          assert.deepStrictEqual(
            own.filter((key) => !attributes.includes(key)),
            [],
            name
          )
        }
      }
      const duration = named("gen_ai.client.inference.duration").histogram.dataPoints.find(
        (point: Json) => attributesOf(point)["gen_ai.request.model"] === "exported"
      )
      assert.deepStrictEqual(
        duration.explicitBounds,
        [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
      )
      assert.strictEqual(duration.bucketCounts.length, 15)
      assert.strictEqual(duration.count, 1)
      const tokens = named("gen_ai.client.inference.usage.input_tokens").sum.dataPoints.filter(
        (point: Json) => attributesOf(point)["gen_ai.request.model"] === "exported"
      )
      assert.strictEqual(
        tokens.reduce((sum: number, point: Json) => sum + point.asDouble, 0),
        12
      )

      const spans: ReadonlyArray<Json> = last(exports, "/v1/traces").body.resourceSpans[0].scopeSpans[0].spans
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["attempt", "attempt", "chat exported"]
      )
      const [failed, served, call] = spans
      assert.deepStrictEqual([failed.parentSpanId, served.parentSpanId], [call.spanId, call.spanId])
      assert.deepInclude(attributesOf(call), { "gen_ai.usage.input_tokens": 12, "steadfast.label.tenant": "t" })
      assert.deepStrictEqual([failed.status.code, served.status.code, call.status.code], [2, 1, 1])
      for (const span of [failed, served]) {
        assert.isEmpty(Object.keys(attributesOf(span)).filter((name) => name.startsWith("gen_ai.")))
      }
      for (const { text } of exports) for (const secret of [apiKey, prompt, answer]) assert.notInclude(text, secret)
    }).pipe(Effect.scoped)
  )

  it.live("sends the log only if asked, and the old names only if asked", () =>
    Effect.gen(function* () {
      const { exports, url } = yield* collector
      yield* within(otlp(url), asked)
      assert.isFalse(exports.some(({ path }) => path === "/v1/logs"))
      assert.notInclude(last(exports, "/v1/traces").text, "gen_ai.system")
      const layer = Layer.merge(otlp(url, { logs: true }), Telemetry.legacyNames)
      yield* within(layer, asked)
      const { text } = last(exports, "/v1/logs")
      assert.include(text, "recovered by attempt 2")
      for (const secret of [apiKey, prompt, answer]) assert.notInclude(text, secret)
      assert.include(last(exports, "/v1/traces").text, "gen_ai.system")
    }).pipe(Effect.scoped)
  )

  it.live("a collector that is away, or never answers, fails no call and holds up no end", () =>
    Effect.gen(function* () {
      const silent = yield* serving(() => {})
      for (const port of [1, silent.port]) {
        const layer = otlp(`http://127.0.0.1:${port}`, { shutdownTimeout: "300 millis" })
        const closing = yield* within(layer, asked)
        console.log(`closing without a collector: ${closing.toFixed(0)} ms`)
        // Without the bound it is 3 seconds for each of the exporters.
        assert.isBelow(closing, 2500)
      }
    }).pipe(Effect.scoped)
  )
})

describe("the server for Prometheus", () => {
  const freePort = Effect.async<number>((resume) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0)))
    })
  })

  const reaches = (host: string, port: number) =>
    Effect.async<boolean>((resume) => {
      const socket = connect({ host, port })
      socket.once("connect", () => {
        socket.destroy()
        resume(Effect.succeed(true))
      })
      socket.once("error", () => resume(Effect.succeed(false)))
    })

  const get = (port: number, path: string, init: RequestInit = {}) =>
    Effect.promise(async () => {
      const response = await fetch(`http://127.0.0.1:${port}${path}`, init)
      return { status: response.status, type: response.headers.get("content-type"), text: await response.text() }
    })

  it.live("serves what a scraper can read, at one path, on this machine only, until it is closed", () =>
    Effect.gen(function* () {
      const port = yield* freePort
      const logs = collectLogs()
      const scope = yield* Scope.make()
      yield* Layer.buildWithScope(Telemetry.layerPrometheus({ port }), scope).pipe(Effect.provide(logs.layer))
      const told = logs.lines.map(({ message }) => message)
      yield* Effect.provide(asked, Telemetry.metrics)
      const { status, text, type } = yield* get(port, "/metrics?x=1")
      assert.deepStrictEqual([status, type], [200, Telemetry.contentType])
      const seen = Prometheus.since(new Map(), Prometheus.parse(text))
      assert.isAtLeast(seen.sum("steadfast_attempts_total", { steadfast_attempt_target: "openai/exported" }), 2)
      assert.deepStrictEqual(told, [`metrics at http://127.0.0.1:${port}/metrics`])
      assert.strictEqual((yield* get(port, "/")).status, 404)
      assert.strictEqual((yield* get(port, "/metrics", { method: "POST" })).status, 405)
      assert.deepInclude(yield* get(port, "/metrics", { method: "HEAD" }), { status: 200, text: "" })
      assert.isFalse(yield* reaches("127.0.0.2", port))
      assert.isFalse(yield* reaches("::1", port))
      // A client that does not end its request holds up no end.
      const idle = connect({ host: "127.0.0.1", port })
      yield* Effect.async<void>((resume) => {
        idle.once("error", () => {})
        idle.write("GET /metrics HTTP/1.1\r\n", () => setTimeout(() => resume(Effect.void), 50))
      })
      const closed = yield* Scope.close(scope, Exit.void).pipe(Effect.disconnect, Effect.timeoutOption("5 seconds"))
      assert.isTrue(Option.isSome(closed))
      assert.isFalse(yield* reaches("127.0.0.1", port))
    })
  )

  it.live("fails if its port is in use", () =>
    Effect.gen(function* () {
      const { port } = yield* serving(() => {})
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Telemetry.layerPrometheus({ port }))))
      assert.isTrue(Exit.isFailure(exit))
      assert.include(JSON.stringify(exit), "EADDRINUSE")
      assert.include(JSON.stringify(exit), "ServeError")
    }).pipe(Effect.scoped)
  )
})
