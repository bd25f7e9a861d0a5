/** What a retry costs where nothing is retried. */
import { ConstantBackoff, retry as cockatielRetry, handleAll } from "cockatiel"
import { Effect } from "effect"
import { type LlmError, Resilience, RetryPolicy } from "effect-steadfast"
import pRetry from "p-retry"
import { effectCase, measure, print, promiseCase, timeOf } from "./support.js"

const bareEffect = "an effect that succeeds"
const effectRetry = "  Effect.retry"
const ourRetry = "  Resilience.retry"
const barePromise = "a promise that resolves"

export const run = async (): Promise<void> => {
  const answer: Effect.Effect<string, LlmError.LlmError> = Effect.sync(() => "Paris.")
  const promise = () => Promise.resolve("Paris.")
  const policy = cockatielRetry(handleAll, { maxAttempts: 3, backoff: new ConstantBackoff(500) })
  const measured = await measure([
    effectCase(bareEffect, answer),
    effectCase(effectRetry, Effect.retry(answer, RetryPolicy.standard)),
    effectCase(ourRetry, Resilience.retry(answer, RetryPolicy.standard)),
    promiseCase(barePromise, promise),
    promiseCase("  p-retry", () => pRetry(promise, { retries: 3, minTimeout: 500, maxTimeout: 30_000 })),
    promiseCase("  cockatiel retry", () => policy.execute(promise))
  ])
  print("retry, on a success: µs per operation", measured, (name) =>
    name === bareEffect || name === effectRetry || name === ourRetry ? bareEffect : barePromise
  )
  const bare = timeOf(measured, bareEffect)
  const ratio = (timeOf(measured, ourRetry) - bare) / (timeOf(measured, effectRetry) - bare)
  console.log(`Resilience.retry adds ${(100 * ratio).toFixed(1)} % of what Effect.retry adds`)
}
