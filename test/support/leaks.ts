import { inspect } from "node:util"
import { Cause, Effect, Exit, Layer, Logger, LogLevel, Schema } from "effect"
import { Call, CallRecord, type LlmError } from "effect-steadfast"
import { apiKey, collectRecords } from "./evidence.js"
import { collectSpans } from "./spans.js"
import { under } from "./time.js"

/** A key as it is, and as it may have been written on the way. */
const formsOf = (key: string) => {
  const percent = encodeURIComponent(key)
  const lower = percent.replace(/%../g, (code) => code.toLowerCase())
  return [key, percent, lower, lower.replaceAll("%20", "+"), Buffer.from(key).toString("base64"), key.slice(4)]
}

const deep = { depth: 9, maxStringLength: null }

/** Every place where evidence of a call can be read, as text. */
export const evidenceOf = (program: Effect.Effect<unknown, LlmError.LlmError>) =>
  Effect.gen(function* () {
    const found: Array<readonly [where: string, text: string]> = []
    const keep = (where: string, text: unknown) => found.push([where, String(text)])
    const shown = (where: string) => (line: unknown) =>
      keep(where, typeof line === "string" ? line : inspect(line, deep))
    const print = console.log
    console.log = (...parts: ReadonlyArray<unknown>) =>
      keep("pretty log", parts.map((part) => inspect(part, deep)).join(" "))
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        console.log = print
      })
    )
    const { layer: observed, records } = collectRecords()
    const { layer: tracer, spans } = collectSpans()
    const layers = Layer.mergeAll(
      Logger.add(Logger.prettyLogger({ colors: false, mode: "tty" })),
      Logger.add(Logger.map(Logger.jsonLogger, shown("JSON log"))),
      Logger.add(Logger.map(Logger.logfmtLogger, shown("logfmt log"))),
      Logger.add(Logger.map(Logger.stringLogger, shown("string log"))),
      Logger.add(Logger.map(Logger.structuredLogger, shown("structured log"))),
      Logger.minimumLogLevel(LogLevel.All),
      observed,
      tracer
    )
    const { exit } = yield* under(Effect.provide(Call.make("greeting")(program), layers))
    for (const span of spans()) {
      keep("span", inspect({ ...span, resource: undefined }, { depth: 9, maxStringLength: null }))
      for (const event of span.events) keep("span event", JSON.stringify(event))
      keep("span attributes", JSON.stringify(span.attributes))
      keep("span status", JSON.stringify(span.status))
    }
    for (const record of records) {
      keep("record", JSON.stringify(record))
      keep("record, encoded", JSON.stringify(Schema.encodeSync(CallRecord.CallRecord)(record)))
      keep("record, inspected", inspect(record, { depth: 9, maxStringLength: null }))
    }
    if (Exit.isFailure(exit)) {
      keep("cause", Cause.pretty(exit.cause, { renderErrorCause: true }))
      keep("exit", JSON.stringify(exit))
      for (const error of Cause.failures(exit.cause)) {
        keep("error", String(error))
        keep("error, JSON", JSON.stringify(error))
        keep("error, inspected", inspect(error, { depth: 9, showHidden: true, maxStringLength: null }))
        keep("error, stack", error.stack)
      }
    }
    return { found, exit, spans: spans().length, records: records.length }
  }).pipe(Effect.scoped)

/** What leaked, with the words before it; each leak once, however many places repeat it. */
export const leaksOf = (found: ReadonlyArray<readonly [string, string]>, key: string = apiKey): ReadonlyArray<string> =>
  Array.from(
    new Map(
      found.flatMap(([where, text]) => {
        const at = formsOf(key)
          .map((form) => text.indexOf(form))
          .find((at) => at !== -1)
        if (at === undefined) return []
        const before = text.slice(Math.max(0, at - 40), at).replace(/\W+/g, " ")
        return [[before, `${where}: ${before}`] as const]
      })
    ).values()
  )
