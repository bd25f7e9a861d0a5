/**
 * The embedded provider: it answers without a key, and fails as often as it is told, so that the first command shows
 * retries and fallbacks at work.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Fault from "../testing/Fault.js"
import * as Reply from "../testing/Reply.js"
import * as Script from "../testing/Script.js"
import type * as Step from "../testing/Step.js"
import type { WireRequest } from "../testing/wire/Wire.js"
import type { Faults } from "./config/Resolved.js"

/** The last text that a request says, in any wire format. */
const lastText = (value: unknown): string | undefined => {
  if (typeof value === "string") return value
  if (Array.isArray(value)) {
    for (let at = value.length - 1; at >= 0; at--) {
      const found = lastText(value[at])
      if (found !== undefined) return found
    }
    return undefined
  }
  if (typeof value !== "object" || value === null) return undefined
  const { content, contents, input, messages, parts, text } = value as Readonly<Record<string, unknown>>
  return lastText(messages ?? input ?? contents ?? content ?? parts ?? text)
}

const answer = ({ body, model = "demo" }: WireRequest): string => {
  const said = (lastText(body) ?? "").slice(0, 200)
  return (
    `This is ${model}, the demo provider inside of the gateway: it fails on purpose, and the gateway mends it. ` +
    (said === "" ? "You said nothing that I can read." : `You said: ${said}`)
  )
}

/**
 * What the embedded provider does. The n-th request of a gateway fares alike in every run.
 *
 * @since 0.2.0
 * @category constructors
 */
export const behaviour = ({ errorRate, latency, status }: Faults): Script.Options => {
  let count = 0
  const next = (request: WireRequest): Step.Step => {
    if (Script.random(1, count++) < errorRate) return Fault.status(status)
    return Fault.slowFirstToken(Duration.decode(latency), Reply.text(answer(request)))
  }
  return { onExhausted: next }
}
