import { HttpClient, type HttpClientRequest, HttpClientResponse } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Effect, FastCheck as fc, Redacted } from "effect"
import type * as EmbeddingModel from "effect-steadfast/EmbeddingModel"
import { EmbeddingsBody } from "effect-steadfast/http"
import * as OpenAiEmbeddings from "effect-steadfast/OpenAiEmbeddings"
import { cases } from "../support/cases.js"

describe("a request for embeddings", () => {
  const read = (more: object, options?: EmbeddingsBody.Options) =>
    EmbeddingsBody.decode({ model: "m", input: "hi", ...more }, options)

  it.effect("is read", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* read({ dimensions: 3, encoding_format: "base64", user: null }), {
        model: "m",
        request: { input: "hi", dimensions: 3 },
        encoding: "base64",
        unread: []
      })
      assert.deepStrictEqual((yield* read({ input: ["a", ""] })).request, { input: ["a", ""] })
    })
  )

  it.effect("gives the fields that it does not read to a provider alone", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* read({ user: "u" })).unread, ["user"])
      const passed = yield* read({ user: "u" }, { passTo: "openai" })
      assert.deepStrictEqual(passed.request.providerOptions, { openai: { user: "u" } })
    })
  )

  const refusals: ReadonlyArray<readonly [unknown, string]> = [
    [undefined, "body: found nothing, expected a JSON object"],
    [{ input: "hi" }, "model: found nothing, expected a string"],
    [{ model: "m" }, "input: found nothing, expected a text or an array of texts"],
    [{ model: "m", input: [] }, "input: found an empty array, expected at least one text"],
    [{ model: "m", input: [1, 2] }, "input[0]: found token numbers, expected a text"],
    [{ model: "m", input: [[1, 2]] }, "input[0]: found token numbers, expected a text"],
    [{ model: "m", input: ["a", {}] }, "input[1]: found an object, expected a string"],
    [{ model: "m", input: "a", dimensions: 0 }, "dimensions: found 0, expected a whole number from 1 on"],
    [{ model: "m", input: "a", encoding_format: "int8" }, 'encoding_format: found "int8", expected one of "float", "ba']
  ]

  it.effect.each(refusals)("that is wrong is told so: %j", ([sent, said]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(EmbeddingsBody.decode(sent))
      assert.strictEqual(error._tag, "InvalidRequest")
      assert.include(error.message, said)
    })
  )

  it("is read or refused, whatever came", () => {
    fc.assert(
      fc.property(fc.anything(), (sent) => {
        const exit = Effect.runSyncExit(EmbeddingsBody.decode(sent))
        if (exit._tag === "Failure") assert.strictEqual(exit.cause._tag, "Fail")
      }),
      { numRuns: cases(2000) }
    )
  })
})

describe("an answer with embeddings", () => {
  const answer: EmbeddingModel.Response = {
    provider: "p",
    model: "m-1",
    vectors: [
      [0.5, -1],
      [2, 0]
    ]
  }

  it("says the vectors, the model and the usage", () => {
    assert.deepStrictEqual(EmbeddingsBody.make({ ...answer, usage: { inputTokens: 3, outputTokens: 0 } }), {
      object: "list",
      data: [
        { object: "embedding", index: 0, embedding: [0.5, -1] },
        { object: "embedding", index: 1, embedding: [2, 0] }
      ],
      model: "m-1",
      usage: { prompt_tokens: 3, total_tokens: 3 }
    })
    assert.strictEqual(EmbeddingsBody.make(answer, { model: "told" }).model, "told")
  })

  it("has the lowest byte of a number first", () => {
    const { data } = EmbeddingsBody.make({ ...answer, vectors: [[1]] }, { encoding: "base64" }) as {
      readonly data: ReadonlyArray<{ readonly embedding: string }>
    }
    assert.deepStrictEqual([...Buffer.from(data[0]?.embedding ?? "", "base64")], [0, 0, 0x80, 0x3f])
  })
})

describe("a service of embeddings", () => {
  /** The body of a request that a client of ours sends. */
  const bodyOf = ({ body }: HttpClientRequest.HttpClientRequest): unknown =>
    JSON.parse(
      body._tag === "Uint8Array" ? new TextDecoder().decode(body.body) : body._tag === "Raw" ? `${body.body}` : "0"
    )

  /** A service whose vectors are `vectors`. Base64 is what our own client asks for. */
  const client = (vectors: ReadonlyArray<ReadonlyArray<number>>, seen: Array<EmbeddingsBody.Asked>) =>
    HttpClient.make((request) =>
      Effect.map(Effect.orDie(EmbeddingsBody.decode(bodyOf(request))), (asked) => {
        seen.push(asked)
        const body = EmbeddingsBody.make({ provider: "p", model: "m-1", vectors }, asked)
        return HttpClientResponse.fromWeb(request, Response.json(body))
      })
    )

  const float = fc.float({ noNaN: true, noDefaultInfinity: true }).map((number) => (number === 0 ? 0 : number))

  it.effect("tells our own client what it was asked for", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 3 })).chain(([length, texts]) =>
            fc.record({
              vectors: fc.array(fc.array(float, { minLength: length, maxLength: length }), {
                minLength: texts,
                maxLength: texts
              }),
              input: fc.array(fc.string({ minLength: 1 }), { minLength: texts, maxLength: texts }),
              dimensions: fc.constantFrom(length, undefined)
            })
          ),
          ({ dimensions, input, vectors }) =>
            Effect.runPromise(
              Effect.gen(function* () {
                const seen: Array<EmbeddingsBody.Asked> = []
                const model = yield* OpenAiEmbeddings.make({ model: "m", apiKey: Redacted.make("key-of-a-test") }).pipe(
                  Effect.provideService(HttpClient.HttpClient, client(vectors, seen))
                )
                const wanted = dimensions === undefined ? { input } : { input, dimensions }
                assert.deepStrictEqual((yield* model.embed(wanted)).vectors, vectors)
                assert.deepStrictEqual(seen[0]?.request, wanted)
                assert.strictEqual(seen[0]?.encoding, "base64")
              })
            )
        ),
        { numRuns: cases(500) }
      )
    )
  )
})

describe("vectors for Ollama's clients", () => {
  it("are asked for and told in the words of /api/embed", () => {
    const sent = { model: "m", input: ["a", "b"], dimensions: 2, truncate: true }
    const asked = Effect.runSync(EmbeddingsBody.decode(sent, { dialect: "ollama" }))
    assert.deepStrictEqual(asked.request, { input: ["a", "b"], dimensions: 2 })
    assert.deepStrictEqual(asked.unread, ["truncate"])
    const answer = { provider: "p", model: "m-1", vectors: [[1], [2]], usage: { inputTokens: 4, outputTokens: 0 } }
    assert.deepStrictEqual(EmbeddingsBody.make(answer, { dialect: "ollama", model: "m" }), {
      model: "m",
      embeddings: [[1], [2]],
      total_duration: 0,
      load_duration: 0,
      prompt_eval_count: 4
    })
  })
})

describe("vectors for Cohere's clients", () => {
  const read = (more: object) => EmbeddingsBody.decode({ model: "m", ...more }, { dialect: "cohere" })

  it("are asked for by texts or by inputs of text", () => {
    const asked = Effect.runSync(
      read({ texts: ["a", "b"], input_type: "search_query", output_dimension: 2, embedding_types: ["base64"] })
    )
    assert.deepStrictEqual(asked.request, { input: ["a", "b"], dimensions: 2 })
    assert.deepStrictEqual([asked.encoding, asked.unread], ["base64", ["input_type"]])
    const parts = [
      {
        content: [
          { type: "text", text: "a" },
          { type: "text", text: "b" }
        ]
      }
    ]
    assert.deepStrictEqual(Effect.runSync(read({ inputs: parts })).request, { input: ["ab"] })
  })

  it.each([
    [{}, "texts: found nothing, expected an array of texts"],
    [{ texts: [] }, "texts: found an empty array, expected at least one text"],
    [{ texts: [1] }, "texts[0]: found token numbers, expected a text"],
    [{ images: ["data:image/png;base64,aGk="] }, "images: found images, expected texts or inputs"],
    [
      { inputs: [{ content: [{ type: "image_url" }] }] },
      'inputs[0].content[0].type: found "image_url", expected one of'
    ],
    [
      { texts: ["a"], embedding_types: ["int8"] },
      'embedding_types[0]: found "int8", expected one of "float", "base64"'
    ],
    [{ texts: ["a"], embedding_types: ["float", "base64"] }, "embedding_types: found 2 types, expected one type"]
  ])("are refused: %j", (more, said) => {
    assert.include(Effect.runSync(Effect.flip(read(more))).message, said)
  })

  it("are told by their type", () => {
    const answer = { provider: "p", model: "m-1", vectors: [[1], [2]], usage: { inputTokens: 4, outputTokens: 0 } }
    const body = EmbeddingsBody.make(answer, { dialect: "cohere", id: "e-1" })
    assert.deepStrictEqual(body, {
      id: "e-1",
      embeddings: { float: [[1], [2]] },
      meta: { api_version: { version: "2" }, billed_units: { input_tokens: 4 } },
      response_type: "embeddings_by_type"
    })
    const { embeddings } = EmbeddingsBody.make(answer, { dialect: "cohere", encoding: "base64" })
    assert.deepStrictEqual(embeddings, { base64: ["AACAPw==", "AAAAQA=="] })
  })
})
