import { HttpClient } from "@effect/platform"
import { Effect, Redacted } from "effect"
import { Attempt, LlmError } from "effect-steadfast"
import * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
import type { FaultyProvider } from "effect-steadfast/testing"

/** A model of OpenAI over a faulty provider. */
export const modelOf = (
  provider: { readonly client: HttpClient.HttpClient },
  options: Partial<OpenAiEmbeddings.Options> = {}
): Effect.Effect<EmbeddingModel.EmbeddingModel> =>
  OpenAiEmbeddings.make({ model: "m-1", space: "m/8", apiKey: Redacted.make("key-1"), ...options }).pipe(
    Effect.provideService(HttpClient.HttpClient, provider.client),
    Effect.orDie
  )

/** The texts of the requests that arrived. */
export const inputs = (requests: ReadonlyArray<FaultyProvider.RecordedRequest>): ReadonlyArray<unknown> =>
  requests.map(({ body }) => (body as { readonly input: unknown }).input)

/** A vector that only one text has. */
export const vectorOf = (text: string): ReadonlyArray<number> => [text.length, Number(text.replace(/\D/g, "") || -1), 1]

const fail = (error: "server" | "rate" | "auth" | "request", provider: string): LlmError.LlmError => {
  const fields = { provider, model: "m-1", message: error, delivery: "rejected" as const }
  if (error === "server") return new LlmError.ServerError({ ...fields, status: 500 })
  if (error === "rate") return new LlmError.RateLimited({ ...fields, status: 429 })
  if (error === "auth") return new LlmError.AuthError({ ...fields, status: 401 })
  return new LlmError.InvalidRequest({ ...fields, status: 400 })
}

/** An answer: vectors after some time, or an error. */
export type Act = { readonly millis?: number; readonly error?: Parameters<typeof fail>[0] | undefined } | undefined

/** A model in memory, and the parts that it was asked for. */
export const memory = (
  act: (part: EmbeddingModel.Part, attempt: Attempt.Attempt) => Act = () => undefined,
  options: Partial<EmbeddingModel.Leaf> = {}
) => {
  const asked: Array<ReadonlyArray<string>> = []
  const { provider = "p" } = options
  const model = EmbeddingModel.make({
    provider,
    model: "m-1",
    space: "m/3",
    ...options,
    embed: (part, attempt) =>
      Effect.suspend(() => {
        asked.push(part.input)
        const { error, millis = 0 } = act(part, attempt) ?? {}
        const answer: Effect.Effect<EmbeddingModel.Answer, LlmError.LlmError> =
          error === undefined
            ? Effect.succeed({
                vectors: part.input.map(vectorOf),
                usage: { inputTokens: part.input.length, outputTokens: 0 }
              })
            : Effect.fail(fail(error, provider))
        return millis === 0 ? answer : Effect.delay(answer, millis)
      })
  })
  return { model, asked }
}
