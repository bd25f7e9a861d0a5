import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { cases } from "../support/cases.js"
import { gatewayProcess } from "./child.js"
import { ask, asking, chat, dial, eventually, heardOn, keys } from "./stage.js"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-process-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

const fileOf = (url: string, model: string, more = "") => `
server: { adminKey: ${keys.admin}, drain: 2 seconds }
providers: { first: { kind: openai, baseUrl: "${url}/v1", key: ${keys.first} } }
keys: [{ name: alice, key: ${keys.alice} }]
observability: { logFormat: json }
models: { fast: { targets: [first/${model}] } }
${more}`

describe("SIGTERM", () => {
  it.scopedLive("loses no call that was taken, lets streams end within the bound, and ends with 0", () =>
    Effect.gen(function* () {
      const first = yield* FaultyProvider.serve({
        script: [Fault.slowTokens("15 millis", Reply.text("word ".repeat(30)))],
        rules: [{ model: "endless", script: [Fault.stall({ tokens: 2 })] }]
      })
      const file = join(yield* folder, "gateway.yaml")
      writeFileSync(file, fileOf(first.url, "m1").replace("fast:", "endless: { targets: [first/endless] }, fast:"))
      const child = yield* gatewayProcess(file)
      assert.strictEqual((yield* asking(child.url, { key: keys.alice, body: chat("fast") })).status, 200)
      yield* first.reset
      const size = cases(400, 40)
      const load = yield* Effect.fork(
        Effect.forEach(
          Array.from({ length: size }, (_, seed) => seed),
          (seed) => asking(child.url, { key: keys.alice, body: chat("fast", { seed, stream: seed % 2 === 0 }) }),
          { concurrency: "unbounded" }
        )
      )
      const endless = yield* Effect.fork(
        asking(child.url, { key: keys.alice, body: chat("endless", { stream: true }) })
      )
      yield* first.until((requests) => requests.length === size + 1)
      const started = performance.now()
      child.signal("SIGTERM")
      const heard = yield* Fiber.join(load)
      assert.isTrue(heard.every(({ cut, status }) => status === 200 && !cut))
      yield* Effect.sleep("200 millis")
      const late = yield* Effect.either(Effect.tryPromise(() => ask(child.url, { path: "/healthz" })))
      assert.strictEqual(late._tag, "Left")
      // A signal to reload does not end what is stopping.
      child.signal("SIGHUP")
      assert.isTrue((yield* Fiber.join(endless)).cut)
      assert.strictEqual(yield* Effect.promise(() => child.ended), 0, child.said())
      const took = performance.now() - started
      assert.isTrue(took > 1500 && took < 20_000, String(took))
      assert.match(child.said(), /stopping: \d+ requests run/)
      for (const secret of Object.values(keys)) assert.notInclude(child.said(), secret)
    })
  )

  it.scopedLive("with nothing to do ends at once, also where connections are open", () =>
    Effect.gen(function* () {
      const file = join(yield* folder, "gateway.yaml")
      writeFileSync(file, fileOf("http://127.0.0.1:9", "m1"))
      const child = yield* gatewayProcess(file)
      const socket = yield* Effect.promise(() => dial(child.port))
      socket.write("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
      const heard = heardOn(socket)
      yield* Effect.sleep("100 millis")
      const started = performance.now()
      child.signal("SIGTERM")
      assert.strictEqual(yield* Effect.promise(() => child.ended), 0)
      assert.isBelow(performance.now() - started, 3000)
      assert.include(yield* Effect.promise(() => heard), "ok")
    })
  )
})

describe("a new configuration under load", () => {
  it.scopedLive("by SIGHUP and by a changed file loses no call; a bad file changes nothing, and it says why", () =>
    Effect.gen(function* () {
      const first = yield* FaultyProvider.serve({ script: [Fault.slowTokens("3 millis", Reply.text("a b c d e f"))] })
      const file = join(yield* folder, "gateway.yaml")
      const write = (text: string): void => {
        writeFileSync(`${file}.new`, text)
        renameSync(`${file}.new`, file)
      }
      write(fileOf(first.url, "m1"))
      const child = yield* gatewayProcess(file)
      // Many clients send the whole body before they read.
      for (const body of [Buffer.alloc(30_000_000, "a"), Buffer.alloc(40_000_000, "a")]) {
        const key = body.length > 32 * 2 ** 20 ? keys.alice : "sk-wrong"
        const { status } = yield* asking(child.url, { key, body })
        assert.strictEqual(status, key === keys.alice ? 413 : 401)
      }
      let over = false
      let failed: ReadonlyArray<string> = []
      let served = 0
      const worker = Effect.gen(function* () {
        for (let seed = 0; !over; seed++) {
          const { body, cut, status } = yield* asking(child.url, {
            key: keys.alice,
            body: chat("fast", { seed, stream: seed % 2 === 0 })
          })
          if (status === 200 && !cut) served++
          else failed = [...failed, `${status} ${body}`]
        }
      })
      const load = yield* Effect.fork(
        Effect.all(
          Array.from({ length: 8 }, () => worker),
          { concurrency: "unbounded" }
        )
      )
      const asked = (model: string) => first.until((requests) => requests.at(-1)?.model === model)
      yield* asked("m1")
      write(fileOf(first.url, "m2"))
      child.signal("SIGHUP")
      yield* asked("m2")
      yield* eventually(() => child.said().includes("reloaded (SIGHUP)"), child.said())
      yield* Effect.sleep("1100 millis")
      write(fileOf(first.url, "m3"))
      yield* asked("m3")
      yield* eventually(() => child.said().includes("reloaded (the file changed)"), "it says so")
      const bad = fileOf(first.url, "m4").replace("first/m4", "nobody/m4").replace("drain: 2 seconds", "drain: soon")
      write(bad)
      child.signal("SIGHUP")
      yield* eventually(() => child.said().includes("not reloaded (SIGHUP)"), "it refuses")
      assert.include(child.said(), "nobody/m4")
      assert.include(child.said(), "drain")
      // A mistake in the file is no bug: nobody needs a trace.
      assert.notInclude(child.said(), "at failure")
      assert.notInclude(child.said(), "Build.ts")
      rmSync(file)
      child.signal("SIGHUP")
      yield* eventually(() => child.said().split("not reloaded").length >= 3, "a missing file is no configuration")
      yield* Effect.sleep("200 millis")
      assert.strictEqual((yield* first.requests).at(-1)?.model, "m3")
      // A fifth configuration, after the bad ones.
      write(
        fileOf(first.url, "m5", "prices: { first/m5: { input: 1, output: 1 } }").replace(
          "json }",
          `json, callLog: "${file}.db" }`
        )
      )
      yield* asked("m5")
      yield* eventually(
        () => child.said().includes("prices, observability: changed, and in force after a restart"),
        "what a reload does not change is told"
      )
      over = true
      yield* Fiber.join(load)
      assert.deepStrictEqual(failed, [])
      assert.isAbove(served, 50)
      for (const secret of Object.values(keys)) assert.notInclude(child.said(), secret)
    })
  )
})
