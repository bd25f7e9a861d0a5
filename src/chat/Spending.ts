/**
 * The holds of `Spend` around the attempts of a leaf: taken before each, and replaced by what it cost. Outside of any
 * scope it is one lookup.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Attempt from "../calls/Attempt.js"
import type { Delivery, LlmError } from "../errors/LlmError.js"
import * as Immediate from "../policies/Immediate.js"
import * as Spend from "../policies/spend/Spend.js"
import type * as Chat from "./Chat.js"
import * as ChatStream from "./stream/ChatStream.js"

const inForce = (fiber: Fiber.RuntimeFiber<unknown, unknown>): boolean =>
  Context.get(fiber.currentContext, Spend.Spend) !== undefined

const take = (fiber: Fiber.RuntimeFiber<unknown, unknown>, target: Attempt.Target, request: Chat.Request) =>
  Spend.hold(
    fiber.currentContext,
    { provider: target.provider, model: target.model, prompt: request, maxTokens: request.maxTokens },
    Context.get(fiber.currentDefaultServices, Clock.Clock).unsafeCurrentTimeMillis()
  )

/** The provider itself keeps the answer within the hold. */
const bounded = (request: Chat.Request, hold: Spend.Hold): Chat.Request =>
  hold.maxTokens === request.maxTokens ? request : { ...request, maxTokens: hold.maxTokens }

const deliveryOf = (exit: Exit.Exit<unknown, LlmError>): Delivery => {
  const failure = exit._tag === "Failure" ? Option.getOrUndefined(Cause.failureOption(exit.cause)) : undefined
  return failure?.delivery ?? "unknown"
}

/**
 * Makes one attempt under a hold, if a scope is in force; `end` follows with its exit. Has to be run uninterruptibly.
 *
 * @since 0.2.0
 * @category combinators
 */
export const attempt = (
  fiber: Fiber.RuntimeFiber<unknown, unknown>,
  target: Attempt.Target,
  request: Chat.Request,
  run: (request: Chat.Request, end: End) => Effect.Effect<Chat.Response, LlmError>,
  end: End
): Effect.Effect<Chat.Response, LlmError> => {
  if (!inForce(fiber)) return run(request, end)
  const held = (hold: ReturnType<typeof take>) => {
    if (hold === undefined) return run(request, end)
    if (hold._tag !== "Hold") return end(Exit.fail(hold))
    return run(bounded(request, hold), (exit) => {
      hold.settle({ usage: exit._tag === "Success" ? exit.value.usage : undefined, delivery: deliveryOf(exit) })
      return end(exit)
    })
  }
  return Immediate.tried(() => take(fiber, target, request), held, end)
}

type End = Immediate.End<Chat.Response, LlmError>

/**
 * The same for a stream.
 *
 * @since 0.2.0
 * @category combinators
 */
export const source = (
  target: Attempt.Target,
  request: Chat.Request,
  open: (request: Chat.Request) => ChatStream.Source
): ChatStream.Source =>
  Effect.withFiberRuntime((fiber) => {
    if (!inForce(fiber)) return open(request)
    const taken = Effect.acquireRelease(
      Effect.sync(() => take(fiber, target, request)),
      (hold) => Effect.sync(() => (hold?._tag === "Hold" ? hold.release() : undefined))
    )
    return Effect.flatMap(taken, (hold) => {
      if (hold === undefined) return open(request)
      if (hold._tag !== "Hold") return Effect.succeed(Effect.fail(Option.some(hold)))
      return ChatStream.guarded(open(bounded(request, hold)), (entered) =>
        Effect.sync(() =>
          entered(({ exit, usage }) => Effect.sync(() => hold.settle({ usage, delivery: deliveryOf(exit) })))
        )
      )
    })
  })
