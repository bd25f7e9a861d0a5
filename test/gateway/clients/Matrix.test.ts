import { Fault, type Step } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { share } from "../../support/cases.js"
import { type Face, faces } from "./faces.js"
import { type Dialect, kinds, leaks, type Options, requestsOf, type Stage, staged } from "./gateway.js"
import { type Client, how, installed, load, packages } from "./installed.js"

/** What a face is told, and how often it and the gateway asked for it. */
interface Outcome {
  readonly said: unknown
  /** The attempts of which the client is told. */
  readonly attempts: number
  /** The requests at each provider. */
  readonly upstream: ReadonlyArray<number>
  /** Whether the client asked the gateway again by itself. */
  readonly repeated: boolean
  readonly leaks: ReadonlyArray<string>
}

/** A failure for good, and what the client is told of it. */
interface Failure {
  readonly step: Step.Step
  readonly attempts: number
  readonly status: number
  readonly options?: Partial<Options>
  /** Whether the client is told when to come back. One that does so is served anew, at most twice. */
  readonly later?: boolean
}

const hang: Partial<Options> = { attempt: "700 millis" }

const failures: Readonly<Record<string, Failure>> = {
  "503": { step: Fault.status(503), attempts: 2, status: 503 },
  "500": { step: Fault.status(500), attempts: 2, status: 502 },
  "a reset": { step: Fault.resetBeforeHeaders(), attempts: 2, status: 502 },
  "429, to come back later": {
    step: Fault.rateLimited({ retryAfter: "1 second", form: "header" }),
    attempts: 1,
    status: 429,
    later: true
  },
  silence: { step: Fault.hang, attempts: 2, status: 504, options: hang },
  "a refusal of our key": { step: Fault.unauthorized(), attempts: 1, status: 500 },
  "no credit": { step: Fault.insufficientQuota(), attempts: 1, status: 429 },
  "no permission": { step: Fault.forbidden(), attempts: 1, status: 403 },
  "no such model": { step: Fault.modelNotFound(), attempts: 1, status: 404 },
  "a mistake of the client": { step: Fault.badRequest(), attempts: 1, status: 400 },
  "an error event at once": { step: Fault.errorEvent("server-error"), attempts: 2, status: 502 }
}

/** Answers that break after their beginning. */
const breaks: Readonly<Record<string, (reply: Step.Reply) => Step.Step>> = {
  "a clean end": (reply) => Fault.earlyEnd({ reply }),
  "a reset": (reply) => Fault.resetInBody({ reply }),
  "an error event": (reply) => Fault.errorEvent("server-error", { afterTokens: 4, reply })
}

interface Told {
  readonly name: string
  readonly status: unknown
}

/** The error that stands behind the one that a client throws after its own retries. */
const causeOf = (error: unknown): Told => {
  const { constructor, httpResponse, lastError, name, response, status, statusCode } = error as Client
  if (lastError !== undefined) return causeOf(lastError)
  return {
    name: name === "Error" || name === undefined ? constructor.name : name,
    status: status ?? statusCode ?? (httpResponse ?? response)?.status
  }
}

/** What a face says: its answer, or its error. */
const heard = ({ ask }: Face, stage: Stage): Promise<unknown> =>
  ask(stage).catch((error: unknown) => {
    const { name, status } = causeOf(error)
    return `${name} ${status}`
  })

const outcome = (face: Face, options: Options): Promise<Outcome> =>
  staged(options, async (stage) => {
    const said = await heard(face, stage)
    return {
      said,
      attempts: Number(/x-steadfast-attempts: (\d+)/.exec(stage.said())?.[1]),
      upstream: (await requestsOf(stage)).map(({ length }) => length),
      repeated: stage.heard.length > 1,
      leaks: await leaks(stage)
    }
  })

const fine = { repeated: false, leaks: [] }

/** What a failure for good is for a face. */
const failed = ({ dialect, errorName, overloaded, repeats }: Face, status: number, attempts: number): Outcome => {
  const own = status === 503 ? (overloaded ?? (dialect === "anthropic" ? 529 : status)) : status
  const said = `${errorName(own)} ${own}`
  return { said, attempts, upstream: [attempts, 0], repeated: repeats?.(own) ?? false, leaks: [] }
}

/** What an answer that breaks after its beginning is for a face: nothing that was delivered is taken back. */
const broke = (face: Face, kind: Dialect, name: string): Outcome => {
  const { anew = false, broken = "APIError undefined", dialect = "openai", late = false, streams = false } = face
  const isRaw = kind === dialect
  // The pieces of a tool call pass only as they came. Gemini sends it whole: an error comes after it.
  const isBegun = !late || (isRaw && !anew) || (kind === "gemini" && name === "an error event")
  return streams && isBegun
    ? { ...fine, said: broken, attempts: 1, upstream: [1, 0] }
    : failed(face, 502, streams && isRaw ? 1 : 2)
}

/** Runs all cases at once, and compares all of them. */
const compared = async (cases: ReadonlyArray<readonly [string, Promise<unknown>, unknown]>): Promise<void> => {
  const found = await Promise.all(cases.map(async ([name, made]) => [name, await made] as const))
  const expected = cases.map(([name, , one]) => [name, one] as const)
  assert.deepStrictEqual(Object.fromEntries(found), Object.fromEntries(expected))
}

const soon = Fault.rateLimited({ retryAfter: "20 millis", form: "header-ms" })

describe.skipIf(!installed)(`clients of a gateway${installed ? "" : ` (${how})`}`, () => {
  beforeAll(() => Promise.all(packages.map(load)))

  describe.concurrent.each(faces.map((face, index) => ({ face, index, name: face.name })))(
    "$name",
    ({ face, index }) => {
      const { kinds: served = kinds, reply, says, streams = false } = face

      it.each(served)("gets its answer from %s, at once or after a fault that passes", (kind) =>
        staged(
          { kind, script: [reply, soon, reply, Fault.status(503), reply, Fault.resetBeforeHeaders(), reply] },
          async (stage) => {
            for (let asked = 0; asked < 4; asked++) assert.deepStrictEqual(await heard(face, stage), says)
            assert.deepStrictEqual(
              (await requestsOf(stage)).map(({ length }) => length),
              [7, 0]
            )
            assert.strictEqual(stage.heard.length, 4)
            assert.deepStrictEqual(await leaks(stage), [])
          }
        )
      )

      // A whole answer that broke is one more failure of an attempt: each face hears it of one dialect.
      it.each(streams ? served : share(served, served.length, index))("hears that an answer of %s broke", (kind) =>
        compared(
          Object.entries(breaks).map(([name, of]) => [
            name,
            outcome(face, { kind, script: [of(reply)] }),
            broke(face, kind, name)
          ])
        )
      )

      it("hears of failures for good by its own errors, and its retries reach no provider", () =>
        compared(
          Object.entries(failures).flatMap(([name, { attempts, later, options, status, step }], at) =>
            // Each fault with each dialect, and each face with each fault.
            share(served, served.length, index + at).map((kind) => [
              `${name} of ${kind}`,
              outcome(face, { kind, script: [step], ...options }).then((found) => {
                const [asked = 0] = found.upstream
                // On a machine that is busy, what waits for silence may end before it was heard.
                if (options === hang) return { ...found, upstream: [Math.max(asked, attempts), 0] }
                const isBack = later === true && face.repeats?.(status) === true && asked <= 3 * attempts
                return isBack ? { ...found, upstream: [Math.min(asked, attempts), 0] } : found
              }),
              name === "no credit" && face.noCredit !== undefined
                ? { ...fine, said: face.noCredit, attempts, upstream: [attempts, 0] }
                : failed(face, status, attempts)
            ])
          )
        ))

      // Vectors of another model are none of this one.
      if (face.kinds === undefined) {
        it.each(kinds)("gets its answer from the next target where %s is down", (kind) => {
          const next = kinds[(kinds.indexOf(kind) + 1 + (index % 3)) % 4] as Dialect
          return compared([
            [
              `${kind}, then ${next}`,
              outcome(face, { kind, script: [Fault.status(503)], next, reply }),
              { ...fine, said: says, attempts: 3, upstream: [2, 1] }
            ]
          ])
        })
      }
    }
  )
})
