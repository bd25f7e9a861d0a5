/**
 * What a gateway process holds: many open streams, the time that it adds to a request at a steady rate, and its memory
 * over many requests. The provider, the gateway and the clients are processes of their own.
 *
 *   node bench/.out/hold.js --streams=5000 --rate=1000 --requests=1000000
 */
import { type ChildProcess, fork, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { Agent, type ClientRequest, request } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { model } from "./wire.js"

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "5000" },
    rate: { type: "string", default: "1000" },
    seconds: { type: "string", default: "10" },
    requests: { type: "string", default: "1000000" }
  }
})

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url))
const children: Array<ChildProcess> = []
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

const key = "sk-hold"

/** The provider of the benchmarks, and one whose streams stay open. */
const provider = async (): Promise<string> => {
  const child = fork(here("server.js"), [], { execArgv: [] })
  children.push(child)
  const [url] = await once(child, "message")
  return String(url)
}

const gateway = async (baseUrl: string): Promise<{ readonly port: number; readonly pid: number }> => {
  const folder = mkdtempSync(join(tmpdir(), "steadfast-hold-"))
  const file = join(folder, "gateway.json")
  const streams = Number(values.streams)
  writeFileSync(
    file,
    JSON.stringify({
      server: { port: 0, maxConcurrent: 2 * streams + 1000, maxConnections: 2 * streams + 1000 },
      providers: {
        openai: { baseUrl: `${baseUrl}/json/v1`, key: "sk-bench" },
        slow: { kind: "openai", baseUrl: `${baseUrl}/open/v1`, key: "sk-bench" }
      },
      models: { assistant: [`openai/${model}`], open: [`slow/${model}`] },
      keys: [{ name: "hold", key }],
      observability: { logLevel: "info" }
    })
  )
  const child = spawn(process.execPath, [here("../../dist/bin.js"), "gateway", "--config", file], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  children.push(child)
  let said = ""
  for await (const piece of child.stdout) {
    said += String(piece)
    const port = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said)?.[1]
    if (port === undefined) continue
    child.stdout.resume()
    return { port: Number(port), pid: child.pid ?? 0 }
  }
  throw new Error(`the gateway said: ${said}`)
}

/** Megabytes of a process that are in memory. */
const resident = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1000

const agent = new Agent({ keepAlive: true, maxSockets: Number.POSITIVE_INFINITY })

const ask = (url: string, path: string, asked: object): ClientRequest => {
  const body = JSON.stringify({ ...asked, messages: [{ role: "user", content: "The capital of France?" }] })
  const sent = request(`${url}${path}`, {
    agent,
    method: "POST",
    headers: {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      authorization: `Bearer ${key}`
    }
  })
  sent.end(body)
  return sent
}

/** The milliseconds of a request, from its first byte to the end of its answer. */
const timed = (url: string, path: string, asked: object): Promise<number> =>
  new Promise((resolve, reject) => {
    const began = performance.now()
    ask(url, path, asked)
      .on("error", reject)
      .on("response", (response) => {
        response.resume().on("end", () => {
          if (response.statusCode === 200) resolve(performance.now() - began)
          else reject(new Error(`answered ${response.statusCode}`))
        })
      })
  })

/** So many requests a second, at even times, whatever the answers take. */
const steady = async (rate: number, seconds: number, one: () => Promise<number>): Promise<ReadonlyArray<number>> => {
  const running: Array<Promise<number>> = []
  const start = performance.now()
  while (performance.now() - start < 1000 * seconds) {
    const due = Math.floor(((performance.now() - start) / 1000) * rate)
    while (running.length < due) running.push(one())
    await sleep(1)
  }
  return (await Promise.all(running)).sort((a, b) => a - b)
}

const at = (sorted: ReadonlyArray<number>, share: number): number =>
  sorted[Math.floor(share * sorted.length)] ?? Number.NaN

const shown = (sorted: ReadonlyArray<number>): string =>
  [0.5, 0.9, 0.99].map((share) => `p${100 * share} ${at(sorted, share).toFixed(2)} ms`).join(", ")

const origin = await provider()
const { pid, port } = await gateway(origin)
const url = `http://127.0.0.1:${port}`
const rate = Number(values.rate)
const seconds = Number(values.seconds)
const asked = { model: "assistant" }
const path = "/v1/chat/completions"

await steady(rate / 4, 10, () => timed(url, path, asked))
const direct = await steady(rate, seconds, () => timed(`${origin}/json`, path, asked))
const through = await steady(rate, seconds, () => timed(url, path, asked))
console.log(`${rate} requests a second for ${seconds} s`)
console.log(`  at the provider:     ${shown(direct)}`)
console.log(`  through the gateway: ${shown(through)}`)
console.log(`  p99 added: ${(at(through, 0.99) - at(direct, 0.99)).toFixed(2)} ms`)

const before = resident(pid)
const open = new Set<ClientRequest>()
const streams = Number(values.streams)
while (open.size < streams) {
  const part = Array.from({ length: Math.min(200, streams - open.size) }, () => {
    const sent = ask(url, path, { model: "open", stream: true })
    open.add(sent)
    return new Promise<void>((resolve, reject) => {
      sent.on("error", reject).on("response", (response) => {
        response.once("data", () => resolve()).on("error", () => {})
      })
    })
  })
  await Promise.all(part)
}
await sleep(3000)
const held = resident(pid)
console.log(`${streams} open streams: ${held.toFixed(0)} MB resident (${before.toFixed(0)} MB before)`)
for (const sent of open) sent.on("error", () => {}).destroy()
await sleep(3000)
console.log(`  after their clients have left: ${resident(pid).toFixed(0)} MB`)

const requests = Number(values.requests)
let done = 0
const tenth = Math.max(1, Math.floor(requests / 10))
const marks: Array<string> = []
await Promise.all(
  Array.from({ length: 32 }, async () => {
    while (done < requests) {
      done += 1
      if (done % tenth === 0) marks.push(`${(done / 1000).toFixed(0)}k ${resident(pid).toFixed(0)} MB`)
      await timed(url, path, asked)
    }
  })
)
console.log(`${requests} requests: ${marks.join(", ")}`)
process.exit()
