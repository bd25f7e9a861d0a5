/**
 * The places of clients in a worker: it asks the primary for each, and reports what the call spends.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { override } from "../../errors/LlmError.js"
import * as Spend from "../../policies/spend/Spend.js"
import * as Refusal from "../Refusal.js"
import type { Seats } from "../Shared.js"
import type { Port } from "./Port.js"

const Facts = Schema.Struct({
  status: Schema.Number,
  type: Schema.String,
  code: Schema.String,
  grpc: Schema.String,
  message: Schema.String,
  param: Schema.NullOr(Schema.String),
  seconds: Schema.UndefinedOr(Schema.Number)
})

const entered = Schema.decodeUnknownEither(
  Schema.Union(Schema.Struct({ refused: Facts }), Schema.Struct({ lease: Schema.Number }))
)

const billion = 1e9

/** The longest wait for a place, in milliseconds. */
const patience = 1000

/** The account of one call: its limit is the lease, which grows while it runs. */
const scopeOf = (port: Port, place: number, name: string, lease: number, need: number) => {
  const base = Effect.runSync(Spend.open({ usd: lease / billion }, { name }))
  const limits = { ...base.limits, usd: lease }
  let isOpen = true
  const spending = () => {
    const { held, spent } = scope.account
    return { place, spent: Math.max(0, spent.usd), held: Math.max(0, held.usd) }
  }
  const report = (): void => port.note("spent", spending())
  const settled = (): void => {
    report()
    const { held, spent } = spending()
    const wanted = need - (limits.usd - spent - held)
    if (!isOpen || wanted <= 0) return
    port.post("more", { place, wanted }, (granted) => {
      if (typeof granted === "number") limits.usd += granted
    })
  }
  const scope: Spend.Scope = {
    ...base,
    limits,
    hold: (inner, ask, prices, now) => {
      const held = base.hold(inner, ask, prices, now)
      if (held._tag === "BudgetExceeded") {
        const isPriced = need > 0
        return isPriced ? override(held, { message: `${name}: too little is left of the day's limit` }) : held
      }
      if (held._tag !== "Hold") return held
      report()
      return {
        ...held,
        settle: (end) => {
          held.settle(end)
          settled()
        },
        release: () => {
          held.release()
          report()
        }
      }
    }
  }
  return {
    scope,
    leave: (): void => {
      isOpen = false
      port.note("leave", spending())
    }
  }
}

/**
 * The worker's half.
 *
 * @internal
 */
export const make = (port: Port): Seats => ({
  enter: (client, { tokens, usd }, done) => {
    const { maxConcurrent, name, requestsPerMinute, tokensPerMinute, usdPerDay } = client
    const need = Math.ceil(usd * billion)
    const body = {
      name,
      requestsPerMinute,
      tokensPerMinute,
      maxConcurrent,
      perDay: usdPerDay === undefined ? undefined : Math.floor(usdPerDay * billion + 0.001),
      tokens,
      need
    }
    const leave = (place: number): void => port.note("leave", { place, spent: 0, held: 0 })
    const id = port.post("enter", body, (value) => {
      clearTimeout(timer)
      const read = entered(value)
      if (Either.isLeft(read)) return done(Refusal.busy)
      if ("refused" in read.right) return done(read.right.refused)
      const { lease } = read.right
      if (usdPerDay === undefined) return done({ spend: undefined, leave: () => leave(id) })
      const { leave: end, scope } = scopeOf(port, id, name, lease, need)
      done({ spend: scope, leave: end })
    })
    const timer = setTimeout(() => {
      port.forget(id)
      leave(id)
      done(Refusal.busy)
    }, patience)
  }
})
