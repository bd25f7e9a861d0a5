import * as SqlClient from "@effect/sql/SqlClient"
import { Deferred, Duration, Effect, FastCheck as fc, Layer, Option } from "effect"
import { Call, type CallRecord, LlmError } from "effect-steadfast"
import { CallLog, CallReport } from "effect-steadfast/observability"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { deleteBefore, write } from "../../src/observability/CallLogWriter.js"
import { cases, seed } from "../support/cases.js"
import { errorOf } from "../support/errors.js"
import { collectLogs } from "../support/evidence.js"
import { type Backend, backends, type Database, noServer } from "./databases.js"
import { chance, scriptedDay } from "./scriptedDay.js"
import { byHandoff, truthOf } from "./truth.js"

/** Tells records to the observers, as ending calls do. */
const tell = (records: ReadonlyArray<CallRecord.CallRecord>) =>
  Effect.flatMap(Call.Observers, (observers) =>
    Effect.forEach(records, (record) => Effect.forEach(observers, (observer) => observer(record)), { discard: true })
  )

const flush = Effect.flatMap(CallLog.CallLog, (log) => log.flush)
const stats = Effect.flatMap(CallLog.CallLog, (log) => log.stats)

const recordsOf = (count: number, from = 1) => scriptedDay(count, from).map(({ record }) => record)

/** A record in which every field has a value. */
const whole: CallRecord.CallRecord = {
  id: "call-whole",
  name: "support answer",
  operation: "chat",
  labels: { tenant: "acme", "user id": "ünï ✓" },
  startedAt: Date.UTC(2026, 10, 30, 12),
  durationMillis: 3100.5,
  outcome: "failure",
  error: new LlmError.Timeout({
    ...{ provider: "openai", model: "gpt-4o", message: "too slow", delivery: "unknown", phase: "total" },
    cause: { name: "TypeError", message: "fetch failed", code: "ECONNRESET" }
  }),
  attempts: [
    {
      ...{ index: 1, provider: "openai", model: "gpt-4o", key: "k1a2", startedAt: Date.UTC(2026, 10, 30, 12, 0, 1) },
      ...{ durationMillis: 812.25, outcome: "failure", status: 429, requestId: "req_1" },
      error: new LlmError.RateLimited({
        ...{ provider: "openai", model: "gpt-4o", message: "slow down", status: 429, code: "rate_limit_exceeded" },
        ...{ requestId: "req_1", hint: Duration.millis(1500), delivery: "rejected", scope: "tokens" },
        ...{ retryable: true, fallbackable: false }
      }),
      limits: {
        requests: { limit: 500, remaining: 0, resetMillis: 120, windowMillis: 60_000 },
        tokens: { limit: 30_000 },
        inputTokens: { remaining: 3 },
        outputTokens: { resetMillis: 0 }
      },
      queuedMillis: 12.5,
      hedge: false
    },
    {
      ...{ index: 2, provider: "anthropic", model: "claude-haiku-4-5", startedAt: Date.UTC(2026, 10, 30, 12, 0, 2) },
      ...{ durationMillis: 0, outcome: "interrupted", responseId: "msg_1", responseModel: "claude-haiku-4-5-20251001" },
      usage: {
        ...{ inputTokens: 1_000_000_000, outputTokens: 7, cachedInputTokens: 5, cacheWriteTokens: 4 },
        ...{ cacheWriteHourTokens: 3, reasoningTokens: 2 }
      },
      usd: 0.000123,
      retry: { delayMillis: 512, reason: "backing off" },
      fallback: { from: "openai/gpt-4o", reason: "RateLimited" },
      ...{ hedge: true, stream: true, firstTokenMillis: 201.5, finishReason: "stop" }
    }
  ]
}

/** A database that is away until it is let in. */
const later = (database: Database) => {
  const open = Effect.runSync(Deferred.make<void>())
  let tries = 0
  const gate = Effect.suspend(() => {
    tries++
    return Effect.flatMap(Deferred.isDone(open), (done) => (done ? Effect.void : Effect.fail("ECONNREFUSED")))
  })
  return {
    client: Layer.unwrapEffect(Effect.as(gate, database.client)),
    open: Deferred.succeed(open, undefined),
    tries: () => tries
  }
}

for (const { name, start } of backends) {
  describe(`the call log in ${name}`, () => {
    let backend: Backend | undefined

    beforeAll(() => {
      backend = start()
    })
    afterAll(() => backend?.stop())

    /** A test with a database of its own; skipped where there is none. */
    const check = (title: string, body: (database: Database) => Effect.Effect<void, unknown>) =>
      it(title, async (context) => {
        if (backend === undefined) return context.skip(noServer)
        await Effect.runPromise(body(backend.make()))
      })

    const reading = <A, E>(database: Database, self: Effect.Effect<A, E, SqlClient.SqlClient>) =>
      Effect.provide(self, database.client)

    const count = (database: Database, table: string) =>
      reading(
        database,
        Effect.flatMap(SqlClient.SqlClient, (sql) =>
          Effect.map(sql.unsafe<{ readonly n: unknown }>(`select count(*) as n from ${table}`), ([row]) =>
            Number(row?.n)
          )
        )
      )

    check("gives every field of a record back", (database) =>
      Effect.gen(function* () {
        yield* Effect.provide(Effect.zipRight(tell([whole]), flush), CallLog.layerFrom(database.client))
        const found = yield* reading(database, CallReport.timeline("call-whole"))
        assert.deepStrictEqual(Option.getOrThrow(found), whole)
        assert.isTrue(Option.isNone(yield* reading(database, CallReport.timeline("another"))))
      })
    )

    check("gives every scripted record back", (database) =>
      Effect.gen(function* () {
        const records = recordsOf(200)
        yield* Effect.provide(Effect.zipRight(tell(records), flush), CallLog.layerFrom(database.client))
        const found = yield* reading(
          database,
          Effect.forEach(records, ({ id }) => CallReport.timeline(id))
        )
        assert.deepStrictEqual(found.map(Option.getOrThrow), records)
      })
    )

    check("takes text that a database refuses", (database) =>
      Effect.gen(function* () {
        const strange = { ...whole, id: "strange", name: "nul \0 half \ud800 end", labels: { "\0": "\udfff" } }
        const endless = { ...whole, id: "endless", durationMillis: Number.NaN, attempts: [] }
        const long = { ...whole, id: "long", name: "n".repeat(1_000_000), attempts: [] }
        const layer = CallLog.layerFrom(database.client)
        const after = yield* Effect.provide(
          tell([strange, endless, long, whole]).pipe(Effect.zipRight(flush), Effect.zipRight(stats)),
          layer
        )
        assert.deepStrictEqual(after, { written: 4, waiting: 0, lost: 0 })
        const found = yield* reading(database, CallReport.calls({ id: "strange" }))
        assert.strictEqual(found[0]?.name, "nul \ufffd half \ufffd end")
      })
    )

    check("writes a record that comes twice once", (database) =>
      Effect.gen(function* () {
        const records = recordsOf(300)
        const layer = CallLog.layerFrom(database.client, { batchSize: 70 })
        yield* Effect.provide(Effect.zipRight(tell([...records, ...records]), flush), layer)
        const again = yield* Effect.provide(tell(records).pipe(Effect.zipRight(flush), Effect.zipRight(stats)), layer)
        assert.deepStrictEqual(again, { written: 300, waiting: 0, lost: 0 })
        assert.strictEqual(yield* count(database, "steadfast_calls"), 300)
        const attempts = records.reduce((sum, { attempts }) => sum + attempts.length, 0)
        assert.strictEqual(yield* count(database, "steadfast_attempts"), attempts)
      })
    )

    check("reports a scripted day as it was", (database) =>
      Effect.gen(function* () {
        const day = scriptedDay(2000, seed, 2)
        yield* Effect.provide(
          Effect.zipRight(tell(day.map(({ record }) => record)), flush),
          CallLog.layerFrom(database.client)
        )
        const facts = day.map(({ facts }) => facts)
        const [all] = truthOf("all", facts)
        for (const by of ["provider", "model", "target", "day", "error", "all", "label:tenant"] as const) {
          const { lost, rows, total } = yield* reading(database, CallReport.report({ by }))
          const found = rows
            .map((row) => ({ ...row, handoffs: [...row.handoffs].sort(byHandoff) }))
            .sort((a, b) => (a.group < b.group ? -1 : 1))
          assert.deepStrictEqual(found, truthOf(by, facts), by)
          assert.deepStrictEqual(total && { ...total, handoffs: [...total.handoffs].sort(byHandoff) }, all, by)
          assert.deepStrictEqual(lost, { records: 0, overflow: 0, refused: 0 })
        }
        const filtered = yield* reading(
          database,
          CallReport.report({
            by: "model",
            since: Date.UTC(2026, 10, 29),
            until: Date.UTC(2026, 10, 30),
            filters: { provider: "openai", labels: { tenant: "tenant-2" }, name: "chat assistant", operation: "chat" }
          })
        )
        const meant = facts.filter(
          ({ asked, day, tenant }) => asked.provider === "openai" && day === "2026-11-29" && tenant === "tenant-2"
        )
        assert.isAbove(meant.length, 10)
        assert.deepStrictEqual(
          filtered.rows.map(({ calls, group }) => [group, calls]).sort(),
          truthOf("model", meant).map(({ calls, group }) => [group, calls])
        )
      })
    )

    check("has no total where no call is", (database) =>
      Effect.gen(function* () {
        yield* reading(database, CallLog.migrate)
        const { rows, total } = yield* reading(database, CallReport.report({ by: "all" }))
        assert.deepStrictEqual([rows, total], [[], undefined])
      })
    )

    check("has exact percentiles of waits of any length", (database) =>
      Effect.gen(function* () {
        const random = chance(seed)
        const edges = [0.1, 9.95, 99.99, 100, 100.5, 59_999.9, 60_000, 60_999, 3_600_000, 1e9]
        const waitOf = (): number => {
          const kind = random()
          if (kind < 0.3) return 0
          if (kind < 0.5) return edges[Math.floor(random() * edges.length)] ?? 0
          return 10 ** (random() * 8 - 2)
        }
        const facts = Array.from({ length: 900 }, (_, index) => {
          const group = `model-${Math.floor(random() ** 3 * 12)}`
          return { group, wait: waitOf(), id: `${index}` }
        })
        const [one] = whole.attempts
        if (one === undefined) return assert.fail("it has an attempt")
        const records = facts.map(({ group, id, wait }) => ({
          ...whole,
          id,
          attempts: [{ ...one, model: group, queuedMillis: wait }]
        }))
        yield* reading(database, Effect.zipRight(CallLog.migrate, write(records)))
        const { rows, total } = yield* reading(database, CallReport.report({ by: "model" }))
        const percentile = (waits: ReadonlyArray<number>, percent: number): number =>
          [...waits].sort((a, b) => a - b)[Math.ceil((waits.length * percent) / 100) - 1] ?? Number.NaN
        const truth = (waits: ReadonlyArray<number>): CallReport.Percentiles => ({
          p50: percentile(waits, 50),
          p95: percentile(waits, 95),
          p99: percentile(waits, 99)
        })
        for (const row of rows) {
          const waits = facts.filter(({ group }) => group === row.group).map(({ wait }) => wait)
          assert.deepStrictEqual(row.queueMillis, truth(waits), row.group)
        }
        assert.deepStrictEqual(total?.queueMillis, truth(facts.map(({ wait }) => wait)))
        assert.strictEqual(rows.length, new Set(facts.map(({ group }) => group)).size)
      })
    )

    check("brings a log of the first version up to date, and does so after any step", (database) =>
      Effect.gen(function* () {
        const day = scriptedDay(400, seed, 2)
        const facts = day.map(({ facts }) => facts)
        const records = day.map(({ record }) => record)
        const steps = [
          ["alter table steadfast_calls drop column label_set", "drop table steadfast_label_sets"],
          ["delete from steadfast_label_sets"],
          ["update steadfast_calls set label_set = null where provider = 'openai'"]
        ]
        for (const lost of steps) {
          const one = reading(
            database,
            Effect.gen(function* () {
              const sql = yield* SqlClient.SqlClient
              yield* CallLog.migrate
              yield* write(records)
              // What the second version made, and what the first one had instead.
              for (const made of ["calls_reported", "calls_backoff", "calls_queue", "calls_handed"]) {
                yield* sql.unsafe(`drop index if exists steadfast_${made}`)
              }
              yield* sql.unsafe("drop index if exists steadfast_attempts_handoffs")
              yield* sql.unsafe("create index if not exists steadfast_calls_report on steadfast_calls (day, provider)")
              for (const statement of lost) yield* sql.unsafe(statement)
              yield* sql.unsafe("delete from steadfast_schema where version > 1")
              if (lost[0]?.startsWith("delete")) yield* sql.unsafe("update steadfast_calls set label_set = null")
              yield* CallLog.migrate
              const report = yield* CallReport.report({ by: "label:tenant" })
              const filters = { labels: { tenant: "tenant-1" } }
              return { ...report, some: yield* CallReport.report({ by: "all", filters }) }
            })
          )
          const { rows, some } = yield* one
          const found = rows
            .map((row) => ({ ...row, handoffs: [...row.handoffs].sort(byHandoff) }))
            .sort((a, b) => (a.group < b.group ? -1 : 1))
          assert.deepStrictEqual(found, truthOf("label:tenant", facts), lost[0])
          assert.strictEqual(some.total?.calls, facts.filter(({ tenant }) => tenant === "tenant-1").length)
        }
      })
    )

    check("keeps a set of labels once, and deletes it after its day", (database) =>
      Effect.gen(function* () {
        const labels = { tenant: "acme", feature: "search" }
        const turned = { feature: "search", tenant: "acme" }
        const days = [0, 86_400_000]
        const records = days.flatMap((at) =>
          [labels, turned, { tenant: "acme" }].map((labels, index) => ({
            ...{ ...whole, id: `${at}-${index}`, labels, startedAt: whole.startedAt + at }
          }))
        )
        yield* reading(database, Effect.zipRight(CallLog.migrate, write(records)))
        assert.strictEqual(yield* count(database, "steadfast_label_sets"), 2 * 3)
        yield* reading(database, deleteBefore(whole.startedAt + 43_200_000))
        assert.strictEqual(yield* count(database, "steadfast_label_sets"), 3)
        const { rows } = yield* reading(database, CallReport.report({ by: "label:feature" }))
        assert.deepStrictEqual(
          rows.map(({ calls, group }) => [group, calls]),
          [
            ["search", 2],
            ["none", 1]
          ]
        )
      })
    )

    check("reports the same for batches of any size", (database) =>
      Effect.gen(function* () {
        const day = scriptedDay(120, seed)
        const truth = truthOf(
          "target",
          day.map(({ facts }) => facts)
        )
        const records = day.map(({ record }) => record)
        yield* reading(
          database,
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* CallLog.migrate
            yield* Effect.promise(() =>
              fc.assert(
                fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), async (sizes) => {
                  const all = Effect.gen(function* () {
                    for (const table of ["calls", "attempts", "labels"])
                      yield* sql.unsafe(`delete from steadfast_${table}`)
                    let from = 0
                    for (let n = 0; from < records.length; n++) {
                      const size = sizes[n % sizes.length] ?? 1
                      yield* write(records.slice(from, from + size))
                      from += size
                    }
                    return yield* CallReport.report({ by: "target" })
                  })
                  const { rows } = await Effect.runPromise(Effect.provideService(all, SqlClient.SqlClient, sql))
                  const found = [...rows].sort((a, b) => (a.group < b.group ? -1 : 1))
                  assert.deepStrictEqual(
                    found.map((row) => ({ ...row, handoffs: [...row.handoffs].sort(byHandoff) })),
                    truth
                  )
                }),
                { numRuns: cases(100, 10), seed }
              )
            )
          })
        )
      })
    )

    check("two that start at once both make the tables", (database) =>
      Effect.gen(function* () {
        const logs = recordsOf(6).map((record) =>
          Effect.provide(Effect.zipRight(tell([record]), flush), CallLog.layerFrom(database.client))
        )
        const lines = collectLogs()
        yield* Effect.provide(Effect.all(logs, { concurrency: "unbounded", discard: true }), lines.layer)
        assert.strictEqual(yield* count(database, "steadfast_calls"), 6)
        assert.strictEqual(yield* count(database, "steadfast_schema"), 2)
      })
    )

    check("a database that is away at the start gets everything later", (database) =>
      Effect.gen(function* () {
        const lines = collectLogs()
        const away = later(database)
        const records = recordsOf(50)
        yield* Effect.gen(function* () {
          yield* tell(records.slice(0, 30))
          yield* Effect.repeat(Effect.sleep("20 millis"), { until: () => away.tries() > 2 })
          assert.deepStrictEqual(yield* stats, { written: 0, waiting: 30, lost: 0 })
          yield* away.open
          yield* tell(records.slice(30))
          yield* flush
          assert.deepStrictEqual(yield* stats, { written: 50, waiting: 0, lost: 0 })
        }).pipe(Effect.provide(CallLog.layerFrom(away.client)), Effect.provide(lines.layer))
        assert.strictEqual(yield* count(database, "steadfast_calls"), 50)
        assert.deepStrictEqual(
          lines.lines.map(({ level, message }) => `${level} ${message}`),
          [`WARN call log cannot write: ${lines.lines[0]?.message.split(": ")[1]}: ECONNREFUSED`]
        )
      })
    )

    check("what does not fit is counted exactly, told once, and noted", (database) =>
      Effect.gen(function* () {
        const lines = collectLogs()
        const away = later(database)
        const records = recordsOf(100).map((record, index) => ({ ...record, startedAt: 1000 + index }))
        yield* Effect.gen(function* () {
          yield* tell(records)
          assert.deepStrictEqual(yield* stats, { written: 0, waiting: 40, lost: 60 })
          yield* away.open
          yield* flush
        }).pipe(
          Effect.provide(CallLog.layerFrom(away.client, { maxBuffered: 40, keep: Infinity })),
          Effect.provide(lines.layer)
        )
        const { lost, rows } = yield* reading(database, CallReport.report({ by: "day" }))
        assert.deepStrictEqual(lost, { records: 60, overflow: 60, refused: 0 })
        assert.strictEqual(rows[0]?.calls, 40)
        const before = yield* reading(database, CallReport.report({ by: "day", until: 1040 }))
        assert.strictEqual(before.lost.records, 0, "the lost ones came later")
        const full = lines.lines.filter(({ message }) => message.includes("is full"))
        assert.strictEqual(full.length, 1)
        assert.match(lines.lines.at(-1)?.message ?? "", /60 records were lost/)
      })
    )

    check("a record that the database refuses is counted, and holds up no other", (database) =>
      Effect.gen(function* () {
        const records = recordsOf(20)
        const lines = collectLogs()
        const refusing = name === "libSQL" ? "check (name <> 'bad')" : "check (name <> 'bad')"
        yield* reading(
          database,
          Effect.gen(function* () {
            const sql = yield* SqlClient.SqlClient
            yield* sql.unsafe(
              `create table steadfast_labels (call_id text, name text ${refusing}, value text, primary key (call_id, name))`
            )
          })
        )
        const bad = { ...whole, id: "bad", labels: { bad: "yes" } }
        const after = yield* Effect.provide(
          tell([...records.slice(0, 7), bad, ...records.slice(7)]).pipe(Effect.zipRight(flush), Effect.zipRight(stats)),
          Layer.provideMerge(CallLog.layerFrom(database.client), lines.layer)
        )
        assert.deepStrictEqual(after, { written: 20, waiting: 0, lost: 1 })
        assert.strictEqual(yield* count(database, "steadfast_calls"), 20)
        const { lost } = yield* reading(database, CallReport.report({ by: "day" }))
        assert.deepStrictEqual(lost, { records: 1, overflow: 0, refused: 1 })
      })
    )

    check("the close writes what waits", (database) =>
      Effect.gen(function* () {
        const records = recordsOf(450)
        yield* Effect.provide(tell(records), CallLog.layerFrom(database.client, { flushEvery: "1 hour" }))
        assert.strictEqual(yield* count(database, "steadfast_calls"), 450)
      })
    )

    check("the close takes its time at the most, and tells what is left", (database) =>
      Effect.gen(function* () {
        const lines = collectLogs()
        const layer = CallLog.layerFrom(later(database).client, { closeWithin: "200 millis" })
        const [took] = yield* Effect.timed(tell(recordsOf(9)).pipe(Effect.provide(layer), Effect.provide(lines.layer)))
        assert.isBelow(Duration.toMillis(took), 5000)
        assert.match(lines.lines.at(-1)?.message ?? "", /closed: 9 records were not written/)
      })
    )

    check("deletes what is too old, with all that belongs to it", (database) =>
      Effect.gen(function* () {
        const now = Date.now()
        const records = recordsOf(1300).map((record, index) => ({
          ...record,
          startedAt: now - (index < 1200 ? 3_600_000 : 1000)
        }))
        const ids = new Set(records.slice(1200).map(({ id }) => id))
        yield* Effect.gen(function* () {
          yield* tell(records)
          yield* flush
          const log = yield* CallLog.CallLog
          yield* log.feedback({ call: records[0]?.id ?? "", name: "thumbs", score: 1 })
          yield* log.feedback({ call: records[1299]?.id ?? "", name: "thumbs", score: 1 })
        }).pipe(Effect.provide(CallLog.layerFrom(database.client)))
        yield* Effect.repeat(
          Effect.zipRight(
            Effect.sleep("50 millis"),
            Effect.orElseSucceed(count(database, "steadfast_calls"), () => -1)
          ),
          { until: (calls) => calls === 100 }
        ).pipe(Effect.provide(CallLog.layerFrom(database.client, { keep: "30 minutes" })))
        const attempts = records.filter(({ id }) => ids.has(id)).reduce((sum, one) => sum + one.attempts.length, 0)
        assert.strictEqual(yield* count(database, "steadfast_attempts"), attempts)
        assert.strictEqual(yield* count(database, "steadfast_feedback"), 1)
        const labels = records.filter(({ id, labels }) => ids.has(id) && labels !== undefined).length * 2
        assert.strictEqual(yield* count(database, "steadfast_labels"), labels)
      })
    )

    check("stands beside other observers, in any order, and hides none", (database) =>
      Effect.gen(function* () {
        for (const [index, logFirst] of [true, false].entries()) {
          const seen: Array<string> = []
          const other = Call.observe(({ id }) => Effect.sync(() => seen.push(id)))
          const log = CallLog.layerFrom(database.client)
          const layer = logFirst ? Layer.mergeAll(log, other) : Layer.mergeAll(other, log)
          yield* Effect.zipRight(tell(recordsOf(1)), flush).pipe(Effect.provide(layer))
          assert.strictEqual(seen.length, 1, `order ${index}`)
        }
        assert.strictEqual(yield* count(database, "steadfast_calls"), 1)
      })
    )

    check("a later score on the same scale replaces the earlier one", (database) =>
      Effect.gen(function* () {
        yield* Effect.gen(function* () {
          yield* tell([whole])
          const log = yield* CallLog.CallLog
          yield* log.flush
          yield* log.feedback({ call: whole.id, name: "thumbs", score: 0 })
          yield* log.feedback({ call: whole.id, name: "thumbs", score: 1 })
          yield* log.feedback({ call: whole.id, name: "judge", score: 0.25 })
        }).pipe(Effect.provide(CallLog.layerFrom(database.client)))
        const { rows } = yield* reading(database, CallReport.report({ by: "target" }))
        assert.deepStrictEqual(rows[0]?.feedback, [
          { name: "judge", count: 1, mean: 0.25 },
          { name: "thumbs", count: 1, mean: 1 }
        ])
      })
    )

    check("lists calls with their chains", (database) =>
      Effect.gen(function* () {
        const limited = errorOf("RateLimited", { status: 429 })
        const gpt = { provider: "openai", model: "gpt", startedAt: 1, durationMillis: 5 }
        const claude = { provider: "anthropic", model: "claude", startedAt: 1, durationMillis: 5 }
        const failed = { ...gpt, outcome: "failure", error: limited, status: 429 } as const
        const call = { name: "chat", durationMillis: 3100, labels: undefined, operation: undefined, error: undefined }
        const records: ReadonlyArray<CallRecord.CallRecord> = [
          {
            ...{ ...call, id: "recovered", startedAt: 4, outcome: "success" },
            attempts: [
              { ...failed, index: 1 },
              { ...failed, index: 2 },
              { ...claude, index: 3, outcome: "success" }
            ]
          },
          {
            ...{ ...call, id: "hedged", startedAt: 3, outcome: "success" },
            attempts: [
              { ...gpt, index: 1, outcome: "interrupted" },
              { ...claude, index: 2, outcome: "success", hedge: true }
            ]
          },
          { ...call, id: "open", startedAt: 2, outcome: "failure", error: errorOf("CircuitOpen"), attempts: [] },
          { ...call, id: "bug", startedAt: 1, outcome: "defect", attempts: [{ ...gpt, index: 1, outcome: "defect" }] }
        ]
        yield* Effect.provide(
          Effect.zipRight(tell(records), flush),
          CallLog.layerFrom(database.client, { keep: Infinity })
        )
        const chains = (options: CallReport.CallsOptions) =>
          reading(
            database,
            Effect.map(CallReport.calls(options), (calls) => calls.map(({ chain }) => chain))
          )
        assert.deepStrictEqual(yield* chains({}), [
          "gpt ✕429 → gpt ✕429 → claude ✓ 3.1 s",
          "gpt ⊘ ∥ claude ✓ 3.1 s",
          "✕CircuitOpen 3.1 s",
          "gpt ✕defect 3.1 s"
        ])
        assert.deepStrictEqual(yield* chains({ failed: true }), ["✕CircuitOpen 3.1 s", "gpt ✕defect 3.1 s"])
        assert.deepStrictEqual(yield* chains({ limit: 1 }), ["gpt ✕429 → gpt ✕429 → claude ✓ 3.1 s"])
        assert.deepStrictEqual(yield* chains({ id: "nobody" }), [])
      })
    )

    check("compares the log with a bill", (database) =>
      Effect.gen(function* () {
        const day = scriptedDay(400, 7)
        const records = day.map(({ record }) => record)
        yield* Effect.provide(Effect.zipRight(tell(records), flush), CallLog.layerFrom(database.client))
        const attempts = records.flatMap((record) => record.attempts)
        const mine = attempts.filter(({ model, startedAt }) => model === "gpt-4o" && startedAt < Date.UTC(2026, 10, 29))
        const usd = mine.reduce((sum, attempt) => sum + (attempt.usd ?? 0), 0)
        const input = mine.reduce((sum, { usage }) => sum + (usage?.inputTokens ?? 0), 0)
        const csv = `model,day,"usd",output_tokens,input_tokens\ngpt-4o,2026-11-28,${usd},10,20\ngpt-4o,2026-11-28,${usd},0,0\n`
        const found = yield* reading(database, CallReport.reconcile(csv))
        const line = found.lines.find(({ model }) => model === "gpt-4o")
        assert.deepStrictEqual(line?.billed, { inputTokens: 20, outputTokens: 10, usd: 2 * usd })
        assert.strictEqual(line?.counted.usd, usd)
        assert.strictEqual(line?.counted.inputTokens, input)
        assert.strictEqual(line?.captured, 0.5)
        assert.isAbove(line?.uncounted ?? 0, 0)
        assert.strictEqual(found.lines.length, 4, "models that the bill does not have are told too")
        assert.isTrue(found.lines.every(({ day }) => day === "2026-11-28"))
      })
    )
  })
}
