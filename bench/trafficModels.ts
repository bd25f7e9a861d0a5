/** Models with policies of traffic, around a client that answers at once. */
import { HttpClient } from "@effect/platform"
import { Duration, Effect, Fiber, Redacted, Stream } from "effect"
import { Chat, ChatModel, CircuitBreaker, KeyPool, OpenAi, Pacer, RetryPolicy } from "effect-steadfast"
import type { Batch } from "./case.js"
import { effectBatch, effectsBatch, request, roomyClient } from "./fixtures.js"
import { model } from "./wire.js"

const limits = { requests: { limit: 1e9 }, tokens: { limit: 1e12 } }

const keysOf = (count: number): ReadonlyArray<Redacted.Redacted> =>
  Array.from({ length: count }, (_, index) => Redacted.make(`sk-bench-${index}`))

const leafOf = (apiKey: Redacted.Redacted): Effect.Effect<ChatModel.ChatModel> =>
  OpenAi.make({ model, apiKey }).pipe(Effect.provideService(HttpClient.HttpClient, roomyClient), Effect.orDie)

let made = 0

/** A leaf with its call, its attempt and its limits, and nothing below that: no client, no JSON, no promise. */
const inMemory = (): Effect.Effect<ChatModel.ChatModel> =>
  Effect.sync(() => {
    let left = 0
    const told = (limit: number) => ({ limit, remaining: limit - 10 * (1 + (left++ % 4)), resetMillis: 1 })
    return ChatModel.make({
      provider: "memory",
      model,
      key: `key-${made++}`,
      generate: (_, attempt) => {
        attempt.note({ limits: { requests: told(6e8), tokens: told(6e11) } })
        return Effect.succeed(answer)
      },
      stream: () => Stream.empty
    })
  })

const answer: Chat.Response = {
  provider: "memory",
  model,
  text: "Paris.",
  toolCalls: [],
  finishReason: "stop",
  usage: { inputTokens: 12, outputTokens: 2 }
}

/** Everything around every key: pacer, breaker, pool and budget. */
const full = (count: number, leafOf: (apiKey: Redacted.Redacted) => Effect.Effect<ChatModel.ChatModel>) =>
  Effect.gen(function* () {
    const pacer = yield* Pacer.make(limits)
    const breaker = yield* CircuitBreaker.make()
    const pool = yield* Effect.orDie(KeyPool.make({ keys: keysOf(count) }))
    const pooled = yield* ChatModel.pooled(pool, (apiKey) => Effect.map(leafOf(apiKey), ChatModel.pace(pacer)))
    return pooled.pipe(ChatModel.breaker(breaker), ChatModel.retry(RetryPolicy.standard))
  })

/** A pacer with so many calls waiting for a place that is a day away. */
const crowded = (leaf: ChatModel.ChatModel, waiting: number) =>
  Effect.gen(function* () {
    const pacer = yield* Pacer.make({ tokens: { limit: 1000, window: "1 day" }, maxQueue: 20_000 })
    const one = Chat.prompt("word ".repeat(200), { maxTokens: 400 })
    const queue = leaf.pipe(ChatModel.pace(pacer, { key: "crowded" }))
    yield* Effect.forkDaemon(
      Effect.forEach(Array.from({ length: waiting }), () => queue.generate(one), { concurrency: "unbounded" })
    )
    yield* Effect.sleep(Duration.millis(200 + waiting / 5))
    return { queue, one }
  })

/** A call that takes its place at the end of the queue, and leaves it. */
const joinAndLeave = (queue: ChatModel.ChatModel, one: Chat.Request) =>
  Effect.gen(function* () {
    const fiber = yield* Effect.fork(queue.generate(one))
    yield* Effect.yieldNow()
    yield* Fiber.interrupt(fiber)
  })

/** One of so many leaves at random, as a pool asks them: what it needs is in no cache of the processor there either. */
const atRandom = (count: number): Effect.Effect<() => ChatModel.ChatModel> =>
  Effect.map(
    Effect.forEach(keysOf(count), leafOf),
    (leaves) => () => leaves[Math.floor(Math.random() * count)] as ChatModel.ChatModel
  )

/** Calls of what is there to be asked, without spans. */
const calls = (model: () => ChatModel.ChatModel): Batch =>
  effectsBatch(() => Effect.withTracerEnabled(model().generate(request), false))

/** After so many responses of each key nothing new is in their headers, and its limits are known. */
const learned = 12

/** As it is when each of so many keys was asked before. */
const settled = async (count: number, model: () => ChatModel.ChatModel): Promise<Batch> => {
  const batch = calls(model)
  await batch(learned * count)
  return batch
}

const around = async (policy: (model: ChatModel.ChatModel) => ChatModel.ChatModel): Promise<Batch> => {
  const model = policy(await Effect.runPromise(leafOf(Redacted.make("sk-bench"))))
  return calls(() => model)
}

export const leaf = () => around((model) => model)

export const retried = () => around(ChatModel.retry(RetryPolicy.standard))

export const paced = async () => around(ChatModel.pace(await Effect.runPromise(Pacer.make(limits))))

export const broken = async () => around(ChatModel.breaker(await Effect.runPromise(CircuitBreaker.make())))

export const pooled = async (count: number): Promise<Batch> => {
  const pool = await Effect.runPromise(Effect.orDie(KeyPool.make({ keys: keysOf(count) })))
  const model = await Effect.runPromise(ChatModel.pooled(pool, leafOf))
  return calls(() => model)
}

export const oneOf = async (count: number) => settled(count, await Effect.runPromise(atRandom(count)))

export const everything = async (count: number) => {
  const model = await Effect.runPromise(full(count, leafOf))
  return settled(count, () => model)
}

export const everythingInMemory = async (count: number) => {
  const model = await Effect.runPromise(full(count, inMemory))
  return calls(() => model)
}

export const leafInMemory = async () => {
  const model = await Effect.runPromise(inMemory())
  return calls(() => model)
}

export const queueOf = async (waiting: number) => {
  const leaf = await Effect.runPromise(leafOf(Redacted.make("sk-bench")))
  const { one, queue } = await Effect.runPromise(crowded(leaf, waiting))
  return effectBatch(joinAndLeave(queue, one))
}
