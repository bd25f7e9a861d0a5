/**
 * A whole day of an application, in virtual time: thousands of calls over four targets, with an outage, a degradation, a
 * slow hour, and everything that happens to single calls. Each prompt names the number of its call, so that the logs of
 * the providers can be read by calls.
 */
import { HttpClient } from "@effect/platform"
import { Clock, Effect, Fiber, Redacted, Stream } from "effect"
import { Anthropic, Call, Chat, ChatModel, OpenAi, Pacer, Prices, RetryBudget, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { apiKey } from "../support/evidence.js"
import { chance } from "./scriptedDay.js"

export const prompt = "the-secret-question"
export const secretAnswer = "the-secret-answer"

/** Noon: the day has two dates. */
export const start = Date.UTC(2026, 10, 29, 12)

const hour = 3_600_000

/** The last calls need a little time. */
const openMillis = 23.5 * hour

/** The time of day, on the clock of a simulation. */
export const wall = (now: number): number => start + now

/** To the last moment of the day. */
export const dayMillis = 24 * hour - 1

/** What the application asks for: a composition of models. */
export type Route = "assistant" | "backup" | "hedged" | "paced" | "cheap" | "cancelled"

/** One call, as the application makes it. */
export interface Planned {
  readonly number: number
  readonly at: number
  readonly route: Route
  readonly streaming: boolean
  readonly tenant: string | undefined
  /** The target that is meant for it. */
  readonly first: Target
}

export const targets = ["openai/alpha", "openai/beta", "anthropic/gamma", "anthropic/delta"] as const

export type Target = (typeof targets)[number]

/** Per million tokens: a 1024th of a dollar for each token, and so on, so that sums have no rounding. `delta` has none. */
const unit = 1e6 / 1024

export const prices: Readonly<Record<string, { readonly input: number; readonly output: number }>> = {
  "openai/alpha": { input: unit, output: 4 * unit },
  "openai/beta": { input: 2 * unit, output: 8 * unit },
  "anthropic/gamma": { input: unit / 2, output: 2 * unit }
}

export const priceLayer = Prices.layer(Prices.table(prices))

/** An application cancels its calls after this time. */
export const patience = 3000

/** The longest attempt that the assistant waits for. */
export const attemptMillis = 30_000

/** The time of day, in hours, in which a target is in trouble. */
export const troubles = { outage: [3, 4.5], degradation: [8, 10.5], slow: [14, 15] } as const

const firstOf = (route: Route, even: boolean): Target => {
  switch (route) {
    case "assistant":
      return "openai/alpha"
    case "backup":
      return "anthropic/gamma"
    case "hedged":
      return "openai/beta"
    case "cancelled":
      return even ? "openai/beta" : "anthropic/gamma"
    default:
      return "anthropic/delta"
  }
}

const routeOf = (drawn: number): Route => {
  if (drawn < 0.48) return "assistant"
  if (drawn < 0.62) return "backup"
  if (drawn < 0.8) return "hedged"
  if (drawn < 0.82) return "paced"
  return drawn < 0.91 ? "cheap" : "cancelled"
}

/** The calls of a day, in the order of their time; those of the route `paced` come in groups of six. */
export const planOf = (count: number, seed: number): ReadonlyArray<Planned> => {
  const random = chance(seed)
  const plan: Array<Planned> = []
  while (plan.length < count) {
    const number = plan.length
    const route = routeOf(random())
    const at = start + Math.floor((openMillis * number) / count)
    for (let n = route === "paced" ? 6 : 1; n > 0 && plan.length < count; n--) {
      const drawn = random()
      plan.push({
        number: plan.length,
        at,
        route,
        streaming: route === "hedged" || (route !== "paced" && random() < 0.4),
        tenant: drawn < 0.25 ? undefined : `tenant-${Math.floor(drawn * 4)}`,
        first: firstOf(route, random() < 0.5)
      })
    }
  }
  return plan
}

// -----------------------------------------------------------------------------
// the providers
// -----------------------------------------------------------------------------

const words = `${secretAnswer} in several words of text`

/** The number of the call that a request belongs to. */
export const numberOf = ({ body }: Pick<FaultyProvider.WireRequest, "body">): number =>
  Number(/question #(\d+)/.exec(JSON.stringify(body))?.[1] ?? -1)

const usageBy = (random: () => number): Partial<Step.Usage> => {
  const inputTokens = 20 + Math.floor(random() * 60)
  return {
    inputTokens,
    outputTokens: 4 + Math.floor(random() * 20),
    ...(random() < 0.2 ? { cachedTokens: Math.floor(inputTokens / 2) } : {})
  }
}

/** How a target behaves: by the hour, by the call, and by how often this call has asked it. */
const behaviour = (target: Target, plan: ReadonlyArray<Planned>, now: () => number, seed: number) => {
  const asked = new Map<number, number>()
  return (request: FaultyProvider.WireRequest): Step.Step => {
    const number = numberOf(request)
    const call = plan[number]
    const before = asked.get(number) ?? 0
    asked.set(number, before + 1)
    const random = chance(seed * 7919 + number * 31 + before * 7 + targets.indexOf(target))
    const during = ([from, to]: readonly [number, number]) => {
      const time = (now() - start) / hour
      return time >= from && time < to
    }
    const text = (more: Reply.Options = {}) =>
      Reply.text(words, { usage: usageBy(random), delay: 200 + Math.floor(random() * 800), ...more })
    const drawn = random()
    const filtered = () => text({ finish: "content-filter" })
    const cut = () => Fault.resetInBody({ tokens: 2, reply: text() })
    switch (target) {
      case "openai/alpha":
        if (during(troubles.outage)) return Fault.overloaded()
        if (during(troubles.degradation) && before === 0) return Fault.serverError({ delay: "300 millis" })
        if (during(troubles.slow)) return drawn < 0.15 ? Fault.hang : text({ delay: "12 seconds" })
        if (drawn < 0.05) return Fault.rateLimited({ retryAfter: "2 seconds" })
        if (drawn < 0.07) return Fault.serverError()
        if (drawn < 0.09) return filtered()
        if (drawn < 0.1) return Fault.contentFilter()
        if (drawn < 0.11) return cut()
        if (drawn < 0.12) return Fault.errorEvent("overloaded", { afterTokens: 2, reply: text() })
        if (drawn < 0.13) return Fault.resetBeforeHeaders()
        return drawn < 0.135 ? Fault.noConnection() : text({ firstTokenDelay: "100 millis" })
      case "openai/beta":
        if (call?.route === "cancelled") {
          return text({ delay: "1 second", firstTokenDelay: "1 second", tokenDelay: "10 seconds" })
        }
        return text({ delay: 0, firstTokenDelay: drawn < 0.04 ? "60 seconds" : "1 second" })
      case "anthropic/gamma":
        if (call?.route === "cancelled") {
          return text({ delay: "1 second", firstTokenDelay: "1 second", tokenDelay: "10 seconds" })
        }
        if (drawn < 0.03) return Fault.overloaded({ retryAfter: "1 second" })
        if (drawn < 0.05) return filtered()
        if (drawn < 0.07) return cut()
        return drawn < 0.08 ? Fault.errorEvent("overloaded", { afterTokens: 1, reply: text() }) : text()
      default:
        return drawn < 0.04 ? Fault.rateLimited({ retryAfter: "3 seconds" }) : text()
    }
  }
}

// -----------------------------------------------------------------------------
// the application
// -----------------------------------------------------------------------------

const retry = (maxAttempts: number) => RetryPolicy.make({ maxAttempts })

/** The models, their providers, and the day to run. */
export const make = (count: number, seed: number) =>
  Effect.gen(function* () {
    const plan = planOf(count, seed)
    let clock: Clock.Clock | undefined
    const now = () => clock?.unsafeCurrentTimeMillis() ?? start
    const provider = (target: Target) =>
      FaultyProvider.make({ onExhausted: behaviour(target, plan, now, seed), script: [] })
    const providers = {
      "openai/alpha": yield* provider("openai/alpha"),
      "openai/beta": yield* provider("openai/beta"),
      "anthropic/gamma": yield* provider("anthropic/gamma"),
      "anthropic/delta": yield* provider("anthropic/delta")
    }
    const leaf = (target: Target) => {
      const [name, model = ""] = target.split("/")
      const options = { model, apiKey: Redacted.make(apiKey) }
      const made = name === "openai" ? OpenAi.make(options) : Anthropic.make(options)
      return Effect.provideService(Effect.orDie(made), HttpClient.HttpClient, providers[target].client)
    }
    const [alpha, beta, gamma, delta] = yield* Effect.all([
      leaf("openai/alpha"),
      leaf("openai/beta"),
      leaf("anthropic/gamma"),
      leaf("anthropic/delta")
    ])
    const pacer = yield* Pacer.make({ requests: { limit: 30, window: "1 minute", burst: 1 } })
    const first = alpha.pipe(ChatModel.timeout({ attempt: attemptMillis }), ChatModel.retry(retry(3)))
    const second = gamma.pipe(ChatModel.retry(retry(2)))
    const assistant = first.pipe(ChatModel.orElse(second))
    const backup = second.pipe(ChatModel.orElse(first))
    const hedged = beta.pipe(ChatModel.hedge(gamma, { ratio: 0.2 }))
    const paced = delta.pipe(ChatModel.pace(pacer))
    const cheap = delta.pipe(ChatModel.retry(retry(3)))
    const modelOf = ({ first, route }: Planned): ChatModel.ChatModel => {
      if (route === "cancelled") return first === "openai/beta" ? beta : gamma
      return { assistant, backup, hedged, paced, cheap }[route]
    }

    const one = (call: Planned): Effect.Effect<unknown> => {
      const model = modelOf(call)
      const ask = Chat.prompt(`${prompt} #${call.number}`)
      const labels = call.tenant === undefined ? {} : { tenant: call.tenant, user: `user-${call.number}` }
      const sent = call.streaming ? Stream.runDrain(model.stream(ask)) : Effect.asVoid(model.generate(ask))
      const labelled = sent.pipe(Call.withLabels(labels))
      if (call.route !== "cancelled") return Effect.exit(labelled)
      return Effect.gen(function* () {
        const fiber = yield* Effect.fork(labelled)
        yield* Effect.sleep(patience)
        yield* Fiber.interrupt(fiber)
      })
    }

    /** Every call at its time. */
    const run = Effect.gen(function* () {
      clock = yield* Effect.clock
      const running: Array<Fiber.RuntimeFiber<unknown>> = []
      for (const call of plan) {
        const wait = call.at - (yield* Clock.currentTimeMillis)
        if (wait > 0) yield* Effect.sleep(wait)
        running.push(yield* Effect.fork(one(call)))
      }
      for (const fiber of running) yield* Fiber.await(fiber)
    }).pipe(Effect.provide(priceLayer), Effect.provide(RetryBudget.layerUnlimited))

    return { plan, providers, run }
  })
