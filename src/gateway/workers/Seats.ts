/**
 * The limits of client keys over all workers, in the primary: requests, tokens, concurrency and money.
 *
 * A call gets money as a lease: the most that an attempt may cost, or twice as much while there is plenty. The call's
 * own account has the lease as its limit, and asks for more when an attempt has ended. At the end the rest goes back.
 * What a worker that is gone had spent or held of its leases, by its last report, is spent.
 *
 * @since 0.2.0
 */

import * as Schema from "effect/Schema"
import * as ClientKeys from "../ClientKeys.js"
import type { Everywhere } from "../Shared.js"
import type { Port } from "./Port.js"

const limit = Schema.UndefinedOr(Schema.Number)

const Entering = Schema.Struct({
  name: Schema.String,
  requestsPerMinute: limit,
  tokensPerMinute: limit,
  maxConcurrent: limit,
  /** In billionths of a dollar, as all money here. */
  perDay: limit,
  tokens: Schema.Number,
  /** The most that an attempt may cost. */
  need: Schema.NonNegative
})

const amount = Schema.NonNegative

const Spending = Schema.Struct({ place: Schema.Number, spent: amount, held: amount })

const More = Schema.Struct({ place: Schema.Number, wanted: amount })

const day = 86_400_000

/** The account of a client for one day. `leased` is what running calls may spend. */
interface Account {
  readonly day: number
  limit: number
  spent: number
  leased: number
}

interface Seat {
  readonly state: ClientKeys.State
  account: Account | undefined
}

interface Place {
  readonly state: ClientKeys.State
  readonly account: Account | undefined
  lease: number
  spent: number
  held: number
  /** Whether the call has ended, and only an attempt is still to be settled. */
  hasLeft: boolean
}

const take = (account: Account, wanted: number): number => {
  const granted = Math.max(0, Math.min(wanted, account.limit - account.spent - account.leased))
  account.leased += granted
  return granted
}

/** As long as so many more attempts could be paid, a call may have two at once: a hedge, or a retry. */
const plenty = 20

/** The money of a new call. */
const lend = (account: Account, need: number): number =>
  take(account, account.limit - account.spent - account.leased >= plenty * need ? 2 * need : need)

const setLease = (place: Place, lease: number): void => {
  if (place.account !== undefined) place.account.leased += lease - place.lease
  place.lease = lease
}

/**
 * The primary's half.
 *
 * @internal
 */
export const make = () => {
  const seats = new Map<string, Seat>()
  const all = new Set<Place>()

  /** The account of today. A reload may change its limit: what was spent stays spent. */
  const accountOf = (seat: Seat, limit: number | undefined, now: number): Account | undefined => {
    if (limit === undefined) return undefined
    const today = Math.floor(now / day)
    const { account } = seat
    if (account?.day === today) {
      account.limit = limit
      return account
    }
    seat.account = { day: today, limit, spent: 0, leased: 0 }
    return seat.account
  }

  /** Ends a lease: what was spent of it is spent, the rest goes back. */
  const close = (place: Place, spent: number): void => {
    all.delete(place)
    setLease(place, 0)
    if (place.account !== undefined) place.account.spent += spent
  }

  const leave = (place: Place): void => {
    if (place.hasLeft) return
    place.hasLeft = true
    ClientKeys.leave(place)
  }

  /** Serves a worker. Returns what to do when it is gone. */
  const serve = (port: Port): (() => void) => {
    const places = new Map<number, Place>()

    port.on("enter", Entering, ({ name, need, perDay, tokens, ...limits }, reply, id) => {
      const seat = seats.get(name) ?? { state: ClientKeys.begin(), account: undefined }
      seats.set(name, seat)
      const { state } = seat
      const key = { ...ClientKeys.anybody, ...limits, name }
      const refused = ClientKeys.enter({ key, state }, tokens, performance.now())
      if (refused !== undefined) return reply({ refused })
      const account = accountOf(seat, perDay, Date.now())
      const lease = account === undefined ? 0 : lend(account, need)
      const place = { state, account, lease, spent: 0, held: 0, hasLeft: false }
      places.set(id, place)
      all.add(place)
      reply({ lease })
    })

    /** Takes what a call has spent and holds. More than its lease can only be spent by an answer above its estimate. */
    const report = ({ held, place: id, spent }: typeof Spending.Type): Place | undefined => {
      const place = places.get(id)
      if (place === undefined) return undefined
      place.spent = spent
      place.held = held
      const used = spent + held
      if (place.hasLeft || used > place.lease) setLease(place, used)
      if (place.hasLeft && held === 0) {
        places.delete(id)
        close(place, spent)
      }
      return place
    }

    port.on("spent", Spending, (spending) => void report(spending))
    port.on("leave", Spending, (spending) => {
      const place = places.get(spending.place)
      if (place === undefined) return
      leave(place)
      report(spending)
    })
    port.on("more", More, ({ place: id, wanted }, reply) => {
      const place = places.get(id)
      if (place?.account === undefined || place.hasLeft) return reply(0)
      const granted = take(place.account, wanted)
      place.lease += granted
      reply(granted)
    })

    return () => {
      for (const place of places.values()) {
        leave(place)
        // The provider may have billed what was under way.
        close(place, place.spent + place.held)
      }
      places.clear()
    }
  }

  /** What the clients use now. */
  const used = (): Everywhere["clients"] => {
    const open = new Map<Account, number>()
    for (const { account, spent } of all) if (account !== undefined) open.set(account, (open.get(account) ?? 0) + spent)
    return Object.fromEntries(
      Array.from(seats, ([name, { account, state }]) => [
        name,
        {
          running: state.running,
          usdToday: account === undefined ? undefined : (account.spent + (open.get(account) ?? 0)) / 1e9
        }
      ])
    )
  }

  return { serve, used }
}
