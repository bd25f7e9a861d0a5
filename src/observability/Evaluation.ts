/**
 * Evaluation: are answers that a retry or a fallback served as good as the others?
 *
 * {@link sampled} stands around a call and names its question and its answer; {@link sampledStream} does so around a
 * stream, and names the answer by its elements. When the call has ended, its record says
 * whether its first attempt served it; then chance decides whether it is judged: by default every answer that a later
 * attempt served, and one in twenty of the others. A judge of yours gives it a score from 0 to 1, in fibers of its own,
 * after the call. {@link summary} compares the two groups.
 *
 * Records hold no prompt and no answer. Here both are held until the record is there, and after that only for the calls
 * to be judged, until they are judged. At most `capacity` calls wait for the judge; what comes then is dropped and
 * counted, and no call ever waits.
 *
 * {@link feedback} takes what the users say. It and each judgement are events of `events`, for a log.
 *
 * Gotchas:
 * - The scores are the judge's. A judge that is the judged model itself is kind to it: take another.
 * - Both groups need calls of one kind. Hard questions are retried more, and scored lower for being hard.
 * - The judge's own calls are never sampled, but cost money and run against limits. They have the label
 *   `steadfast.evaluation: judge`, and are records of the observers outside of this layer.
 * - A call that failed, or was interrupted, is not judged; nor is a stream that its reader left before the end.
 * - All elements of a sampled stream are held until its call has ended.
 *
 * @example
 * import { Effect } from "effect"
 * import { Chat, type ChatModel } from "effect-steadfast"
 * import * as Evaluation from "./Evaluation.js"
 *
 * declare const gpt: ChatModel.ChatModel
 * declare const claude: ChatModel.ChatModel
 *
 * const judged = Evaluation.layer({
 *   judge: ({ input, output }) =>
 *     Effect.map(
 *       claude.generate(Chat.prompt(`Question: ${input}\nAnswer: ${output}\nHow good is it, from 0 to 10?`)),
 *       ({ text }) => ({ score: Number.parseFloat(text) / 10, reason: text })
 *     )
 * })
 *
 * const ask = (question: string) =>
 *   gpt
 *     .generate(Chat.prompt(question))
 *     .pipe(Evaluation.sampled({ input: question, output: (answer) => answer.text }))
 *
 * const program = Effect.forEach(["Why?", "How?"], ask).pipe(Effect.zip(Evaluation.summary), Effect.provide(judged))
 *
 * @since 0.2.0
 */

import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import type * as ParseResult from "effect/ParseResult"
import * as PubSub from "effect/PubSub"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Call from "../calls/Call.js"
import type { CallRecord } from "../calls/CallRecord.js"
import type { LlmError } from "../errors/LlmError.js"
import * as PolicyOptions from "../policies/Options.js"
import { isServedLater } from "./CallSample.js"
import * as Judged from "./Judged.js"
import * as Sampled from "./Sampled.js"
import * as ScoreStats from "./ScoreStats.js"

export { type Evaluated, type Event, type Group, type Judgement, Opinion, type Summary } from "./Judged.js"
export type { SampledOptions, SampledStreamOptions } from "./Sampled.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

const share = PolicyOptions.number({ min: 0, max: 1 })
const count = PolicyOptions.number({ whole: true, min: 1 })

const options = PolicyOptions.struct({
  retried: PolicyOptions.optional(share, "The share of the calls that a later attempt served to judge", 1),
  normal: PolicyOptions.optional(share, "The share of the other calls to judge", 0.05),
  capacity: PolicyOptions.optional(count, "The calls that may wait for the judge", 100),
  concurrency: PolicyOptions.optional(
    PolicyOptions.number({ whole: true, min: 1, max: 100 }),
    "The calls that are judged at once",
    2
  ),
  timeout: PolicyOptions.optional(PolicyOptions.duration({ above: 0 }), "The time for one judgement", "1 minute"),
  minimum: PolicyOptions.optional(
    PolicyOptions.number({ whole: true, min: 10 }),
    "The judged calls of each group that it takes to tell",
    30
  )
})

/**
 * The options of {@link make} in JSON or YAML, without the judge; durations are text with a unit.
 *
 * @since 0.2.0
 * @category options
 */
export const Options = options.schema

/**
 * The options of {@link make}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<in out R = never> {
  /** Scores a call. Whatever goes wrong in it is counted, and nothing else. */
  readonly judge: (call: Judged.Evaluated) => Effect.Effect<Judged.Judgement, LlmError, R>
  /** The share of the calls that a later attempt served to judge: 0 to 1. Default 1: they are few. */
  readonly retried?: number | undefined
  /** The share of the other calls to judge: 0 to 1. Default 0.05, so that judging costs little beside the calls. */
  readonly normal?: number | undefined
  /** The calls that may wait for the judge; further ones are dropped. Default 100. */
  readonly capacity?: number | undefined
  /** The calls that are judged at once: 1 to 100. Default 2. */
  readonly concurrency?: number | undefined
  /** The time for one judgement. Default 1 minute. */
  readonly timeout?: Duration.DurationInput | undefined
  /** The judged calls of each group that it takes to tell: at least 10. Default 30. */
  readonly minimum?: number | undefined
}

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The evaluation of an application.
 *
 * @since 0.2.0
 * @category models
 */
export interface Evaluation {
  /** The observer, for `Call.observe`; {@link layer} installs it. */
  readonly observe: (record: CallRecord) => Effect.Effect<void>
  /** See {@link sampled}. */
  readonly sampled: <A, E, R>(
    self: Effect.Effect<A, E, R>,
    options: Sampled.SampledOptions<A>
  ) => Effect.Effect<A, E, R>
  /** See {@link sampledStream}. */
  readonly sampledStream: <A, E, R>(
    self: Stream.Stream<A, E, R>,
    options: Sampled.SampledStreamOptions<A>
  ) => Stream.Stream<A, E, R>
  /** See {@link feedback}. */
  readonly feedback: (callId: string, opinion: Judged.Opinion) => Effect.Effect<void, ParseResult.ParseError>
  /** All judgements so far. */
  readonly summary: Effect.Effect<Judged.Summary>
  /** Judgements and feedback, from the subscription on. A slow subscriber gets the last 1,024. */
  readonly events: Stream.Stream<Judged.Event>
}

/**
 * The evaluation of the application.
 *
 * @since 0.2.0
 * @category context
 */
export const Evaluation: Context.Tag<Evaluation, Evaluation> = Context.GenericTag<Evaluation>("steadfast/Evaluation")

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const keptEvents = 1024

/** The calls whose answer is there and whose record is not: they run, so there are not many. */
const mostHeld = 1000

const judgeLabels = { "steadfast.evaluation": "judge" }

interface Job extends Sampled.Pair {
  readonly record: CallRecord
  readonly retried: boolean
}

/**
 * A new evaluation. Its judges run as long as the scope; calls that still wait then are forgotten.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = <R = never>(given: Options<R>): Effect.Effect<Evaluation, never, R | Scope.Scope> => {
  const settings = options.read(given, "Evaluation")
  return Effect.gen(function* () {
    const jobs = yield* Queue.dropping<Job>(settings.capacity)
    const hub = yield* PubSub.sliding<Judged.Event>(keptEvents)
    const held = new Map<string, ReadonlyArray<Sampled.Pair>>()
    const sums = { retried: ScoreStats.none, normal: ScoreStats.none }
    let [dropped, judgeFailures] = [0, 0]
    let failing = false
    /** A queue that is shut down would interrupt the calls. */
    let closed = false
    const forget = Effect.suspend(() => {
      closed = true
      held.clear()
      return Queue.takeAll(jobs)
    })
    yield* Effect.addFinalizer(() => forget)

    const judge = ({ input, output, record, retried }: Job): Effect.Effect<Judged.Event, unknown, R> =>
      Effect.suspend(() => given.judge({ record, retried, input, output: output() })).pipe(
        // Where the layer is provided inside of a call, the judge is no part of it.
        Effect.mapInputContext(Context.omit(Call.CurrentCall)),
        Effect.provideService(Sampled.Judging, true),
        Call.withLabels(judgeLabels),
        Effect.timeout(settings.timeout),
        Effect.zip(Clock.currentTimeMillis),
        Effect.flatMap(([{ reason, score }, at]) => {
          if (!(score >= 0 && score <= 1)) return Effect.fail("no score")
          const cut = String(reason).slice(0, Judged.longest.note)
          const group = retried ? "retried" : "normal"
          sums[group] = ScoreStats.add(sums[group], score)
          return Effect.succeed({ _tag: "Judged", callId: record.id, at, retried, score, reason: cut } as const)
        })
      ) as Effect.Effect<Judged.Event, unknown, R>

    const work = Effect.flatMap(Queue.take(jobs), (job) =>
      Effect.matchCauseEffect(judge(job), {
        onSuccess: (event) => {
          failing = false
          return PubSub.publish(hub, event)
        },
        onFailure: () => {
          judgeFailures++
          if (failing) return Effect.void
          failing = true
          return Effect.logWarning("the judge failed; further failures are only counted")
        }
      })
    )
    yield* Effect.replicateEffect(Effect.forkScoped(Effect.forever(work)), settings.concurrency)

    const offer = (record: CallRecord, retried: boolean, pair: Sampled.Pair): Effect.Effect<void> =>
      Effect.map(Queue.offer(jobs, { record, retried, ...pair }), (isTaken) => {
        if (!isTaken) dropped++
      })

    /** Chance decides once the record is there: only then it is known which attempt served the call. */
    const decide = (record: CallRecord, pairs: ReadonlyArray<Sampled.Pair>): Effect.Effect<void> => {
      if (closed || record.outcome !== "success") return Effect.void
      const retried = isServedLater(record)
      const share = retried ? settings.retried : settings.normal
      const each = (pair: Sampled.Pair) => {
        if (share === 0 || share === 1) return share === 1 ? offer(record, retried, pair) : Effect.void
        return Effect.flatMap(Random.next, (drawn) => (drawn < share ? offer(record, retried, pair) : Effect.void))
      }
      return Effect.forEach(pairs, each, { discard: true })
    }

    const hold = (id: string, pair: Sampled.Pair): void => {
      const before = held.get(id)
      if (before === undefined && held.size >= mostHeld) dropped++
      // A call with many questions, as an agent's, is held as its newest ones.
      else held.set(id, [...(before ?? []), pair].slice(-settings.capacity))
    }

    return {
      observe: (record) =>
        Effect.suspend(() => {
          const pairs = held.get(record.id)
          if (pairs === undefined) return Effect.void
          held.delete(record.id)
          return decide(record, pairs)
        }),
      ...Sampled.make({ isClosed: () => closed, hold, decide }),
      feedback: (callId, opinion) =>
        Effect.zipWith(Schema.decodeUnknown(Judged.Opinion)(opinion), Clock.currentTimeMillis, (opinion, at) => {
          return { _tag: "Feedback", callId: callId.slice(0, Judged.longest.id), at, opinion } as const
        }).pipe(Effect.flatMap((event) => Effect.asVoid(PubSub.publish(hub, event)))),
      summary: Effect.sync(() => ({
        ...Judged.compare(sums.retried, sums.normal, settings.minimum),
        dropped,
        judgeFailures
      })),
      events: Stream.fromPubSub(hub)
    }
  })
}

/**
 * The evaluation of the application, which observes all calls under the layer.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = <R = never>(options: Options<R>): Layer.Layer<Evaluation, never, R> =>
  Layer.unwrapScoped(
    Effect.map(make(options), (self) => Layer.merge(Layer.succeed(Evaluation, self), Call.observe(self.observe)))
  )

// -----------------------------------------------------------------------------
// combinators
// -----------------------------------------------------------------------------

export const sampled: {
  /**
   * Lets a call be judged: around the model and its policies, inside or outside of `Call.make`. `input` is the
   * question. Adds no wait, and changes neither the answer nor the error.
   *
   * @since 0.2.0
   * @category combinators
   */
  <A>(options: Sampled.SampledOptions<A>): <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R | Evaluation>
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Sampled.SampledOptions<A>): Effect.Effect<A, E, R | Evaluation>
} = dual(
  2,
  <A, E, R>(self: Effect.Effect<A, E, R>, options: Sampled.SampledOptions<A>): Effect.Effect<A, E, R | Evaluation> =>
    Effect.flatMap(Evaluation, (evaluation) => evaluation.sampled(self, options))
)

export const sampledStream: {
  /**
   * Lets the call of a stream be judged: around the stream of a model and its policies, inside or outside of a call
   * that is open. `output` makes the answer of the elements. Adds no wait, and changes no element and no error.
   *
   * @since 0.2.0
   * @category combinators
   */
  <A>(
    options: Sampled.SampledStreamOptions<A>
  ): <E, R>(self: Stream.Stream<A, E, R>) => Stream.Stream<A, E, R | Evaluation>
  <A, E, R>(self: Stream.Stream<A, E, R>, options: Sampled.SampledStreamOptions<A>): Stream.Stream<A, E, R | Evaluation>
} = dual(
  2,
  <A, E, R>(
    self: Stream.Stream<A, E, R>,
    options: Sampled.SampledStreamOptions<A>
  ): Stream.Stream<A, E, R | Evaluation> =>
    Stream.unwrap(Effect.map(Evaluation, (evaluation) => evaluation.sampledStream(self, options)))
)

/**
 * What a user said of the answer of a call: an event for logs. The id is that of the record and of `Call.CurrentCall`;
 * it is not checked, and is cut to 200 characters. Fails if the opinion is none.
 *
 * @since 0.2.0
 * @category combinators
 */
export const feedback = (
  callId: string,
  opinion: Judged.Opinion
): Effect.Effect<void, ParseResult.ParseError, Evaluation> =>
  Effect.flatMap(Evaluation, (evaluation) => evaluation.feedback(callId, opinion))

/**
 * All judgements so far, compared.
 *
 * @since 0.2.0
 * @category getters
 */
export const summary: Effect.Effect<Judged.Summary, never, Evaluation> = Effect.flatMap(
  Evaluation,
  (evaluation) => evaluation.summary
)
