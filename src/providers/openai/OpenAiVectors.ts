/**
 * The wire format of OpenAI's embeddings: one body for many texts, and vectors as numbers or as base64.
 *
 * @since 0.2.0
 */

import type * as EmbeddingModel from "../../embeddings/EmbeddingModel.js"
import { type InvalidRequest, InvalidResponse, type LlmError } from "../../errors/LlmError.js"
import * as Usage from "../../policies/Usage.js"
import type * as HttpEmbeddings from "../http/HttpEmbeddings.js"
import * as Json from "../wire/Json.js"
import * as WireFields from "../wire/WireFields.js"

/**
 * The way that a server writes vectors.
 *
 * @since 0.2.0
 * @category models
 */
export type Encoding = "base64" | "float"

/** What is known of a server. */
interface Server {
  readonly provider: string
  readonly model: string
  /** The way to write vectors that is asked for; `undefined`: none. */
  readonly encoding: Encoding | undefined
  /** Whether the server refuses an empty text, and with it the whole request. */
  readonly refusesEmpty: boolean
}

const encode =
  ({ encoding, model, provider, refusesEmpty }: Server) =>
  ({ from, input, request }: EmbeddingModel.Part): WireFields.Encoded | InvalidRequest => {
    const empty = refusesEmpty ? input.indexOf("") : -1
    if (empty >= 0) {
      const message = `input ${from + empty}: found an empty text, expected one with content`
      return WireFields.refusal({ provider, model }, message, false)
    }
    const body = Json.compact({ model, input, dimensions: request.dimensions, encoding_format: encoding })
    return {
      body: Json.merge(body, Json.object(request.providerOptions?.[provider])),
      leftOut: request.task === undefined ? [] : [`task (${provider} has none)`]
    }
  }

/** The numbers of a vector in base64: 32-bit floats, the lowest byte first. `undefined` if it is none. */
const ofBase64 = (text: string): ReadonlyArray<number> | undefined => {
  let binary: string
  try {
    binary = atob(text)
  } catch {
    return undefined
  }
  if (binary.length % 4 !== 0) return undefined
  const bytes = new Uint8Array(binary.length)
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
  const view = new DataView(bytes.buffer)
  const vector = new Array<number>(binary.length / 4)
  for (let i = 0; i < vector.length; i++) vector[i] = view.getFloat32(i * 4, true)
  return vector
}

const vectorOf = (value: unknown): ReadonlyArray<number> | undefined =>
  // The numbers are checked with those of all providers.
  typeof value === "string" ? ofBase64(value) : Array.isArray(value) ? (value as ReadonlyArray<number>) : undefined

const decode = (body: Json.Json, context: WireFields.Exchange): EmbeddingModel.Answer | LlmError => {
  if (!Array.isArray(body.data)) return WireFields.missing(context, "data", body.data, "an array")
  const { data } = body as { readonly data: ReadonlyArray<unknown> }
  const wrong = (message: string) => new InvalidResponse(WireFields.errorFields(context, message))
  const vectors = new Array<ReadonlyArray<number> | undefined>(data.length).fill(undefined)
  for (const [position, one] of data.entries()) {
    const { embedding, index = position } = Json.object(one)
    const at = Json.count(index)
    if (at === undefined || at >= data.length || vectors[at] !== undefined) {
      return wrong(`data[${position}].index: found ${String(index).slice(0, 20)}, expected each of ${data.length} once`)
    }
    const vector = vectorOf(embedding)
    if (vector === undefined) {
      const expected = "an array of numbers, or 32-bit floats in base64"
      return WireFields.missing(context, `data[${position}].embedding`, embedding, expected)
    }
    vectors[at] = vector
  }
  const usage = Json.object(body.usage)
  const tokens = Json.count(usage.prompt_tokens) ?? Json.count(usage.total_tokens)
  return {
    vectors: vectors as ReadonlyArray<ReadonlyArray<number>>,
    model: Json.text(body.model),
    id: Json.text(body.id),
    usage: tokens === undefined ? undefined : Usage.make({ inputTokens: tokens, outputTokens: 0 })
  }
}

/**
 * The wire format at one server.
 *
 * @since 0.2.0
 * @category constructors
 */
export const format = (
  server: Server,
  limits: HttpEmbeddings.EmbeddingFormat["limits"]
): HttpEmbeddings.EmbeddingFormat => ({ encode: encode(server), decode, limits })
