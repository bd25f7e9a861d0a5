/** What the policies of traffic add to a call that is answered at once, with few and with many keys and waiting calls. */
import { HttpClient } from "@effect/platform"
import { Duration, Effect, Fiber, Redacted, Stream } from "effect"
import { Chat, ChatModel, CircuitBreaker, KeyPool, OpenAi, Pacer, RetryPolicy } from "effect-steadfast"
import { model, request, roomyClient } from "./fixtures.js"
import { type Case, effectCase, effectsCase, type Measured, measure, micros, print, timeOf } from "./support.js"

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

/** A pacer with so many calls waiting for a place that is a day away, and a model that is not kept waiting by them. */
const crowded = (leaf: ChatModel.ChatModel, waiting: number) =>
  Effect.gen(function* () {
    const pacer = yield* Pacer.make({ tokens: { limit: 1000, window: "1 day" }, maxQueue: 20_000 })
    const one = Chat.prompt("word ".repeat(200), { maxTokens: 400 })
    const queue = leaf.pipe(ChatModel.pace(pacer, { key: "crowded" }))
    const waiters = yield* Effect.forkDaemon(
      Effect.forEach(Array.from({ length: waiting }), () => queue.generate(one), { concurrency: "unbounded" })
    )
    yield* Effect.sleep(Duration.millis(200 + waiting / 5))
    const roomy = yield* Pacer.make(limits)
    return { queue, model: leaf.pipe(ChatModel.pace(roomy)), stop: Fiber.interrupt(waiters), pacer, one }
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

/** A call of what is there to be asked, without spans. */
const callCase = (name: string, model: () => ChatModel.ChatModel): Case =>
  effectsCase(name, () => Effect.withTracerEnabled(model().generate(request), false))

const all = "  all of them"

const counts = [10, 100, 1000, 10_000]

/** After so many responses of each key nothing new is in their headers, and its limits are known. */
const learned = 12

/** As it is when each of so many keys was asked before. */
const settled = async (name: string, count: number, model: () => ChatModel.ChatModel): Promise<Case> => {
  const self = callCase(name, model)
  await self.batch(learned * count)
  return self
}

const bareOf = (count: number) => `bare call: one of ${count} leaves`
const allOf = (count: number) => `${all}, ${count} keys`

/** The bare call and all of them, with so many keys; no other models are there meanwhile. */
const keyed = async (count: number): Promise<ReadonlyArray<Measured>> => {
  const model = await Effect.runPromise(full(count, leafOf))
  return measure([
    await settled(bareOf(count), count, await Effect.runPromise(atRandom(count))),
    await settled(allOf(count), count, () => model)
  ])
}

export const run = async (): Promise<void> => {
  const leaf = await Effect.runPromise(leafOf(Redacted.make("sk-bench")))
  const pacer = await Effect.runPromise(Pacer.make(limits))
  const breaker = await Effect.runPromise(CircuitBreaker.make())
  const pool = await Effect.runPromise(Effect.orDie(KeyPool.make({ keys: keysOf(5) })))
  const bare = "bare call: a leaf"
  const one = (name: string, model: ChatModel.ChatModel) => callCase(name, () => model)
  const five = await measure([
    one(bare, leaf),
    one("  retry and its budget", leaf.pipe(ChatModel.retry(RetryPolicy.standard))),
    one("  pacer", leaf.pipe(ChatModel.pace(pacer))),
    one("  breaker", leaf.pipe(ChatModel.breaker(breaker))),
    one("  pool of 5 keys", await Effect.runPromise(ChatModel.pooled(pool, leafOf))),
    one(all, await Effect.runPromise(full(5, leafOf)))
  ])
  print("traffic, answered at once: µs per call", five, () => bare)

  const many: Array<Measured> = []
  for (const count of counts) many.push(...(await keyed(count)))
  print("traffic, by the number of keys: µs per call", many, (name) => {
    const count = counts.find((count) => name === allOf(count))
    return count === undefined ? undefined : bareOf(count)
  })
  const added = (measured: ReadonlyArray<Measured>, name: string, base: string) =>
    micros(timeOf(measured, name) - timeOf(measured, base))
  const most = added(many, allOf(10_000), bareOf(10_000))
  console.log(`\npacer, breaker, budget and pool add ${added(five, all, bare)} µs; with 10,000 keys ${most}`)

  const memory = "bare call: a leaf in memory"
  const inside = await measure([
    one(memory, await Effect.runPromise(inMemory())),
    one(all, await Effect.runPromise(full(5, inMemory)))
  ])
  print("traffic, with nothing below it: µs per call", inside, () => memory)

  const crowds = await Promise.all([10, 100, 1000, 10_000].map((waiting) => Effect.runPromise(crowded(leaf, waiting))))
  const queued = await measure(
    crowds.map(({ one, queue }, index) =>
      effectCase(`join a queue of ${10 ** (index + 1)} and leave it`, joinAndLeave(queue, one))
    )
  )
  print("queues: µs per call", queued, () => "join a queue of 10 and leave it")
  await Effect.runPromise(Effect.forEach(crowds, ({ stop }) => stop, { discard: true }))
}
