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
  /** By the name of their function. */
  readonly queues: Map<string, Queue>
}

/**
 * No calls.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (): Calls => ({ ids: new Set(), waiting: new Set(), queues: new Map() })

/**
 * Adds a call.
 *
 * @since 0.2.0
 * @category combinators
 */
export const add = (calls: Calls, id: string, name: string): void => {
  const queue = calls.queues.get(name) ?? { ids: [], next: 0 }
  queue.ids.push(id)
  calls.queues.set(name, queue)
  calls.ids.add(id)
  calls.waiting.add(id)
}

const nextOf = ({ queues, waiting }: Calls, name: string): string | undefined => {
  const queue = queues.get(name) ?? { ids: [], next: 0 }
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
  const isKnown = stated !== undefined && calls.ids.has(stated)
  const first = (): string | undefined => calls.waiting.values().next().value
  const id = isKnown ? stated : name === undefined ? first() : nextOf(calls, name)
  if (id !== undefined) calls.waiting.delete(id)
  return id
}
