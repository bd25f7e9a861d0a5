/**
 * The calls of tools in a conversation, for APIs whose calls and results may have no ids: a call gets one, and the next
 * result with its name is its result.
 *
 * @since 0.2.0
 */

/** The ids of the calls of a function, in their order. Those before `next` have their result. */
interface Queue {
  readonly ids: Array<string>
  next: number
}

/**
 * The calls so far.
 *
 * @since 0.2.0
 * @category models
 */
export interface Calls {
  readonly ids: Set<string>
  readonly waiting: Set<string>
  readonly all: Queue
  /** By the name of their function. */
  readonly queues: Map<string, Queue>
}

/**
 * No calls.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (): Calls => ({
  ids: new Set(),
  waiting: new Set(),
  all: { ids: [], next: 0 },
  queues: new Map()
})

/**
 * Adds a call.
 *
 * @since 0.2.0
 * @category combinators
 */
export const add = (calls: Calls, id: string, name: string): void => {
  const queue = calls.queues.get(name) ?? { ids: [], next: 0 }
  queue.ids.push(id)
  calls.all.ids.push(id)
  calls.queues.set(name, queue)
  calls.ids.add(id)
  calls.waiting.add(id)
}

/** The first of a queue that waits. */
const firstOf = (queue: Queue | undefined, waiting: ReadonlySet<string>): string | undefined => {
  if (queue === undefined) return undefined
  while (queue.next < queue.ids.length && !waiting.has(queue.ids[queue.next] ?? "")) queue.next++
  return queue.ids[queue.next]
}

/**
 * The id of the call that a result belongs to: by its id, else by its name, and without a name the first that waits.
 * `undefined` if no call waits for it.
 *
 * @since 0.2.0
 * @category combinators
 */
export const settle = (calls: Calls, stated: string | undefined, name: string | undefined): string | undefined => {
  const { all, ids, queues, waiting } = calls
  const isKnown = stated !== undefined && ids.has(stated)
  const id = isKnown ? stated : firstOf(name === undefined ? all : queues.get(name), waiting)
  if (id !== undefined) waiting.delete(id)
  return id
}
