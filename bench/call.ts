/** A whole call from promise to promise over a stub `fetch`: JSON out, JSON in. */
import { createOpenAI } from "@ai-sdk/openai"
import Anthropic from "@anthropic-ai/sdk"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "@effect/platform"
import { generateText } from "ai"
import { Effect, Layer, ManagedRuntime, Redacted } from "effect"
import { Call, OpenAi } from "effect-steadfast"
import OpenAI from "openai"
import {
  anthropicBody,
  bareBody,
  bareExchange,
  model,
  openAiBody,
  question,
  request,
  resilient,
  stubFetch,
  textOf,
  url
} from "./fixtures.js"
import { measure, print, promiseCase, timeOf } from "./support.js"

const bare = "fetch and JSON by hand"
const sdk = "  openai SDK"
const ours = "  Steadfast, all resilience, spans and record"

export const run = async (): Promise<void> => {
  const fetch = stubFetch(openAiBody)
  const http = FetchHttpClient.layer.pipe(Layer.provideMerge(Layer.succeed(FetchHttpClient.Fetch, fetch)))
  const runtime = ManagedRuntime.make(http)
  const observed = ManagedRuntime.make(
    Layer.merge(
      http,
      Call.observe(() => Effect.void)
    )
  )

  const leaf = await runtime.runPromise(OpenAi.make({ model, apiKey: Redacted.make("sk-bench") }))
  const assistant = resilient(leaf, leaf)
  const client = await runtime.runPromise(HttpClient.HttpClient)
  const transient = client.pipe(HttpClient.filterStatusOk, HttpClient.retryTransient({ times: 3 }))
  const withJson = Effect.suspend(() =>
    Effect.flatMap(
      transient.execute(
        HttpClientRequest.post(url, { headers: { authorization: "Bearer sk-bench" } }).pipe(
          HttpClientRequest.bodyText(bareBody(), "application/json")
        )
      ),
      (response) => Effect.map(response.text, textOf)
    )
  )
  const openai = new OpenAI({ apiKey: "sk-bench", fetch })
  const anthropic = new Anthropic({ apiKey: "sk-bench", fetch: stubFetch(anthropicBody) })
  const aiModel = createOpenAI({ apiKey: "sk-bench", fetch }).chat(model)

  const measured = await measure([
    promiseCase(bare, async () => {
      const headers = { authorization: "Bearer sk-bench", "content-type": "application/json" }
      const response = await fetch(url, { method: "POST", headers, body: bareBody() })
      return textOf(await response.text())
    }),
    promiseCase("  platform HttpClient", () => runtime.runPromise(bareExchange(client))),
    promiseCase("  platform HttpClient.retryTransient", () => runtime.runPromise(withJson)),
    promiseCase("  Steadfast, leaf", () => runtime.runPromise(leaf.generate(request))),
    promiseCase("  Steadfast, all resilience, no tracer", () =>
      runtime.runPromise(Effect.withTracerEnabled(assistant.generate(request), false))
    ),
    promiseCase("  Steadfast, all resilience, spans", () => runtime.runPromise(assistant.generate(request))),
    promiseCase(ours, () => observed.runPromise(assistant.generate(request))),
    promiseCase(sdk, () => openai.chat.completions.create({ model, messages: [{ role: "user", content: question }] })),
    promiseCase("  @anthropic-ai/sdk", () =>
      anthropic.messages.create({
        model: "claude-haiku-4-5",
        max_tokens: 100,
        messages: [{ role: "user", content: question }]
      })
    ),
    promiseCase("  AI SDK generateText", () => generateText({ model: aiModel, prompt: question }))
  ])
  print("a whole call over a stub fetch: µs per operation", measured, () => bare)
  const ratio = timeOf(measured, ours) / timeOf(measured, sdk)
  console.log(`Steadfast with everything on takes ${ratio.toFixed(2)}× the time of the openai SDK`)
  await Promise.all([runtime.dispose(), observed.dispose()])
}
