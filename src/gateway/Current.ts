/**
 * What a gateway serves by at the moment: one configuration, and what was built of it. A reload makes the next one;
 * requests that run keep theirs.
 *
 * @since 0.2.0
 */

import type * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import * as ClientKeys from "./ClientKeys.js"
import type { Config } from "./config/Resolved.js"
import * as ModelTable from "./ModelTable.js"
import type { Policies } from "./Policies.js"
import type { Seats } from "./Shared.js"

/**
 * A configuration at work.
 *
 * @since 0.2.0
 * @category models
 */
export interface Current {
  readonly config: Config
  readonly clients: ClientKeys.Clients
  readonly table: ModelTable.ModelTable
  /** When it came into force, in epoch milliseconds. */
  readonly since: number
}

/**
 * Builds what a configuration says. Clients keep what they have used `before`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  config: Config,
  policies: Policies,
  before?: Current,
  seats?: Seats
): Effect.Effect<Current, ConfigError.ConfigError, HttpClient.HttpClient> =>
  Effect.map(ModelTable.make(config, policies), (table) => ({
    config,
    table,
    clients: ClientKeys.make(config.keys, before?.clients, seats),
    since: Date.now()
  }))

/**
 * The names that a client may ask, aliases included.
 *
 * @since 0.2.0
 * @category getters
 */
export const namesFor = ({ table }: Current, client: ClientKeys.Client): ReadonlyArray<string> =>
  table.all.flatMap(({ config }) => (ClientKeys.mayAsk(client, config.name) ? [config.name, ...config.aliases] : []))

/**
 * The model of a name that a client may ask. Gemini's clients put `models/` before it.
 *
 * @since 0.2.0
 * @category getters
 */
export const entryOf = ({ table }: Current, name: string): ModelTable.Entry | undefined =>
  table.get(name) ?? (name.startsWith("models/") ? table.get(name.slice("models/".length)) : undefined)
