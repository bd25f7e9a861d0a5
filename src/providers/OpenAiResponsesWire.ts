/**
 * The wire format of OpenAI's Responses API, for `OpenAiResponses`.
 *
 * A request becomes a list of input items and an answer is a list of output items; in a stream every event has a
 * number. With `background: true` in the request the provider keeps the events, and a broken stream is resumed after
 * the last delivered event: nothing is generated, or paid, twice.
 *
 * Gotchas: `stop` and `seed` have no counterpart and are left out. `generate` does not send `background`, because the
 * provider would answer before the text is generated. A stream counts as kept only if the provider's response says
 * `background: true`.
 *
 * @since 0.1.0
 */

import * as OpenAiResponsesAnswer from "./OpenAiResponsesAnswer.js"
import * as OpenAiResponsesRequest from "./OpenAiResponsesRequest.js"
import type * as WireFormat from "./WireFormat.js"

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
  answers: { wire: "openai-responses", reasonField: "response.status", needsEnd: true },
  reader: OpenAiResponsesAnswer.reader,
  limits,
  resume
})
