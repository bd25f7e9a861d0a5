import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Redacted } from "effect"
import { Chat, ChatModel, ChatStream, OpenAi } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import * as KeyPool from "../../../src/policies/balance/KeyPool.js"
import { apiKey } from "../../support/evidence.js"
import { evidenceOf, leaksOf } from "../../support/leaks.js"

const prompt = Chat.prompt("Hello")
const other = Redacted.make("sk-proj-another")

/** What a provider may say that shows the key. */
const echo = (status: number): Step.Step =>
  Fault.status(status, {
    headers: { "x-request-id": apiKey, "retry-after-ms": "70000" },
    body: { error: { message: `Incorrect API key provided: ${apiKey}`, code: "invalid_api_key", param: apiKey } }
  })

/** Asks a pool of two keys, of which one is answered so and the other well, three times. */
const asked = (step: Step.Step, ask: (model: ChatModel.ChatModel) => Effect.Effect<unknown, unknown>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({
      rules: [{ key: apiKey, script: [step] }],
      script: [Reply.text("hi")]
    })
    const pool = yield* Effect.orDie(KeyPool.make({ keys: [Redacted.make(apiKey), other], maxWait: 0 }))
    const model = yield* ChatModel.pooled(pool, (apiKey) => OpenAi.make({ model: "gpt-4o-mini", apiKey })).pipe(
      Effect.provideService(HttpClient.HttpClient, provider.client),
      Effect.orDie
    )
    for (let i = 0; i < 3; i++) {
      const exit = yield* Effect.exit(ask(model))
      if (exit._tag === "Failure") yield* Effect.logError("a call failed", exit.cause)
    }
    yield* Effect.logInfo("the pool", pool, [...(yield* pool.states).values()])
    return yield* Effect.flip(pool.circuits.admit({ key: pool.keys[0]?.name ?? "" })).pipe(Effect.ignore)
  })

const ways = {
  generate: (model: ChatModel.ChatModel) => model.generate(prompt),
  stream: (model: ChatModel.ChatModel) => ChatStream.collect(model.stream(prompt))
}

describe("the key", () => {
  for (const [name, ask] of Object.entries(ways)) {
    for (const status of [401, 402, 429, 500]) {
      it.effect(`is in no evidence of a pool that is asked to ${name} and answered with ${status}`, () =>
        Effect.gen(function* () {
          const { found, spans } = yield* evidenceOf(asked(echo(status), ask))
          assert.isAbove(spans, 1)
          assert.isAbove(found.length, 20)
          assert.deepStrictEqual(leaksOf(found), [])
        })
      )
    }
  }

  it.effect("is named in it", () =>
    Effect.gen(function* () {
      const { found } = yield* evidenceOf(asked(echo(401), ways.generate))
      const name = KeyPool.nameOf(Redacted.make(apiKey))
      assert.isTrue(found.some(([where, text]) => where.includes("log") && text.includes(name)))
      assert.isTrue(found.some(([where, text]) => where === "record" && text.includes(name)))
      assert.isTrue(found.some(([where, text]) => where === "span" && text.includes(name)))
    })
  )

  it.effect("is in no cause of a configuration that fails", () =>
    Effect.gen(function* () {
      const cause = yield* Effect.flip(
        Effect.sandbox(KeyPool.make({ keys: [Redacted.make(apiKey), Redacted.make(apiKey)] }))
      )
      assert.notInclude(Cause.pretty(cause), apiKey)
    })
  )
})
