import { Effect } from "effect"
import { Fault, Reply, type Step } from "effect-steadfast/testing"
import { assert, beforeAll, describe, it } from "vitest"
import { type Face, faces } from "./faces.js"
import { clientKey, type Dialect, kinds, type Options, providerKeys, type Stage, staged } from "./gateway.js"
import { how, installed, load, packages } from "./installed.js"

/** How a call ends for the client, and how often the provider was asked. */
interface Ending {
  readonly said: unknown
  readonly asked: number
}

/** A fault, and how a call ends then. */
interface Case {
  readonly script: (reply: Step.Reply) => ReadonlyArray<Step.Step>
  readonly options?: Partial<Options>
  /** The attempts at the first target. */
  readonly attempts: number
  /** The status that the client is told. Default: it gets its answer. */
  readonly status?: number
}

const soon = Fault.rateLimited({ retryAfter: "20 millis", form: "header-ms" })
const inASecond = Fault.rateLimited({ retryAfter: "1 second", form: "header" })

/** The cases in which a stream and a whole answer end alike. */
const cases: Readonly<Record<string, Case>> = {
  ok: { script: (reply) => [reply], attempts: 1 },
  "429 with a hint, then ok": { script: (reply) => [soon, reply], attempts: 2 },
  "503, then ok": { script: (reply) => [Fault.status(503), reply], attempts: 2 },
  "reset, then ok": { script: (reply) => [Fault.resetBeforeHeaders(), reply], attempts: 2 },
  "503 for ever": { script: () => [Fault.status(503)], attempts: 2, status: 503 },
  "500 for ever": { script: () => [Fault.status(500)], attempts: 2, status: 502 },
  "reset for ever": { script: () => [Fault.resetBeforeHeaders()], attempts: 2, status: 502 },
  "429 for ever": { script: () => [inASecond], attempts: 1, status: 429 },
  "hang for ever": { script: () => [Fault.hang], options: { attempt: "700 millis" }, attempts: 1, status: 504 },
  "our key is refused": { script: () => [Fault.unauthorized()], attempts: 1, status: 500 },
  "an error event at once": { script: () => [Fault.errorEvent("server-error")], attempts: 2, status: 502 }
}

/** The cases in which an answer breaks after its beginning. */
const broken = (reply: Step.Reply): Readonly<Record<string, Step.Step>> => ({
  "cut, with a clean end": Fault.earlyEnd({ reply }),
  "cut, with a reset": Fault.resetInBody({ reply }),
  "an error event": Fault.errorEvent("server-error", { afterTokens: 3, reply })
})

interface Told {
  readonly name: string
  readonly status: unknown
  readonly message: string
}

/** The error that stands behind the one that a client throws after its own retries. */
const causeOf = (error: unknown): Told => {
  const { constructor, lastError, message, name, status, statusCode } = error as Error & Record<string, unknown>
  if (lastError !== undefined) return causeOf(lastError)
  return {
    name: name === "Error" || name === undefined ? constructor.name : name,
    status: status ?? statusCode,
    message: String(message ?? JSON.stringify(error))
  }
}

const outcome = async ({ ask }: Face, stage: Stage): Promise<unknown> => {
  try {
    return await ask(stage)
  } catch (error) {
    return causeOf(error)
  }
}

const requestsOf = (stage: Stage) =>
  Effect.runPromise(Effect.all([stage.first.requests, stage.second.requests]))

const key = /sk-(?:client|provider)-/

/** Whom a key has reached for whom it was not. Whatever the fault, there is none. */
const leaks = async (stage: Stage): Promise<ReadonlyArray<string>> => {
  const requests = (await requestsOf(stage)).flat()
  return [
    ...(key.test(stage.said()) ? ["a client"] : []),
    ...(key.test(stage.logged()) ? ["the log"] : []),
    ...(JSON.stringify(requests).includes(clientKey) ? ["a provider"] : [])
  ]
}

/** The status of a failure in a dialect: Anthropic has one of its own for an overload. */
const statusOf = ({ dialect }: Face, status: number): number =>
  dialect === "anthropic" && status === 503 ? 529 : status

/** Asks through a gateway whose provider fails, and tells how it ended, and how often the providers were asked. */
const ended = (face: Face, options: Options) =>
  staged(options, async (stage) => {
    const said = await outcome(face, stage)
    const [first, second] = await requestsOf(stage)
    const attempts = options.then === undefined ? first.length : [first.length, second.length]
    return { said, attempts, leaks: await leaks(stage), asked: stage.heard.length }
  })

describe.skipIf(!installed)(`clients at the gateway`, () => {
  beforeAll(() => Promise.all(packages.map(load)))
  describe.concurrent.each(faces)("$name", (face) => {
    it.each(face.kinds ?? kinds)("%s", async (kind) => {
      const { reply } = face
      const all = Object.entries(cases).map(async ([name, one]) => {
        const e = await ended(face, { kind, script: one.script(reply), ...one.options })
        const status = one.status && statusOf(face, one.status)
        const said = e.said as Told
        const ok = JSON.stringify(e.said) === JSON.stringify(face.says)
        return [name, ok ? e : {...e, said: `${said.name} ${said.status}`, message: said.message}, one.status ? said.name === face.errorName(status as number) && said.status === status && e.attempts === one.attempts : ok && one.attempts === e.attempts] as const
      })
      const cut = Object.entries(broken(reply)).map(async ([name, step]) => {
        const e = await ended(face, { kind, script: [step] })
        const said = e.said as Told
        const twice = face.late || !face.streams
        return [name, e, e.attempts === (twice ? 2 : 1) && (twice ? said.name === face.errorName(502) && said.status === 502 : said.name !== undefined && !face.says.startsWith)] as const
      })
      const found = await Promise.all([...all, ...cut])
      const wrong = found.filter(([,, ok]) => !ok)
      if (wrong.length) console.log("#", face.name, "|", kind, "\n" + wrong.map(([n, f]) => `   ${n}: ${JSON.stringify(f)}`).join("\n"))
      if (wrong.length) throw new Error("x")
    })
  })
})
