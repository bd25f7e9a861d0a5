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
import type { Client, Job, Limit, Policy, Setup } from "./contract.js"

const requestOf = ({ maxTokens, prompt }: Job): Chat.Request =>
  Chat.prompt(prompt, maxTokens === undefined ? {} : { maxTokens })

/** What the caller knows of the limits, if anything. */
const told = ({ limits }: Setup): Pacer.Options => {
  const of = (limit: Limit | undefined): Pacer.LimitOptions | undefined =>
    limit && { limit: limit.limit, window: limit.windowMillis, burst: limit.burst }
  return { requests: of(limits?.requests), tokens: of(limits?.tokens) }
}

interface Options {
  readonly hedge?: boolean
  /** What stands around the only target. Default: pacer, breaker, retry, deadline. */
  readonly stack?: "no breaker" | "retry alone" | "Resilient" | undefined
}

const make = async (setup: Setup, options: Options): Promise<Client> => {
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

  const policy = setup.patient === true ? RetryPolicy.patient : RetryPolicy.standard
  const assemble = Effect.gen(function* () {
    const pacer = yield* Pacer.make(told(setup))
    const breaker = yield* CircuitBreaker.make()
    const timeout = { attempt: setup.attemptTimeoutMillis }
    const [{ baseUrl, keys }] = setup.targets
    const only = OpenAi.make({ model: "gpt-4o-mini", baseUrl, apiKey: Redacted.make(keys[0] ?? "") })
    if (options.stack === "Resilient") {
      return yield* Resilient.make(yield* only, { timeout, retry: policy, deadline: setup.deadlineMillis })
    }
    const limited = (model: ChatModel.ChatModel) =>
      setup.deadlineMillis === undefined ? model : ChatModel.deadline(model, setup.deadlineMillis)
    if (options.stack === "retry alone") {
      return limited((yield* only).pipe(ChatModel.timeout(timeout), ChatModel.retry(policy)))
    }
    const paced = (leaf: ChatModel.ChatModel): ChatModel.ChatModel =>
      leaf.pipe(ChatModel.timeout(timeout), ChatModel.pace(pacer))
    const models = yield* Effect.forEach(setup.targets, ({ baseUrl, keys }) => {
      const leaf = (apiKey: Redacted.Redacted) =>
        Effect.map(OpenAi.make({ model: "gpt-4o-mini", baseUrl, apiKey }), paced)
      const [key] = keys
      return keys.length === 1 && key !== undefined
        ? leaf(Redacted.make(key))
        : Effect.flatMap(KeyPool.make({ keys: keys.map((key) => Redacted.make(key)) }), (pool) =>
            ChatModel.pooled(pool, leaf)
          )
    })
    const guarded = (model: ChatModel.ChatModel) =>
      options.stack === "no breaker" ? model : ChatModel.breaker(model, breaker)
    const [first, ...rest] = models.map(guarded) as [ChatModel.ChatModel, ...Array<ChatModel.ChatModel>]
    const [second] = rest
    const hedged = options.hedge && second !== undefined ? ChatModel.hedge(first, second) : first
    const held = (model: ChatModel.ChatModel) => ChatModel.retry(model, policy)
    const all = rest.map(held).reduce((all, next) => ChatModel.orElse(all, next), held(hedged))
    return limited(all)
  })
  const model = await runtime.runPromise(assemble)
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

export const steadfast: Policy = {
  name: "Steadfast",
  kind: "ours",
  about:
    "timeout, pacer, key pool, breaker, hedge (streams with a second target), RetryPolicy.standard (patient for batch work) on the retry budget, then the next target",
  make: (setup) => make(setup, { hedge: true })
}

export const unhedged: Policy = {
  name: "Steadfast, unhedged",
  kind: "ours",
  about: "the same without the hedge",
  make: (setup) => make(setup, {})
}

const part = (name: string, about: string, stack: Options["stack"]): Policy => ({
  name,
  kind: "ours",
  about,
  make: (setup) => make(setup, { stack })
})

export const ours: ReadonlyArray<Policy> = [
  steadfast,
  part("Resilient", "Resilient.make with the same limits", "Resilient"),
  unhedged,
  part("Steadfast, no breaker", "the same without the breaker", "no breaker"),
  part("Steadfast, retry alone", "timeout and retry on the retry budget, nothing else", "retry alone")
]
