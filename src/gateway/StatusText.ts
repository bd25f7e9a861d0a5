/**
 * The state of a gateway for a terminal.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"

const optional = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(schema)

/** What of the state is shown; more may be there. */
const Status = Schema.Struct({
  since: Schema.String,
  uptimeSeconds: Schema.Number,
  running: Schema.Number,
  stopping: Schema.Boolean,
  residentBytes: Schema.Number,
  workers: optional(Schema.Array(Schema.Struct({ pid: Schema.Number, running: Schema.Number }))),
  models: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      targets: Schema.Array(Schema.String),
      readyInMillis: Schema.NullOr(Schema.Number)
    })
  ),
  clients: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      running: Schema.Number,
      usdToday: optional(Schema.Number),
      usdPerDay: optional(Schema.Number)
    })
  ),
  callLog: optional(Schema.Struct({ written: Schema.Number, lost: Schema.Number })),
  live: Schema.Struct({
    circuits: optional(
      Schema.Array(Schema.Struct({ key: Schema.String, state: Schema.String, reason: optional(Schema.String) }))
    ),
    queues: optional(
      Schema.Array(Schema.Struct({ key: Schema.String, waiting: Schema.Number, inFlight: Schema.Number }))
    )
  })
})

const isStatus = Schema.is(Status)

const span = (seconds: number): string => {
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return `${Math.round(seconds / 360) / 10} h`
}

const money = (usd: number): string => `$${usd.toFixed(2)}`

/**
 * The text of a state, as `/status` tells it.
 *
 * @since 0.2.0
 * @category formatting
 */
export const text = (status: unknown): string => {
  if (!isStatus(status)) return JSON.stringify(status, undefined, 2)
  const { callLog, clients, live, models, residentBytes, running, stopping, uptimeSeconds, workers = [] } = status
  const head = `up ${span(uptimeSeconds)}, ${running} requests run, ${Math.round(residentBytes / 1e6)} MB`
  const { circuits = [], queues = [] } = live
  return [
    stopping ? `${head}, stopping` : head,
    ...workers.map(({ pid, running }) => `worker ${pid}: ${running} run`),
    "",
    ...models.map(({ name, readyInMillis, targets }) => {
      const wait = readyInMillis === null || readyInMillis > 0
      const ready = !wait ? "ready" : readyInMillis === null ? "shut" : `ready in ${Math.ceil(readyInMillis / 1000)} s`
      return `${name}: ${ready} (${targets.join(", ")})`
    }),
    ...circuits
      .filter(({ state }) => state !== "Closed")
      .map(({ key, reason, state }) => `circuit ${key}: ${state}${reason === undefined ? "" : `, ${reason}`}`),
    ...queues
      .filter(({ inFlight, waiting }) => waiting + inFlight > 0)
      .map(({ inFlight, key, waiting }) => `queue ${key}: ${inFlight} run, ${waiting} wait`),
    "",
    ...clients.map(({ name, running, usdPerDay, usdToday }) =>
      [
        `client ${name}: ${running} run`,
        usdPerDay === undefined ? "" : `, ${money(usdToday ?? 0)} of ${money(usdPerDay)} today`
      ].join("")
    ),
    callLog === undefined ? "no call log" : `call log: ${callLog.written} written, ${callLog.lost} lost`
  ].join("\n")
}
