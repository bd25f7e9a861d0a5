/**
 * What the dashboard's page can ask for: a time, and which calls.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import { textOf } from "./CallLogRows.js"
import type { Filters } from "./CallQuery.js"

const Text = Schema.NonEmptyString.pipe(Schema.maxLength(256))
const maybe = <A extends string>(self: Schema.Schema<A>) => Schema.optionalWith(self, { exact: true })
const labelPrefix = "label."

const selection = {
  range: maybe(
    Schema.Literal("1h", "24h", "7d", "30d").annotations({
      message: () => ({ message: "expected 1h, 24h, 7d or 30d", override: true })
    })
  ),
  provider: maybe(Text),
  model: maybe(Text)
}

const labels = Schema.Record({ key: Schema.TemplateLiteral(labelPrefix, Schema.String), value: Text })

/**
 * The query of `api/overview`.
 *
 * @internal
 */
export const OverviewSearch = Schema.Struct(selection, labels)

/**
 * The query of `api/calls`.
 *
 * @internal
 */
export const CallsSearch = Schema.Struct({ ...selection, failed: maybe(Schema.Literal("1")) }, labels)

const minute = 60_000
const hour = 60 * minute

/**
 * Each time with the width of a point in its chart: 200 points at most, each of a length that people count in. A step
 * holds several of them: a share needs more calls than a count.
 */
const spans = {
  "1h": { millis: hour, bucket: minute, step: 2 * minute },
  "24h": { millis: 24 * hour, bucket: 10 * minute, step: 30 * minute },
  "7d": { millis: 7 * 24 * hour, bucket: hour, step: 4 * hour },
  "30d": { millis: 30 * 24 * hour, bucket: 4 * hour, step: 12 * hour }
} as const

/**
 * The calls that are meant.
 *
 * @internal
 */
export interface Selected {
  readonly range: { readonly since: number; readonly until: number }
  /** The width of a point, in milliseconds. */
  readonly bucket: number
  /** The width of a step, in milliseconds: a multiple of `bucket`. */
  readonly step: number
  readonly filters: Filters
}

/** As the log holds it: PostgreSQL refuses the rest. */
const stored = (text: string | undefined) => (text === undefined ? undefined : textOf(text))

/**
 * Both ends lie where a bucket begins: no bucket is cut, and answers stay the same while nothing is written.
 *
 * @internal
 */
export const selected = (
  { model, provider, range = "24h", ...rest }: typeof OverviewSearch.Type,
  now: number
): Selected => {
  const { bucket, millis, step } = spans[range]
  const until = Math.floor(now / bucket) * bucket + bucket
  return {
    range: { since: until - millis, until },
    bucket,
    step,
    filters: {
      provider: stored(provider),
      model: stored(model),
      labels: Object.fromEntries(
        Object.entries(rest).map(([name, value]) => [textOf(name.slice(labelPrefix.length)), textOf(String(value))])
      )
    }
  }
}
