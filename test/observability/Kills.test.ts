import * as SqlClient from "@effect/sql/SqlClient"
import { Effect, Option } from "effect"
import { CallReport } from "effect-steadfast/observability"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { write } from "../../src/observability/CallLogWriter.js"
import { cases, seed } from "../support/cases.js"
import { type Backend, backends, type Database, noServer } from "./databases.js"
import { chance, scriptedCall } from "./scriptedDay.js"
import { bundle, ended, lines, startScript } from "./workers.js"

/** Processes at a time: most of a round is the start of one. */
const lanes = 8

const count = (text: string) =>
  Effect.flatMap(SqlClient.SqlClient, (sql) =>
    Effect.map(sql.unsafe<{ readonly n: unknown }>(`select count(*) as n from ${text}`), ([row]) => Number(row?.n))
  )

/** Rows that a whole call does not leave. */
const torn = Effect.all({
  "calls without all attempts": count(
    "steadfast_calls c where c.attempts <> (select count(*) from steadfast_attempts a where a.call_id = c.id)"
  ),
  "attempts without a call": count("steadfast_attempts where call_id not in (select id from steadfast_calls)"),
  "labels without a call": count("steadfast_labels where call_id not in (select id from steadfast_calls)")
})

const day = Date.UTC(2026, 10, 28)

const none = { "calls without all attempts": 0, "attempts without a call": 0, "labels without a call": 0 }

/** The numbers of the calls that a round wrote, in order. */
const writtenBy = (round: number) =>
  Effect.gen(function* () {
    const sql = yield* SqlClient.SqlClient
    const rows = yield* sql.unsafe<{ readonly id: string }>(
      `select id from steadfast_calls where id like 'call-${round}-%'`
    )
    return rows.map(({ id }) => Number(id.split("-")[2])).sort((a, b) => a - b)
  })

const checkFile = Effect.flatMap(SqlClient.SqlClient, (sql) =>
  sql.onDialectOrElse({
    pg: () => Effect.void,
    orElse: () =>
      Effect.map(sql.unsafe("pragma integrity_check"), (rows) =>
        assert.deepStrictEqual(
          rows.map((row) => Object.values(row)[0]),
          ["ok"]
        )
      )
  })
)

for (const { name, start } of backends) {
  describe(`a call log in ${name}`, () => {
    let backend: Backend | undefined
    let processes: Awaited<ReturnType<typeof bundle>> | undefined
    beforeAll(async () => {
      backend = start()
      processes = await bundle()
    })
    afterAll(() => {
      backend?.stop()
      processes?.remove()
    })

    /** Kills a process so many milliseconds after it has said so many lines; gives what it said. */
    const kill = async (millis: number, said: number, ...args: ReadonlyArray<string>) => {
      const child = startScript(processes?.script ?? "", ...args)
      const gone = ended(child)
      await lines(child, said)
      await new Promise((resolve) => setTimeout(resolve, millis))
      child.kill("SIGKILL")
      // The last line may be cut.
      return (await gone).stdout.split("\n").slice(0, -1)
    }

    const rounds = name === "libSQL" ? cases(200, 32) : cases(40, 8)

    it(`holds whole calls, and all acknowledged ones, after each of ${rounds} kills of its writer`, {
      timeout: 3_600_000
    }, async (context) => {
      if (backend === undefined) return context.skip(noServer)
      const sums = { kills: 0, acknowledged: 0, unacknowledged: 0, deletions: 0, deleted: 0 }
      const { make } = backend
      // Lanes beside each other, each with databases of its own.
      const lane = async (first: number): Promise<void> => {
        const random = chance(seed + first)
        let database: Database = make()
        const read = <A, E>(self: Effect.Effect<A, E, SqlClient.SqlClient>) =>
          Effect.runPromise(Effect.provide(self, database.client))
        for (let round = first, turn = 1; round <= rounds; round += lanes, turn++) {
          const said = await kill(random() * 40, 1 + Math.floor(random() * 8), "write", database.url, String(round))
          const acknowledged = Number(said.at(-1))
          await read(
            Effect.gen(function* () {
              yield* checkFile
              assert.deepStrictEqual(yield* torn, none)
              const written = yield* writtenBy(round)
              assert.isAtLeast(written.length, acknowledged)
              assert.deepStrictEqual(
                written,
                written.map((_, index) => index),
                "in order, without a gap"
              )
              for (const number of written.slice(-5)) {
                const { record } = scriptedCall(number, round, day)
                assert.deepStrictEqual(Option.getOrThrow(yield* CallReport.timeline(record.id)), record)
              }
              sums.kills++
              sums.acknowledged += acknowledged
              sums.unacknowledged += written.length - acknowledged
            })
          )
          // Now and then the process that deletes old calls is killed too, and the next begin with a new database.
          if (turn % 4 !== 0) continue
          const more = Array.from({ length: 2000 }, (_, index) => scriptedCall(index, rounds + round, day).record)
          await read(write(more))
          const before = await read(count("steadfast_calls"))
          await kill(random() * 500, 1, "delete", database.url)
          assert.deepStrictEqual(await read(torn), none)
          const after = await read(count("steadfast_calls"))
          sums.deletions++
          sums.deleted += before - after
          database = make()
        }
      }
      await Promise.all(Array.from({ length: lanes }, (_, index) => lane(1 + index)))
      assert.isAbove(sums.acknowledged, rounds * 5)
      console.log(`${name}: ${JSON.stringify(sums)}`)
    })
  })
}
