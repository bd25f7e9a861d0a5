import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Option, Redacted, Schema, Stream } from "effect"
import {
  Chat,
  ChatModel,
  CircuitBreaker,
  KeyPool,
  OpenAi,
  Pacer,
  Prices,
  Resilience,
  Resilient,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { attempts, elapse, modelOf, recorded, scripted } from "../support.js"

const Person = Schema.Struct({ name: Schema.NonEmptyString })
const right = Reply.text('{"name":"Ada"}')
const ask = Chat.prompt("Who is she?")

const valueOf = (model: ChatModel.ChatModel) =>
  Effect.map(ChatModel.generateObject(model, Person, ask), ({ value }) => value.name)

const turns = (requests: ReadonlyArray<FaultyProvider.RecordedRequest>) =>
  requests.map(({ body }) => (body as { readonly messages: ReadonlyArray<unknown> }).messages.length)

describe("an answer by a schema", () => {
  it.effect("falls back after a wrong one, and tells the next target", () =>
    Effect.gen(function* () {
      const first = yield* scripted(Reply.text("no idea"))
      const second = yield* FaultyProvider.make({ script: [right] })
      const both = first.model.pipe(ChatModel.orElse(yield* modelOf(second, { model: "m-2" })))
      const { records, value } = yield* recorded(elapse(valueOf(both)))
      assert.strictEqual(value, "Ada")
      assert.deepStrictEqual(attempts(records[0]), ["failure InvalidResponse", "success"])
      assert.deepStrictEqual(turns(yield* second.requests), [3])
    })
  )

  it.effect("is asked for again by another key of a pool, which keeps both keys", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Reply.text("no idea"), right] })
      const pool = yield* KeyPool.make({ keys: [Redacted.make("key-1"), Redacted.make("key-2")] })
      const model = yield* ChatModel.pooled(pool, (apiKey) => OpenAi.make({ model: "m-1", apiKey })).pipe(
        Effect.provideService(HttpClient.HttpClient, provider.client)
      )
      const value = yield* elapse(valueOf(model.pipe(ChatModel.retry(RetryPolicy.standard))))
      assert.strictEqual(value, "Ada")
      assert.deepStrictEqual(turns(yield* provider.requests), [1, 3])
      assert.deepStrictEqual(
        Array.from((yield* pool.states).values(), ({ circuit, inFlight }) => [circuit._tag, inFlight]),
        [
          ["Closed", 0],
          ["Closed", 0]
        ]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("is balanced, with the check at each member", () =>
    Effect.gen(function* () {
      const provider = yield* FaultyProvider.make({ script: [Reply.text("no idea"), right] })
      const members = [yield* modelOf(provider, { model: "m-1" }), yield* modelOf(provider, { model: "m-2" })] as const
      const model = ChatModel.balance(members)
      const held = model.pipe(ChatModel.retry(RetryPolicy.standard))
      assert.strictEqual(yield* elapse(valueOf(held)), "Ada")
      assert.deepStrictEqual(turns(yield* provider.requests), [1, 3])
    })
  )

  it.effect("comes from the hedge, where the first target is late", () =>
    Effect.gen(function* () {
      // Some late streams teach the hedge first that a late one takes long.
      const late = (delay: number) => Reply.text('{"name":"Ada"}', { delay })
      const known = Array.from({ length: 40 }, (_, i) => late(i === 10 || i === 15 ? 5000 : 100))
      const first = yield* FaultyProvider.make({ script: [...known, Fault.hang] })
      const second = yield* FaultyProvider.make({ script: [Reply.text('{"name":"Eve"}', { delay: "100 millis" })] })
      const hedged = ChatModel.hedge(yield* modelOf(first), yield* modelOf(second, { model: "m-2" }))
      const last = Stream.runLast(ChatModel.streamObject(hedged, Person, ask))
      yield* elapse(Effect.replicateEffect(last, 40))
      const { records, value } = yield* recorded(elapse(last))
      const event = Option.getOrUndefined(value)
      assert.strictEqual(event?._tag === "Whole" ? event.value.name : event?._tag, "Eve")
      assert.deepStrictEqual(
        records[0]?.attempts.map(({ hedge, outcome }) => [hedge, outcome]),
        [
          [undefined, "interrupted"],
          [true, "success"]
        ]
      )
    })
  )

  it.effect("is held by Resilient.make", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text("no idea"), Reply.text("none"), right)
      const held = yield* Resilient.make(model)
      assert.strictEqual(yield* elapse(valueOf(held)), "Ada")
      assert.deepStrictEqual(turns(yield* provider.requests), [1, 3, 3])
    }).pipe(Effect.scoped)
  )

  it.effect("is charged by its tokens under Spend.within, wrong or not, and refused beyond the limit", () =>
    Effect.gen(function* () {
      const usage = { inputTokens: 100, outputTokens: 100 }
      const wrong = Reply.text("no idea", { usage })
      const { model, provider } = yield* scripted(wrong)
      const limited = { ...ask, maxTokens: 100 }
      const held = model.pipe(ChatModel.retry(RetryPolicy.make({ maxAttempts: 40 })))
      const step = Effect.zip(Effect.flip(ChatModel.generateObject(held, Person, limited)), Spend.spent).pipe(
        Spend.within({ usd: 3000 })
      )
      const priced = Effect.provide(
        elapse(step),
        Prices.layer(Prices.table({ "openai/m-1": { input: 1_000_000, output: 1_000_000 } }))
      )
      const result = yield* priced
      const [error, spent] = Array.isArray(result) ? result : assert.fail("the time is up")
      // Each costs 200 of 3,000. Its hold is more than 500: charged in full, five would be the most.
      assert.strictEqual(error._tag, "BudgetExceeded")
      assert.strictEqual(spent.usd, 200 * (yield* provider.requests).length)
      assert.isAbove((yield* provider.requests).length, 6)
    })
  )

  it.effect("opens no circuit where it is wrong, and takes its place with the pacer", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text("no idea"))
      const breaker = yield* CircuitBreaker.make()
      const pacer = yield* Pacer.make({ requests: { limit: 100 } })
      const held = model.pipe(ChatModel.pace(pacer), ChatModel.breaker(breaker))
      const one = Effect.flip(valueOf(held))
      const errors = yield* elapse(Effect.replicateEffect(one, 40))
      assert.deepStrictEqual([...new Set(errors.map(({ code }) => code))], ["not-json"])
      assert.lengthOf(yield* provider.requests, 40)
    }).pipe(Effect.scoped)
  )

  it.effect("is one call of Resilience, whose schedule tells the next attempt", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text("no idea"), right)
      const value = yield* elapse(valueOf(model).pipe(Resilience.retry(RetryPolicy.standard)))
      assert.strictEqual(value, "Ada")
      // The schedule knows the error alone, not the answer.
      assert.deepStrictEqual(turns(yield* provider.requests), [1, 2])
    })
  )
})
