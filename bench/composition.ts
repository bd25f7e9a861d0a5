/** What the composition `timeout ∘ retry ∘ orElse ∘ deadline` adds to an exchange that is answered at once. */
import { HttpClient } from "@effect/platform"
import { Effect, Redacted } from "effect"
import { Call, OpenAi } from "effect-steadfast"
import { bareExchange, model, request, resilient, stubClient } from "./fixtures.js"
import { effectCase, measure, micros, print, timeOf } from "./support.js"

const exchange = "bare exchange: encode, execute, read, parse"

export const run = async (): Promise<void> => {
  const leaf = await OpenAi.make({ model, apiKey: Redacted.make("sk-bench") }).pipe(
    Effect.provideService(HttpClient.HttpClient, stubClient),
    Effect.runPromise
  )
  const assistant = resilient(leaf, leaf)
  const untraced = Effect.withTracerEnabled(false)
  const observed = Effect.provideService(Call.Observers, [() => Effect.void])
  const measured = await measure([
    effectCase(exchange, untraced(bareExchange(stubClient))),
    effectCase("  with platform's span", bareExchange(stubClient)),
    effectCase("  leaf, no tracer", untraced(leaf.generate(request))),
    effectCase("  leaf, spans", leaf.generate(request)),
    effectCase("  leaf, spans and record", observed(leaf.generate(request))),
    effectCase("  composition, no tracer", untraced(assistant.generate(request))),
    effectCase("  composition, spans", assistant.generate(request)),
    effectCase("  composition, spans and record", observed(assistant.generate(request)))
  ])
  print("composition, answered at once: µs per operation", measured, () => exchange)
  for (const kind of ["no tracer", "spans and record"]) {
    const added = (base: string) => micros(timeOf(measured, `  composition, ${kind}`) - timeOf(measured, base))
    console.log(
      `${kind}: the composition adds ${added(exchange)} µs to the exchange, ${added(`  leaf, ${kind}`)} to the leaf`
    )
  }
}
