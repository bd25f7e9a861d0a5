import { Effect, Fiber } from "effect"
import * as Pacer from "./src/policies/Pacer.ts"
const loop = async (name: string, n: number, body: Effect.Effect<unknown, any>) => {
  const run = Effect.iterate(0, { while: (i) => i < n, body: (i) => Effect.as(body, i + 1) })
  await Effect.runPromise(Effect.orDie(run))
  const best: number[] = []
  for (let k = 0; k < 5; k++) { const t = performance.now(); await Effect.runPromise(Effect.orDie(run)); best.push((performance.now() - t) * 1000 / n) }
  console.log(name.padEnd(50), Math.min(...best).toFixed(2), "µs")
}
const limits = { requests: { limit: 1e9 }, tokens: { limit: 1e12 } }
const visit = (p: Pacer.Pacer, key: string, place?: object) => Effect.map(p.acquire({ key, inputTokens: 10, outputTokens: 10, place }), (permit) => permit.settle({ usage: { inputTokens: 10, outputTokens: 8 } }, Date.now(), 0))
const p = Effect.runSync(Pacer.make(limits))
const un = Effect.runSync(Pacer.make())
await loop("nothing (Effect.void mapped)", 200000, Effect.map(Effect.void, () => 1))
await loop("acquire+settle, known limits", 200000, visit(p, "k"))
await loop("acquire+settle, no limits", 200000, visit(un, "k"))
await loop("acquire+settle, 4 limits", 200000, visit(Effect.runSync(Pacer.make({ ...limits, inputTokens: { limit: 1e12 }, outputTokens: { limit: 1e12 } })), "k"))
await loop("pace(void)", 100000, Effect.void.pipe(p.pace({ key: "k", inputTokens: 10, outputTokens: 10 })))
for (const keys of [10, 100, 1000, 10000]) {
  const q = Effect.runSync(Pacer.make(limits)); let i = 0
  await loop(`acquire+settle over ${keys} keys`, 100000, Effect.suspend(() => visit(q, "key" + (i++ % keys))))
}
for (const waiting of [10, 1000, 10000]) {
  const q = Effect.runSync(Pacer.make({ tokens: { limit: 1000, window: "1 day" }, maxQueue: 20000 }))
  const one = q.acquire({ key: "c", inputTokens: 400, outputTokens: 400 })
  const fibers = Array.from({ length: waiting + 1 }, () => Effect.runFork(one))
  const join = Effect.flatMap(Effect.fork(one), (f) => Effect.zipRight(Effect.yieldNow(), Fiber.interrupt(f)))
  await loop(`join a queue of ${waiting} and leave`, 5000, join)
  for (const f of fibers) f.unsafeInterruptAsFork(f.id())
}
// drain speed: 1e5/s, with waiting
for (const waiting of [10, 1000, 10000]) {
  const q = Effect.runSync(Pacer.make({ requests: { limit: 1000, window: "1 second", burst: 1000 }, maxQueue: 20000 }))
  const perms: any[] = []
  const one = Effect.map(q.acquire({ key: "c" }), (x) => { perms.push(x) })
  await Effect.runPromise(Effect.all(Array.from({ length: 1000 }, () => one), { discard: true }))
  const fibers = Array.from({ length: waiting }, () => Effect.runFork(one))
  const t = performance.now()
  const n = Math.min(1000, perms.length)
  for (let i = 0; i < n; i++) perms[i].settle({ sent: false }, Date.now(), 0)
  const took = performance.now() - t
  console.log(`settle that lets one of ${waiting} through`.padEnd(50), (took * 1000 / Math.min(n, waiting)).toFixed(2), "µs each")
  for (const f of fibers) f.unsafeInterruptAsFork(f.id())
}
process.exit(0)
