/**
 * Virtual time: events in a heap, run one after the other, each at its own instant. Between two events the real event
 * loop takes one turn, so that every promise that the event settled has had its say. What happens at the same instant
 * happens in the order in which it was asked for, so a run is the same each time.
 *
 * The clock counts from 0; `globals.ts` puts it in the place of the platform's timers and dates.
 */

/** Something that is to happen. */
export interface Event {
  readonly at: number
  /** The order among events of the same instant. */
  readonly order: number
  run: (() => void) | undefined
}

export interface VirtualClock {
  /** Milliseconds since the start, with fractions. */
  readonly now: () => number
  readonly schedule: (millis: number, run: () => void) => Event
  readonly cancel: (event: Event) => void
  /** Runs the next event at its time; `false` when nothing is left to happen. */
  readonly step: () => boolean
  /** Forgets all events and starts from 0. */
  readonly reset: () => void
  /** Events run since the start. */
  readonly count: () => number
}

const before = (a: Event, b: Event): boolean => a.at < b.at || (a.at === b.at && a.order < b.order)

/** A binary heap; the smallest is at the top. */
const heap = () => {
  let items: Array<Event> = []
  const at = (index: number): Event => items[index] as Event
  const sink = (from: number, item: Event): void => {
    let index = from
    for (let child = 2 * index + 1; child < items.length; child = 2 * index + 1) {
      if (child + 1 < items.length && before(at(child + 1), at(child))) child += 1
      if (before(item, at(child))) break
      items[index] = at(child)
      index = child
    }
    items[index] = item
  }
  return {
    size: () => items.length,
    push: (item: Event): void => {
      let index = items.push(item) - 1
      while (index > 0) {
        const parent = (index - 1) >> 1
        if (before(at(parent), item)) break
        items[index] = at(parent)
        index = parent
      }
      items[index] = item
    },
    pop: (): Event | undefined => {
      const top = items[0]
      const last = items.pop()
      if (last !== undefined && items.length > 0) sink(0, last)
      return top
    },
    /** Takes out what was cancelled. */
    sweep: (): void => {
      items = items.filter((item) => item.run !== undefined)
      for (let index = (items.length >> 1) - 1; index >= 0; index--) sink(index, at(index))
    },
    clear: (): void => {
      items = []
    }
  }
}

export const make = (): VirtualClock => {
  const events = heap()
  let now = 0
  let order = 0
  let count = 0
  let cancelled = 0
  return {
    now: () => now,
    schedule: (millis, run) => {
      const event = { at: now + millis, order: order++, run }
      events.push(event)
      return event
    },
    cancel: (event) => {
      if (event.run === undefined) return
      event.run = undefined
      cancelled += 1
      // Most timers of a call are timeouts that never fire: they would be the greater part of the heap.
      if (cancelled > 256 && cancelled > events.size() / 2) {
        events.sweep()
        cancelled = 0
      }
    },
    step: () => {
      for (let event = events.pop(); event !== undefined; event = events.pop()) {
        const { run } = event
        if (run === undefined) {
          cancelled -= 1
          continue
        }
        event.run = undefined
        now = event.at
        count += 1
        run()
        return true
      }
      return false
    },
    reset: () => {
      events.clear()
      now = 0
      order = 0
      count = 0
      cancelled = 0
    },
    count: () => count
  }
}

/** The real one, whatever stands in its place later. */
const nextTurn = globalThis.setImmediate

/** So many events at one instant are a loop that waits for nothing. */
const standstill = 1_000_000

/**
 * Runs events until `done`, and is over with an error when nothing is left to happen before. `turns` of the real event
 * loop lie between two events: microtasks and ticks need one; the tests show that more change nothing.
 */
export const drive = (clock: VirtualClock, done: () => boolean, turns = 1): Promise<void> =>
  new Promise((resolve, reject) => {
    let left = turns
    let instant = clock.now()
    let since = clock.count()
    const turn = (): void => {
      if (--left > 0) {
        nextTurn(turn)
        return
      }
      left = turns
      try {
        if (done()) {
          resolve()
          return
        }
        if (!clock.step()) throw new Error(`nothing is left to happen after ${clock.now()} ms`)
        if (clock.now() !== instant) {
          instant = clock.now()
          since = clock.count()
        } else if (clock.count() - since > standstill) {
          throw new Error(`time stands still at ${instant} ms`)
        }
        nextTurn(turn)
      } catch (error) {
        reject(error)
      }
    }
    nextTurn(turn)
  })

/** Runs events until the promise is settled. */
export const settled = async <A>(clock: VirtualClock, promise: A | PromiseLike<A>): Promise<A> => {
  let over = false
  const watched = Promise.resolve(promise).finally(() => {
    over = true
  })
  // Whoever awaits `watched` hears of its failure; until then it is not unhandled.
  watched.catch(() => {})
  await drive(clock, () => over)
  return watched
}
