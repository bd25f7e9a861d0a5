/**
 * The load on a relay, in a process of its own: so many connections, each of which asks again as soon as it was
 * answered, until both time and answers are enough. It says how many answers came,
 * and in how many seconds.
 */
import { Agent, type IncomingMessage, request } from "node:http"
import type { Load } from "./relay.js"

const { body, connections, expected, headers, least, seconds, url } = JSON.parse(process.argv[2] ?? "{}") as Load

const agent = new Agent({ keepAlive: true, maxSockets: connections })
const options = {
  agent,
  method: "POST",
  headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body), ...headers }
}

/** Reads to the end; an answer without what it must hold is an error. */
const read = (response: IncomingMessage): Promise<void> =>
  new Promise((resolve, reject) => {
    let text = ""
    response.setEncoding("latin1")
    response.on("data", (piece: string) => {
      text += piece
    })
    response.on("end", () => {
      if (response.statusCode === 200 && text.split(expected.text).length - 1 === expected.times) resolve()
      else reject(new Error(`answered ${response.statusCode}: ${text.slice(0, 500)}`))
    })
    response.on("error", reject)
  })

const ask = (): Promise<void> =>
  new Promise((resolve, reject) => {
    request(url, options, (response) => read(response).then(resolve, reject))
      .on("error", reject)
      .end(body)
  })

const start = performance.now()
const end = start + 1000 * seconds
let answers = 0
let wrong = 0

const connection = async (): Promise<void> => {
  while (performance.now() < end || answers < least) {
    try {
      await ask()
      answers += 1
    } catch (error) {
      wrong += 1
      // Now and then a peer fails one; what fails often is not measured.
      if (wrong > 10 + answers / 100) throw error
    }
  }
}

process.on("disconnect", () => process.exit())
await Promise.all(Array.from({ length: connections }, connection))
process.send?.({ answers, wrong, wall: (performance.now() - start) / 1000 }, () => process.exit())
