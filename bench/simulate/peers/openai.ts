/** The openai SDK: one client for each key, the calls taking turns. */
import OpenAI from "openai"
import { model } from "../../wire.js"
import type { Client, Job, Policy, Setup } from "../contract.js"
import { beforeDeadline, retriesOf, takingTurns, withTenRetries } from "./bare.js"

const request = (job: Job) => ({
  model,
  messages: [{ role: "user" as const, content: job.prompt }],
  ...(job.maxTokens === undefined ? {} : { max_tokens: job.maxTokens })
})

const make =
  (retries: (setup: Setup) => number) =>
  (setup: Setup): Client => {
    const [target] = setup.targets
    const nextClient = takingTurns(
      target.keys.map(
        (apiKey) =>
          new OpenAI({
            apiKey,
            baseURL: target.baseUrl,
            fetch: setup.fetch,
            timeout: setup.attemptTimeoutMillis,
            maxRetries: retries(setup),
            logLevel: "off"
          })
      )
    )
    return {
      call: (job) =>
        beforeDeadline(setup, async (signal) => {
          const answer = await nextClient().chat.completions.create(request(job), { signal })
          if (!answer.choices[0]?.message.content) throw new Error("an answer without content")
        }),
      stream: (job) =>
        beforeDeadline(setup, async (signal) => {
          const started = Date.now()
          let first: number | undefined
          const chunks = await nextClient().chat.completions.create({ ...request(job), stream: true }, { signal })
          for await (const chunk of chunks) {
            if (first === undefined && chunk.choices[0]?.delta.content) first = Date.now() - started
          }
          if (first === undefined) throw new Error("a stream without content")
          return first
        })
    }
  }

export const openai: Policy = {
  name: "openai SDK",
  kind: "package",
  about: "openai 6: maxRetries 2 (its default; 10 for batch work), its timeout for each attempt, keys take turns",
  make: make((setup) => retriesOf(setup, 2))
}

export const openaiTen = withTenRetries(openai, make)
