/**
 * Embeddings of OpenAI and Gemini. The vector of a text is made from the text alone, so that a test can tell whether
 * each text got its own; its length is 1, as with the real models.
 *
 * A reply's own text is not used; its `usage`, its `model` and its delays are.
 *
 * @since 0.2.0
 */

import * as Encoding from "effect/Encoding"
import * as Space from "../../embeddings/Space.js"
import * as Wire from "./Wire.js"

/** The length of the vectors of a model that is not known. */
const defaultLength = 8

/** FNV-1a, a hash of 32 bits. */
const hash = (text: string): number => {
  let state = 0x811c9dc5
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x01000193)
  return state >>> 0
}

/** Mulberry32: numbers in [0, 1) from a seed. */
const numbers = (seed: number) => {
  let state = seed
  return (): number => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/**
 * The vector of a text: 32-bit floats with the length 1.
 *
 * @since 0.2.0
 * @category rendering
 */
export const vectorOf = (text: string, length: number): Float32Array => {
  const next = numbers(hash(text))
  const vector = Float32Array.from({ length }, () => next() * 2 - 1)
  const norm = Math.hypot(...vector) || 1
  return vector.map((value) => value / norm)
}

const vectorsOf = ({ request }: Wire.Context, asked: unknown): ReadonlyArray<Float32Array> => {
  const length = typeof asked === "number" ? asked : (Space.lengthOf(Space.known(request.model ?? "")) ?? defaultLength)
  return (Wire.textsOf(request) ?? []).map((text) => vectorOf(text, length))
}

/** Vectors are never streamed. */
const frames = () => []

/**
 * @since 0.2.0
 * @category rendering
 */
export const openAi: Wire.Renderer = {
  frames,
  json: (reply, context) => {
    const { body } = context.request
    const isText = Wire.field(body, "encoding_format") === "base64"
    const tokens = Wire.usageOf(reply, context.request).inputTokens
    return {
      object: "list",
      data: vectorsOf(context, Wire.field(body, "dimensions")).map((vector, index) => ({
        object: "embedding",
        index,
        embedding: isText ? Encoding.encodeBase64(new Uint8Array(vector.buffer)) : Array.from(vector)
      })),
      model: Wire.modelName(reply, context),
      usage: { prompt_tokens: tokens, total_tokens: tokens }
    }
  }
}

/**
 * @since 0.2.0
 * @category rendering
 */
export const gemini: Wire.Renderer = {
  frames,
  json: (reply, context) => {
    const requests = Wire.field(context.request.body, "requests")
    const asked = Array.isArray(requests) ? Wire.field(requests[0], "outputDimensionality") : undefined
    return {
      embeddings: vectorsOf(context, asked).map((vector) => ({ values: Array.from(vector) })),
      usageMetadata: { promptTokenCount: Wire.usageOf(reply, context.request).inputTokens }
    }
  }
}
