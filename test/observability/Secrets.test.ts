import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as HttpApp from "@effect/platform/HttpApp"
import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Layer, LogLevel, Option } from "effect"
import { Call, Chat } from "effect-steadfast"
import { CallLog, CallReport, Dashboard, Telemetry } from "effect-steadfast/observability"
import { Fault, Reply } from "effect-steadfast/testing"
import { afterAll, assert, describe, it } from "vitest"
import { tables } from "../../src/observability/CallLogSchema.js"
import * as ReportText from "../../src/observability/ReportText.js"
import { apiKey, collect, scripted } from "../support/evidence.js"
import { backends, clientOf, noServer } from "./databases.js"

const folder = mkdtempSync(join(tmpdir(), "steadfast-secrets-"))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const prompt = "the prompt about marzipan"
const answer = "the answer about nougat"
const model = "secrets-model"

/** Calls that fail and succeed, at a provider that repeats the key. The evidence of the calls themselves. */
const calls = (client: Layer.Layer<SqlClient.SqlClient, unknown>) =>
  Effect.gen(function* () {
    const kept = collect(LogLevel.All)
    const log = CallLog.layerFrom(client)
    yield* Effect.gen(function* () {
      const asked = yield* scripted(
        { script: [Fault.unauthorized({ message: `no such key: ${apiKey}` }), Reply.text(answer)] },
        { model }
      )
      const ask = asked.model.generate(Chat.prompt(prompt)).pipe(Call.withLabels({ tenant: "acme" }))
      assert.strictEqual((yield* Effect.either(ask))._tag, "Left")
      assert.include(JSON.stringify(yield* ask), answer)
      yield* Effect.flatMap(CallLog.CallLog, (log) => log.flush)
    }).pipe(
      Effect.provide(Layer.mergeAll(log, Telemetry.layerMetrics({ labels: ["tenant"] }))),
      Effect.provide(kept.layer)
    )
    return kept
  })

/** All that can be read of a call log, by its place. */
const places = (ids: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const found: Record<string, string> = {}
    for (const { name } of Object.values(tables))
      found[name] = JSON.stringify(yield* sql.unsafe(`select * from ${name}`))
    const handler = HttpApp.toWebHandlerRuntime(yield* Effect.runtime<SqlClient.SqlClient>())(Dashboard.routes)
    for (const path of ["", "api/overview?range=1h", "api/calls", ...ids.map((id) => `api/calls/${id}`)]) {
      const response = yield* Effect.promise(() => handler(new Request(`http://test/${path}`)))
      assert.strictEqual(response.status, 200, path)
      found[`/${path}`] = yield* Effect.promise(() => response.text())
    }
    for (const by of ["target", "error", "label:tenant"] as const) {
      const report = yield* CallReport.report({ by })
      found[`report by ${by}`] = ReportText.reportText(report, by)
      found[`CSV by ${by}`] = ReportText.csvOf(report.rows.map(ReportText.flatOf), ReportText.flatColumns)
    }
    const list = yield* CallReport.calls({})
    found["list of calls"] = ReportText.callsText(list) + JSON.stringify(list)
    for (const id of ids) {
      const record = Option.getOrThrow(yield* CallReport.timeline(id))
      found[`call ${id}`] = ReportText.timelineText(record) + JSON.stringify(record)
    }
    found.metrics = yield* Telemetry.prometheus
    return found
  })

describe("a key, a prompt and an answer are in none of the places where calls are seen", () => {
  for (const { name, start } of backends) {
    it(name, async (context) => {
      const backend = start()
      if (backend === undefined) return context.skip(noServer)
      try {
        // A file of its own, whose bytes are read.
        const url = name === "libSQL" ? join(folder, "calls.db") : backend.make().url
        const client = clientOf(url)
        const { lines, records } = await Effect.runPromise(calls(client))
        assert.strictEqual(records.length, 2)
        const found: Record<string, string> = {
          ...(await Effect.runPromise(Effect.provide(places(records.map(({ id }) => id)), client))),
          records: JSON.stringify(records),
          log: JSON.stringify(lines)
        }
        if (name === "libSQL") {
          for (const file of readdirSync(folder)) found[file] = readFileSync(join(folder, file), "latin1")
          // Its rows may still be in the write-ahead log.
          assert.include(`${found["calls.db"]}${found["calls.db-wal"] ?? ""}`, model)
        }
        for (const place of ["steadfast_attempts", "api/calls", "report by target", "metrics"]) {
          const text = found[place] ?? found[`/${place}`] ?? ""
          assert.include(text, model, `${place} tells of the calls`)
        }
        for (const [place, text] of Object.entries(found)) {
          for (const secret of [apiKey, apiKey.slice(8), "marzipan", "nougat", "authorization"]) {
            assert.isFalse(text.toLowerCase().includes(secret.toLowerCase()), `${secret} is in ${place}`)
          }
        }
      } finally {
        backend.stop()
      }
    })
  }
})
