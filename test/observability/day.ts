/** A scripted day: some 500 calls with all that happens to calls. */
import { HttpClient } from "@effect/platform"
import { Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { Anthropic, Call, Chat, ChatModel, OpenAi, Prices, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"
import { apiKey, collectRecords } from "../support/evidence.js"

export const prompt = "the-secret-question"
export const secretAnswer = "the-secret-answer"
const text = (usage: Reply.Options["usage"], more: Reply.Options = {}) =>
  Reply.text(`${secretAnswer} in several words of text`, { usage, ...more })

const prices = Prices.layer(
  Prices.table({
    "openai/alpha": { input: 2, output: 8 },
    "openai/beta": { input: 10, output: 30 },
    "anthropic/delta": { input: 5, output: 20 }
  })
)

const ask = Chat.prompt(prompt)
const retry = (maxAttempts: number) => RetryPolicy.make({ maxAttempts })

/** The same at each of its models, and how many calls they are. */
export const make = (seed: string) =>
  Effect.gen(function* () {
    const provider = (options: FaultyProvider.Options) => FaultyProvider.make(options)
    const alpha = yield* provider({
      onExhausted: "cycle",
      script: [
        text({ inputTokens: 11, outputTokens: 7, cachedTokens: 4 }),
        Fault.rateLimited({ retryAfter: "2 seconds" }),
        text({ inputTokens: 13, outputTokens: 5 }),
        text({ inputTokens: 17, outputTokens: 3, reasoningTokens: 2 }),
        Fault.serverError({ delay: "1 second" }),
        Fault.overloaded(),
        text({ inputTokens: 19, outputTokens: 2 }),
        Fault.serverError(),
        Fault.serverError(),
        Fault.serverError(),
        text({ inputTokens: 23, outputTokens: 1 }),
        Fault.contentFilter()
      ]
    })
    const beta = yield* provider({
      onExhausted: "cycle",
      script: [
        text({ inputTokens: 29, outputTokens: 9 }),
        text({ inputTokens: 31, outputTokens: 4 }),
        Fault.overloaded()
      ]
    })
    const gamma = yield* provider({
      onExhausted: "cycle",
      script: [text({ inputTokens: 37, outputTokens: 6, cachedTokens: 8, cacheWriteTokens: 3 }), Fault.unauthorized()]
    })
    const slow = yield* provider({
      onExhausted: "cycle",
      script: [
        ...Array.from({ length: 19 }, () => text({ inputTokens: 3, outputTokens: 2 }, { firstTokenDelay: "1 second" })),
        text({ inputTokens: 3, outputTokens: 2 }, { firstTokenDelay: "60 seconds" })
      ]
    })
    const delta = yield* provider({
      onExhausted: "cycle",
      script: [
        text({ inputTokens: 43, outputTokens: 8 }),
        Fault.resetInBody({ tokens: 2, reply: text({ inputTokens: 47, outputTokens: 8 }) })
      ]
    })
    const late = yield* provider({
      script: [text({ inputTokens: 41, outputTokens: 10 }, { firstTokenDelay: "1 second", tokenDelay: "5 seconds" })]
    })
    const openAi = (model: string, { client }: FaultyProvider.Provider) =>
      Effect.provideService(
        OpenAi.make({ model, apiKey: Redacted.make(apiKey), keyGroup: seed }),
        HttpClient.HttpClient,
        client
      )
    const a = yield* openAi("alpha", alpha)
    const b = yield* openAi("beta", beta)
    const s = yield* openAi("slow", slow)
    const l = yield* openAi("late", late)
    const anthropic = (model: string, { client }: FaultyProvider.Provider) =>
      Effect.provideService(
        Anthropic.make({ model, apiKey: Redacted.make(apiKey), keyGroup: seed }),
        HttpClient.HttpClient,
        client
      )
    const g = yield* anthropic("gamma", gamma)
    const d = yield* anthropic("delta", delta)
    const composed = a.pipe(ChatModel.retry(retry(3)), ChatModel.orElse(ChatModel.retry(b, retry(2))))
    const hedged = ChatModel.hedge(s, b, { ratio: 0.2 })

    const calls: Array<Effect.Effect<unknown, unknown>> = []
    const times = (n: number, f: (n: number) => Effect.Effect<unknown, unknown>) => {
      for (let i = 0; i < n; i++) calls.push(Effect.exit(f(i)))
    }
    const tenant = (n: number) => Call.withLabels({ tenant: `tenant-${n % 3}`, user: `user-${n}` })
    times(200, (n) => tenant(n)(composed.generate(ask)))
    times(100, (n) => tenant(n)(Stream.runDrain(composed.stream(ask))))
    times(100, () => Stream.runDrain(hedged.stream(ask)))
    times(60, () => g.generate(ask))
    times(20, () => Stream.runDrain(d.stream(ask)))
    times(40, () =>
      Effect.gen(function* () {
        const fiber = yield* Effect.fork(Stream.runDrain(l.stream(ask)))
        yield* Effect.sleep("3 seconds")
        yield* Fiber.interrupt(fiber)
      })
    )
    const observed = collectRecords()
    return {
      calls: calls.length,
      records: observed.records,
      providers: {
        "openai/alpha": alpha,
        "openai/beta": beta,
        "openai/slow": slow,
        "openai/late": late,
        "anthropic/gamma": gamma,
        "anthropic/delta": delta
      },
      /** All calls, one after the other. */
      run: Effect.forEach(calls, (call) => call, { discard: true }).pipe(
        Effect.provide(Layer.provideMerge(observed.layer, prices))
      )
    }
  })

/** What the providers themselves noted: requests, refusals, and the tokens that they told. */
export const truth = (provider: FaultyProvider.Provider) =>
  Effect.map(provider.requests, (requests) => {
    const sums = { requests: requests.length, hungUp: 0, input: 0, output: 0, cached: 0, answered: 0, cut: 0 }
    const statuses: Record<string, number> = {}
    for (const { finishedAt, hungUp, status, step } of requests) {
      if (hungUp) sums.hungUp++
      if (status !== undefined) statuses[status] = (statuses[status] ?? 0) + 1
      // A stream that was cut had told its input, and one token of output.
      if (step?._tag === "Cut" && step.reply._tag === "Reply") {
        sums.cut++
        sums.input += step.reply.usage?.inputTokens ?? 0
        sums.output += 1
      }
      if (step?._tag !== "Reply" || hungUp || finishedAt === undefined) continue
      sums.answered++
      sums.input += step.usage?.inputTokens ?? 0
      sums.output += step.usage?.outputTokens ?? 0
      sums.cached += step.usage?.cachedTokens ?? 0
    }
    return { ...sums, statuses }
  })
