/** What a retry costs where nothing is retried. */
import { type Case, promiseBatch, type Table } from "./case.js"

const bareEffect = "an effect that succeeds"
const barePromise = "a promise that resolves"

type Parts = Pick<typeof import("effect"), "Effect"> &
  Pick<typeof import("effect-steadfast"), "Resilience" | "RetryPolicy">

const effects = (
  name: string,
  make: (parts: Parts) => import("effect").Effect.Effect<string, import("effect-steadfast").LlmError.LlmError>
): Case => ({
  name,
  base: bareEffect,
  make: async () => {
    const { Effect } = await import("effect")
    const { Resilience, RetryPolicy } = await import("effect-steadfast")
    const { effectBatch } = await import("./fixtures.js")
    return { batch: effectBatch(make({ Effect, Resilience, RetryPolicy })) }
  }
})

const promise = () => Promise.resolve("Paris.")

const promises = (name: string, load: () => Promise<() => Promise<unknown>>): Case => ({
  name,
  base: barePromise,
  make: async () => ({ batch: promiseBatch(await load()) })
})

export const tables: ReadonlyArray<Table> = [
  {
    title: "retry, on a success",
    length: 0.3,
    rounds: 2,
    cases: [
      effects(bareEffect, ({ Effect }) => Effect.sync(() => "Paris.")),
      effects("Effect.retry", ({ Effect, RetryPolicy }) =>
        Effect.retry(
          Effect.sync(() => "Paris."),
          RetryPolicy.standard
        )
      ),
      effects("Resilience.retry", ({ Effect, Resilience, RetryPolicy }) =>
        Resilience.retry(
          Effect.sync(() => "Paris."),
          RetryPolicy.standard
        )
      ),
      promises(barePromise, async () => promise),
      promises("p-retry", async () => {
        const { default: pRetry } = await import("p-retry")
        return () => pRetry(promise, { retries: 3, minTimeout: 500, maxTimeout: 30_000 })
      }),
      promises("cockatiel retry", async () => {
        const { ConstantBackoff, handleAll, retry } = await import("cockatiel")
        const policy = retry(handleAll, { maxAttempts: 3, backoff: new ConstantBackoff(500) })
        return () => policy.execute(promise)
      })
    ]
  }
]
