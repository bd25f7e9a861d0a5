import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as SqlClient from "@effect/sql/SqlClient"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect } from "effect"
import { CallLog } from "effect-steadfast/observability"
import { Fault, Reply } from "effect-steadfast/testing"
import { asking, dialects, type Heard, keys, staged } from "./stage.js"

/** Words of a prompt and of an answer, which stand in no record. */
const prompt = "the-prompt-of-4f8c1e"
const answer = "the-answer-of-9b2d7a"

const folder = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-secrets-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** A text as it may be written on its way. */
const forms = (text: string): ReadonlyArray<string> => [
  text,
  encodeURIComponent(text),
  Buffer.from(text).toString("base64").replace(/=+$/, ""),
  Buffer.from(text).toString("hex")
]

const spoken = (body: object): object => JSON.parse(JSON.stringify(body).replaceAll("say hello", prompt)) as object

describe("a mixed load", () => {
  it.scopedLive("leaves keys and prompts nowhere", () =>
    Effect.gen(function* () {
      const path = join(yield* folder, "calls.db")
      // A provider that says all that it knows.
      const told = (status: number) =>
        Fault.status(status, {
          body: { error: { message: `bad key ${keys.first} ${keys.second}`, type: "x", code: keys.first } }
        })
      const steps = [
        Reply.text(answer),
        told(500),
        told(401),
        told(403),
        Fault.resetInBody({ reply: Reply.text(answer) }),
        told(429),
        Fault.earlyEnd({ reply: Reply.text(answer) }),
        Fault.errorEvent("server-error", { message: `cannot do this, ${keys.first}`, afterTokens: 1 }),
        told(400),
        Fault.garbage,
        Fault.htmlPage({ status: 502 })
      ]
      const { lines, services, url } = yield* staged(
        { script: steps, onExhausted: "cycle" },
        { script: [told(500), Reply.text(answer), told(400)], onExhausted: "cycle" },
        {
          keys: `  - { name: bob, key: ${keys.bob}, requestsPerMinute: 5, models: [single] }`,
          models: "  quick: { targets: [first/m5, second/m6], retry: { maxAttempts: 1 }, deadline: 2 seconds }",
          rest: `observability: { callLog: "${path}", logLevel: debug, metricLabels: [client, user] }`
        }
      )
      const heard: Array<readonly [string, Heard]> = []
      const hear = (asked: Parameters<typeof asking>[1]) =>
        Effect.map(asking(url, asked), (one) => void heard.push([JSON.stringify(asked?.path), one]))
      const headers = { "x-steadfast-timeout-ms": "1500", "x-steadfast-label-user": "u" }
      for (let round = 0; round < 12; round++) {
        yield* Effect.forEach(
          dialects.flatMap(([, path, body]) => {
            const stream = round % 2 === 0
            const own = {
              ...spoken(body),
              ...("model" in body ? { model: "quick" } : {}),
              ...(stream ? { stream } : {}),
              seed: round
            }
            const at = path.replace("models/fast", "models/quick")
            return [
              {
                path: stream ? at.replace("generateContent", "streamGenerateContent?alt=sse") : at,
                key: keys.alice,
                body: own,
                headers
              },
              { path: `${at}?key=${keys.alice}`, body: own, headers }
            ]
          }),
          hear,
          { concurrency: 4 }
        )
      }
      const bad = `{"model": "quick", "messages": [{"role": "user", "content": "${prompt}"`
      for (const asked of [
        { key: keys.bob, body: spoken(dialects[0][2]) },
        { key: "sk-unknown-0a1b2c3d", body: { model: prompt } },
        { key: keys.alice, body: bad },
        { key: keys.alice, body: { model: "quick", messages: prompt } },
        { key: keys.alice, path: `/v1/${prompt}` },
        { path: `/nothing?key=${keys.alice}` },
        { path: `/nothing?key=${keys.alice}`, method: "POST", body: "{}" },
        { key: keys.alice, path: "/v1/files/x" },
        { key: keys.alice, path: "/v1/moderations", body: { input: prompt, model: "omni" } },
        {
          key: keys.alice,
          path: "/v1/messages/count_tokens",
          body: { model: "quick", messages: [{ role: "user", content: prompt }] }
        }
      ]) {
        yield* hear({ ...asked, headers })
      }
      const log = Context.get(services, CallLog.CallLog)
      yield* log.flush
      const places: Array<readonly [string, string]> = []
      for (const page of [
        "/status",
        "/metrics",
        "/dashboard/",
        "/dashboard/api/overview",
        "/dashboard/api/calls",
        "/dashboard/api/live"
      ]) {
        const { body, status } = yield* asking(url, { path: page, key: keys.admin })
        assert.strictEqual(status, 200, `${page}: ${body}`)
        places.push([page, body])
      }
      const sql = Context.get(services, SqlClient.SqlClient)
      const tables = yield* sql<{ readonly name: string }>`SELECT name FROM sqlite_master WHERE type = 'table'`
      let rows = 0
      for (const { name } of tables) {
        const found = yield* sql`SELECT * FROM ${sql(name)}`
        rows += found.length
        places.push([`table ${name}`, JSON.stringify(found)])
      }
      assert.isAbove(rows, 100)
      for (const file of [path, `${path}-wal`]) {
        try {
          places.push([file, readFileSync(file, "latin1")])
        } catch {
          // Not every file is there.
        }
      }
      places.push(["log lines", lines.join("\n")])
      assert.isAbove(lines.length, 50)
      for (const [where, { body, headers }] of heard) {
        places.push([`headers of ${where}`, JSON.stringify(headers)], [`body of ${where}`, body])
      }
      assert.isTrue(heard.some(([, { body }]) => body.includes(answer)))
      const leaks = (secret: string, among: typeof places) =>
        among.flatMap(([where, text]) =>
          forms(secret).some((form) => text.includes(form))
            ? [
                `${secret} in ${where}: ${text.slice(Math.max(0, text.indexOf(secret) - 80), text.indexOf(secret) + 40)}`
              ]
            : []
        )
      for (const secret of Object.values(keys)) assert.deepStrictEqual(leaks(secret, places), [])
      assert.deepStrictEqual(leaks("sk-unknown-0a1b2c3d", places), [])
      const records = places.filter(([where]) => !where.startsWith("body of ") && !where.startsWith("headers of "))
      for (const secret of [prompt, answer]) assert.deepStrictEqual(leaks(secret, records).slice(0, 3), [])
    }).pipe(Effect.orDie)
  )
})
