/**
 * The wire format of OpenAI's Responses API, for `OpenAiResponses`.
 *
 * A request becomes a list of input items and an answer is a list of output items; in a stream every event has a
 * number. With `background: true` in the request the provider keeps the events, and a broken stream is resumed after
 * the last delivered event: nothing is generated, or paid, twice.
 *
 * `generate` asks for such an answer until it has ended.
 *
 * Gotchas: `stop` and `seed` have no counterpart and are left out. A stream counts as kept only if the provider's
 * response says `background: true`.
 *
 * @since 0.1.0
 */

import type * as WireFormat from "../wire/WireFormat.js"
import * as OpenAiResponsesAnswer from "./OpenAiResponsesAnswer.js"
import * as OpenAiResponsesItems from "./OpenAiResponsesItems.js"
import * as OpenAiResponsesRequest from "./OpenAiResponsesRequest.js"

/** An id that is safe in a path. */
const safeId = /^[\w-]+$/

/** An answer that is made in the background has these states until it ends. */
const later: WireFormat.Later = {
  stateOf: ({ status }) =>
    status === "queued" || status === "in_progress" ? "pending" : typeof status === "string" ? "ended" : undefined,
  idOf: ({ id }) => (typeof id === "string" && safeId.test(id) ? id : undefined),
  url: (url, id, action) => {
    const answer = new URL(url)
    answer.pathname += action === undefined ? `/${id}` : `/${id}/${action}`
    return answer.href
  }
}

/** The URL of the rest of a kept answer, or of the whole answer if no event was delivered (`after` is -1). */
const resume: WireFormat.WireFormat["resume"] = (url, { after, id }) => {
  const rest = new URL(url)
  rest.pathname += `/${id}`
  rest.searchParams.set("stream", "true")
  if (after >= 0) rest.searchParams.set("starting_after", String(after))
  return rest.href
}

/**
 * The Responses API of a provider. Its rate limit headers are those of Chat Completions.
 *
 * @since 0.1.0
 * @category constructors
 */
export const format = (
  provider: string,
  model: string,
  limits: WireFormat.WireFormat["limits"]
): WireFormat.WireFormat => ({
  encode: OpenAiResponsesRequest.encode(provider, model),
  answers: { wire: OpenAiResponsesItems.wire, reasonField: "response.status", needsEnd: true },
  reader: OpenAiResponsesAnswer.reader,
  tokensField: "max_output_tokens",
  limits,
  resume,
  later
})
