/**
 * Degradation: says when the second attempt has become the common path.
 *
 * Retries and fallbacks hide a bad target well: every call is served, later and dearer. This watches the records of all
 * calls. For each target it knows the share of calls that needed a second attempt, the time that backoff and queues
 * added, and the money that was wasted, over a rolling window of ten slots. At the end of each slot it decides:
 *
 * - Raised: the share was at least 20 %, or the added time's p95 at least 5 seconds, at each end for 5 minutes.
 * - Chronic: the alarm has stood for an hour.
 * - Cleared: both were at most half of that, for 5 minutes; or no call came in the whole window.
 *
 * An alarm is raised once, turns chronic at most once and is cleared once, as a log line (WARN, WARN, INFO), as an
 * event of `changes`, and as the gauge `steadfast.degraded` by `target` (1, then 0). {@link webhook} posts the events.
 * `states` is the current view.
 *
 * Gotchas:
 * - A call belongs to the target that it was meant for: that of its first attempt, or the one that this fell back from.
 * - A call that failed counts as one that needed more, so that an outage does not look like a recovery. A caller's
 *   mistake counts nowhere.
 * - It decides by a timer at the end of each slot, a minute by default. It sees the calls of this process only.
 *
 * @example
 * import { Effect, Layer, Stream } from "effect"
 * import * as Degradation from "./Degradation.js"
 *
 * const watched = Layer.provideMerge(Degradation.webhook("https://hooks.example.com/llm"), Degradation.layer())
 *
 * const told = Effect.gen(function* () {
 *   const { changes } = yield* Degradation.Degradation
 *   yield* Stream.runForEach(changes, ({ advice }) => Effect.log(advice))
 * })
 *
 * @since 0.2.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import * as HttpClientRequest from "@effect/platform/HttpClientRequest"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Call from "../calls/Call.js"
import type { CallRecord } from "../calls/CallRecord.js"
import * as PolicyOptions from "../policies/Options.js"
import * as Times from "../policies/Times.js"
import { sampleOf } from "./CallSample.js"
import * as DegradationState from "./DegradationState.js"

export type { Change, Kind, State } from "./DegradationState.js"
export type { Figures } from "./DegradationWindow.js"

// -----------------------------------------------------------------------------
// options
// -----------------------------------------------------------------------------

const share = PolicyOptions.number({ above: 0, max: 1 })
const time = PolicyOptions.duration({ above: 0 })
const finite = PolicyOptions.duration({ finite: true })

const options = PolicyOptions.struct({
  window: PolicyOptions.optional(
    PolicyOptions.duration({ min: "10 seconds", max: "1 day" }),
    "The time that the figures are about, in ten slots",
    "10 minutes"
  ),
  minimum: PolicyOptions.optional(
    PolicyOptions.number({ whole: true, min: 1 }),
    "The calls in the window that it takes to raise an alarm",
    20
  ),
  raiseShare: PolicyOptions.optional(share, "The share of second attempts that raises an alarm", 0.2),
  clearShare: PolicyOptions.optional(
    PolicyOptions.number({ min: 0, max: 1 }),
    "The share at which it clears; half of raiseShare by default"
  ),
  raiseAddedP95: PolicyOptions.optional(time, "The added time, as p95, that raises an alarm", "5 seconds"),
  clearAddedP95: PolicyOptions.optional(
    PolicyOptions.duration(),
    "The added time at which it clears; half of raiseAddedP95 by default"
  ),
  raiseAfter: PolicyOptions.optional(finite, "How long it must be so before an alarm", "5 minutes"),
  clearAfter: PolicyOptions.optional(finite, "How long it must be so before the end of an alarm", "5 minutes"),
  chronicAfter: PolicyOptions.optional(time, "An alarm that stands for so long is chronic", "1 hour"),
  chronicRaises: PolicyOptions.optional(
    PolicyOptions.number({ whole: true, min: 1, max: 1000 }),
    "With more alarms in 24 hours it is chronic",
    3
  )
})

/**
 * The options of {@link make} in JSON or YAML; durations are text with a unit.
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
export interface Options {
  /** The time that the figures are about: 10 seconds to a day. Default 10 minutes, in ten slots. */
  readonly window?: Duration.DurationInput | undefined
  /**
   * The calls in the window that it takes to raise an alarm. Default 20: of so many calls with 4 % second attempts, a
   * share of 20 % comes by chance once in a hundred windows, and must still hold for `raiseAfter`.
   */
  readonly minimum?: number | undefined
  /** The share of calls with a second attempt that raises an alarm: above 0, at most 1. Default 0.2. */
  readonly raiseShare?: number | undefined
  /** The share at which it clears, at most `raiseShare`. Default: half of it. */
  readonly clearShare?: number | undefined
  /**
   * The p95 of the time that backoff and queues add to a call, which raises an alarm; infinity: never. Default 5
   * seconds, more than all three waits of `RetryPolicy.standard` take together.
   */
  readonly raiseAddedP95?: Duration.DurationInput | undefined
  /** The p95 at which it clears, at most `raiseAddedP95`. Default: half of it. */
  readonly clearAddedP95?: Duration.DurationInput | undefined
  /** How long it must be so before an alarm, rounded up to slots. Default 5 minutes: longer than most hiccups. */
  readonly raiseAfter?: Duration.DurationInput | undefined
  /** How long it must be so before the end of an alarm, rounded up to slots. Default 5 minutes. */
  readonly clearAfter?: Duration.DurationInput | undefined
  /** An alarm that stands for so long is chronic. Default 1 hour. */
  readonly chronicAfter?: Duration.DurationInput | undefined
  /** With more alarms of a target than this in 24 hours, they are chronic: 1 to 1000. Default 3. */
  readonly chronicRaises?: number | undefined
}

const slots = 10

/** Of those with a sample, the newest. */
const maxTargets = 1000

/** Throws a `RangeError` that names the option. */
const settingsOf = (given: Options = {}): DegradationState.Settings => {
  const read = options.read(given, "Degradation")
  const slotMillis = read.window / slots
  const slotsOf = (millis: number): number => Math.ceil(millis / slotMillis)
  const { raiseShare, raiseAddedP95, clearShare = raiseShare / 2, clearAddedP95 = raiseAddedP95 / 2 } = read
  if (clearShare > raiseShare) {
    throw PolicyOptions.wrong("Degradation: clearShare", clearShare, `at most raiseShare, ${raiseShare}`)
  }
  if (clearAddedP95 > raiseAddedP95) {
    throw PolicyOptions.wrong("Degradation: clearAddedP95", given.clearAddedP95, "at most raiseAddedP95")
  }
  return {
    slotMillis,
    windowSlots: slots,
    minimum: read.minimum,
    raise: { share: raiseShare, addedP95Millis: raiseAddedP95, slots: slotsOf(read.raiseAfter) },
    clear: { share: clearShare, addedP95Millis: clearAddedP95, slots: slotsOf(read.clearAfter) },
    chronicSlots: slotsOf(read.chronicAfter),
    chronicRaises: read.chronicRaises,
    maxTargets
  }
}

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The watch over the targets of this process.
 *
 * @since 0.2.0
 * @category models
 */
export interface Degradation {
  /** The observer, for `Call.observe`; {@link layer} installs it. It only counts, and never fails. */
  readonly observe: (record: CallRecord) => Effect.Effect<void>
  /** The targets with calls in the window, or alarms in 24 hours, by name: at most 1,000, the newest. */
  readonly states: Effect.Effect<ReadonlyMap<string, DegradationState.State>>
  /** What is raised, turns chronic and is cleared, from the subscription on. A slow subscriber gets the last 128. */
  readonly changes: Stream.Stream<DegradationState.Change>
}

/**
 * The watch of the application.
 *
 * @since 0.2.0
 * @category context
 */
export const Degradation: Context.Tag<Degradation, Degradation> =
  Context.GenericTag<Degradation>("steadfast/Degradation")

// -----------------------------------------------------------------------------
// constructors
// -----------------------------------------------------------------------------

const keptChanges = 128

const gauge = Metric.gauge("steadfast.degraded", { description: "1 while an alarm about the target stands" })

const lines: Readonly<Record<DegradationState.Change["_tag"], (advice: string) => Effect.Effect<void>>> = {
  Raised: (advice) => Effect.logWarning(`degraded: ${advice}`),
  Chronic: (advice) => Effect.logWarning(`still degraded: ${advice}`),
  Cleared: (advice) => Effect.logInfo(`no longer degraded: ${advice}`)
}

const tell = (change: DegradationState.Change): Effect.Effect<void> => {
  const { _tag, advice, figures, kind, target } = change
  const line = lines[_tag](advice)
  const { calls, rescued, share, addedP95Millis, wastedUsd } = figures
  return Effect.zipRight(
    Metric.set(Metric.tagged(gauge, "target", target), _tag === "Cleared" ? 0 : 1),
    Effect.annotateLogs(line, {
      target,
      kind,
      calls,
      share,
      rescued,
      added_p95_ms: Math.round(addedP95Millis),
      wasted_usd: wastedUsd
    })
  )
}

/**
 * A new watch. Its timer runs as long as the scope.
 *
 * Throws a `RangeError` that names the option, the value found and the value expected.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (options?: Options): Effect.Effect<Degradation, never, Scope.Scope> => {
  const settings = settingsOf(options)
  return Effect.gen(function* () {
    const clock = yield* Effect.clock
    const hub = yield* PubSub.sliding<DegradationState.Change>(keptChanges)
    const watch = DegradationState.watch(settings, Times.now(clock))
    const decide = Effect.suspend(() =>
      Effect.forEach(
        watch.advance(Times.now(clock), clock.unsafeCurrentTimeMillis()),
        // A logger that dies ends neither the watch nor the other changes.
        (change) => Effect.zipRight(PubSub.publish(hub, change), Effect.exit(tell(change))),
        { discard: true }
      )
    )
    const nextSlot = Effect.suspend(() => {
      const into = Times.now(clock) % settings.slotMillis
      return clock.sleep(Duration.millis(Math.max(1, Math.ceil(settings.slotMillis - into))))
    })
    yield* Effect.forkScoped(Effect.forever(Effect.zipRight(nextSlot, decide)))
    return {
      observe: (record) =>
        Effect.sync(() => {
          const sample = sampleOf(record)
          if (sample !== undefined) watch.add(sample, Times.now(clock))
        }),
      states: Effect.sync(() => watch.states(Times.now(clock), clock.unsafeCurrentTimeMillis())),
      changes: Stream.fromPubSub(hub)
    }
  })
}

/**
 * The watch of the application, which observes all calls under the layer.
 *
 * @since 0.2.0
 * @category layers
 */
export const layer = (options?: Options): Layer.Layer<Degradation> =>
  Layer.unwrapScoped(
    Effect.map(make(options), (self) => Layer.merge(Layer.succeed(Degradation, self), Call.observe(self.observe)))
  )

/**
 * The options of {@link webhook}.
 *
 * @since 0.2.0
 * @category options
 */
export interface WebhookOptions {
  /** The time for one post, its two repetitions included. Default 10 seconds. */
  readonly timeout?: Duration.DurationInput | undefined
}

const postTime = PolicyOptions.duration({ above: 0, finite: true })

/**
 * Posts each change as JSON to an address, one after the other, off the calls. A post that fails in passing is sent
 * twice more. The first failure of a series is logged as a warning, without the address, which may be a secret.
 *
 * @since 0.2.0
 * @category layers
 */
export const webhook = (
  url: string,
  { timeout = "10 seconds" }: WebhookOptions = {}
): Layer.Layer<never, never, Degradation | HttpClient.HttpClient> => {
  const limit = postTime.read(timeout, "Degradation.webhook: timeout")
  return Layer.scopedDiscard(
    Effect.gen(function* () {
      const { changes } = yield* Degradation
      const client = (yield* HttpClient.HttpClient).pipe(
        HttpClient.withTracerDisabledWhen(() => true),
        HttpClient.filterStatusOk,
        HttpClient.retryTransient({ times: 2, schedule: Schedule.exponential("500 millis") }),
        HttpClient.withScope
      )
      const post = (change: DegradationState.Change) =>
        HttpClientRequest.post(url).pipe(
          HttpClientRequest.bodyUnsafeJson(change),
          client.execute,
          Effect.scoped,
          Effect.timeout(limit)
        )
      let failing = false
      const sent = (change: DegradationState.Change) =>
        Effect.flatMap(Effect.exit(Effect.suspend(() => post(change))), (exit) => {
          const isKnown = failing
          failing = exit._tag === "Failure"
          if (!failing || isKnown) return Effect.void
          return Effect.logWarning(`the webhook did not get that ${change.target} was ${change._tag.toLowerCase()}`)
        })
      yield* changes.pipe(Stream.runForEach(sent), Effect.forkScoped)
    })
  )
}
