/** What the scenarios have in common. */
import { lognormal, type Random } from "../chance.js"
import type { Policy } from "../contract.js"
import type { Service, TargetOptions } from "../provider.js"

export const seconds = (count: number): number => 1000 * count
export const minutes = (count: number): number => 60_000 * count

/** The key of a target, as OpenAI's look. */
export const keyOf = (target: string, index = 0): string => `sk-${target}-${index}`

/** A target of that name with one key. */
export const target = (
  name: string,
  options: Omit<TargetOptions, "name" | "baseUrl" | "keys"> & { readonly keys?: ReadonlyArray<string> }
): TargetOptions => ({ name, baseUrl: `https://${name}.example/v1`, keys: [keyOf(name)], ...options })

/**
 * Lognormal answer times, the form that measured LLM latencies have; the first token comes after a quarter of them.
 * `median` in milliseconds.
 */
export const answeringAbout =
  (median: number, sigma = 0.5) =>
  (random: Random): Service => {
    const total = lognormal(random, median, sigma)
    return { firstToken: total / 4, total }
  }

/** The same by their mean, in milliseconds. */
export const answering = (mean: number, sigma = 0.5) => answeringAbout(mean / Math.exp(sigma ** 2 / 2), sigma)

/** All that are not an edition of another one. */
export const everybody = (policy: Policy): boolean => policy.only === undefined

/** These, and the editions that are made for such scenarios. */
export const everybodyAnd =
  (edition: "tail" | "jobs" | "batch") =>
  (policy: Policy): boolean =>
    everybody(policy) || policy.only?.includes(edition) === true

export const onlyOurs = (policy: Policy): boolean => policy.kind === "ours" && everybody(policy)

/** Those that know what to do with a second target, and two that show what it is worth. */
export const withFallback = (policy: Policy): boolean =>
  onlyOurs(policy) || ["like LiteLLM", "like Portkey", "openai SDK", "no retry"].includes(policy.name)
