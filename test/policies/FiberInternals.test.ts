import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Equal, Exit, Fiber, FiberRef, FastCheck as fc, Option, Tracer } from "effect"
import * as FiberInternals from "../../src/policies/FiberInternals.js"
import * as Immediate from "../../src/policies/Immediate.js"
import { cases } from "../support/cases.js"

const tags = ["a", "b", "c", "d"].map((name) => Context.GenericTag<string, number>(name))
type Tags = ReadonlyArray<readonly [tag: number, value: number]>

const empty = Context.empty() as Context.Context<never>

const layered = (entries: Tags): Context.Context<never> =>
  entries.reduce<Context.Context<never>>(
    (context, [tag, value]) =>
      FiberInternals.added(context, tags[tag] as (typeof tags)[number], value) as Context.Context<never>,
    empty
  )

const copied = (entries: Tags): Context.Context<never> =>
  entries.reduce<Context.Context<never>>(
    (context, [tag, value]) =>
      Context.add(context, tags[tag] as (typeof tags)[number], value) as Context.Context<never>,
    empty
  )

describe("a service that is added without a copy", () => {
  it("reads as one that is added with a copy, whatever Effect does with the context", () => {
    const entries = fc.array(fc.tuple(fc.nat({ max: 3 }), fc.nat({ max: 9 })), { maxLength: 8 })
    fc.assert(
      fc.property(entries, entries, (first, second) => {
        const [ours, theirs] = [layered(first), copied(first)]
        assert.strictEqual(ours.unsafeMap.size, theirs.unsafeMap.size)
        for (const tag of tags) {
          assert.deepStrictEqual(Context.getOption(ours, tag), Context.getOption(theirs, tag))
          assert.strictEqual(ours.unsafeMap.has(tag.key), theirs.unsafeMap.has(tag.key))
        }
        assert.deepStrictEqual(new Map(ours.unsafeMap), new Map(theirs.unsafeMap))
        assert.deepStrictEqual([...ours.unsafeMap.keys()].sort(), [...theirs.unsafeMap.keys()].sort())
        assert.deepStrictEqual([...ours.unsafeMap.values()].sort(), [...theirs.unsafeMap.values()].sort())
        assert.isTrue(Equal.equals(ours, theirs))
        assert.isTrue(Equal.equals(Context.merge(ours, layered(second)), Context.merge(theirs, copied(second))))
        const forEach: Array<readonly [string, unknown]> = []
        ours.unsafeMap.forEach((value, key) => {
          forEach.push([key, value])
        })
        assert.deepStrictEqual(new Map(forEach), new Map(theirs.unsafeMap))
      }),
      { numRuns: cases(10_000) }
    )
  })
})

describe("a context that is set in place", () => {
  const tag = Context.GenericTag<"Own", string>("Own")
  const ref = FiberRef.unsafeMake(0)
  const under = <A, E>(self: Effect.Effect<A, E, "Own">): Effect.Effect<A, E> =>
    Immediate.masked((region) =>
      Immediate.under(region, FiberInternals.added(region.fiber.currentContext, tag, "inside"), self, (exit) => exit)
    ) as Effect.Effect<A, E>

  it.effect("is seen inside, by forks too, and is gone afterwards", () =>
    Effect.gen(function* () {
      const inside = Effect.flatMap(Effect.fork(tag), Fiber.join)
      assert.deepStrictEqual(yield* under(Effect.zip(tag, inside)), ["inside", "inside"])
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(tag)))
      const failed = yield* Effect.exit(under(Effect.fail("no")))
      assert.deepStrictEqual(failed, Exit.fail("no"))
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(tag)))
    })
  )

  it.effect("keeps what is set inside: a fiber ref, and a ref that is set only for a part", () =>
    Effect.gen(function* () {
      yield* under(FiberRef.set(ref, 1))
      assert.strictEqual(yield* FiberRef.get(ref), 1)
      const seen = yield* Effect.locally(under(FiberRef.get(ref)), ref, 2)
      assert.deepStrictEqual([seen, yield* FiberRef.get(ref)], [2, 1])
      assert.isTrue(Option.isNone(yield* Effect.serviceOption(tag)))
    })
  )

  it.effect("is put back after an interruption, in the finalizers outside", () =>
    Effect.gen(function* () {
      const began = yield* Deferred.make<void>()
      let outside: Option.Option<string> | undefined
      const waiting = under(Effect.zipRight(Deferred.succeed(began, undefined), Effect.never))
      const fiber = yield* Effect.fork(
        Effect.onInterrupt(waiting, () =>
          Effect.map(Effect.serviceOption(tag), (found) => {
            outside = found
          })
        )
      )
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(outside, Option.none())
    })
  )
})

describe("the span of a context that is set in place", () => {
  it.effect("is that of the fiber inside, and that of before afterwards", () =>
    Effect.gen(function* () {
      const spanOf = (fiber: Fiber.RuntimeFiber<unknown, unknown>) =>
        (fiber as unknown as { readonly currentSpan: Tracer.AnySpan | undefined }).currentSpan
      const inner = Tracer.externalSpan({ spanId: "1", traceId: "2" })
      const seen = yield* Immediate.masked((region) => {
        const before = spanOf(region.fiber)
        const context = FiberInternals.added(region.fiber.currentContext, Tracer.ParentSpan, inner)
        const inside = Effect.sync(() => spanOf(region.fiber))
        return Immediate.under(region, context as Context.Context<never>, inside, (exit) =>
          Effect.succeed({ before, inside: exit, after: spanOf(region.fiber) })
        )
      })
      assert.deepStrictEqual(seen.inside, Exit.succeed(inner))
      assert.strictEqual(seen.after, seen.before)
    })
  )

  it.effect("does not lengthen the search, however many regions follow one another inside", () =>
    Effect.gen(function* () {
      const tag = Context.GenericTag<"Own", number>("Own")
      const depths: Array<number> = []
      const nested = (left: number): Effect.Effect<void> =>
        Immediate.masked((region) => {
          const { fiber } = region
          let depth = 0
          // `getFiberRefs` would change them.
          const { _fiberRefs } = fiber as unknown as { readonly _fiberRefs: { readonly locals: unknown } }
          for (let at = _fiberRefs.locals; at !== undefined; depth++) {
            at = (at as { readonly below?: unknown }).below
          }
          depths.push(depth)
          if (left === 0) return Effect.void
          const context = FiberInternals.added(fiber.currentContext, tag, left) as Context.Context<never>
          return Immediate.under(region, context, nested(left - 1), (exit) => exit)
        })
      yield* nested(5)
      assert.deepStrictEqual(depths, [1, 2, 2, 2, 2, 2])
    })
  )
})

describe("a region and a wait", () => {
  it("are made of the runtime's own instructions in this version of effect", () => {
    assert.notStrictEqual(FiberInternals.uninterruptibleMask, Effect.uninterruptibleMask)
  })

  it.effect("cannot be interrupted, but for what is restored", () =>
    Effect.gen(function* () {
      const order: Array<string> = []
      const began = yield* Deferred.make<void>()
      const region = FiberInternals.uninterruptibleMask((restore) =>
        Effect.gen(function* () {
          yield* Deferred.succeed(began, undefined)
          yield* Effect.yieldNow()
          order.push("still here")
          const exit = yield* Effect.exit(restore(FiberInternals.suspended<never, never, never>(() => {})))
          order.push(Exit.isInterrupted(exit) ? "interrupted" : "answered")
        })
      )
      const fiber = yield* Effect.fork(region)
      yield* Deferred.await(began)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(order, ["still here", "interrupted"])
      // Inside of an uninterruptible effect, what is restored is uninterruptible too.
      const inner = FiberInternals.uninterruptibleMask((restore) => restore(Effect.checkInterruptible(Effect.succeed)))
      assert.isTrue(yield* inner)
      assert.isFalse(yield* Effect.uninterruptible(inner))
    })
  )
})
