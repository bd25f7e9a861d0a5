/** The AI SDK: one provider for each key, the calls taking turns. */
import { createOpenAI } from "@ai-sdk/openai"
import { generateText, streamText } from "ai"
import { model } from "../../wire.js"
import type { Client, Job, Policy, Setup } from "../contract.js"
import { beforeDeadline, retriesOf, takingTurns, withTenRetries } from "./bare.js"

/**
 * The timeout of an attempt. All timeouts of the SDK's own bound a call with its retries, and an abort is never
 * retried, so operators set the timeout below it: undici's `headersTimeout`, whose error the SDK takes for a network
 * error and retries.
 */
const impatient =
  (setup: Setup): typeof globalThis.fetch =>
  async (input, init) => {
    const controller = new AbortController()
    const outer = init?.signal ?? undefined
    const cancel = () => controller.abort(outer?.reason)
    if (outer?.aborted === true) cancel()
    else outer?.addEventListener("abort", cancel, { once: true })
    let late = false
    const timer = setTimeout(() => {
      late = true
      controller.abort()
    }, setup.attemptTimeoutMillis)
    try {
      return await setup.fetch(input, { ...init, signal: controller.signal })
    } catch (error) {
      if (!late) throw error
      const cause = Object.assign(new Error("Headers Timeout Error"), { code: "UND_ERR_HEADERS_TIMEOUT" })
      throw new TypeError("fetch failed", { cause })
    } finally {
      clearTimeout(timer)
    }
  }

const make =
  (retries: (setup: Setup) => number) =>
  (setup: Setup): Client => {
    const [target] = setup.targets
    const fetch = impatient(setup)
    const nextModel = takingTurns(
      target.keys.map((apiKey) => createOpenAI({ apiKey, baseURL: target.baseUrl, fetch }).chat(model))
    )
    const request = (job: Job, abortSignal: AbortSignal) => ({
      model: nextModel(),
      prompt: job.prompt,
      maxRetries: retries(setup),
      abortSignal,
      ...(job.maxTokens === undefined ? {} : { maxOutputTokens: job.maxTokens })
    })
    return {
      call: (job) =>
        beforeDeadline(setup, async (signal) => {
          const answer = await generateText(request(job, signal))
          if (answer.text === "") throw new Error("an answer without content")
        }),
      stream: (job) =>
        beforeDeadline(setup, async (signal) => {
          const started = Date.now()
          let first: number | undefined
          // Without `onError` the SDK writes the error to the console; it is in the stream as well.
          const { fullStream } = streamText({ ...request(job, signal), onError: () => {} })
          for await (const part of fullStream) {
            if (part.type === "error") throw part.error
            if (part.type === "abort") throw signal.reason
            if (part.type === "text-delta" && first === undefined) first = Date.now() - started
          }
          if (first === undefined) throw new Error("a stream without content")
          return first
        })
    }
  }

export const aiSdk: Policy = {
  name: "AI SDK",
  kind: "package",
  about:
    "ai 6, generateText and streamText: maxRetries 2 (its default; 10 for batch work), the timeout of an attempt in the fetch below (undici's headersTimeout), abortSignal for the deadline, keys take turns",
  make: make((setup) => retriesOf(setup, 2))
}

export const aiSdkTen = withTenRetries(aiSdk, make)
