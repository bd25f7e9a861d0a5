/**
 * What one call of each documented composition costs, counted instead of timed: steps of Effect's run loop, which are the
 * same on every machine, and bytes allocated, which are nearly so. All of it is answered at once, over the transport
 * of `Transport.layerFetch`, and without spans.
 */
import { FetchHttpClient } from "@effect/platform"
import { Effect, Layer, Redacted, type Scheduler, Stream } from "effect"
import {
  Anthropic,
  ChatModel,
  ChatStream,
  CircuitBreaker,
  KeyPool,
  type LlmError,
  OpenAi,
  Pacer,
  Prices,
  Resilience,
  RetryPolicy,
  Spend,
  Transport
} from "effect-steadfast"
import { allocated } from "./case.js"
import { effectBatch, request, resilient } from "./fixtures.js"
import { printTable } from "./report.js"
import { anthropicBody, encoded, framesOf, model, openAiBody, responseHeaders, streamingFetch } from "./wire.js"

// -----------------------------------------------------------------------------
// the compositions
// -----------------------------------------------------------------------------

/** An operation; where there is a `base`, a row is what the operation costs above it, divided by `units`. */
export interface Row {
  readonly name: string
  readonly effect: Effect.Effect<unknown, unknown>
  readonly base?: { readonly effect: Effect.Effect<unknown, unknown>; readonly units: number }
}

/** The transport over a `fetch` that answers at once: a whole answer, or a stream of tokens, each in its own piece. */
const answering = (tokens?: number, body = openAiBody) => {
  const fetch: typeof globalThis.fetch =
    tokens === undefined
      ? () => Promise.resolve(new Response(body, { headers: responseHeaders }))
      : streamingFetch(framesOf(tokens).map(encoded))
  return Layer.provide(Transport.layerFetch, Layer.succeed(FetchHttpClient.Fetch, fetch))
}

const apiKey = Redacted.make("sk-bench")

const few = 16
const many = 80

/** The compositions of the documentation, and their parts. */
export const rows: Effect.Effect<ReadonlyArray<Row>> = Effect.gen(function* () {
  const leafOf = (apiKey: Redacted.Redacted, tokens?: number) =>
    Effect.provide(OpenAi.make({ model, apiKey }), answering(tokens))
  const gpt = yield* leafOf(apiKey)
  const claude = yield* Effect.provide(
    Anthropic.make({ model: "claude-haiku-4-5", apiKey }),
    answering(undefined, anthropicBody)
  )
  // Limits that calls in a row do not exhaust.
  const limits = { requests: { limit: 1e9 }, tokens: { limit: 1e12 } }
  const policy = RetryPolicy.standard
  const pacer = yield* Pacer.make(limits)
  const breaker = yield* CircuitBreaker.make()
  const priced = Effect.provideService(
    Prices.Prices,
    Prices.table({ "openai/gpt-4o-mini": { input: 0.15, output: 0.6 } })
  )
  const keys = Array.from({ length: 5 }, (_, index) => Redacted.make(`sk-bench-${index}`))
  const pool = yield* KeyPool.make({ keys })
  const pooled = yield* ChatModel.pooled(pool, leafOf)
  const paced = yield* ChatModel.pooled(pool, (apiKey) =>
    Effect.map(leafOf(apiKey), (leaf) => leaf.pipe(ChatModel.timeout({ attempt: "30 seconds" }), ChatModel.pace(pacer)))
  )
  const held = (model: ChatModel.ChatModel) =>
    model.pipe(
      ChatModel.timeout({ attempt: "30 seconds" }),
      ChatModel.pace(pacer),
      ChatModel.breaker(breaker),
      ChatModel.retry(policy)
    )
  const assistant = resilient(gpt, claude)
  const traffic = held(gpt).pipe(ChatModel.orElse(held(claude)), ChatModel.deadline("90 seconds"))
  const spent = (limits: Spend.Limits) => (model: ChatModel.ChatModel) =>
    model.generate(request).pipe(Spend.within(limits))
  const readers: Record<string, (events: ReturnType<ChatModel.ChatModel["stream"]>) => Row["effect"]> = {
    "Stream.runDrain": Stream.runDrain,
    "ChatStream.forEach": ChatStream.forEach(() => {})
  }
  const streamed = (name: string, around: (model: ChatModel.ChatModel) => ChatModel.ChatModel) =>
    Effect.gen(function* () {
      const [less, more] = yield* Effect.forEach([few, many], (tokens) => Effect.map(leafOf(apiKey, tokens), around))
      if (less === undefined || more === undefined) return []
      return Object.entries(readers).flatMap(([reader, read]) => {
        const base = read(less.stream(request))
        return [
          { name: `${name}, ${reader} of ${few} tokens`, effect: base },
          {
            name: `${name}, ${reader}, each further token`,
            effect: read(more.stream(request)),
            base: { effect: base, units: many - few }
          }
        ]
      })
    })
  const call = (name: string, model: ChatModel.ChatModel): Row => ({ name, effect: model.generate(request) })
  const one: Effect.Effect<number, LlmError.LlmError> = Effect.succeed(1)
  const level1 = (name: string, effect: Effect.Effect<unknown, unknown>): Row => ({
    name: `succeed |> ${name}`,
    effect
  })

  return [
    { name: "nothing", effect: Effect.void },
    call("leaf", gpt),
    call("retry", gpt.pipe(ChatModel.retry(policy))),
    call("timeout", gpt.pipe(ChatModel.timeout({ attempt: "30 seconds" }))),
    call("deadline", gpt.pipe(ChatModel.deadline("90 seconds"))),
    call("orElse", gpt.pipe(ChatModel.orElse(claude))),
    call("pace", gpt.pipe(ChatModel.pace(pacer))),
    call("breaker", gpt.pipe(ChatModel.breaker(breaker))),
    call("hedge", gpt.pipe(ChatModel.hedge(claude))),
    call("pooled", pooled),
    call("balance", ChatModel.balance([gpt, yield* leafOf(Redacted.make("sk-other"))])),
    { name: "Spend.within attempts", effect: spent({ attempts: 10 })(gpt) },
    { name: "Spend.within usd and attempts", effect: priced(spent({ usd: 0.05, attempts: 10 })(gpt)) },
    call("README, the idea", assistant),
    call("README, traffic", traffic),
    { name: "README, traffic with spend", effect: priced(spent({ usd: 0.05, attempts: 10 })(traffic)) },
    call("pool of timeout, pace; breaker, retry", paced.pipe(ChatModel.breaker(breaker), ChatModel.retry(policy))),
    level1("pacer.pace", pacer.pace(one, { key: "k" })),
    level1("breaker.execute", breaker.execute(one, { key: "k" })),
    level1("Resilience.retry", Resilience.retry(one, policy)),
    level1(
      "Resilience.orElse",
      Resilience.orElse(one, () => one)
    ),
    level1("Resilience.deadline", Resilience.deadline(one, "90 seconds")),
    level1("Resilience.timeout", Resilience.timeout(one, "30 seconds")),
    level1("Effect.retry(RetryPolicy.standard)", Effect.retry(one, policy)),
    ...(yield* streamed("leaf", (leaf) => leaf)),
    ...(yield* streamed("README, the idea", (leaf) => resilient(leaf, claude))),
    ...(yield* streamed("README, traffic", (leaf) =>
      held(leaf).pipe(ChatModel.orElse(held(claude)), ChatModel.deadline("90 seconds"))
    ))
  ]
}).pipe(Effect.orDie)

// -----------------------------------------------------------------------------
// steps
// -----------------------------------------------------------------------------

const counted = async (effect: Effect.Effect<unknown, unknown>): Promise<number> => {
  let steps = 0
  // The run loop asks before each step whether to give way.
  const scheduler: Scheduler.Scheduler = {
    shouldYield: () => {
      steps += 1
      return false
    },
    scheduleTask: (task) => queueMicrotask(task)
  }
  const run = () => Effect.runPromise(effect.pipe(Effect.withScheduler(scheduler), Effect.withTracerEnabled(false)))
  await run()
  await run()
  steps = 0
  await run()
  return steps
}

/** Steps of a row when it is warm; `nothing` says how many of them are of the counting itself. */
export const stepsOf = async ({ base, effect }: Row): Promise<number> => {
  const steps = await counted(effect)
  return base === undefined ? steps : (steps - (await counted(base.effect))) / base.units
}

// -----------------------------------------------------------------------------
// bytes
// -----------------------------------------------------------------------------

/** Milliseconds of the processor before the first measurement, so that the compiler has done most of what it will do. */
const warmup = 200
const rounds = 5

/** Bytes allocated by one run of an effect inside a fiber: the median of some rounds. */
const bytesOf = async (effect: Effect.Effect<unknown, unknown>): Promise<number> => {
  const batch = effectBatch(Effect.withTracerEnabled(effect, false))
  const spent = () => process.cpuUsage().user / 1000
  const start = spent()
  let times = 0
  while (times < 50 || spent() - start < warmup) {
    await batch(10)
    times += 10
  }
  const samples: Array<number> = []
  const some = Math.ceil(times / 10)
  for (let round = 0; round < rounds; round++) samples.push((await allocated(() => batch(some))) / some)
  samples.sort((a, b) => a - b)
  return samples[Math.floor(rounds / 2)] ?? Number.NaN
}

export const run = async (): Promise<void> => {
  const table: Array<ReadonlyArray<string>> = [["", "steps", "bytes"]]
  for (const row of await Effect.runPromise(rows)) {
    const base = row.base === undefined ? 0 : await bytesOf(row.base.effect)
    const bytes = ((await bytesOf(row.effect)) - base) / (row.base?.units ?? 1)
    table.push([row.name, String(await stepsOf(row)), Math.round(bytes).toLocaleString("en")])
  }
  printTable("answered at once, no spans: per call", table)
  console.log(
    "Steps are exact. Bytes are medians of what the heap grew by and what was collected from it: they move by some per cent" +
      " from run to run and from one version of Node to the next, and leave out buffers, which are not on the heap."
  )
}
