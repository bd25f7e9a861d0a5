/**
 * The provider, in a process of its own: `/json/v1` answers with one short answer, `/sse/<tokens>/v1` streams so many
 * tokens and writes each frame alone, `/open/v1` begins a stream and does not end it. It says by message at which address it is.
 */
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { framesOf, openAiBody, responseHeaders, streamHeaders } from "./wire.js"

const body = Buffer.from(openAiBody)
const jsonHeaders = { ...responseHeaders, "content-length": body.length }

const known = new Map<number, ReadonlyArray<Buffer>>()

const frames = (tokens: number): ReadonlyArray<Buffer> => {
  const made = known.get(tokens) ?? framesOf(tokens).map((frame) => Buffer.from(frame))
  known.set(tokens, made)
  return made
}

const stream = (response: ServerResponse, frames: ReadonlyArray<Buffer>): void => {
  response.writeHead(200, streamHeaders)
  let next = 0
  const write = (): void => {
    response.write(frames[next++])
    if (next === frames.length) response.end()
    else if (!response.destroyed) setImmediate(write)
  }
  write()
}

/** A stream that has begun, and goes on when its reader has left. */
const open = (response: ServerResponse): void => {
  response.writeHead(200, streamHeaders)
  for (const frame of frames(2).slice(0, 2)) response.write(frame)
}

const server = createServer((incoming, response) => {
  incoming.resume()
  incoming.on("end", () => {
    const tokens = /^\/sse\/(\d+)\//.exec(incoming.url ?? "")?.[1]
    if (incoming.url?.startsWith("/open/")) open(response)
    else if (tokens === undefined) response.writeHead(200, jsonHeaders).end(body)
    else stream(response, frames(Number(tokens)))
  })
})

server.keepAliveTimeout = 600_000
server.listen(0, "127.0.0.1", () => {
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
process.on("disconnect", () => process.exit())
