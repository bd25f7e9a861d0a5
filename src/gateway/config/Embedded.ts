/**
 * The configuration without a file: models of the providers whose keys the environment has, or else two that need none.
 *
 * @since 0.2.0
 */

import type * as Variables from "./Variables.js"
import * as WellKnown from "./WellKnown.js"

/** The first model of each is the one of `default`: fast, cheap, and with all capabilities. */
const offers: ReadonlyArray<readonly [provider: string, models: ReadonlyArray<string>]> = [
  ["openai", ["gpt-5.4-mini", "gpt-5.5", "gpt-4.1", "gpt-4o-mini"]],
  ["anthropic", ["claude-haiku-4-5", "claude-sonnet-5", "claude-opus-5"]],
  ["gemini", ["gemini-3.5-flash", "gemini-2.5-pro", "gemini-2.5-flash"]]
]

const vectors: Readonly<Record<string, string>> = {
  openai: "text-embedding-3-small",
  gemini: "gemini-embedding-001"
}

/** Three of ten requests to the first demo fail, and the second answers them. */
const demo = {
  providers: {
    faulty: { kind: "faulty", faults: { errorRate: 0.3, status: 503 } },
    steady: { kind: "faulty", faults: { errorRate: 0 } }
  },
  models: {
    demo: { targets: ["faulty/demo"], fallbacks: ["demo-steady"] },
    "demo-steady": { targets: ["steady/demo-steady"] }
  }
}

/**
 * The file that is not there.
 *
 * @since 0.2.0
 * @category constructors
 */
export const file = (env: Variables.Env): unknown => {
  const present = offers.filter(([provider]) => WellKnown.keyIn(provider, env) !== undefined)
  if (present.length === 0) return demo
  const direct = present.flatMap(([provider, models]) => [
    ...models.map((model) => [model, { targets: [`${provider}/${model}`] }] as const),
    ...(vectors[provider] === undefined ? [] : [[vectors[provider], { targets: [`${provider}/${vectors[provider]}`] }]])
  ])
  return {
    models: Object.fromEntries([
      ["default", { targets: present.map(([provider, models]) => `${provider}/${models[0]}`) }],
      ...direct
    ])
  }
}
