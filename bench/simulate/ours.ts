/** Steadfast under simulation. */
import { FetchHttpClient, type HttpClient } from "@effect/platform"
import { Cause, Effect, Layer, Logger, LogLevel, ManagedRuntime, Random, Redacted, Stream } from "effect"
import {
  Chat,
  ChatModel,
  CircuitBreaker,
  KeyPool,
  type LlmError,
  OpenAi,
  Pacer,
  Resilient,
  RetryBudget,
  RetryPolicy,
  Spend
} from "effect-steadfast"
import type { Client, Job, Limit, Policy, Setup, Target } from "./contract.js"

const requestOf = ({ maxTokens, prompt }: Job): Chat.Request =>
  Chat.prompt(prompt, maxTokens === undefined ? {} : { maxTokens })

/** What the caller knows of the limits, if anything. */
const told = ({ limits }: Setup): Pacer.Options => {
  const of = (limit: Limit | undefined): Pacer.LimitOptions | undefined =>
    limit && { limit: limit.limit, window: limit.windowMillis, burst: limit.burst }
  return { requests: of(limits?.requests), tokens: of(limits?.tokens) }
}

/** How ours is put together for a setup: one line of {@link ours} for each way. */
type Assembly = (setup: Setup) => Effect.Effect<ChatModel.ChatModel, unknown, HttpClient.HttpClient>

// -----------------------------------------------------------------------------
// ways to put it together
// -----------------------------------------------------------------------------

const leafOf =
  ({ attemptTimeoutMillis }: Setup, { baseUrl }: Target) =>
  (apiKey: Redacted.Redacted) =>
    Effect.map(
      OpenAi.make({ model: "gpt-4o-mini", baseUrl, apiKey }),
      ChatModel.timeout({ attempt: attemptTimeoutMillis })
    )

/** One model for a target: its keys in a pool where there are several. */
const targetOf = (
  setup: Setup,
  target: Target,
  each: (leaf: ChatModel.ChatModel) => ChatModel.ChatModel = (leaf) => leaf
) => {
  const leaf = (apiKey: Redacted.Redacted) => Effect.map(leafOf(setup, target)(apiKey), each)
  const { keys } = target
  const [key] = keys
  return keys.length === 1 && key !== undefined
    ? leaf(Redacted.make(key))
    : Effect.flatMap(KeyPool.make({ keys: keys.map((key) => Redacted.make(key)) }), (pool) =>
        ChatModel.pooled(pool, leaf)
      )
}

/** README's stack: timeout, pacer, breaker, retry, the next target, deadline. */
const stack =
  ({ breaker: guarded = true, hedge = true }): Assembly =>
  (setup) =>
    Effect.gen(function* () {
      const policy = setup.patient === true ? RetryPolicy.patient : RetryPolicy.standard
      const pacer = yield* Pacer.make(told(setup))
      const breaker = yield* CircuitBreaker.make()
      const models = yield* Effect.forEach(setup.targets, (target) => targetOf(setup, target, ChatModel.pace(pacer)))
      const [first, ...rest] = models.map((model) => (guarded ? ChatModel.breaker(model, breaker) : model)) as [
        ChatModel.ChatModel,
        ...Array<ChatModel.ChatModel>
      ]
      const [second] = rest
      const hedged = hedge && second !== undefined ? ChatModel.hedge(first, second) : first
      const held = (model: ChatModel.ChatModel) => ChatModel.retry(model, policy)
      const all = rest.map(held).reduce((all, next) => ChatModel.orElse(all, next), held(hedged))
      return living(setup)(all)
    })

/** The time that a job has to live. */
const living =
  ({ deadlineMillis }: Setup) =>
  (model: ChatModel.ChatModel): ChatModel.ChatModel =>
    deadlineMillis === undefined ? model : ChatModel.deadline(model, deadlineMillis)

/** A batch as it is written first: no pacer and no breaker around it, only the time that a row has to live. */
const patientAlone: Assembly = (setup) =>
  Effect.map(targetOf(setup, setup.targets[0]), (model) => living(setup)(ChatModel.retry(model, RetryPolicy.patient)))

const resilient: Assembly = (setup) =>
  Effect.gen(function* () {
    const [first] = setup.targets
    const leaf = OpenAi.make({
      model: "gpt-4o-mini",
      baseUrl: first.baseUrl,
      apiKey: Redacted.make(first.keys[0] ?? "")
    })
    return yield* Resilient.make(yield* leaf, {
      timeout: { attempt: setup.attemptTimeoutMillis },
      retry: setup.patient === true ? RetryPolicy.patient : undefined,
      deadline: setup.deadlineMillis
    })
  })

// -----------------------------------------------------------------------------
// the client
// -----------------------------------------------------------------------------

const client = async (setup: Setup, assemble: Assembly): Promise<Client> => {
  const runtime = ManagedRuntime.make(
    Layer.mergeAll(
      FetchHttpClient.layer.pipe(Layer.provideMerge(Layer.succeed(FetchHttpClient.Fetch, setup.fetch))),
      Logger.minimumLogLevel(LogLevel.None),
      Layer.setTracerEnabled(false),
      Layer.setRandom(Random.make(setup.seed)),
      // The budgets that the library has by itself are the process's: each run needs its own.
      RetryBudget.layer({})
    )
  )
  /** Rejects with the error itself: the text of its causes and stacks would be most of the work. */
  const run = async <A>(effect: Effect.Effect<A, LlmError.LlmError, HttpClient.HttpClient>): Promise<A> => {
    const exit = await runtime.runPromiseExit(effect)
    if (exit._tag === "Success") return exit.value
    throw Cause.squash(exit.cause)
  }

  const model = await runtime.runPromise(assemble(setup))
  const ask = (job: Job) => Effect.asVoid(model.generate(requestOf(job)))
  const call = (job: Job): Promise<void> => run(ask(job))
  return {
    call,
    stream: (job) => {
      const start = Date.now()
      let first: number | undefined
      const read = Stream.runForEach(model.stream(requestOf(job)), (event) =>
        Effect.sync(() => {
          if (event._tag === "TextDelta") first ??= Date.now() - start
        })
      )
      return run(read).then(() => first ?? Number.NaN)
    },
    step: (jobs, limit) =>
      run(
        Effect.forEach(jobs, (job) =>
          Effect.match(ask(job), { onSuccess: () => "answered", onFailure: (error) => error._tag })
        ).pipe(
          Effect.map((ends) => ({
            answered: ends.filter((end) => end === "answered").length,
            refused: ends.filter((end) => end === "BudgetExceeded").length
          })),
          Spend.within(limit, { maxTokens: 200 })
        )
      ),
    close: () => runtime.dispose()
  }
}

// -----------------------------------------------------------------------------
// policies
// -----------------------------------------------------------------------------

const policy = (options: Omit<Policy, "kind" | "make">, assemble: Assembly): Policy => ({
  ...options,
  kind: "ours",
  make: (setup) => client(setup, assemble)
})

export const steadfast: Policy = policy(
  {
    name: "Steadfast",
    about:
      "timeout, pacer, key pool, breaker, hedge (streams with a second target), RetryPolicy.standard (patient for batch work) on the retry budget, then the next target, deadline"
  },
  stack({})
)

/** One entry for each way to put it together; the first is the one that the others are compared with. */
export const ours: ReadonlyArray<Policy> = [
  steadfast,
  policy(
    { name: "Resilient", about: "`Resilient.make` with the same time limits and policy", only: ["jobs"] },
    resilient
  ),
  policy(
    { name: "Steadfast, unhedged", about: "the same without the hedge", only: ["tail"], ablation: true },
    stack({ hedge: false })
  ),
  policy(
    { name: "Steadfast, no breaker", about: "the same without the breaker", only: ["jobs"], ablation: true },
    stack({ breaker: false })
  ),
  policy(
    {
      name: "Steadfast, retry(patient) alone",
      about: "a timeout of an attempt and RetryPolicy.patient on the retry budget, nothing else",
      only: ["batch"]
    },
    patientAlone
  )
]
