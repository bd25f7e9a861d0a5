/** A streamed answer, from the call to its end: what it costs to begin, and what each token costs. */
import { type Case, type Derived, type Figures, type Goal, once, promiseBatch, type Table } from "./case.js"
import { cut, encoded, framesOf, lengthOf, streamingFetch } from "./wire.js"

const many = 100

const sdk = "openai SDK"
const byHand = "by hand"
const pulled = "Steadfast, all on, Stream.runForEach"
const callback = "Steadfast, all on, ChatStream.forEach"
const collected = "Steadfast, all on, ChatStream.collect"

const of = (name: string, tokens: number): string => `${name}: ${tokens} token${tokens === 1 ? "" : "s"}`
const further = (name: string): string => `${name}: each further token`

const most = (most: number, against: string): Goal => ({ figure: "cpu", against, most })

/** A stream takes as long as some calls, and that is for each ten tokens about the same again. */
const unitsOf = (tokens: number): number => 1 + tokens / 10

type Read = () => Promise<number>

const whole = (tokens: number, read: Read) => {
  const expected = lengthOf(tokens)
  return promiseBatch(async () => {
    const length = await read()
    if (length !== expected) throw new Error(`read ${length} of ${expected} characters`)
  })
}

const pieces = { frames: "one in each piece", blocks: "in pieces of 16 KiB" }

const stubbed = (
  name: string,
  tokens: number,
  load: () => Promise<Read>,
  goals: ReadonlyArray<Goal> = [],
  how: keyof typeof pieces = "frames"
): Case => ({
  name: of(name, tokens),
  base: of(sdk, tokens),
  units: unitsOf(tokens),
  goals,
  make: async () => {
    const frames = framesOf(tokens)
    globalThis.fetch = streamingFetch(how === "frames" ? frames.map(encoded) : cut(encoded(frames.join("")), 16 * 1024))
    return { batch: whole(tokens, await load()) }
  }
})

const difference = (name: string, goals: ReadonlyArray<Goal> = []): Derived => ({
  name: further(name),
  base: further(sdk),
  goals,
  from: (figures) => {
    const [more, less] = [figures(of(name, many)), figures(of(name, 1))]
    const each = (key: keyof Figures & string) => ((more[key] ?? Number.NaN) - (less[key] ?? Number.NaN)) / (many - 1)
    return { cpu: each("cpu"), wall: each("wall"), bytes: each("bytes") }
  }
})

const ours = async () => await import("./ours.js")
const peers = async () => await import("./peers.js")

const openai = async () => (await (await peers()).openai()).stream
const hand = async () => (await peers()).fetchAlone().stream
const runForEach = async () => (await ours()).reader("pulled")
const forEach = async () => (await ours()).reader("callback")
const collect = async () => (await ours()).reader("collected")

const overStub: Table = {
  title: `a stream over a stub fetch, tokens ${pieces.frames}`,
  cases: [
    stubbed(sdk, 1, openai),
    once(stubbed(byHand, 1, hand)),
    stubbed(pulled, 1, runForEach, [most(1, of(sdk, 1))]),
    stubbed(callback, 1, forEach, [most(1, of(sdk, 1))]),
    stubbed(collected, 1, collect, [most(1, of(sdk, 1))]),
    stubbed(sdk, many, openai),
    once(stubbed(byHand, many, hand)),
    once(stubbed("AI SDK streamText", many, async () => (await (await peers()).aiSdk()).stream)),
    stubbed(pulled, many, runForEach),
    stubbed(callback, many, forEach, [most(0.6, of(sdk, many))]),
    stubbed(collected, many, collect, [most(0.6, of(sdk, many))]),
    once(
      stubbed(`${collected}, spans and record`, many, async () =>
        (await ours()).reader("collected", { evidence: true })
      )
    )
  ],
  derived: [
    difference(sdk),
    difference(byHand),
    difference(pulled, [most(2, further(sdk))]),
    difference(callback, [most(0.7, further(sdk))]),
    difference(collected, [most(0.7, further(sdk))])
  ]
}

const blocks = 1000

const inBlocks: Table = {
  title: `a stream over a stub fetch, ${blocks.toLocaleString("en")} tokens ${pieces.blocks}`,
  rounds: 1,
  cases: [
    stubbed(sdk, blocks, openai, [], "blocks"),
    stubbed(pulled, blocks, runForEach, [], "blocks"),
    stubbed(callback, blocks, forEach, [], "blocks"),
    stubbed(collected, blocks, collect, [], "blocks")
  ]
}

const baseUrl = (tokens: number): string => `${process.env.BENCH_SERVER}/sse/${tokens}/v1`

const overSocket = (
  name: string,
  tokens: number,
  load: (baseUrl: string) => Promise<Read>,
  goals: ReadonlyArray<Goal> = []
): Case => ({
  name: of(name, tokens),
  base: of(sdk, tokens),
  units: unitsOf(tokens),
  goals,
  make: async () => ({ batch: whole(tokens, await load(baseUrl(tokens))) })
})

const read = (how: "collected" | "pulled", layer: "fetch" | "undici") => async (baseUrl: string) =>
  (await ours()).reader(how, { baseUrl, layer })

const sockets = (tokens: number): ReadonlyArray<Case> => [
  overSocket(sdk, tokens, async (baseUrl) => (await (await peers()).openai(baseUrl)).stream),
  once(overSocket(`undici ${byHand}`, tokens, async (baseUrl) => (await (await peers()).undici(baseUrl)).stream)),
  once(overSocket(`${collected}, fetch`, tokens, read("collected", "fetch"))),
  once(overSocket(`${pulled}, undici`, tokens, read("pulled", "undici"))),
  overSocket(`${collected}, undici`, tokens, read("collected", "undici"), [most(0.8, of(sdk, tokens))])
]

const overSockets: Table = {
  title: "a stream over a socket, each token written alone",
  cases: [1, many].flatMap(sockets)
}

export const tables: ReadonlyArray<Table> = [overStub, inBlocks, overSockets]
