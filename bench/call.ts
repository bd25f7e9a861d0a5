/** A whole call from promise to promise: over a `fetch` that answers at once, and over a socket that is kept open. */
import { type Case, type Goal, once, promiseBatch, type Table, units } from "./case.js"
import { anthropicBody, openAiBody, stubFetch } from "./wire.js"

const sdk = "openai SDK"
const allOn = "Steadfast, all on"

const most = (most: number): Goal => ({ figure: "cpu", against: sdk, most })
const bytes: Goal = { figure: "bytes", most: 48 * units.KiB }

type Run = () => Promise<unknown>

/** A case over a stub: this process has no other `fetch`. */
const stubbed = (name: string, load: () => Promise<Run>, goals: ReadonlyArray<Goal> = [], body = openAiBody): Case => ({
  name,
  goals,
  make: async () => {
    globalThis.fetch = stubFetch(body)
    return { batch: promiseBatch(await load()) }
  }
})

const ours = async () => await import("./ours.js")
const peers = async () => await import("./peers.js")

const overStub: Table = {
  title: "a whole call over a stub fetch",
  base: sdk,
  cases: [
    stubbed(sdk, async () => (await (await peers()).openai()).call),
    once(stubbed("fetch and JSON by hand", async () => (await peers()).fetchAlone().call)),
    once(stubbed("@anthropic-ai/sdk", async () => (await (await peers()).anthropic()).call, [], anthropicBody)),
    once(stubbed("AI SDK generateText", async () => (await (await peers()).aiSdk()).call)),
    once(
      stubbed("HttpClient of the layer, by hand", async () => {
        const { HttpClient } = await import("@effect/platform")
        const { bareExchange } = await import("./fixtures.js")
        const { runtime } = await (await ours()).open()
        const client = await runtime.runPromise(HttpClient.HttpClient)
        return () => runtime.runPromise(bareExchange(client))
      })
    ),
    stubbed("Steadfast, leaf", async () => (await ours()).caller({ all: false })),
    stubbed(allOn, async () => (await ours()).caller(), [most(1), bytes]),
    stubbed(`${allOn}, spans and record`, async () => (await ours()).caller({ evidence: true }), [most(1.1), bytes])
  ]
}

/** Where the server of this run answers with JSON. */
const baseUrl = (): string => `${process.env.BENCH_SERVER}/json/v1`

const overSocket = (name: string, load: () => Promise<Run>, goals: ReadonlyArray<Goal> = []): Case => ({
  name,
  goals,
  make: async () => ({ batch: promiseBatch(await load()) })
})

const caller = (options: Parameters<typeof import("./ours.js").caller>[0]) => async () =>
  (await ours()).caller({ ...options, baseUrl: baseUrl() })

const overSockets: Table = {
  title: "a whole call over a socket, kept alive",
  base: sdk,
  cases: [
    overSocket(sdk, async () => (await (await peers()).openai(baseUrl())).call),
    once(overSocket("fetch and JSON by hand", async () => (await peers()).fetchAlone(baseUrl()).call)),
    once(overSocket("undici and JSON by hand", async () => (await (await peers()).undici(baseUrl())).call)),
    overSocket(`${allOn}, fetch`, caller({ layer: "fetch" }), [most(1)]),
    overSocket(`${allOn}, undici`, caller({ layer: "undici" }), [most(0.35)]),
    overSocket(`${allOn}, undici, spans and record`, caller({ layer: "undici", evidence: true }))
  ]
}

export const tables: ReadonlyArray<Table> = [overStub, overSockets]
