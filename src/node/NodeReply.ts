/**
 * Answers clients on `node:http`, with a reply of `effect-steadfast/http`.
 *
 * Back pressure goes through `drain`. A client that hangs up interrupts the call, which closes the provider's socket at
 * once. A stream that breaks ends with the error frame and a destroyed socket.
 *
 * @example
 * import { createServer } from "node:http"
 * import { Effect } from "effect"
 * import type { ChatModel } from "effect-steadfast"
 * import { HttpReply } from "effect-steadfast/http"
 * import { NodeReply } from "effect-steadfast/node"
 *
 * declare const model: ChatModel.ChatModel
 *
 * createServer((request, response) => {
 *   const served = Effect.flatMap(NodeReply.json(request), (body) =>
 *     NodeReply.send(HttpReply.serve("openai", body, () => model), response)
 *   )
 *   Effect.runFork(served)
 * }).listen(8080)
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as Effect from "effect/Effect"
import * as HttpReply from "../http/HttpReply.js"
import type * as Pump from "../http/Pump.js"

/** The most bytes of a request: images come inline. */
const maxBytes = 32 * 1024 * 1024

/**
 * The options of {@link json}.
 *
 * @since 0.2.0
 * @category options
 */
export interface JsonOptions {
  /** The most bytes of a body. Default 32 MiB. */
  readonly maxBytes?: number | undefined
}

/**
 * The body of a request as parsed JSON. One that is too large, cut or no JSON is `undefined`, which
 * `RequestBody.decode` and `HttpReply.serve` refuse.
 *
 * @since 0.2.0
 * @category requests
 */
export const json = (request: IncomingMessage, options: JsonOptions = {}): Effect.Effect<unknown> =>
  Effect.async((resume) => {
    const most = options.maxBytes ?? maxBytes
    const chunks: Array<Buffer> = []
    let size = 0
    const take = (chunk: Buffer): void => {
      size += chunk.byteLength
      // What is too large is read to its end and forgotten, so that the client hears the answer.
      if (size <= most) chunks.push(chunk)
      else chunks.length = 0
    }
    const done = (): void => {
      resume(Effect.succeed(size > most ? undefined : parse(Buffer.concat(chunks).toString("utf8"))))
    }
    const broken = (): void => resume(Effect.succeed(undefined))
    request.on("data", take).once("end", done).once("error", broken).once("close", broken)
    return Effect.sync(() => {
      request.off("data", take).off("end", done).off("error", broken).off("close", broken)
    })
  })

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * The options of {@link send}.
 *
 * @since 0.2.0
 * @category options
 */
export interface SendOptions {
  /**
   * Whether a client that waits for the head is told `102 Processing` after each `keepAlive`, which leaves the status
   * open. Only for clients that connect directly over HTTP/1.1; a proxy may drop it. Default `false`.
   */
  readonly processing?: boolean | undefined
}

/** Ends when the client left, and never if it stays to the end. */
const left = (response: ServerResponse): Effect.Effect<void> =>
  Effect.async((resume) => {
    const look = (): void => {
      if (!response.writableFinished) resume(Effect.void)
    }
    if (response.destroyed) look()
    response.once("close", look)
    return Effect.sync(() => response.off("close", look))
  })

/** Ends when there is room again, or the connection is closed. */
const drained = (response: ServerResponse): Effect.Effect<void> =>
  Effect.async((resume) => {
    // An answer to a slow reader waits often: nothing of a wait may stay.
    const leave = (): void => {
      response.off("drain", done).off("close", done)
    }
    const done = (): void => {
      leave()
      resume(Effect.void)
    }
    response.on("drain", done).on("close", done)
    // The network may have taken all before anybody waits for it.
    if (!response.writableNeedDrain) done()
    return Effect.sync(leave)
  })

/** Writes a text, and ends when it and everything before it was given to the network. */
const flushed = (response: ServerResponse, text: string): Effect.Effect<void> =>
  Effect.async((resume) => {
    const done = (): void => resume(Effect.void)
    response.once("close", done)
    if (response.destroyed) done()
    else response.write(text, done)
    return Effect.sync(() => {
      response.off("close", done)
    })
  })

/**
 * A connection to a client.
 *
 * @internal
 */
export const sinkOf = (response: ServerResponse, { processing = false }: SendOptions): Pump.Sink => {
  /** What was written in this turn of the event loop: each write to a response costs, however short it is. */
  let texts = ""
  const take = (): string => {
    const all = texts
    texts = ""
    return all
  }
  const flush = (): void => {
    if (texts !== "" && !response.destroyed && !response.writableEnded) response.write(take())
  }
  return {
    head: ({ headers, status }) => {
      response.writeHead(status, headers)
    },
    write: (text) => {
      if (response.destroyed) return undefined
      if (texts === "") process.nextTick(flush)
      texts += text
      if (texts.length >= response.writableHighWaterMark) flush()
      return response.writableNeedDrain ? drained(response) : undefined
    },
    end: (last = "") => {
      const rest = take() + last
      if (rest === "") response.end()
      else response.end(rest)
    },
    abort: (last) =>
      Effect.zipRight(
        last === undefined ? Effect.sync(flush) : Effect.suspend(() => flushed(response, take() + last)),
        Effect.sync(() => {
          response.destroy()
        })
      ),
    processing: processing ? () => response.writeProcessing() : undefined
  }
}

/**
 * Sends a reply, and ends with it. A client that leaves interrupts the call behind it. If it is interrupted itself, as
 * when the server stops, the connection is closed; so it is by a head that cannot be written.
 *
 * @since 0.2.0
 * @category running
 */
export const send = <R = never>(
  reply: HttpReply.HttpReply<R>,
  response: ServerResponse,
  options: SendOptions = {}
): Effect.Effect<void, never, R> =>
  Effect.raceFirst(HttpReply.run(reply, sinkOf(response, options)), left(response)).pipe(
    Effect.onError(() =>
      Effect.sync(() => {
        response.destroy()
      })
    )
  )
