/**
 * The name of an API key in logs and records.
 *
 * @since 0.2.0
 */

import * as Hash from "effect/Hash"
import * as Redacted from "effect/Redacted"

/**
 * A short hash, which tells keys apart in logs and records. Its 32 bits do not reveal the key.
 *
 * @since 0.2.0
 * @category getters
 */
export const nameOf = (apiKey: Redacted.Redacted): string =>
  (Hash.string(Redacted.value(apiKey)) >>> 0).toString(16).padStart(8, "0")
