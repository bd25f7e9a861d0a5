/**
 * The lists of models of OpenAI, Anthropic and Gemini. The models are the words of the reply's text, in pages of the
 * size that the request asks for.
 *
 * @since 0.2.0
 */

import type * as Step from "../Step.js"
import * as Wire from "./Wire.js"

/** The time at which all models were made. */
const madeAt = Date.UTC(2025, 0, 1)

const namesOf = (reply: Step.Reply): ReadonlyArray<string> => Wire.join(reply, "Text").match(/\S+/g) ?? []

const queryOf = ({ request: { url } }: Wire.Context): URLSearchParams =>
  new URLSearchParams(url.includes("?") ? url.slice(url.indexOf("?") + 1) : "")

/** Models are never streamed. */
const frames = () => []

/** A page of names from a position on. */
const pageOf = (names: ReadonlyArray<string>, from: number, size: number) => ({
  page: names.slice(from, from + size),
  end: from + size,
  more: from + size < names.length
})

/**
 * @since 0.2.0
 * @category rendering
 */
export const openAi: Wire.Renderer = {
  frames,
  json: (reply) => ({
    object: "list",
    data: namesOf(reply).map((id) => ({ id, object: "model", created: madeAt / 1000, owned_by: "system" }))
  })
}

/**
 * @since 0.2.0
 * @category rendering
 */
export const anthropic: Wire.Renderer = {
  frames,
  json: (reply, context) => {
    const names = namesOf(reply)
    const query = queryOf(context)
    const { more, page } = pageOf(
      names,
      names.indexOf(query.get("after_id") ?? "") + 1,
      Number(query.get("limit") ?? 20)
    )
    return {
      data: page.map((id) => ({
        type: "model",
        id,
        display_name: id,
        created_at: new Date(madeAt).toISOString()
      })),
      has_more: more,
      first_id: page[0] ?? null,
      last_id: page.at(-1) ?? null
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
    const query = queryOf(context)
    const size = Number(query.get("pageSize") ?? 50)
    const { end, more, page } = pageOf(namesOf(reply), Number(query.get("pageToken") ?? 0), size)
    return {
      models: page.map((name) => ({
        name: `models/${name}`,
        displayName: name,
        inputTokenLimit: 1_048_576,
        outputTokenLimit: 65_536,
        supportedGenerationMethods: [/embedding/.test(name) ? "embedContent" : "generateContent"]
      })),
      ...(more ? { nextPageToken: String(end) } : {})
    }
  }
}
