/**
 * A line between the primary and one worker: notes, and questions with answers, in order, over the channel that Node
 * opens between them.
 *
 * What is sent in one turn of the event loop goes as one message. What the other side sends is checked by a schema;
 * what does not fit is dropped, and a question is then answered with nothing.
 *
 * @since 0.2.0
 */

import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"

/**
 * The other side did not answer: it is gone, it is late, or its answer was none.
 *
 * @internal
 */
export class Lost extends Data.TaggedError("Lost")<{ readonly op: string; readonly why: string }> {
  override get message(): string {
    return `${this.op}: ${this.why}`
  }
}

/** The longest wait for an answer that needs no waiting, in milliseconds. A round takes a tenth of one. */
const patience = 1000

type Item = readonly [kind: "note" | "ask" | "answer", op: string, id: number, body: unknown]

const isItem = (u: unknown): u is Item =>
  Array.isArray(u) &&
  (u[0] === "note" || u[0] === "ask" || u[0] === "answer") &&
  typeof u[1] === "string" &&
  typeof u[2] === "number"

/** The items of a message. Without a schema: each call has a dozen. */
const itemsOf = (message: unknown): ReadonlyArray<unknown> => {
  const items = (message as { readonly steadfast?: unknown } | null | undefined)?.steadfast
  return Array.isArray(items) ? items : []
}

type Handler = (body: unknown, reply: (value: unknown) => void, id: number) => void

/**
 * One end of a line.
 *
 * @internal
 */
export interface Port {
  /** Sends what needs no answer. */
  readonly note: (op: string, body: unknown) => void
  /** Asks, and hears the answer later; `undefined` if the line broke. Returns the number of the question. */
  readonly post: (op: string, body: unknown, answered: (value: unknown) => void) => number
  /** Takes no answer to a question any more. */
  readonly forget: (id: number) => void
  /** Asks, and waits a second at most, or `millis`. */
  readonly ask: <A, I>(
    op: string,
    body: unknown,
    schema: Schema.Schema<A, I>,
    millis?: number
  ) => Effect.Effect<A, Lost>
  /** Hears notes and questions of one kind. `id` is the number that the other side gave to the question. */
  readonly on: <A, I>(
    op: string,
    schema: Schema.Schema<A, I>,
    handler: (body: A, reply: (value: unknown) => void, id: number) => void
  ) => void
  readonly receive: (message: unknown) => void
  /** Sends at once what waits for the end of this turn. */
  readonly flush: () => void
  readonly close: () => void
}

/**
 * A line that sends by `send`.
 *
 * @internal
 */
export const make = (send: (message: unknown) => void): Port => {
  const waiting = new Map<number, (value: unknown) => void>()
  const handlers = new Map<string, Handler>()
  let last = 0
  let batch: Array<Item> = []
  let isOpen = true

  const flush = (): void => {
    const items = batch
    batch = []
    if (items.length > 0 && isOpen) send({ steadfast: items })
  }

  const put = (item: Item): void => {
    if (batch.push(item) === 1) setImmediate(flush)
  }

  const post: Port["post"] = (op, body, answered) => {
    const id = ++last
    if (!isOpen) {
      queueMicrotask(() => answered(undefined))
      return id
    }
    waiting.set(id, answered)
    put(["ask", op, id, body])
    return id
  }

  const take = ([kind, op, id, body]: Item): void => {
    if (kind === "answer") {
      const answered = waiting.get(id)
      waiting.delete(id)
      answered?.(body)
      return
    }
    const reply = (value: unknown): void => {
      if (kind === "ask") put(["answer", op, id, value])
    }
    const handler = handlers.get(op)
    if (handler === undefined) reply(undefined)
    else handler(body, reply, id)
  }

  return {
    note: (op, body) => put(["note", op, 0, body]),
    post,
    forget: (id) => void waiting.delete(id),
    ask: (op, body, schema, millis = patience) => {
      const decode = Schema.decodeUnknownEither(schema)
      return Effect.async((resume) => {
        const id = post(op, body, (value) => {
          clearTimeout(timer)
          const read = decode(value)
          const why = value === undefined ? "no answer" : "an answer of another kind"
          resume(Either.isRight(read) ? Effect.succeed(read.right) : Effect.fail(new Lost({ op, why })))
        })
        const timer = setTimeout(() => {
          waiting.delete(id)
          resume(Effect.fail(new Lost({ op, why: `no answer within ${millis} ms` })))
        }, millis)
        return Effect.sync(() => {
          clearTimeout(timer)
          waiting.delete(id)
        })
      })
    },
    on: (op, schema, handler) => {
      const decode = Schema.decodeUnknownEither(schema)
      handlers.set(op, (body, reply, id) => {
        const read = decode(body)
        if (Either.isRight(read)) handler(read.right, reply, id)
        else reply(undefined)
      })
    },
    receive: (message) => {
      for (const item of itemsOf(message)) if (isItem(item)) take(item)
    },
    flush,
    close: () => {
      isOpen = false
      const all = [...waiting.values()]
      waiting.clear()
      for (const answered of all) answered(undefined)
    }
  }
}
