/**
 * Who a client is, and what it may do now: keys by their hash, and limits of requests, tokens, concurrency and money.
 *
 * Only hashes of keys are held. What a client may spend is a `Spend` scope of one day, so that every attempt is checked
 * against it, retries and fallbacks included.
 *
 * @since 0.2.0
 */

import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type * as CallRecord from "../calls/CallRecord.js"
import * as Labels from "../calls/Labels.js"
import * as Gcra from "../policies/pacer/Gcra.js"
import * as Spend from "../policies/spend/Spend.js"
import * as Account from "../policies/spend/SpendAccount.js"
import { type Headers, one } from "./Controls.js"
import type { ClientKey } from "./config/Resolved.js"
import * as Refusal from "./Refusal.js"
import type { Seats } from "./Shared.js"

/**
 * The hash by which a key is known.
 *
 * @since 0.2.0
 * @category getters
 */
export const hashOf = (key: string): string => createHash("sha256").update(key).digest("hex")

/**
 * The headers in which clients show a key, besides `authorization`.
 *
 * @since 0.2.0
 * @category constants
 */
export const keyHeaders = ["x-api-key", "api-key", "x-goog-api-key", "x-portkey-api-key"] as const

/**
 * The key that a request shows: clients of each dialect have a header of their own, and Gemini's may put it into the
 * query.
 *
 * @since 0.2.0
 * @category getters
 */
export const shown = (headers: Headers, url: string): string | undefined => {
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(one(headers, "authorization") ?? "")?.[1]
  for (const name of keyHeaders) {
    const own = one(headers, name)?.trim()
    if (own !== undefined && own !== "") return own
  }
  if (bearer !== undefined) return bearer
  const query = url.indexOf("?")
  return query < 0 ? undefined : (new URLSearchParams(url.slice(query + 1)).get("key") ?? undefined)
}

/**
 * What is known of a client at the moment.
 *
 * @internal
 */
export interface State {
  requests: Gcra.Bucket | undefined
  tokens: Gcra.Bucket | undefined
  running: number
  day: number
  spend: Spend.Scope | undefined
}

/**
 * A client.
 *
 * @since 0.2.0
 * @category models
 */
export interface Client {
  readonly key: ClientKey
  /** What all its calls are labelled with. */
  readonly labels: CallRecord.Labels
  readonly state: State
  /** Where the places of a key with limits are, if not in this process. */
  readonly seats: Seats | undefined
}

/**
 * The clients of a gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Clients {
  /** Whether a request needs no key. */
  readonly open: boolean
  /** The client of a request on a connection; `undefined` if its key is missing or unknown. */
  readonly of: (headers: Headers, url: string, connection: object) => Client | undefined
  readonly all: ReadonlyArray<Client>
}

const minute = 60_000
const day = 86_400_000

/**
 * The client of a gateway without login.
 *
 * @internal
 */
export const anybody: ClientKey = {
  name: "anybody",
  hash: "",
  models: undefined,
  requestsPerMinute: undefined,
  tokensPerMinute: undefined,
  maxConcurrent: undefined,
  usdPerDay: undefined,
  labels: {}
}

/**
 * A client that has used nothing.
 *
 * @internal
 */
export const begin = (): State => ({ requests: undefined, tokens: undefined, running: 0, day: -1, spend: undefined })

const isLimited = ({ maxConcurrent, requestsPerMinute, tokensPerMinute, usdPerDay }: ClientKey): boolean =>
  (maxConcurrent ?? requestsPerMinute ?? tokensPerMinute ?? usdPerDay) !== undefined

/**
 * The clients of a configuration; the places of those with limits are in `shared`, if there is one. A client that was
 * there `before`, by its name, keeps what it has used.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (keys: ReadonlyArray<ClientKey>, before?: Clients, shared?: Seats): Clients => {
  const known = new Map(before?.all.map((client) => [client.key.name, client] as const))
  const kept = (key: ClientKey): Client => {
    const old = known.get(key.name)
    const labels = Labels.bounded({ client: key.name, ...key.labels })
    return { key, labels, state: old?.state ?? begin(), seats: isLimited(key) ? shared : undefined }
  }
  if (keys.length === 0) {
    const client = kept(anybody)
    return { open: true, of: () => client, all: [client] }
  }
  const all = keys.map(kept)
  /** A connection shows the same key again and again: it is hashed once. */
  const lastOn = new WeakMap<object, { readonly key: string; readonly client: Client }>()
  const byHash = new Map(all.map((client) => [client.key.hash, client] as const))
  return {
    open: false,
    all,
    of: (headers, url, connection) => {
      const key = shown(headers, url)
      if (key === undefined) return undefined
      const last = lastOn.get(connection)
      if (last?.key === key) return last.client
      const client = byHash.get(hashOf(key))
      if (client !== undefined) lastOn.set(connection, { key, client })
      return client
    }
  }
}

/**
 * Whether a client may ask a model.
 *
 * @since 0.2.0
 * @category predicates
 */
export const mayAsk = ({ key }: Client, model: string): boolean =>
  key.models === undefined || key.models.includes(model)

const perMinute = (limit: number): Gcra.Limit => ({ limit, windowMillis: minute, burst: Math.max(1, limit) })

const refusal = ({ key }: Pick<Client, "key">, what: string, wait: number): Refusal.Refusal =>
  Refusal.limited(`the limit of ${key.name} is reached: ${what}`, wait)

/**
 * Takes a place for a request of about so many tokens, or refuses it. A place that was taken is given back with
 * {@link leave}.
 *
 * @since 0.2.0
 * @category operations
 */
export const enter = (
  client: Pick<Client, "key" | "state">,
  tokens: number,
  now: number
): Refusal.Refusal | undefined => {
  const { key, state } = client
  const { maxConcurrent, requestsPerMinute, tokensPerMinute } = key
  if (maxConcurrent !== undefined && state.running >= maxConcurrent) {
    return refusal(client, `${maxConcurrent} requests at once`, 1000)
  }
  const requests = requestsPerMinute === undefined ? undefined : perMinute(requestsPerMinute)
  const amount = tokensPerMinute === undefined ? undefined : perMinute(tokensPerMinute)
  const before = requests && (state.requests ?? Gcra.full(requests, now))
  const held = amount && (state.tokens ?? Gcra.full(amount, now))
  if (requests !== undefined && before !== undefined) {
    const ready = Gcra.readyAt(requests, before, 1, now)
    if (ready > now) return refusal(client, `${requests.limit} requests a minute`, ready - now)
  }
  // A request above the whole limit is let through when the bucket is full, and leaves a debt.
  const cost = amount === undefined ? 0 : Math.min(tokens, amount.burst)
  if (amount !== undefined && held !== undefined) {
    const ready = Gcra.readyAt(amount, held, cost, now)
    if (ready > now) return refusal(client, `${amount.limit} tokens a minute`, ready - now)
  }
  if (requests !== undefined && before !== undefined) state.requests = Gcra.take(requests, before, 1, now)
  if (amount !== undefined && held !== undefined) state.tokens = Gcra.take(amount, held, tokens, now)
  state.running++
  return undefined
}

/**
 * Gives a place back.
 *
 * @since 0.2.0
 * @category operations
 */
export const leave = ({ state }: Pick<Client, "state">): void => {
  state.running--
}

/**
 * The account of a client for today, in UTC; `undefined` for one without a limit of money.
 *
 * @since 0.2.0
 * @category getters
 */
export const spendOf = ({ key, state }: Client, now: number): Effect.Effect<Spend.Scope | undefined> => {
  const { usdPerDay } = key
  if (usdPerDay === undefined) return Effect.succeed(undefined)
  const today = Math.floor(now / day)
  const open = state.day === today ? state.spend : undefined
  const { usd } = Account.toLimits({ usd: usdPerDay, tokens: undefined, attempts: undefined })
  if (open?.limits.usd === usd) return Effect.succeed(open)
  return Effect.map(Spend.open({ usd: usdPerDay }, { name: key.name }), (scope) => {
    // A reload changed the sum. The new account keeps today's spending; a running call counts with its largest cost.
    if (open !== undefined) {
      const { account } = open
      scope.account = Account.replace(account, account.held, { amount: account.held, priced: true })
    }
    state.day = today
    state.spend = scope
    return scope
  })
}
