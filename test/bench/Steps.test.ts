import { Effect } from "effect"
import { assert, describe, it } from "vitest"
import { rows, stepsOf } from "../../bench/steps.js"

/**
 * Steps of Effect's run loop for one warm call of each documented composition, counted without spans; 12 of them are of the
 * counting itself. They are the same on every machine. `STEPS=print` prints the table of now; a number that grows has its
 * reason beside it.
 */
const table: Readonly<Record<string, number>> = {
  nothing: 12,
  leaf: 39,
  retry: 41,
  timeout: 46,
  deadline: 46,
  // The first model knows of its fallback, so that it waits for nothing: one region, 7 steps.
  orElse: 48,
  pace: 46,
  breaker: 45,
  hedge: 39,
  // A pool is a region of its own, inside of the leaf's call; its circuit has a queue, which it does not use.
  pooled: 58,
  balance: 49,
  "Spend.within attempts": 72,
  "Spend.within usd and attempts": 97,
  "README, the idea": 64,
  "README, traffic": 77,
  "README, traffic with spend": 135,
  "pool of timeout, pace; breaker, retry": 80,
  "succeed |> pacer.pace": 18,
  "succeed |> breaker.execute": 18,
  "succeed |> Resilience.retry": 14,
  "succeed |> Resilience.orElse": 20,
  "succeed |> Resilience.deadline": 14,
  "succeed |> Resilience.timeout": 14,
  "succeed |> Effect.retry(RetryPolicy.standard)": 45,
  // Any run of a `Stream` takes about 500 (effect 3.22), and each chunk 14.
  "leaf, Stream.runDrain of 16 tokens": 807,
  "leaf, Stream.runDrain, each further token": 14,
  "leaf, ChatStream.forEach of 16 tokens": 38,
  "leaf, ChatStream.forEach, each further token": 0,
  "README, the idea, Stream.runDrain of 16 tokens": 807,
  "README, the idea, Stream.runDrain, each further token": 14,
  "README, the idea, ChatStream.forEach of 16 tokens": 38,
  "README, the idea, ChatStream.forEach, each further token": 0,
  // The pacer asks for clock and deadline as services where the stream ends; the breaker keeps those of its admission.
  "README, traffic, Stream.runDrain of 16 tokens": 863,
  "README, traffic, Stream.runDrain, each further token": 14,
  "README, traffic, ChatStream.forEach of 16 tokens": 94,
  "README, traffic, ChatStream.forEach, each further token": 0
}

const difference = (counted: Readonly<Record<string, number>>): ReadonlyArray<string> =>
  [...new Set([...Object.keys(table), ...Object.keys(counted)])]
    .filter((name) => table[name] !== counted[name])
    .map((name) => `"${name}" moved from ${table[name] ?? "no row"} to ${counted[name] ?? "no row"}`)

describe("one call of each documented composition", () => {
  it("takes as many runtime steps as the table says", async () => {
    const counted: Record<string, number> = {}
    for (const row of await Effect.runPromise(rows)) counted[row.name] = await stepsOf(row)
    if (process.env.STEPS === "print") {
      console.log(
        Object.entries(counted)
          .map(([name, steps]) => `  ${/^\w+$/.test(name) ? name : JSON.stringify(name)}: ${steps}`)
          .join(",\n")
      )
    }
    const moved = difference(counted)
    if (moved.length > 0)
      assert.fail(`${moved.join("; ")}: STEPS=print prints the table, a change needs its reason beside the row`)
  })
})
