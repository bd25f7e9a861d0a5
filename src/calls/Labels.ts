/**
 * The labels of calls: what an application says of them.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Labels } from "./CallRecord.js"

/**
 * The labels of calls.
 *
 * @since 0.2.0
 * @category context
 */
export class CurrentLabels extends Context.Reference<CurrentLabels>()("steadfast/Call/Labels", {
  defaultValue: (): Labels | undefined => undefined
}) {}

/**
 * The most labels of a call, and the most characters of a name and a value: each becomes a column of a report and an
 * attribute of a span.
 *
 * @since 0.2.0
 * @category constants
 */
export const labelBounds = { count: 16, name: 64, value: 256 } as const

/**
 * Labels within the bounds: a name or value that is too long is cut, further labels are left out.
 *
 * @internal
 */
export const bounded = (labels: Labels): Labels =>
  Object.fromEntries(
    Object.entries(labels)
      .slice(0, labelBounds.count)
      .map(([name, value]) => [name.slice(0, labelBounds.name), String(value).slice(0, labelBounds.value)])
  )

/**
 * Labels all calls inside: with a tenant, a user, a feature. Labels further out stay, unless they have the same name.
 * They stand in records and on spans, so they should hold nothing secret. A call has 16 labels at the most; a name is
 * cut to 64 characters, a value to 256.
 *
 * @since 0.2.0
 * @category combinators
 */
export const withLabels =
  (labels: Labels) =>
  <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.flatMap(CurrentLabels, (outer) =>
      Effect.provideService(self, CurrentLabels, bounded({ ...labels, ...without(outer, labels) }))
    )

/** What is given inside comes first, so that it is not what the bound leaves out. */
const without = (outer: Labels | undefined, labels: Labels): Labels =>
  Object.fromEntries(Object.entries(outer ?? {}).filter(([name]) => !(name in labels)))
