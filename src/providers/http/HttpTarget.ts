/**
 * One provider at one address, as all its APIs use it: the headers of a request, the reading of a response's head, and
 * the errors of failures. It neither waits nor sends.
 *
 * @since 0.2.0
 */

import * as HttpTraceContext from "@effect/platform/HttpTraceContext"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Tracer from "effect/Tracer"
import type * as Attempt from "../../calls/Attempt.js"
import * as Call from "../../calls/Call.js"
import * as Classify from "../../errors/Classify.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import type { LlmError } from "../../errors/LlmError.js"
import type { Limits } from "../../policies/pacer/RateLimits.js"
import type * as Transport from "../Transport.js"
import type * as WireFields from "../wire/WireFields.js"
import type * as Address from "./Address.js"
import * as BodyText from "./BodyText.js"

/**
 * A target and its address.
 *
 * @since 0.1.0
 * @category models
 */
export interface Endpoint
  extends Attempt.Target,
    Pick<Address.Resolved, "url" | "headers" | "secrets" | "traceHeaders" | "maxAnswerBytes"> {}

/**
 * Headers as they are sent: names in lower case.
 *
 * @since 0.2.0
 * @category getters
 */
export const lowerCased = (headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/**
 * Says what a request could not say to this target.
 *
 * @since 0.2.0
 * @category combinators
 */
export const said = <A, E>(leftOut: ReadonlyArray<string>, self: Effect.Effect<A, E>): Effect.Effect<A, E> =>
  leftOut.length === 0 ? self : Effect.zipRight(Effect.logDebug(`not sent as asked: ${leftOut.join("; ")}`), self)

const isSuccess = ({ status }: WireFields.Exchange): boolean => status >= 200 && status <= 299

/**
 * The reading of a provider at an address. `shown` is the URL that errors name, without its query.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  { maxAnswerBytes: maxBytes = BodyText.defaultMaxBytes, model, provider, secrets, traceHeaders }: Endpoint,
  shown: string,
  limits: (headers: WireFields.Headers, now: number) => Limits | undefined
) => {
  const target: Classify.Context = { provider, model, secrets }
  const forms = secrets.flatMap(ErrorMessage.formsOf)
  const scrubbed = <T extends string | undefined>(text: T, max = 200): T | string =>
    text !== undefined && forms.some((form) => text.includes(form)) ? ErrorMessage.clean(text, secrets, max) : text
  return {
    maxBytes,
    isSuccess,
    /** Removes secrets from a text of the provider. */
    scrubbed,
    /** The error of a failing status. */
    refused: (body: string, context: WireFields.Exchange): LlmError => {
      const { host, pathname } = new URL(shown)
      return Classify.response({ ...context, body, address: host + pathname })
    },
    /** The error of a failure on the way. */
    failed: (cause: unknown, stage: Classify.Stage): LlmError => Classify.transport(target, cause, stage),
    /** The headers of one request, with the span in force if the provider gets it. */
    headersIn: (headers: Transport.Request["headers"], context: Context.Context<never>) => {
      if (traceHeaders !== true) return headers
      const span = Call.peek(context, Tracer.ParentSpan)
      return span?._tag === "Span" ? { ...headers, ...HttpTraceContext.toHeaders(span) } : headers
    },
    /**
     * Reads the headers, and notes them on the attempt before the body is read: a broken attempt keeps its request id.
     */
    readHead:
      (attempt?: Attempt.Attempt) =>
      (status: number, headers: WireFields.Headers, now: number): WireFields.Exchange => {
        const requestId = scrubbed(Classify.requestId(headers))
        attempt?.note({ status, requestId, limits: limits(headers, now) })
        return { provider, model, secrets, status, headers, now, requestId, maxBytes }
      }
  }
}
