import { HttpClient } from "@effect/platform"
import { Array as Arr, Cause, Effect, HashMap, Layer, Logger, LogLevel, Redacted } from "effect"
import { Call, type CallRecord, OpenAi } from "effect-steadfast"
import { FaultyProvider } from "effect-steadfast/testing"

/** One line of the log. */
export interface Line {
  readonly level: string
  readonly message: string
  readonly annotations: Readonly<Record<string, unknown>>
  readonly cause: string
}

/** A logger that keeps its lines. */
export const collectLogs = (minimum: LogLevel.LogLevel = LogLevel.Info) => {
  const lines: Array<Line> = []
  const logger = Logger.make(({ annotations, cause, logLevel, message }) => {
    lines.push({
      level: logLevel.label,
      message: Arr.ensure(message).map(String).join(" "),
      annotations: Object.fromEntries(HashMap.toEntries(annotations)),
      cause: Cause.isEmpty(cause) ? "" : Cause.pretty(cause)
    })
  })
  const layer = Layer.merge(Logger.add(logger), Logger.minimumLogLevel(minimum))
  const levels = () => lines.map((line) => line.level)
  return { lines, levels, layer }
}

/** An observer that keeps its records. */
export const collectRecords = () => {
  const records: Array<CallRecord.CallRecord> = []
  const layer = Call.observe((record) => Effect.sync(() => records.push(record)))
  return { records, layer }
}

/** Records and logs of whatever runs under the layer. */
export const collect = (minimum?: LogLevel.LogLevel) => {
  const logs = collectLogs(minimum)
  const observed = collectRecords()
  return { ...logs, records: observed.records, layer: Layer.merge(logs.layer, observed.layer) }
}

export const apiKey = "sk-proj-9fK2mQ7xTzL4wVb8NcR1"

/** A scripted provider, and the model that asks it. */
export const scripted = (options: FaultyProvider.Options = {}, more: Partial<OpenAi.Options> = {}) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make(options)
    const model = yield* Effect.provideService(
      OpenAi.make({ model: "gpt-4o-mini", apiKey: Redacted.make(apiKey), ...more }),
      HttpClient.HttpClient,
      provider.client
    )
    return { provider, model }
  })

/** The only one there is. */
export const only = <A>(all: ReadonlyArray<A>): A => {
  const [first] = all
  if (first === undefined || all.length !== 1) throw new Error(`expected one, found ${all.length}`)
  return first
}
