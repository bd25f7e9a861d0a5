import { execFile } from "node:child_process"
import type { ServerResponse } from "node:http"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import * as Zlib from "node:zlib"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { share } from "../support/cases.js"
import { clients } from "./support.js"
import { serving } from "./Transport.support.js"

/** What a body without an end takes of the memory, measured in a process of its own. */

const mega = 1e6
/** What a call may take over what the process had, in MB: 64, and what the garbage collector has not got to yet. */
const bound = 80
const offered = 300 * mega

const filler = Buffer.alloc(256 * 1024, "x")
const event = (delta: object): Buffer => {
  const one = `data: ${JSON.stringify({ choices: [{ index: 0, delta }] })}\n\n`
  return Buffer.from(one.repeat(Math.ceil(65_536 / one.length)))
}
const json = "application/json"
const sse = "text/event-stream"
const call = (index: number, args: string) => ({
  tool_calls: [{ index, id: `a${index}`, function: { name: "f", arguments: args } }]
})

interface Body {
  readonly status: number
  readonly type: string
  readonly first: string
  readonly piece: Buffer
}

const bodies: Record<string, Body> = {
  "a 200": { status: 200, type: json, first: '{"choices":[{"message":{"content":"', piece: filler },
  "a 500": { status: 500, type: json, first: '{"error":{"message":"', piece: filler },
  "a line": { status: 200, type: sse, first: "data: ", piece: filler },
  "the data lines of an event": {
    status: 200,
    type: sse,
    first: "",
    piece: Buffer.from("data: xxxxxxxx\n".repeat(5000))
  },
  text: { status: 200, type: sse, first: "", piece: event({ content: "y".repeat(1000) }) },
  "a refusal": { status: 200, type: sse, first: "", piece: event({ refusal: "y".repeat(1000) }) },
  arguments: { status: 200, type: sse, first: "", piece: event(call(0, "y".repeat(1000))) },
  "empty lines": { status: 200, type: sse, first: "", piece: Buffer.alloc(64 * 1024, "\n") }
}
/** The errors of what is no answer above its bound: an error's own, and that of a stream without an event. */
const tags: Record<string, string> = { "a 500": "ServerError", "empty lines": "StreamInterrupted" }
const packed = "a small body that unpacks"

const pour = (response: ServerResponse, { first, piece }: Body, onEnd: () => void): void => {
  let sent = 0
  response.write(first)
  response.once("close", onEnd)
  const more = (): void => {
    while (sent < offered && !response.destroyed) {
      sent += piece.length
      if (!response.write(piece)) return void response.once("drain", more)
    }
    response.end()
  }
  more()
}

const child = fileURLToPath(new URL("memory.ts", import.meta.url))
const run = (args: ReadonlyArray<string>) =>
  Effect.promise(async () => {
    const options = ["--expose-gc", "--import", "tsx", "--conditions", "development", child, ...args]
    const { stdout } = await promisify(execFile)(process.execPath, options)
    return JSON.parse(stdout) as { tag?: string; retryable?: boolean; megabytes: number }
  })

const cases = clients.flatMap(([client]) => [...Object.keys(bodies), packed].map((name) => ({ client, name })))

describe("the memory of a body without an end", () => {
  for (const { client, name } of share(cases, 11)) {
    it.scopedLive(`${name}, ${client}`, () =>
      Effect.gen(function* () {
        const unpacked = Zlib.gzipSync(Buffer.concat([Buffer.from('{"choices":"'), Buffer.alloc(offered, "x")]))
        let closed = 0
        const { url } = yield* serving((request, response) => {
          const body = bodies[name]
          if (request.url?.startsWith("/small") === true) {
            response.writeHead(500, { "content-type": json }).end("{}")
          } else if (body === undefined) {
            response.writeHead(200, { "content-type": json, "content-encoding": "gzip" }).end(unpacked)
          } else {
            response.writeHead(body.status, { "content-type": body.type })
            pour(response, body, () => closed++)
          }
        })
        const mode = bodies[name]?.type === sse ? "stream" : "generate"
        const { megabytes, retryable, tag } = yield* run([client, url, "/large", mode])
        console.log(`memory ${name}, ${client}: ${megabytes} MB, ${tag}`)
        const expected = tags[name] ?? "InvalidResponse"
        assert.strictEqual(tag, expected)
        // Two of the clients ask for nothing that is packed, and unpack nothing: to them it is no JSON.
        if (name !== packed) assert.strictEqual(retryable, expected !== "InvalidResponse")
        assert.isAtMost(megabytes, bound)
        if (name !== packed) assert.strictEqual(closed, 1)
      })
    )
  }
})
