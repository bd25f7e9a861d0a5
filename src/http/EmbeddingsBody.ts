/**
 * The bodies of OpenAI's `POST /v1/embeddings`, Ollama's `POST /api/embed` and Cohere's `POST /v2/embed`: a client's
 * request as one of an `EmbeddingModel`, and its answer.
 *
 * Gotchas: an input of token numbers is refused, because only the model's own tokenizer can read it. `user` and other
 * fields that an embedding has no word for go to the provider `passTo` alone, as in `RequestBody`.
 *
 * @example
 * import { Effect } from "effect"
 * import type { EmbeddingModel } from "effect-steadfast/EmbeddingModel"
 * import { EmbeddingsBody } from "effect-steadfast/http"
 *
 * declare const model: EmbeddingModel
 *
 * const answer = (body: unknown) =>
 *   Effect.gen(function* () {
 *     const asked = yield* EmbeddingsBody.decode(body)
 *     return EmbeddingsBody.make(yield* model.embed(asked.request), asked)
 *   })
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Encoding from "effect/Encoding"
import type * as EmbeddingModel from "../embeddings/EmbeddingModel.js"
import { InvalidRequest } from "../errors/LlmError.js"
import type * as Dialects from "./Dialect.js"
import * as Fields from "./requests/Fields.js"
import * as Leftover from "./requests/Leftover.js"

/**
 * The dialects that have embeddings.
 *
 * @since 0.2.0
 * @category models
 */
export type Dialect = Extract<Dialects.Dialect, "openai" | "ollama" | "cohere">

/**
 * A decoded request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Asked {
  /** The model by the client's name for it. */
  readonly model: string
  readonly request: EmbeddingModel.Request
  /** The way to write the vectors: as numbers, or as base64 of 32-bit floats, the lowest byte first. */
  readonly encoding: "float" | "base64"
  /** The fields of the body that were neither read nor passed on, by their names. */
  readonly unread: ReadonlyArray<string>
}

/**
 * The options of {@link decode}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The dialect of the client. Default `"openai"`. */
  readonly dialect?: Dialect | undefined
  /** The provider whose `providerOptions` get the fields that were not read. Default: they are left out. */
  readonly passTo?: string | undefined
}

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const textsOf = (texts: ReadonlyArray<unknown>, name: string): ReadonlyArray<string> => {
  if (texts.length === 0) throw Fields.refusal(name, "an empty array", "at least one text")
  return texts.map((entry, index) => {
    const field = `${name}[${index}]`
    if (typeof entry === "number" || Array.isArray(entry)) throw Fields.refusal(field, "token numbers", "a text")
    return Fields.needed(Fields.string, entry, field, "a text")
  })
}

/** What one dialect says in its own fields. */
interface Own {
  readonly known: ReadonlySet<string>
  readonly read: (fields: Fields.Json) => Omit<Asked, "model" | "unread">
}

const requestOf = ({ dimensions, input }: Fields.Json): EmbeddingModel.Request =>
  Fields.compact({
    input:
      typeof input === "string"
        ? input
        : textsOf(Fields.needed(Fields.array, input, "input", "a text or an array of texts"), "input"),
    dimensions: Fields.integer(1)(dimensions, "dimensions")
  })

/** The text of one of Cohere's inputs, which may be of several parts. */
const contentOf = (entry: unknown, index: number): string => {
  const at = `inputs[${index}]`
  const { content } = Fields.needed(Fields.object, entry, at, "an object")
  return Fields.texts(Fields.needed(Fields.array, content, `${at}.content`, "an array"), `${at}.content`)
}

/** Cohere answers in several types at once; here it is one. */
const encodingOf = (value: unknown): Asked["encoding"] => {
  const [type = "float", ...more] = Fields.strings(value, "embedding_types") ?? []
  if (more.length > 0) throw Fields.refusal("embedding_types", `${more.length + 1} types`, "one type")
  return Fields.oneOf("float", "base64")(type, "embedding_types[0]") ?? "float"
}

const cohereRequest = (fields: Fields.Json): EmbeddingModel.Request => {
  const images = Fields.array(fields.images, "images") ?? []
  if (images.length > 0) throw Fields.refusal("images", "images", "texts or inputs")
  const inputs = Fields.array(fields.inputs, "inputs")
  return Fields.compact({
    input:
      inputs === undefined
        ? textsOf(Fields.needed(Fields.array, fields.texts, "texts", "an array of texts"), "texts")
        : textsOf(inputs.map(contentOf), "inputs"),
    dimensions: Fields.integer(1)(fields.output_dimension, "output_dimension")
  })
}

const dialects: { readonly [K in Dialect]: Own } = {
  openai: {
    known: Leftover.names("model input dimensions encoding_format"),
    read: (fields) => ({
      request: requestOf(fields),
      encoding: Fields.oneOf("float", "base64")(fields.encoding_format, "encoding_format") ?? "float"
    })
  },
  ollama: {
    known: Leftover.names("model input dimensions"),
    read: (fields) => ({ request: requestOf(fields), encoding: "float" })
  },
  cohere: {
    known: Leftover.names("model texts inputs images output_dimension embedding_types"),
    read: (fields) => ({ request: cohereRequest(fields), encoding: encodingOf(fields.embedding_types) })
  }
}

const reading = (body: unknown, { dialect = "openai", passTo }: Options): Asked => {
  const fields = Fields.needed(Fields.object, Fields.shallow(body, "body"), "body", "a JSON object")
  const model = Fields.needed(Fields.string, fields.model, "model", "a string")
  const { known, read } = dialects[dialect]
  const left = Leftover.make()
  left.fields(fields, known)
  const { providerOptions, unread } = left.end(passTo)
  const { encoding, request } = read(fields)
  return { model, request: Fields.compact({ ...request, providerOptions }), encoding, unread }
}

/**
 * The request, or its refusal.
 *
 * @internal
 */
export const read = (body: unknown, options: Options = {}): Asked | InvalidRequest =>
  Fields.reading(() => reading(body, options))

/**
 * What a client asks for. `body` is parsed JSON; anything else is refused.
 *
 * @since 0.2.0
 * @category decoding
 */
export const decode = (body: unknown, options: Options = {}): Effect.Effect<Asked, InvalidRequest> =>
  Effect.suspend(() => {
    const found = read(body, options)
    return found instanceof InvalidRequest ? Effect.fail(found) : Effect.succeed(found)
  })

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

const toBase64 = (vector: ReadonlyArray<number>): string => {
  const bytes = new Uint8Array(vector.length * 4)
  const view = new DataView(bytes.buffer)
  for (let i = 0; i < vector.length; i++) view.setFloat32(i * 4, vector[i] ?? 0, true)
  return Encoding.encodeBase64(bytes)
}

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Origin extends Partial<Pick<Asked, "encoding" | "model">>, Pick<Options, "dialect"> {
  /** The id of the answer, which Cohere's clients are told. Default `""`. */
  readonly id?: string | undefined
}

type Writing = (answer: EmbeddingModel.Response, origin: Origin & { readonly model: string }) => object

const vectorsOf = (vectors: EmbeddingModel.Response["vectors"], encoding: Origin["encoding"]) =>
  encoding === "base64" ? vectors.map(toBase64) : vectors

const writers: { readonly [K in Dialect]: Writing } = {
  openai: ({ usage, vectors }, { encoding, model }) => {
    const tokens = usage?.inputTokens ?? 0
    return {
      object: "list",
      data: vectorsOf(vectors, encoding).map((embedding, index) => ({ object: "embedding", index, embedding })),
      model,
      usage: { prompt_tokens: tokens, total_tokens: tokens }
    }
  },
  ollama: ({ usage, vectors }, { model }) => ({
    model,
    embeddings: vectors,
    total_duration: 0,
    load_duration: 0,
    prompt_eval_count: usage?.inputTokens ?? 0
  }),
  cohere: ({ usage, vectors }, { encoding = "float", id = "" }) => ({
    id,
    embeddings: { [encoding]: vectorsOf(vectors, encoding) },
    meta: {
      api_version: { version: "2" },
      ...(usage === undefined ? {} : { billed_units: { input_tokens: usage.inputTokens } })
    },
    response_type: "embeddings_by_type"
  })
}

/**
 * The body of an answer. `model` is the name that the client is told, by default that of the model that answered.
 * To OpenAI's and Ollama's clients a usage that is not known is told as zeros, because they read one in every answer.
 * So are the times that Ollama's read.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (answer: EmbeddingModel.Response, origin: Origin = {}): Readonly<Record<string, unknown>> => ({
  ...writers[origin.dialect ?? "openai"](answer, { ...origin, model: origin.model ?? answer.model })
})
