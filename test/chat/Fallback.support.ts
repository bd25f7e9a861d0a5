import { FastCheck as fc } from "effect"
import type { Capabilities } from "effect-steadfast"

const maybe = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

const tokens = fc.integer({ min: 1, max: 200 })

export const arbitraryCapabilities: fc.Arbitrary<Capabilities.Capabilities> = fc.record({
  contextWindow: maybe(tokens),
  maxOutputTokens: maybe(tokens),
  tools: maybe(fc.boolean()),
  images: maybe(fc.boolean()),
  files: maybe(fc.boolean()),
  structuredOutput: maybe(fc.constantFrom(false as const, "json" as const, "json-schema" as const)),
  prefill: maybe(fc.boolean())
})

export const arbitraryNeeds: fc.Arbitrary<Capabilities.Needs> = fc.record({
  tools: fc.boolean(),
  images: fc.boolean(),
  files: fc.boolean(),
  structuredOutput: fc.constantFrom(false as const, "json" as const, "json-schema" as const),
  prefill: fc.boolean(),
  contextTokens: fc.nat(200),
  outputTokens: maybe(tokens)
})

const greater = (a: number | undefined, b: number | undefined) => (a === undefined ? a : Math.max(a, b ?? 0))

const either = (a: boolean | undefined, b: boolean | undefined) => (a === undefined ? a : a || b === true)

const levels = [false, "json", "json-schema"] as const

/** Can all that the first can, and more. */
export const more = (a: Capabilities.Capabilities, b: Capabilities.Capabilities): Capabilities.Capabilities => ({
  contextWindow: greater(a.contextWindow, b.contextWindow),
  maxOutputTokens: greater(a.maxOutputTokens, b.maxOutputTokens),
  tools: either(a.tools, b.tools),
  images: either(a.images, b.images),
  files: either(a.files, b.files),
  structuredOutput:
    a.structuredOutput === undefined
      ? undefined
      : levels[Math.max(levels.indexOf(a.structuredOutput), levels.indexOf(b.structuredOutput ?? false))],
  prefill: either(a.prefill, b.prefill)
})

/** What is lacking without how much of it there is. */
export const kindsOf = (words: ReadonlyArray<string>): Array<string> =>
  words.map((word) => word.replace(/ \(has \d+\)$/, ""))
