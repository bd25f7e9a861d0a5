/**
 * The bare call over `fetch`, for the policies that bring no client of their own, and what a caller puts around
 * any client: a deadline, and one key after another. Globals are looked up when they are used, because the
 * simulator replaces them.
 */
import { setMaxListeners } from "node:events"
import { model, textOf } from "../../wire.js"
import type { Job, Policy, Setup, Target } from "../contract.js"

/** The provider answered, with another status than 2xx. */
export class Refused extends Error {
  override readonly name = "Refused"
  constructor(
    readonly status: number,
    readonly headers: Headers,
    body: string
  ) {
    super(`${status} ${body.slice(0, 200)}`)
  }
}

/** Nobody answered in time. */
export class TimedOut extends Error {
  override readonly name = "TimedOut"
}

/** What `fetch` rejects with when there was no answer or only a part of one. */
export const isNetworkError = (error: unknown): error is TypeError =>
  error instanceof TypeError && (error.message === "fetch failed" || error.message === "terminated")

/** Sends the request; resolves with the response as soon as its headers are there. */
export const send = (setup: Setup, target: Target, key: string, job: Job, signal: AbortSignal): Promise<Response> =>
  setup.fetch(`${target.baseUrl}/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: job.prompt }], max_tokens: job.maxTokens }),
    signal
  })

/** Reads the text of the answer out of the body; rejects with `Refused` where there is none. */
export const read = async (response: Response): Promise<string> => {
  const body = await response.text()
  if (!response.ok) throw new Refused(response.status, response.headers, body)
  const text = textOf(body)
  if (text === "") throw new Error("an answer without content")
  return text
}

/** Runs under a signal that is aborted with `TimedOut` after that time, or with the reason of the `outer` one. */
export const within = async <A>(
  millis: number,
  outer: AbortSignal | undefined,
  run: (signal: AbortSignal) => Promise<A>
): Promise<A> => {
  outer?.throwIfAborted()
  const controller = new AbortController()
  const cancel = () => controller.abort(outer?.reason)
  outer?.addEventListener("abort", cancel)
  const timer = setTimeout(() => controller.abort(new TimedOut(`nothing within ${millis} ms`)), millis)
  try {
    return await run(controller.signal)
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error
  } finally {
    clearTimeout(timer)
    outer?.removeEventListener("abort", cancel)
  }
}

/** One attempt: the request, the whole body, and the timeout over both. */
export const attempt = (setup: Setup, target: Target, key: string, job: Job, outer: AbortSignal): Promise<string> =>
  within(setup.attemptTimeoutMillis, outer, async (signal) => read(await send(setup, target, key, job, signal)))

/** The same policy with ten retries, as operators set them for work that has time. */
export const withTenRetries = (
  policy: Policy,
  make: (retries: (setup: Setup) => number) => Policy["make"]
): Policy => ({
  ...policy,
  name: `${policy.name}, 10 retries`,
  about: "the same with 10 retries",
  only: ["jobs"],
  make: make(() => 10)
})

/** A caller with a deadline cancels the whole call at it, as every one of these clients lets a caller do. */
export const beforeDeadline = <A>(setup: Setup, run: (signal: AbortSignal) => Promise<A>): Promise<A> => {
  const listened = (signal: AbortSignal) => {
    // SDKs listen anew for each attempt, and Node warns of more than 10 listeners.
    setMaxListeners(0, signal)
    return run(signal)
  }
  return setup.deadlineMillis === undefined
    ? listened(new AbortController().signal)
    : within(setup.deadlineMillis, undefined, listened)
}

export const sleep = (millis: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve, reject) => {
    const cancel = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", cancel)
      resolve()
    }, millis)
    if (signal.aborted) cancel()
    else signal.addEventListener("abort", cancel, { once: true })
  })

/** One after the other, from the first again after the last: how users spread calls over several keys. */
export const takingTurns = <A>(items: ReadonlyArray<A>): (() => A) => {
  let turn = 0
  return () => {
    const item = items[turn++ % items.length]
    if (item === undefined) throw new RangeError("keys: found none, expected at least one")
    return item
  }
}

/**
 * How often an operator lets a client retry: what it does by default, or 10 times for batch work that can wait. It is
 * the same generosity for every client whose retries can be set.
 */
export const retriesOf = (setup: Setup, byDefault: number): number => (setup.patient === true ? 10 : byDefault)
