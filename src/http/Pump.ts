/**
 * Drives one answer into a connection: decides the status, writes the frames as fast as the reader takes them, keeps a
 * silent connection alive, and breaks it off where the answer broke.
 *
 * The faces of `HttpReply` and `NodeReply` give it a {@link Sink} each.
 *
 * @since 0.2.0
 */

import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Random from "effect/Random"
import type * as Stream from "effect/Stream"
import type * as Chat from "../chat/Chat.js"
import * as ChatStream from "../chat/stream/ChatStream.js"
import * as LlmError from "../errors/LlmError.js"
import * as TimeLimit from "../policies/TimeLimit.js"
import * as AnswerBody from "./AnswerBody.js"
import type { Dialect, Encoder, Origin } from "./Dialect.js"
import * as ErrorResponse from "./ErrorResponse.js"
import * as EventStream from "./EventStream.js"
import * as Framing from "./Framing.js"
import * as RawFrames from "./RawFrames.js"
import type { Sdk } from "./Sdk.js"

/**
 * The options of an answer.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The dialect of the client. Default `"openai"`. */
  readonly dialect?: Dialect | undefined
  /** The model that the client is told. Default: the model that answered. */
  readonly model?: string | undefined
  /** The id of the request, as `x-request-id` and in errors. Default: a random one. */
  readonly requestId?: string | undefined
  /** More headers, or a function that gives them when the head is written. */
  readonly headers?: Readonly<Record<string, string>> | (() => Readonly<Record<string, string>>) | undefined
  /**
   * The silence after which a comment is sent. While a stream has no content yet, the first comment decides for status
   * 200. Ollama's streams have no comments. Default 15 seconds; `Infinity` never.
   */
  readonly keepAlive?: Duration.DurationInput | undefined
  /** How long a reader may take nothing before it counts as lost. Default 5 minutes. */
  readonly readerTimeout?: Duration.DurationInput | undefined
  /** Whether a stream of Chat Completions ends with the usage. Default `true`. */
  readonly includeUsage?: boolean | undefined
  /** Whether the client sees what the provider said of an error, which may name accounts and hosts. Default `false`. */
  readonly verbose?: boolean | undefined
  /**
   * Whether an answer that came in a passage of the client's dialect is written as it came. Default `false`.
   *
   * @internal
   */
  readonly raw?: boolean | undefined
  /**
   * How the frames of a stream stand in the body. Default: that of the dialect.
   *
   * @internal
   */
  readonly framing?: Framing.Framing | undefined
  /**
   * The client, if it has a need of its own.
   *
   * @internal
   */
  readonly sdk?: Sdk | undefined
  /**
   * The text of a comment after the end of a stream.
   *
   * @internal
   */
  readonly trailer?: (() => string | undefined) | undefined
}

/**
 * An answer that is to be sent: a stream of events, or a whole answer.
 *
 * @since 0.2.0
 * @category models
 */
export type Work<R> =
  | { readonly _tag: "Stream"; readonly events: Stream.Stream<Chat.Event, LlmError.LlmError, R> }
  | { readonly _tag: "Answer"; readonly answer: Effect.Effect<Chat.Response, LlmError.LlmError, R> }

/**
 * The status and the headers of a response.
 *
 * @since 0.2.0
 * @category models
 */
export interface Head {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
}

/**
 * A connection to a client.
 *
 * @since 0.2.0
 * @category models
 */
export interface Sink {
  /** Sends the head: once, before everything else. */
  readonly head: (head: Head) => void
  /** Sends text. Returns an effect that ends when there is room again; `undefined` if there is room now. */
  readonly write: (text: string) => Effect.Effect<void> | undefined
  /** Ends a body that is whole, with a last text. */
  readonly end: (last?: string) => void
  /** Sends a last text and breaks the connection off; `undefined` breaks it off at once. */
  readonly abort: (last: string | undefined) => Effect.Effect<void>
  /** Tells the client before the head that work goes on, if the connection can. */
  readonly processing?: (() => void) | undefined
}

const defaultKeepAlive = Duration.seconds(15)

/** A slow reader is one that reads; a phone in a tunnel comes back within minutes. */
const defaultReaderTimeout = Duration.minutes(5)

/** Random hexadecimal digits. */
const randomId = Effect.map(Effect.replicateEffect(Random.nextIntBetween(0, 0x1_0000_0000), 4), (parts) =>
  parts.map((part) => part.toString(16).padStart(8, "0")).join("")
)

/** How ids begin in each dialect; some clients look at it. */
const prefixes: { readonly [K in Dialect]?: string } = {
  openai: "chatcmpl-",
  responses: "resp_",
  anthropic: "msg_"
}

/** The reader took nothing for too long. */
class ReaderLost {
  readonly _tag = "ReaderLost"
}

/** One connection, and what was sent on it. */
class Connection {
  /** Whether the head was sent. */
  decided = false
  /** Whether something was written since the last look. */
  busy = false
  /** Whether the reader has to catch up. */
  full = false
  /** Whether nothing may follow. */
  over = false

  constructor(
    readonly sink: Sink,
    private readonly patience: Duration.Duration
  ) {}

  head(head: Head): void {
    this.decided = true
    this.sink.head(head)
  }

  end(last?: string): void {
    this.over = true
    this.sink.end(last)
  }

  /** Breaks the connection off after a last text, for which the reader has as long as for any other. */
  abort(last: string | undefined): Effect.Effect<void> {
    this.over = true
    const { sink } = this
    if (last === undefined) return sink.abort(undefined)
    return Effect.flatMap(Effect.timeoutOption(sink.abort(last), this.patience), (sent) =>
      sent._tag === "None" ? sink.abort(undefined) : Effect.void
    )
  }

  /** Writes, and waits for room as long as the reader's patience allows. */
  write(text: string): Effect.Effect<void, ReaderLost> | undefined {
    this.busy = true
    const room = this.sink.write(text)
    if (room === undefined) return undefined
    this.full = true
    return Effect.timeoutFail(room, { duration: this.patience, onTimeout: () => new ReaderLost() }).pipe(
      Effect.tap(() => {
        this.full = false
      })
    )
  }
}

/** The headers of the options. Names in lower case: a name in two cases would be one header with two values. */
const givenBy = ({ headers = {} }: Options): Record<string, string> => {
  const given = typeof headers === "function" ? headers() : headers
  const own: Record<string, string> = {}
  for (const name in given) own[name.toLowerCase()] = given[name] as string
  return own
}

const json = { "content-type": "application/json" }

const encoder = new TextEncoder()

/** The bytes of a text. */
const lengthOf = (text: string): string => String(encoder.encode(text).byteLength)

/**
 * Sends an answer. Interrupting it interrupts the call behind it, which closes its socket; the sink is then the face's
 * business.
 *
 * @since 0.2.0
 * @category running
 */
export const run = <R>(work: Work<R>, sink: Sink, options: Options): Effect.Effect<void, never, R> =>
  options.requestId === undefined
    ? Effect.flatMap(randomId, (id) => pumped(work, sink, options, id, `req_${id}`))
    : pumped(work, sink, options, options.requestId, options.requestId)

const pumped = <R>(
  work: Work<R>,
  sink: Sink,
  options: Options,
  id: string,
  requestId: string
): Effect.Effect<void, never, R> =>
  Effect.withFiberRuntime((fiber) => {
    const { dialect = "openai", includeUsage, model, raw = false, sdk, verbose } = options
    const framing = options.framing ?? Framing.of(dialect)
    const time = TimeLimit.timeOf(fiber)
    const created = Math.floor(time.clock.unsafeCurrentTimeMillis() / 1000)
    const told: ErrorResponse.Options = { dialect, requestId, sdk, verbose }
    const origin: Origin = { ...told, id: (prefixes[dialect] ?? "") + id, created, includeUsage, model }
    const connection = new Connection(sink, Duration.decode(options.readerTimeout ?? defaultReaderTimeout))

    const headOf = (status: number, own: Readonly<Record<string, string>>): Head => {
      const headers = givenBy(options)
      headers["x-request-id"] = requestId
      return { status, headers: Object.assign(headers, own) }
    }
    const decide = (): void => {
      if (!connection.decided) connection.head(headOf(200, framing.headers))
    }

    /** Sends a whole body of JSON. */
    const sendJson = (status: number, own: Readonly<Record<string, string>>, text: string): void => {
      const head = headOf(status, own)
      connection.head({ ...head, headers: Object.assign(head.headers, { "content-length": lengthOf(text) }) })
      connection.end(text)
    }
    const sendError = ({ body, headers, status }: ErrorResponse.ErrorResponse): void =>
      sendJson(status, headers, JSON.stringify(body))

    /** Ends what the answer's failure left: with a status, or with an error frame and a broken connection. */
    const failed = (cause: Cause.Cause<LlmError.LlmError | ReaderLost>, frames?: Encoder): Effect.Effect<void> => {
      const failure = Cause.failureOption(cause)
      if (failure._tag === "Some" && failure.value._tag === "ReaderLost") return connection.abort(undefined)
      const error = failure._tag === "Some" ? (failure.value as LlmError.LlmError) : undefined
      const logged = error === undefined ? Effect.logError("an answer could not be made", cause) : Effect.void
      if (connection.decided) return Effect.zipRight(logged, connection.abort(frames?.fail(error ?? bug) ?? ""))
      sendError(error === undefined ? ErrorResponse.internal(told) : ErrorResponse.make(error, told))
      return logged
    }

    /** Ends a stream that is whole. */
    const ended = (): void => connection.end(framing.end(options.trailer?.()))

    let finished = false
    const send = (frames: Encoder) => (event: Chat.Event) => {
      finished ||= event._tag === "Finish"
      const text = frames.push(event)
      if (typeof text !== "string") return Effect.fail(text)
      if (text === "") return undefined
      decide()
      return connection.write(text)
    }

    const main = (): Effect.Effect<void, never, R> => {
      if (work._tag === "Answer") {
        // An answer that cannot be written as JSON is a defect, of which the client is told.
        const written = Effect.map(
          work.answer,
          (answer) =>
            (raw ? RawFrames.textOf(dialect, answer, sdk) : undefined) ??
            JSON.stringify(AnswerBody.make(dialect, answer, origin))
        )
        return Effect.matchCauseEffect(written, {
          onFailure: (cause) => failed(cause),
          onSuccess: (text) => Effect.sync(() => sendJson(200, json, text))
        })
      }
      const codec = EventStream.make(dialect, origin)
      const frames = framing.over(raw ? RawFrames.encoder(dialect, codec) : codec)
      return Effect.matchCauseEffect(ChatStream.forEach(work.events, send(frames)), {
        onFailure: (cause) => failed(cause, frames),
        onSuccess: () => (finished ? Effect.sync(ended) : failed(Cause.fail(unfinished(options.model)), frames))
      })
    }

    const interval = Duration.toMillis(options.keepAlive ?? defaultKeepAlive)
    if (interval === Number.POSITIVE_INFINITY) return main()
    let stop: (() => void) | undefined
    /** Looks after each interval whether something was written in it. A fiber for it would cost ten times as much. */
    const look = (): void => {
      stop = TimeLimit.startTimer(time, interval, look)
      const silent = !connection.busy && !connection.full && !connection.over
      connection.busy = false
      if (!silent) return
      if (!connection.decided && sink.processing !== undefined) sink.processing()
      else if (work._tag === "Stream" && framing.idle !== undefined) {
        decide()
        sink.write(framing.idle)
      }
    }
    return Effect.ensuring(
      Effect.suspend(() => {
        stop = TimeLimit.startTimer(time, interval, look)
        return main()
      }),
      Effect.sync(() => stop?.())
    )
  })

/** What the client is told of events that end without `Finish`: a clean end would make them look whole. */
const unfinished = (model: string | undefined) =>
  new LlmError.StreamInterrupted({
    provider: "steadfast",
    model,
    message: "the events ended without Finish",
    delivery: "unknown",
    received: 0,
    partial: ""
  })

/** What the client of a stream is told of a defect. */
const bug = new LlmError.ServerError({ provider: "steadfast", message: "this service failed", delivery: "unknown" })
