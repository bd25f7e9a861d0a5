import { Fault } from "effect-steadfast/testing"
import { assert, describe, it } from "vitest"
import { post } from "./asks.js"
import { type Dialect, kinds, leaks, type Options, type Stage, staged } from "./gateway.js"
import { text } from "./replies.js"

/** What a client is told of its call. */
const evidenceOf = async (stage: Stage, dialect: Dialect, stream: boolean, more: Readonly<Record<string, string>>) => {
  const response = await post(stage, dialect, stream, more)
  const said = await response.text()
  const get = (name: string) => response.headers.get(`x-steadfast-${name}`)
  const call = get("call-id")
  const comments = said.split("\n\n").filter((block) => block.startsWith(": steadfast "))
  return {
    status: response.status,
    attempts: get("attempts"),
    retries: get("retries"),
    fallbacks: get("fallbacks"),
    servedBy: get("served-by"),
    isOneId: call !== null && call === response.headers.get("x-request-id"),
    comments: comments.map((one) => one.replace(/ wait-ms=\d+$/, "").replace(call ?? "", "ID"))
  }
}

interface Case {
  readonly options: (dialect: Dialect) => Options
  readonly headers?: Readonly<Record<string, string>>
  readonly expected: {
    readonly status: number
    readonly attempts: string
    readonly retries: string
    readonly fallbacks: string
    readonly servedBy: string | null
  }
}

/** Another dialect than the given one. */
const other = (dialect: Dialect): Dialect => kinds[(kinds.indexOf(dialect) + 1) % kinds.length] as Dialect

const cases: Readonly<Record<string, Case>> = {
  "an answer at once": {
    options: (kind) => ({ kind, script: [text] }),
    expected: { status: 200, attempts: "1", retries: "0", fallbacks: "0", servedBy: "first/first-model" }
  },
  "an answer at once, over another dialect": {
    options: (dialect) => ({ kind: other(dialect), script: [text] }),
    expected: { status: 200, attempts: "1", retries: "0", fallbacks: "0", servedBy: "first/first-model" }
  },
  "a retry": {
    options: (kind) => ({ kind, script: [Fault.status(503), text] }),
    expected: { status: 200, attempts: "2", retries: "1", fallbacks: "0", servedBy: "first/first-model" }
  },
  "a fallback to another dialect": {
    options: (kind) => ({ kind, script: [Fault.status(503)], next: other(kind), reply: text }),
    expected: { status: 200, attempts: "3", retries: "1", fallbacks: "1", servedBy: "second/second-model" }
  },
  "a fallback back to the client's dialect": {
    options: (kind) => ({ kind: other(kind), script: [Fault.unauthorized()], next: kind, reply: text }),
    expected: { status: 200, attempts: "2", retries: "0", fallbacks: "1", servedBy: "second/second-model" }
  },
  "one attempt and no fallback, as the client wants it": {
    options: (kind) => ({ kind, script: [Fault.status(503)], next: other(kind), reply: text }),
    headers: { "x-steadfast-max-attempts": "1", "x-steadfast-no-fallback": "true" },
    expected: { status: 503, attempts: "1", retries: "0", fallbacks: "0", servedBy: null }
  },
  "a failure of all": {
    options: (kind) => ({ kind, script: [Fault.status(503)], next: other(kind), reply: Fault.status(503) }),
    expected: { status: 503, attempts: "4", retries: "2", fallbacks: "1", servedBy: null }
  },
  "a stream that failed before its content": {
    options: (kind) => ({ kind, script: [Fault.earlyEnd({ tokens: 0, reply: text })] }),
    expected: { status: 502, attempts: "2", retries: "1", fallbacks: "0", servedBy: null }
  }
}

describe("the evidence of a call", () => {
  describe.each(kinds)("for clients of %s", (dialect) => {
    it.each(Object.entries(cases))("tells of %s", async (_, { expected, headers = {}, options }) => {
      const { attempts, fallbacks, retries, servedBy, status } = expected
      const own = dialect === "anthropic" && status === 503 ? 529 : status
      const comment = `: steadfast call=ID attempts=${attempts} retries=${retries} fallbacks=${fallbacks} served-by=${servedBy}`
      for (const stream of [false, true]) {
        await staged(options(dialect), async (stage) => {
          const told = await evidenceOf(stage, dialect, stream, headers)
          const comments = stream && status === 200 ? [comment] : []
          assert.deepStrictEqual(told, { ...expected, status: own, isOneId: true, comments })
          assert.deepStrictEqual(await leaks(stage), [])
        })
      }
    })
  })
})
