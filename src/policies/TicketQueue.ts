/**
 * A queue by ticket: whoever has the lowest one is first, however late it came back. Mutable; a binary heap.
 *
 * Tickets mostly rise, and to come last costs nothing then; to come back to one's place, and to leave from anywhere, costs
 * a dozen steps among ten thousand.
 *
 * @since 0.2.0
 */

/**
 * What stands in a queue. `at` is where, -1 for nowhere; the queue keeps it. Of equal tickets the lower `order` is first.
 *
 * @since 0.2.0
 * @category models
 */
export interface Entry {
  readonly ticket: number
  readonly order: number
  at: number
}

/**
 * @since 0.2.0
 * @category models
 */
export interface TicketQueue<E extends Entry> {
  readonly size: () => number
  readonly head: () => E | undefined
  readonly add: (entry: E) => void
  /** Whether it was there. */
  readonly remove: (entry: E) => boolean
}

const isBefore = (a: Entry, b: Entry): boolean => a.ticket < b.ticket || (a.ticket === b.ticket && a.order < b.order)

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = <E extends Entry>(): TicketQueue<E> => {
  const heap: Array<E> = []

  const put = (entry: E, at: number): void => {
    heap[at] = entry
    entry.at = at
  }

  const rise = (entry: E, from: number): void => {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as E
      if (!isBefore(entry, parent)) break
      put(parent, at)
      at = above
    }
    put(entry, at)
  }

  const sink = (entry: E, from: number): void => {
    let at = from
    for (;;) {
      const left = 2 * at + 1
      let child = heap[left]
      if (child === undefined) break
      const right = heap[left + 1]
      if (right !== undefined && isBefore(right, child)) child = right
      if (!isBefore(child, entry)) break
      const below = child.at
      put(child, at)
      at = below
    }
    put(entry, at)
  }

  return {
    size: () => heap.length,
    head: () => heap[0],
    add: (entry) => {
      rise(entry, heap.length)
    },
    remove: (entry) => {
      const { at } = entry
      if (heap[at] !== entry) return false
      const last = heap.pop() as E
      if (last !== entry) {
        if (isBefore(last, entry)) rise(last, at)
        else sink(last, at)
      }
      entry.at = -1
      return true
    }
  }
}
