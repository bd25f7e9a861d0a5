/**
 * Puts a virtual clock in the place of the platform's: timers, dates, `performance.now`, `process.hrtime`,
 * `AbortSignal.timeout`, `node:timers` and `node:timers/promises`, and `Math.random` becomes seeded. Real packages then
 * run unchanged in virtual time.
 *
 * Some packages keep what they find at their import, so install it before they are imported.
 */
import { syncBuiltinESMExports } from "node:module"
import timers from "node:timers"
import timersPromises from "node:timers/promises"
import { promisify } from "node:util"
import type { Event, VirtualClock } from "./time.js"

/** What time it is when a run begins: any, but always the same. */
export const epoch = Date.UTC(2026, 0, 1)

/** What a timer of Node can hold; it fires after 1 ms otherwise, as after any delay below 1 ms. */
const maxDelay = 2 ** 31 - 1

/** As Node: whole milliseconds, at least one. */
const delayOf = (input: unknown): number => {
  const millis = Number(input)
  return millis >= 1 && millis <= maxDelay ? Math.trunc(millis) : 1
}

/** What `setTimeout` and `setInterval` answer with, as packages use it. */
class VirtualTimer {
  #event: Event
  readonly #start: () => Event
  readonly #clock: VirtualClock
  constructor(clock: VirtualClock, start: (self: VirtualTimer) => Event) {
    this.#clock = clock
    this.#start = () => start(this)
    this.#event = this.#start()
  }
  ref() {
    return this
  }
  unref() {
    return this
  }
  hasRef() {
    return true
  }
  refresh() {
    this.close()
    this.#event = this.#start()
    return this
  }
  again() {
    this.#event = this.#start()
  }
  close() {
    this.#clock.cancel(this.#event)
    return this
  }
}

type Callback = (...args: ReadonlyArray<unknown>) => void

const dateOf = (clock: VirtualClock): DateConstructor => {
  const now = () => epoch + Math.floor(clock.now())
  return new Proxy(Date, {
    construct: (target, args, newTarget) => Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
    apply: (target) => new target(now()).toString(),
    get: (target, key, receiver) => (key === "now" ? now : Reflect.get(target, key, receiver))
  })
}

const timersOf = (clock: VirtualClock) => {
  const setTimeout = (callback: Callback, delay?: unknown, ...args: ReadonlyArray<unknown>) =>
    new VirtualTimer(clock, () => clock.schedule(delayOf(delay), () => callback(...args)))
  const setInterval = (callback: Callback, delay?: unknown, ...args: ReadonlyArray<unknown>) =>
    new VirtualTimer(clock, (self) =>
      clock.schedule(delayOf(delay), () => {
        self.again()
        callback(...args)
      })
    )
  const setImmediate = (callback: Callback, ...args: ReadonlyArray<unknown>) =>
    new VirtualTimer(clock, () => clock.schedule(0, () => callback(...args)))
  const clear = (timer: unknown): void => {
    if (timer instanceof VirtualTimer) timer.close()
  }
  const later =
    (start: (callback: Callback, delay: unknown) => VirtualTimer) =>
    <A>(delay?: unknown, value?: A, options?: { readonly signal?: AbortSignal }): Promise<A | undefined> =>
      new Promise((resolve, reject) => {
        const { signal } = options ?? {}
        if (signal?.aborted) {
          reject(signal.reason)
          return
        }
        const timer = start(() => resolve(value), delay)
        signal?.addEventListener("abort", () => {
          timer.close()
          reject(signal.reason)
        })
      })
  const sleep = later(setTimeout)
  const immediate = later((callback) => setImmediate(callback))
  Object.assign(setTimeout, { [promisify.custom]: sleep })
  Object.assign(setImmediate, { [promisify.custom]: (value: unknown) => immediate(0, value) })
  return {
    plain: {
      setTimeout,
      setInterval,
      setImmediate,
      clearTimeout: clear,
      clearInterval: clear,
      clearImmediate: clear
    },
    promises: {
      setTimeout: sleep,
      setImmediate: (value: unknown, options?: { readonly signal?: AbortSignal }) => immediate(0, value, options),
      scheduler: {
        wait: (delay: unknown, options?: { readonly signal?: AbortSignal }) => sleep(delay, undefined, options),
        yield: () => immediate()
      }
    }
  }
}

const hrtimeOf = (clock: VirtualClock) => {
  const nanos = () => BigInt(Math.round(clock.now() * 1e6))
  const hrtime = (since?: readonly [number, number]): [number, number] => {
    const total = nanos() - (since === undefined ? 0n : BigInt(since[0]) * 1_000_000_000n + BigInt(since[1]))
    return [Number(total / 1_000_000_000n), Number(total % 1_000_000_000n)]
  }
  return Object.assign(hrtime, { bigint: nanos })
}

/** A signal that aborts in virtual time, with the reason that the real one has. */
const signalTimeout = (clock: VirtualClock) => (millis: number) => {
  const controller = new AbortController()
  clock.schedule(delayOf(millis), () =>
    controller.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"))
  )
  return controller.signal
}

/** Puts values in the place of others, and answers with the way back. */
const replace = (target: object, values: object): (() => void) => {
  const found = Object.keys(values).map((key) => [key, Object.getOwnPropertyDescriptor(target, key)] as const)
  for (const [key, value] of Object.entries(values)) {
    Object.defineProperty(target, key, { value, configurable: true, writable: true, enumerable: true })
  }
  return () => {
    for (const [key, descriptor] of found) {
      if (descriptor === undefined) Reflect.deleteProperty(target, key)
      else Object.defineProperty(target, key, descriptor)
    }
  }
}

/** Installs the clock, and chance for `Math.random`; answers with the way back. */
export const install = (clock: VirtualClock, random: () => number): (() => void) => {
  const { plain, promises } = timersOf(clock)
  const restore = [
    replace(globalThis, { ...plain, Date: dateOf(clock) }),
    replace(timers, plain),
    replace(timersPromises, promises),
    replace(performance, { now: clock.now }),
    replace(process, { hrtime: hrtimeOf(clock) }),
    replace(AbortSignal, { timeout: signalTimeout(clock) }),
    replace(Math, { random })
  ]
  syncBuiltinESMExports()
  return () => {
    for (const undo of restore) undo()
    syncBuiltinESMExports()
  }
}
