/**
 * Which of a provider's keys a request gets that is handed on.
 *
 * | request | key |
 * |---|---|
 * | files, uploads, batches | one for each client: what an account stores, other accounts do not see |
 * | others | any of the pool that works, and another one where that is refused |
 * | others whose body is streamed | one for each client, among those of the pool that work: it cannot be sent again |
 *
 * There is no circuit here: circuits are a model's at a provider, and these paths have no model, or one of their own.
 *
 * @since 0.2.0
 */

import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import * as About from "../calls/About.js"
import * as Balance from "../calls/balance/Balance.js"
import * as Members from "../calls/balance/Members.js"
import { targetName } from "../calls/CallRecord.js"
import type { LlmError } from "../errors/LlmError.js"
import * as KeyPool from "../policies/balance/KeyPool.js"
import * as Rendezvous from "../policies/balance/Rendezvous.js"
import * as Times from "../policies/Times.js"
import * as Address from "../providers/http/Address.js"
import * as OpenAiServers from "../providers/openai/OpenAiServers.js"
import type { Provider } from "./config/Resolved.js"
import type { Policies } from "./Policies.js"
import * as Targets from "./Targets.js"

/**
 * A request that is handed on.
 *
 * @since 0.2.0
 * @category models
 */
export interface Asking {
  readonly provider: Provider
  readonly model: string
  /** The path behind the base URL. */
  readonly path: string
  /** The name of the client. */
  readonly client: string
  /** Whether the body is there, so that it can be sent again. */
  readonly mayRepeat: boolean
  /** Whether it may be sent again after it was sent. */
  readonly isSafe: boolean
}

/** What is stored in an account. */
const stored = /^\/(?:files|uploads|batches)(?:[/?]|$)/

/** The address of a path at a provider, with a key. */
const addressOf = (
  provider: Provider,
  path: string,
  apiKey: Redacted.Redacted | undefined
): Effect.Effect<Address.Resolved, ConfigError.ConfigError> => {
  const { headers, keyGroup, kind, name } = provider
  const base = Targets.baseUrlOf(provider)
  return Address.resolve(
    { model: "", apiKey, headers, keyGroup },
    kind === "anthropic"
      ? {
          provider: name,
          baseUrl: base ?? "https://api.anthropic.com/v1",
          url: (baseUrl) => baseUrl + path,
          auth: (key) => ({ "x-api-key": key }),
          headers: { "anthropic-version": "2023-06-01" }
        }
      : OpenAiServers.place(name, base, path)
  )
}

/**
 * The place of a client's key: the same in every process, and for most clients the same where a key is added.
 *
 * @since 0.2.0
 * @category getters
 */
export const indexOf = (client: string, keys: ReadonlyArray<Redacted.Redacted>): number => {
  const session = Rendezvous.hash(client)
  const scores = keys.map((key) => Rendezvous.score(session, Rendezvous.hash(KeyPool.nameOf(key)), 1))
  return scores.indexOf(Math.max(...scores))
}

/**
 * Asks with a key of the provider, or with several. `ask` sends the request to an address.
 *
 * @since 0.2.0
 * @category running
 */
export const asking = <A>(
  policies: Policies,
  { client, isSafe, mayRepeat, model, path, provider }: Asking,
  ask: (address: Address.Resolved) => Effect.Effect<A, LlmError>
): Effect.Effect<A, LlmError> =>
  Effect.gen(function* () {
    const { keys, name } = provider
    const at = (key: Redacted.Redacted | undefined) => Effect.orDie(addressOf(provider, path, key))
    if (keys.length < 2) return yield* ask(yield* at(keys[0]))
    if (stored.test(path)) return yield* ask(yield* at(keys[indexOf(client, keys)]))
    const pool = yield* policies.pool(provider)
    if (!mayRepeat) {
      const { readyAt } = pool.for(targetName({ provider: name, model }))
      const now = yield* Times.current
      const working = keys.filter((_, index) => readyAt(index) <= now)
      const able = working.length === 0 ? keys : working
      return yield* ask(yield* at(able[indexOf(client, able)]))
    }
    const addresses = yield* Effect.forEach(keys, at)
    const named = addresses.map(({ group, key }) => ({
      name: model,
      about: {
        targets: [{ provider: name, model, key, group }] as const,
        readyAt: About.always,
        soonestAt: About.always
      }
    }))
    const members = Balance.pooled(pool, named, {}, { unable: undefined, isOnce: () => !isSafe })
    const asks = addresses.map((address) => () => ask(address))
    return yield* Members.asking(members, Members.queuesOf(members), asks)(undefined)
  })
