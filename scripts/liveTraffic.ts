/**
 * Calls that go on while the demo runs: the library's own models over a faulty provider in this process. One model is
 * down for half of each minute and a half, one has few requests a minute, one has two keys of which one is refused.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Redacted from "effect/Redacted"
import {
  Anthropic,
  Call,
  Chat,
  ChatModel,
  CircuitBreaker,
  Gemini,
  KeyPool,
  OpenAi,
  Pacer,
  Resilient
} from "effect-steadfast"
import { CallLog, Degradation } from "effect-steadfast/observability"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const reply = (ms: number) => Reply.text("Here is what you asked for.", { delay: `${ms} millis` })

/** The first model fails at this rate; the others now and then. */
const weather = (failing: number): FaultyProvider.Options => ({
  record: false,
  limits: { requests: { limit: 60 } },
  rules: [
    {
      model: "gpt-4o-mini",
      rates: {
        rules: [
          { probability: failing, fault: Fault.serverError() },
          { probability: 0.02, fault: Fault.rateLimited({ retryAfter: "2 seconds" }) }
        ],
        otherwise: reply(700)
      }
    },
    { key: "refused-key", script: [Fault.unauthorized()] },
    { rates: { rules: [{ probability: 0.02, fault: Fault.overloaded() }], otherwise: reply(900) } }
  ]
})

const changing = Effect.gen(function* () {
  const provider = yield* FaultyProvider.FaultyProvider
  for (;;) {
    yield* provider.become(weather(0.75))
    yield* Effect.sleep("45 seconds")
    yield* provider.become(weather(0.01))
    yield* Effect.sleep("45 seconds")
  }
})

/** What some users say of a call, a while after it. */
const rated = (id: string) =>
  Effect.gen(function* () {
    const log = yield* CallLog.CallLog
    const [rates, likes] = [yield* Random.next, yield* Random.next]
    if (rates > 0.15) return
    yield* Effect.sleep("2 seconds")
    yield* log.feedback({ call: id, name: "thumbs", score: likes < 0.85 ? 1 : 0 })
  })

/** The policies that the dashboard shows, and the traffic through them; needs a log to write to. */
export const liveTraffic = Effect.gen(function* () {
  const pool = yield* KeyPool.make({
    keys: [Redacted.make("first-key"), Redacted.make("second-key"), Redacted.make("refused-key")]
  })
  const gemini = yield* ChatModel.pooled(pool, (apiKey) => Gemini.make({ model: "gemini-2.5-flash", apiKey }))
  const gpt = yield* OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make("demo-key") })
  const claude = yield* Anthropic.make({ model: "claude-haiku-4-5", apiKey: Redacted.make("demo-key") })
  const routes = [
    ["answer", "chat", yield* Resilient.make([gpt, claude], { deadline: "30 seconds" })],
    ["summarize", "reports", yield* Resilient.make([claude, gpt], { deadline: "30 seconds" })],
    ["classify", "inbox", yield* Resilient.make([gemini, gpt], { deadline: "30 seconds" })]
  ] as const
  const one = Effect.gen(function* () {
    const draw = yield* Random.next
    const [name, feature, model] = routes[draw < 0.55 ? 0 : draw < 0.8 ? 1 : 2]
    const tenant = ["acme", "globex", "initech"][yield* Random.nextIntBetween(0, 3)] ?? "acme"
    yield* Effect.zip(
      Effect.flatMap(Effect.serviceOptional(Call.CurrentCall), ({ id }) => Effect.forkDaemon(rated(id))),
      model.generate(Chat.prompt("Hello"))
    ).pipe(Call.make(name), Call.withLabels({ tenant, feature }), Effect.ignore)
  })
  const burst = Effect.flatMap(Random.next, (draw) =>
    Effect.replicateEffect(Effect.forkDaemon(one), draw < 0.04 ? 14 : 1, { discard: true })
  )
  const traffic = Effect.forever(
    Effect.zipRight(
      burst,
      Effect.flatMap(Random.next, (draw) => Effect.sleep(-Math.log(1 - draw) * 2500))
    )
  )
  yield* Effect.forkDaemon(changing)
  yield* Effect.forkDaemon(traffic)
  return { pools: { gemini: pool } }
})

/** The shared policies, and the alarms at a quicker pace than by default, so that one is seen. */
export const policies = Layer.mergeAll(
  CircuitBreaker.layer(),
  Pacer.layer(),
  Degradation.layer({ window: "1 minute", minimum: 10, raiseAfter: "6 seconds", clearAfter: "18 seconds" }),
  FaultyProvider.layer(weather(0.01))
)
