/**
 * One request of a client, from its head to its end, with what it holds: a place in the gateway, a place of its key,
 * and a running call.
 *
 * @since 0.2.0
 */

import type { IncomingMessage, ServerResponse } from "node:http"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberId from "effect/FiberId"
import * as Runtime from "effect/Runtime"
import * as Tracer from "effect/Tracer"
import * as Call from "../calls/Call.js"
import * as Labels from "../calls/Labels.js"
import * as Passage from "../chat/Passage.js"
import type { InvalidRequest } from "../errors/LlmError.js"
import * as ErrorResponse from "../http/ErrorResponse.js"
import * as Prices from "../policies/spend/Prices.js"
import * as Spend from "../policies/spend/Spend.js"
import * as Body from "./Body.js"
import * as ClientKeys from "./ClientKeys.js"
import type * as Controls from "./Controls.js"
import type * as Current from "./Current.js"
import type * as Need from "./Need.js"
import type * as Refusal from "./Refusal.js"
import * as Respond from "./Respond.js"
import type { Place, Seats } from "./Shared.js"

/** The labels of a request that are not said of its client already. */
const others = (labels: NonNullable<Controls.Controls["labels"]>, client: ClientKeys.Client) =>
  Object.fromEntries(Object.entries(labels).filter(([name]) => !Object.hasOwn(client.labels, name)))

/**
 * Breaks off where a client takes nothing for so long of an answer that is written whole: it holds its place no longer
 * than the reader of a stream.
 */
const boundReader = (response: ServerResponse, millis: number): void => {
  const { socket } = response
  if (socket === null) return
  socket.setTimeout(millis)
  // Before `node:http` hears of it, which sets the time of an idle connection.
  response.prependOnceListener("finish", () => socket.setTimeout(0))
}

/**
 * A request that is being served.
 *
 * @since 0.2.0
 * @category models
 */
export class Exchange {
  private place: { readonly spend?: Place["spend"]; readonly leave: () => void } | undefined
  private over = false
  /** Ends what works for a client that left. */
  private left: (() => void) | undefined

  constructor(
    /** The configuration that this request is served by, to its end. */
    readonly now: Current.Current,
    readonly client: ClientKeys.Client,
    readonly request: IncomingMessage,
    readonly response: ServerResponse,
    /** The id of the request and of its call. */
    readonly id: string,
    /** What errors are told with. */
    readonly telling: ErrorResponse.Options,
    private readonly runtime: Runtime.Runtime<never>,
    private readonly held: Body.Held,
    private readonly ended: () => undefined
  ) {
    const closed = (): undefined => this.end()
    response.once("close", closed)
    // One that waits in line behind another of its connection does not hear that the connection was closed.
    if (response.socket === null) {
      const { socket } = request
      socket.setMaxListeners(0).once("close", closed)
      response.once("close", () => socket.off("close", closed))
    }
  }

  /** Gives back what the request holds. */
  private end(): undefined {
    if (this.over) return
    this.over = true
    this.place?.leave()
    this.ended()
    this.left?.()
  }

  /** Reads the body, and tells the client if it is none. */
  body(then: (body: Body.Body) => void): undefined {
    this.bytes((bytes) => {
      const body = Body.parse(bytes)
      if ("status" in body) this.refuse(body)
      else then(body)
    })
  }

  /** Reads the body as bytes. */
  bytes(then: (bytes: Buffer) => void): undefined {
    Body.read(this.request, this.now.config.server.maxBodyBytes, this.held, (body) => {
      if (body === undefined) return
      if (Buffer.isBuffer(body)) this.guarded(() => then(body))
      else this.refuse(body)
    })
  }

  /** Runs what may have a bug: the client hears of it, and the others are served on. */
  guarded(run: () => void): undefined {
    try {
      run()
    } catch (cause) {
      this.broken(cause)
    }
  }

  /** Tells a bug, as far as the client can still be told something. */
  private broken(cause: unknown): undefined {
    const { response, telling } = this
    this.fork(Effect.logError("a request could not be served", cause))
    Respond.error(response, ErrorResponse.internal(telling))
    if (!response.writableEnded) response.destroy()
  }

  /** Goes on when it has a place of the client's key. If it gets none, the client knows then. */
  enter(need: Need.Need, then: () => void): undefined {
    const { client } = this
    if (client.seats !== undefined) return this.enterShared(client.seats, need, then)
    const refused = ClientKeys.enter(client, need.tokens, performance.now())
    if (refused !== undefined) return this.refuse(refused)
    this.place = { leave: () => ClientKeys.leave(client) }
    then()
  }

  private enterShared(seats: Seats, { most, tokens }: Need.Need, then: () => void): undefined {
    const { key } = this.client
    const usd = key.usdPerDay === undefined ? 0 : most(Context.get(this.runtime.context, Prices.Prices))
    seats.enter(key, { tokens, usd }, (answer) => {
      if ("status" in answer) return this.refuse(answer)
      if (this.over) return answer.leave()
      this.place = answer
      this.guarded(then)
    })
  }

  refuse(refusal: Refusal.Refusal): undefined {
    Respond.refuse(this.response, refusal, this.telling)
    // What is left of its body takes nobody's place.
    this.end()
  }

  /** Goes on after a while, or at once for 0 milliseconds. A client that leaves ends it. */
  after(millis: number, then: () => void): undefined {
    if (millis <= 0) return then() as undefined
    const fiber = this.fork(Effect.map(Effect.sleep(millis), () => this.guarded(then)))
    this.left = () => fiber.unsafeInterruptAsFork(FiberId.none)
    if (this.over) this.left()
  }

  /** Tells a mistake in the request. */
  invalid(error: InvalidRequest): undefined {
    Respond.error(this.response, ErrorResponse.make(error, this.telling))
  }

  /**
   * Runs the work of the request under its context: labels, spending, the client's span, the id of the call. A client
   * that leaves interrupts it.
   */
  run(effect: Effect.Effect<void>, controls: Controls.Controls, passage?: Passage.Passage): undefined {
    const { client, place } = this
    if (client.key.usdPerDay === undefined) return this.begin(effect, controls, passage, undefined)
    if (client.seats !== undefined) return this.begin(effect, controls, passage, place?.spend)
    // An account is there at once, or made at once.
    const scope = Runtime.runSync(this.runtime)(ClientKeys.spendOf(client, Date.now()))
    return this.begin(effect, controls, passage, scope)
  }

  private begin(
    effect: Effect.Effect<void>,
    { labels, parent }: Controls.Controls,
    passage: Passage.Passage | undefined,
    spend: Spend.Scope | undefined
  ): undefined {
    const { client, id, response, runtime } = this
    const { readerTimeout } = this.now.config.server
    const services = new Map<string, unknown>(runtime.context.unsafeMap)
    services.set(Call.Ids.key, () => id)
    // A name of ours comes first, and is nobody else's: reports count by it.
    const own = labels === undefined ? client.labels : Labels.bounded({ ...client.labels, ...others(labels, client) })
    services.set(Call.CurrentLabels.key, own)
    if (spend !== undefined) services.set(Spend.Spend.key, spend)
    if (parent !== undefined) services.set(Tracer.ParentSpan.key, parent)
    if (passage !== undefined) services.set(Passage.Passage.key, passage)
    // A runtime of its own: to set the context within the fiber costs more.
    const context: Context.Context<never> = Context.unsafeMake(services)
    const fiber = Runtime.runFork(Runtime.make({ ...runtime, context }))(effect)
    this.left = () => {
      if (!response.writableFinished) fiber.unsafeInterruptAsFork(FiberId.none)
    }
    if (this.over || response.destroyed) this.left()
    fiber.addObserver((exit) => {
      if (Exit.isFailure(exit)) {
        if (Cause.isInterruptedOnly(exit.cause)) response.destroy()
        else this.broken(exit.cause)
      } else if (response.writableLength > 0) boundReader(response, Duration.toMillis(readerTimeout))
    })
  }

  private fork<A>(effect: Effect.Effect<A>) {
    return Runtime.runFork(this.runtime)(effect)
  }
}
