/**
 * What this library takes from inside of Effect's runtime (effect 3.22): the only module to look at when that changes.
 *
 * - Regions and waits are made of the runtime's own instructions. Effect's operators assign closures to properties,
 *   which V8 allocates in the old space (Node 20 to 24). There they keep all that they hold, the whole call, until the
 *   next full collection: half of a call's cost.
 * - A context is set in place, and put back without a copy of all fiber refs.
 *
 * If an instruction looks different, the operators of Effect are taken.
 *
 * @since 0.2.0
 */

import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as FiberId from "effect/FiberId"
import * as FiberRef from "effect/FiberRef"
import * as FiberRefs from "effect/FiberRefs"
import type * as Option from "effect/Option"
import * as RuntimeFlags from "effect/RuntimeFlags"

type RunningFiber = Fiber.RuntimeFiber<unknown, unknown>

// -----------------------------------------------------------------------------
// instructions
// -----------------------------------------------------------------------------

interface Instruction {
  readonly _op: string
  effect_instruction_i0: unknown
  effect_instruction_i1: unknown
}

const turnOff = Effect.uninterruptible(Effect.void) as unknown as Instruction
const turnOn = Effect.interruptible(Effect.void) as unknown as Instruction

const isKnown =
  turnOff._op === "UpdateRuntimeFlags" &&
  turnOn._op === "UpdateRuntimeFlags" &&
  typeof turnOff.effect_instruction_i0 === "number" &&
  typeof turnOff.effect_instruction_i1 === "function"

const Instruction = turnOff.constructor as new (op: string) => Instruction

const instruction = <A, E, R>(op: string, i0: unknown, i1: unknown): Effect.Effect<A, E, R> => {
  const made = new Instruction(op)
  made.effect_instruction_i0 = i0
  made.effect_instruction_i1 = i1
  return made as unknown as Effect.Effect<A, E, R>
}

/** Makes an effect interruptible or uninterruptible again. */
type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

const interruptible: Restore = (effect) => instruction(turnOn._op, turnOn.effect_instruction_i0, () => effect)

const uninterruptible: Restore = (effect) => instruction(turnOff._op, turnOff.effect_instruction_i0, () => effect)

/**
 * `Effect.uninterruptibleMask`.
 *
 * @internal
 */
export const uninterruptibleMask: <A, E, R>(
  body: (restore: Restore) => Effect.Effect<A, E, R>
) => Effect.Effect<A, E, R> = isKnown
  ? (body) =>
      instruction(turnOff._op, turnOff.effect_instruction_i0, (flags: RuntimeFlags.RuntimeFlags) =>
        body(RuntimeFlags.interruption(flags) ? interruptible : uninterruptible)
      )
  : Effect.uninterruptibleMask

/**
 * Waits until `register` is answered. Interruption ends the wait and tells nobody.
 *
 * @internal
 */
export const suspended: <A, E, R>(
  register: (resume: (answer: Effect.Effect<A, E, R>) => void) => void
) => Effect.Effect<A, E, R> = isKnown ? (register) => instruction("Async", register, FiberId.none) : Effect.async

// -----------------------------------------------------------------------------
// contexts
// -----------------------------------------------------------------------------

/**
 * A map with one entry above another map. A copy of the services of an application costs more than a policy, and each
 * policy of a call adds one of its own. Never changed; whoever goes over the entries gets a real map.
 */
class Layered<K, V> implements ReadonlyMap<K, V> {
  private readonly below: ReadonlyMap<K, V>
  private readonly key: K
  private readonly value: V
  private whole: ReadonlyMap<K, V> | undefined = undefined

  constructor(below: ReadonlyMap<K, V>, key: K, value: V) {
    this.below = below
    this.key = key
    this.value = value
  }

  private all(): ReadonlyMap<K, V> {
    this.whole ??= new Map(this.below).set(this.key, this.value)
    return this.whole
  }

  get size(): number {
    return this.below.has(this.key) ? this.below.size : this.below.size + 1
  }

  get(key: K): V | undefined {
    let at: ReadonlyMap<K, V> = this
    while (at instanceof Layered) {
      if (at.key === key) return at.value
      at = at.below
    }
    return at.get(key)
  }

  has(key: K): boolean {
    let at: ReadonlyMap<K, V> = this
    while (at instanceof Layered) {
      if (at.key === key) return true
      at = at.below
    }
    return at.has(key)
  }

  forEach(f: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    this.all().forEach(f)
  }

  entries(): MapIterator<[K, V]> {
    return this.all().entries()
  }

  keys(): MapIterator<K> {
    return this.all().keys()
  }

  values(): MapIterator<V> {
    return this.all().values()
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.all().entries()
  }
}

/**
 * `Context.add`, without a copy.
 *
 * @internal
 */
export const added = <R, I, S>(
  context: Context.Context<R>,
  { key }: Context.Tag<I, S>,
  service: S
): Context.Context<R | I> =>
  Context.unsafeMake(new Layered(context.unsafeMap, key, service) as unknown as Map<string, unknown>)

/**
 * `Context.merge` with a context of few services, without a copy.
 *
 * @internal
 */
export const merged = <R, R2>(context: Context.Context<R>, few: Context.Context<R2>): Context.Context<R | R2> => {
  let map: ReadonlyMap<string, unknown> = context.unsafeMap
  for (const [key, service] of few.unsafeMap) map = new Layered(map, key, service)
  return Context.unsafeMake(map as Map<string, unknown>)
}

// -----------------------------------------------------------------------------
// fibers
// -----------------------------------------------------------------------------

/**
 * The fiber that runs this code.
 *
 * @internal
 */
export const current = (): RunningFiber => (Fiber.getCurrentFiber() as Option.Some<RunningFiber>).value

type Locals = Parameters<typeof FiberRefs.unsafeMake>[0]
type Stack = Locals extends Map<unknown, infer S> ? S : never

/** What `FiberRuntime` has, and the type `Fiber.RuntimeFiber` hides. */
interface Writable {
  readonly _fiberRefs: FiberRefs.FiberRefs
  readonly setFiberRef: <A>(ref: FiberRef.FiberRef<A>, value: A) => void
  readonly setFiberRefs: (refs: FiberRefs.FiberRefs) => void
}

/**
 * Sets the context of a fiber in place. Returns what puts the previous one back.
 *
 * @internal
 */
export const setContext = (fiber: RunningFiber, context: Context.Context<never>): (() => void) => {
  const outer = fiber.currentContext
  const writable = fiber as unknown as Writable
  const before: FiberRefs.FiberRefs | undefined = writable._fiberRefs
  if (before?.locals === undefined) {
    writable.setFiberRef(FiberRef.currentContext, context)
    return () => writable.setFiberRef(FiberRef.currentContext, outer)
  }
  const id = fiber.id()
  const stack = before.locals.get(FiberRef.currentContext) ?? []
  const entry = [id, context] as const
  const next: Stack = stack[0]?.[0] === id ? [entry, ...stack.slice(1)] : [entry, ...stack]
  const locals: ReadonlyMap<unknown, Stack> = before.locals
  const during = FiberRefs.unsafeMake(new Layered(locals, FiberRef.currentContext, next) as unknown as Locals)
  writable.setFiberRefs(during)
  return () => {
    // If nobody set a ref in between, those of before are put back as they were.
    if (writable._fiberRefs === during) writable.setFiberRefs(before)
    else writable.setFiberRef(FiberRef.currentContext, outer)
  }
}
