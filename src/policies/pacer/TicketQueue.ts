/**
 * A queue by ticket: the lowest ticket is first, however late its entry came back. Mutable; a binary heap.
 *
 * Tickets mostly rise, and then adding an entry costs nothing. Coming back to an old place, or leaving from anywhere,
 * takes a dozen steps among ten thousand.
 *
 * Without it a call that was refused and retried goes to the end of the queue, or leaving a long queue takes a long
 * search.
 *
 * @since 0.2.0
 */

/**
 * An entry of a queue. The queue keeps its place in `at`, -1 for none. Of equal tickets the lower `order` is first.
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
  /** Answers whether the entry was there. */
  readonly remove: (entry: E) => boolean
}

const isBefore = (a: Entry, b: Entry): boolean => a.ticket < b.ticket || (a.ticket === b.ticket && a.order < b.order)

class Heap<E extends Entry> implements TicketQueue<E> {
  private readonly heap: Array<E> = []

  size(): number {
    return this.heap.length
  }

  head(): E | undefined {
    return this.heap[0]
  }

  add(entry: E): void {
    this.rise(entry, this.heap.length)
  }

  remove(entry: E): boolean {
    const { heap } = this
    const { at } = entry
    if (heap[at] !== entry) return false
    const last = heap.pop() as E
    if (last !== entry) {
      if (isBefore(last, entry)) this.rise(last, at)
      else this.sink(last, at)
    }
    entry.at = -1
    return true
  }

  private put(entry: E, at: number): void {
    this.heap[at] = entry
    entry.at = at
  }

  private rise(entry: E, from: number): void {
    let at = from
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = this.heap[above] as E
      if (!isBefore(entry, parent)) break
      this.put(parent, at)
      at = above
    }
    this.put(entry, at)
  }

  private sink(entry: E, from: number): void {
    const { heap } = this
    let at = from
    for (;;) {
      const left = 2 * at + 1
      let child = heap[left]
      if (child === undefined) break
      const right = heap[left + 1]
      if (right !== undefined && isBefore(right, child)) child = right
      if (!isBefore(child, entry)) break
      const below = child.at
      this.put(child, at)
      at = below
    }
    this.put(entry, at)
  }
}

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = <E extends Entry>(): TicketQueue<E> => new Heap<E>()
