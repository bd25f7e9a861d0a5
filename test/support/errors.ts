import { Duration, FastCheck as fc } from "effect"
import { LlmError } from "effect-steadfast"

const base = { provider: "openai", model: "gpt-4o-mini", message: "it failed", delivery: "rejected" } as const

const build: { readonly [K in LlmError.Tag]: (fields: LlmError.Fields) => Extract<LlmError.LlmError, { _tag: K }> } = {
  RateLimited: (fields) => new LlmError.RateLimited(fields),
  QuotaExhausted: (fields) => new LlmError.QuotaExhausted(fields),
  Overloaded: (fields) => new LlmError.Overloaded(fields),
  ServerError: (fields) => new LlmError.ServerError(fields),
  Timeout: (fields) => new LlmError.Timeout({ ...fields, phase: "attempt" }),
  ConnectionError: (fields) => new LlmError.ConnectionError(fields),
  AuthError: (fields) => new LlmError.AuthError(fields),
  PermissionDenied: (fields) => new LlmError.PermissionDenied(fields),
  ModelNotFound: (fields) => new LlmError.ModelNotFound(fields),
  ContextLengthExceeded: (fields) => new LlmError.ContextLengthExceeded(fields),
  ContentFiltered: (fields) => new LlmError.ContentFiltered(fields),
  InvalidRequest: (fields) => new LlmError.InvalidRequest(fields),
  InvalidResponse: (fields) => new LlmError.InvalidResponse(fields),
  StreamInterrupted: (fields) => new LlmError.StreamInterrupted({ ...fields, received: 3, partial: "abc" }),
  CircuitOpen: (fields) => new LlmError.CircuitOpen(fields),
  BudgetExceeded: (fields) => new LlmError.BudgetExceeded({ ...fields, budget: "retry" })
}

/** Every tag of the union. */
export const tags = Object.keys(build) as ReadonlyArray<LlmError.Tag>

/** An error of a tag, with what matters to the test set. */
export const errorOf = <K extends LlmError.Tag>(
  tag: K,
  fields: Partial<LlmError.Fields> = {}
): Extract<LlmError.LlmError, { _tag: K }> => build[tag]({ ...base, ...fields })

/** A rate limit that the server wants to be waited for. */
export const hinted = (hint: Duration.DurationInput): LlmError.RateLimited =>
  errorOf("RateLimited", { hint: Duration.decode(hint) })

/** Any error, with or without a hint up to `maxHint` milliseconds. */
export const arbitraryError = (
  maxHint: number,
  among: ReadonlyArray<LlmError.Tag> = tags
): fc.Arbitrary<LlmError.LlmError> =>
  fc
    .tuple(fc.constantFrom(...among), fc.option(fc.integer({ min: 0, max: maxHint }), { nil: undefined, freq: 2 }))
    .map(([tag, hint]) => errorOf(tag, hint === undefined ? {} : { hint: Duration.millis(hint) }))
