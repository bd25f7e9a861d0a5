/**
 * Runs every case over every client of the runtime it is started in, with the places of the servers as its argument, and
 * prints what the caller saw.
 */
import { argv } from "node:process"
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, Logger } from "effect"
import { Transport } from "effect-steadfast"
import { NodeTransport } from "effect-steadfast/node"
import * as Agent from "./Agent.js"
import { measure } from "./Cases.js"
import type { Measured } from "./Servers.js"

const clients = {
  fetch: Transport.layerFetch,
  undici: NodeTransport.layer,
  "node:http": NodeHttpClient.layer,
  "node:http with an agent": Agent.layer
}

const places = JSON.parse(argv[2] ?? "")
const all = Effect.forEach(
  Object.entries(clients),
  ([name, layer]) => Effect.map(Effect.provide(measure(places), layer), (words) => [name, words] as const),
  { concurrency: "unbounded" }
)
Effect.runPromise(Effect.provide(all, Logger.remove(Logger.defaultLogger))).then((words) => {
  const measured: Measured = Object.fromEntries(words)
  console.log(JSON.stringify(measured))
  process.exit(0)
})
