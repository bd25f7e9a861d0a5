/**
 * How an API key is called where it may not be shown.
 *
 * @since 0.2.0
 */
import * as Hash from "effect/Hash"
import * as Redacted from "effect/Redacted"

/**
 * Tells one key from another in the evidence. 32 bits of hash are of no use to whoever wants the key.
 *
 * @since 0.2.0
 * @category getters
 */
export const nameOf = (apiKey: Redacted.Redacted): string =>
  (Hash.string(Redacted.value(apiKey)) >>> 0).toString(16).padStart(8, "0")
