/**
 * Going on after a stream broke: the three modes, and what each promises of what is delivered.
 *
 * | mode | promise |
 * |---|---|
 * | `strict` | what was delivered is a prefix of exactly one attempt; replay only while nothing was delivered |
 * | `restart` | `Reset` comes before anything of a new attempt |
 * | `continue` | the first part of one attempt, and then what another was asked to go on with; `Seam` marks the joint |
 *
 * {@link retry} and {@link orElse} say which source follows an error; everything else is the same for both. In all
 * modes there is one `Finish` or one error at the end, a tool call is delivered at most once, and the usage of lost
 * attempts, as far as they told it, is added to that of the last one.
 *
 * Gotchas: in `restart` and `continue` tool calls are held back until the end, because one that was delivered may have
 * been carried out. `continue` goes on only in text: never inside a tool call, after reasoning or a finish reason, or
 * in an answer that must be JSON, and only with models that `Continuation` knows; elsewhere the error stands.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as ExecutionStrategy from "effect/ExecutionStrategy"
import * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Scope from "effect/Scope"
import type * as Resilience from "../../calls/Resilience.js"
import type { LlmError } from "../../errors/LlmError.js"
import * as RetryBudget from "../../policies/retry/RetryBudget.js"
import { announced } from "../../policies/retry/RetryDecision.js"
import * as Usage from "../../policies/Usage.js"
import type * as Chat from "../Chat.js"
import * as ChatStream from "./ChatStream.js"
import * as Continuation from "./Continuation.js"
import type * as StreamDecoder from "./StreamDecoder.js"

/**
 * @since 0.1.0
 * @category models
 */
export type Mode = "strict" | "restart" | "continue"

/**
 * What can be asked for a stream, and how it is asked to go on, if it can be.
 *
 * @since 0.1.0
 * @category models
 */
export interface Candidate {
  readonly open: (request: Chat.Request) => ChatStream.Source
  readonly continuation: Continuation.Method | undefined
}

/**
 * Where the stream of the running attempt stands: its leaf writes, whoever replays it reads.
 *
 * @since 0.1.0
 * @category context
 */
export class Progress extends Context.Tag("steadfast/Replay/Progress")<Progress, { cursor: StreamDecoder.Cursor }>() {}

/**
 * Set where a provider is to be asked for the rest of an answer that it kept.
 *
 * @since 0.1.0
 * @category context
 */
export class Resume extends Context.Tag("steadfast/Replay/Resume")<
  Resume,
  { readonly id: string; readonly after: number }
>() {}

const begun: StreamDecoder.Cursor = { inside: "nothing", usage: undefined }

// -----------------------------------------------------------------------------
// the pure part
// -----------------------------------------------------------------------------

/** How the next attempt joins what was delivered. */
type Joint =
  | { readonly _tag: "Silent" }
  | { readonly _tag: "Reset" }
  | { readonly _tag: "Resume"; readonly from: { readonly id: string; readonly after: number } }
  | { readonly _tag: "Seam"; readonly method: Continuation.Method; readonly text: string }

/** What was delivered so far, and what must be held back to keep the promise of the mode. */
const makeDelivery = (mode: Mode, request: Chat.Request) => {
  let attempt = 1
  let content = false
  let reasoned = false
  let text = ""
  /** White space at the end is held back in `continue` mode: no provider goes on from it. */
  let blank = ""
  let calls: Array<Chat.Event> = []
  let lost: Chat.Usage | undefined
  let seam: { readonly state: Continuation.Seam; readonly method: Continuation.Method } | undefined
  let continued = false

  const deliverText = (piece: string, out: Array<Chat.Event>): void => {
    if (mode !== "continue") {
      if (piece !== "") out.push({ _tag: "TextDelta", text: piece })
      return
    }
    const whole = blank + piece
    const end = whole.trimEnd().length
    blank = whole.slice(end)
    if (end === 0) return
    text += whole.slice(0, end)
    out.push({ _tag: "TextDelta", text: whole.slice(0, end) })
  }

  const settle = (settled: Continuation.Settled, out: Array<Chat.Event>): void => {
    if (seam === undefined) return
    const { overlap, startedOver } = settled
    out.push({ _tag: "Seam", offset: text.length, method: seam.method, overlap, startedOver })
    seam = undefined
    deliverText(settled.text, out)
  }

  const one = (event: Chat.Event, out: Array<Chat.Event>): void => {
    switch (event._tag) {
      case "Start":
        if (!continued) out.push(event)
        return
      case "TextDelta": {
        if (seam === undefined) {
          deliverText(event.text, out)
          return
        }
        const settled = seam.state.add(event.text)
        if (settled !== undefined) settle(settled, out)
        return
      }
      case "ReasoningDelta":
        reasoned = true
        if (!continued) out.push(event)
        return
      case "ToolCall":
        if (mode === "strict") out.push(event)
        else calls.push(event)
        return
      case "Usage":
        out.push({ _tag: "Usage", usage: Usage.add(lost, event.usage) ?? event.usage })
        lost = undefined
        return
      case "Reset":
        text = blank = ""
        reasoned = false
        out.push(event)
        return
      case "Seam":
        out.push(event)
        return
      case "Finish": {
        if (seam !== undefined) settle(seam.state.end(), out)
        const usage = out.findLastIndex((event) => event._tag === "Usage")
        const tail = usage === -1 ? [] : out.splice(usage)
        if (blank !== "") out.push({ _tag: "TextDelta", text: blank })
        out.push(...calls, ...tail)
        if (lost !== undefined) out.push({ _tag: "Usage", usage: lost })
        out.push(event)
      }
    }
  }

  return {
    /** What of a chunk is delivered now; possibly nothing. */
    take: (chunk: Iterable<Chat.Event>): ReadonlyArray<Chat.Event> => {
      const out: Array<Chat.Event> = []
      for (const event of chunk) one(event, out)
      content ||= out.some(ChatStream.isContent)
      return out
    },
    /** What the attempt that failed is known to have cost. */
    lose: (usage: Chat.Usage | undefined): void => {
      lost = Usage.add(lost, usage)
    },
    lost: () => lost,
    /** How another attempt may join, or `undefined` where none may. */
    joint: (cursor: StreamDecoder.Cursor, method: Continuation.Method | undefined): Joint | undefined => {
      // Without the number of its last event an answer can only be had from its beginning.
      if (cursor.resume !== undefined && (!content || cursor.resume.after >= 0)) {
        return { _tag: "Resume", from: cursor.resume }
      }
      if (!content) return { _tag: "Silent" }
      if (mode === "restart") return { _tag: "Reset" }
      const inText = cursor.inside === "text" || cursor.inside === "nothing"
      if (mode === "strict" || method === undefined) return undefined
      if (!inText || reasoned || calls.length > 0 || request.responseFormat !== undefined) return undefined
      return { _tag: "Seam", method, text }
    },
    /** Prepares for the attempt that joins so, and answers with what is to be said first. */
    join: (joint: Joint, cause: LlmError): ReadonlyArray<Chat.Event> => {
      attempt += 1
      if (joint._tag === "Resume") return []
      calls = []
      blank = ""
      if (joint._tag === "Seam") {
        continued = true
        seam = { state: Continuation.seam(joint.text), method: joint.method }
      }
      if (joint._tag !== "Reset") return []
      content = false
      reasoned = false
      return [{ _tag: "Reset", attempt, cause: cause._tag }]
    }
  }
}

// -----------------------------------------------------------------------------
// the combinators
// -----------------------------------------------------------------------------

interface Options {
  readonly mode: Mode
  readonly request: Chat.Request
  readonly first: Candidate
  /** What is asked after an error: fails, with an error, to give up. */
  readonly next: (error: LlmError) => Effect.Effect<
    {
      readonly candidate: Candidate
      readonly within: (source: ChatStream.Source) => ChatStream.Source
    },
    LlmError
  >
  /** Who would be asked after an error. */
  readonly following: Candidate
}

/** The scope of a failed source is closed before the next one is opened. */
const replaying = (options: Options): ChatStream.Source =>
  Effect.flatMap(Effect.context<Scope.Scope>(), (context) => {
    const outer = Context.get(context, Scope.Scope)
    const above = Option.getOrUndefined(Context.getOption(context as Context.Context<never>, Progress))
    const delivery = makeDelivery(options.mode, options.request)
    let scope: Scope.CloseableScope | undefined
    let pull: ChatStream.Pull = Effect.fail(Option.none())
    let progress = { cursor: begun }
    /** The cursor as of what was handed out: what was read and not handed out is asked for again. */
    let handedOut = begun

    const open = (source: ChatStream.Source, from?: Resume["Type"]): Effect.Effect<void> =>
      Effect.flatMap(Scope.fork(outer, ExecutionStrategy.sequential), (opened) => {
        scope = opened
        // An attempt that is to go on, and fails before it does, leaves the answer where it stood.
        handedOut = from === undefined ? begun : { inside: progress.cursor.inside, usage: undefined, resume: from }
        progress = { cursor: handedOut }
        return Effect.map(
          Effect.mapInputContext(source, () => {
            const inner = Context.add(Context.add(context, Scope.Scope, opened), Progress, progress)
            return from === undefined ? inner : Context.add(inner, Resume, from)
          }),
          (opened) => {
            pull = opened
          }
        )
      })

    /**
     * Whoever replays us in turn sees our cursor, with what was lost here added to the cost. It does not ask for the
     * rest of an answer: it could ask somebody else for it, and it does not know what is held back here.
     */
    const report = (): void => {
      if (above === undefined) return
      const { cursor } = progress
      above.cursor = { inside: cursor.inside, usage: Usage.add(delivery.lost(), cursor.usage) }
    }

    /** From where the rest of the answer can be had, which only the one who gave its beginning has. */
    const rest = (): Resume["Type"] | undefined => {
      const { resume } = progress.cursor
      if (resume === undefined || options.following !== options.first) return undefined
      return handedOut.resume ?? { id: resume.id, after: -1 }
    }

    const replay = (error: LlmError): ChatStream.Pull => {
      const joint = delivery.joint({ ...progress.cursor, resume: rest() }, options.following.continuation)
      report()
      if (joint === undefined) return Effect.fail(Option.some(error))
      delivery.lose(joint._tag === "Resume" ? undefined : progress.cursor.usage)
      const asked =
        joint._tag === "Seam" ? Continuation.request(options.request, joint.text, joint.method) : options.request
      return Effect.zipRight(
        scope === undefined ? Effect.void : Scope.close(scope, Exit.fail(error)),
        Effect.mapInputContext(
          Effect.matchEffect(options.next(error), {
            onFailure: (error) => Effect.fail(Option.some(error)),
            onSuccess: ({ candidate, within }) => {
              const first = delivery.join(joint, error)
              const source = within(candidate.open(asked))
              return Effect.zipRight(
                open(source, joint._tag === "Resume" ? joint.from : undefined),
                first.length === 0 ? step : Effect.succeed(ChatStream.toChunk(first))
              )
            }
          }),
          (_: Context.Context<never>) => context
        )
      )
    }

    const step: ChatStream.Pull = Effect.suspend(() =>
      Effect.matchEffect(pull, {
        onSuccess: (chunk) => {
          const events = delivery.take(chunk)
          handedOut = progress.cursor
          report()
          return events.length === 0 ? step : Effect.succeed(ChatStream.toChunk(events))
        },
        onFailure: (failure) => (failure._tag === "None" ? Effect.fail(failure) : replay(failure.value))
      })
    )
    return Effect.as(open(options.first.open(options.request)), step)
  })

/**
 * What was drawn for an attempt is given back with its first content.
 *
 * @internal
 */
export const answering = (source: ChatStream.Source, draw: RetryBudget.Draw): ChatStream.Source =>
  Effect.map(source, Effect.tap(draw.answered))

/**
 * Asks the same candidate again as a policy says.
 *
 * @since 0.1.0
 * @category combinators
 */
export const retry = <Out>(
  candidate: Candidate,
  request: Chat.Request,
  policy: Schedule.Schedule<Out, LlmError>,
  mode: Mode,
  options?: Resilience.RetryOptions
): ChatStream.Source =>
  Effect.suspend(() => {
    let driver: Schedule.ScheduleDriver<unknown, LlmError> | undefined
    const draw = RetryBudget.draw(options?.group)
    return replaying({
      mode,
      request,
      first: candidate,
      following: candidate,
      next: (error) =>
        Effect.flatMap(
          driver === undefined ? Schedule.driver(announced(policy, draw)) : Effect.succeed(driver),
          (started) => {
            driver = started
            return Effect.matchEffect(started.next(error), {
              onFailure: () => Effect.fail(error),
              onSuccess: () =>
                Effect.map(started.iterationMeta, (meta) => ({
                  candidate,
                  within: (source: ChatStream.Source) =>
                    answering(ChatStream.provided(source, Schedule.CurrentIterationMetadata, meta), draw)
                }))
            })
          }
        )
    })
  })

/**
 * Asks another candidate, once, where `next` allows it: it fails, with an error, where it does not.
 *
 * @since 0.1.0
 * @category combinators
 */
export const orElse = (
  candidate: Candidate,
  that: Candidate,
  request: Chat.Request,
  next: (error: LlmError) => Effect.Effect<(source: ChatStream.Source) => ChatStream.Source, LlmError>,
  mode: Mode
): ChatStream.Source =>
  Effect.suspend(() => {
    let used = false
    return replaying({
      mode,
      request,
      first: candidate,
      following: that,
      next: (error) => {
        if (used) return Effect.fail(error)
        used = true
        return Effect.map(next(error), (within) => ({ candidate: that, within }))
      }
    })
  })
