import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Cli from "@effect/cli/Command"
import { NodeContext } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Console, Effect, Logger } from "effect"
import { Prices } from "effect-steadfast"
import * as Command from "../../src/gateway/Command.js"
import * as Launch from "../../src/gateway/Launch.js"
import * as Unpriced from "../../src/gateway/Unpriced.js"
import { configOf } from "./stage.js"

const text = (usd: string, more = "") => `
providers: { own: { kind: openai, baseUrl: "http://127.0.0.1:9/v1", key: sk-own-0123456789 } }
keys:
  - { name: alice, key: sk-alice-0123456789${usd} }
  - { name: bob, key: sk-bob-0123456789, models: [cheap]${usd} }
  - { name: carol, key: sk-carol-0123456789 }
models:
  cheap: own/known
  mixed: { targets: [own/known, own/strange] }
  vectors: { kind: embeddings, targets: [own/vec] }
prices: { own/known: { input: 1, output: 1 } }
${more}`

const strange = "mixed: no price for own/strange, and usdPerDay for alice: they are refused there; see prices"
const vec = "vectors: no price for own/vec, and usdPerDay for alice: they are refused there; see prices"
const limited = ", usdPerDay: 5"

describe("targets without a price", () => {
  it("are named with the clients that may ask them", () => {
    const of = (text: string, prices: Prices.PriceList) => Unpriced.linesOf(configOf(text), prices, 0)
    assert.lengthOf(of(text(limited), Prices.none), 4)
    assert.include(of(text(limited), Prices.none)[0], "cheap: no price for own/known, and usdPerDay for alice, bob:")
    assert.deepStrictEqual(of(text(""), Prices.none), [])
    const table = Prices.table({ "own/known": { input: 1, output: 1 }, "own/vec": { input: 0.1, output: 0 } })
    assert.deepStrictEqual(of(text(limited), table), [strange])
  })

  it.effect("are warned of at the start, and have the built-in prices", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const keep = Logger.make(({ logLevel, message }) => void lines.push(`${logLevel.label} ${String(message)}`))
      const said = (text: string) =>
        Effect.gen(function* () {
          lines.length = 0
          yield* Launch.summary(configOf(text)).pipe(Effect.provide(Logger.replace(Logger.defaultLogger, keep)))
          return lines.filter((line) => line.includes("no price"))
        })
      assert.deepStrictEqual(yield* said(text("")), [])
      assert.deepStrictEqual(yield* said(text(limited)), [`WARN ${strange}`, `WARN ${vec}`])
      const known = `
providers: { openai: { key: sk-own-0123456789 } }
keys: [{ name: alice, key: sk-alice-0123456789, usdPerDay: 5 }]
models: { fast: openai/gpt-4o-mini }`
      assert.deepStrictEqual(yield* said(known), [])
    })
  )

  it.scoped("are told by --check", () =>
    Effect.gen(function* () {
      const folder = mkdtempSync(join(tmpdir(), "steadfast-check-"))
      yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(folder, { recursive: true, force: true })))
      const file = join(folder, "gateway.yaml")
      const check = (text: string) =>
        Effect.gen(function* () {
          writeFileSync(file, text)
          const lines: Array<string> = []
          const log = (...parts: ReadonlyArray<unknown>) =>
            Effect.sync(() => void lines.push(parts.map(String).join(" ")))
          const run = Cli.run(Command.gateway, { name: "steadfast", version: "0" })
          yield* run(["node", "steadfast", "--config", file, "--check"]).pipe(
            Effect.provide(NodeContext.layer),
            Effect.withConsole({ ...(yield* Console.consoleWith(Effect.succeed)), log })
          )
          return lines.join("\n")
        })
      assert.include(yield* check(text(limited)), `\nnotes:\n  ${strange}\n  ${vec}`)
      assert.notInclude(yield* check(text("")), "no price")
    }).pipe(Effect.orDie)
  )
})
