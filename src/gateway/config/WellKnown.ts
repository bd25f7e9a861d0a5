/**
 * What is known of providers by their names: the API that they speak, and the usual variable of their key.
 *
 * @since 0.2.0
 */

import * as OpenAiServers from "../../providers/openai/OpenAiServers.js"
import type * as Resolved from "./Resolved.js"
import * as Variables from "./Variables.js"

const kinds: ReadonlyMap<string, Resolved.Kind> = new Map<string, Resolved.Kind>([
  ...[...OpenAiServers.dialects.keys()].map((name) => [name, "openai"] as const),
  ["responses", "responses"],
  ["openai-responses", "responses"],
  ["anthropic", "anthropic"],
  ["gemini", "gemini"],
  ["google", "gemini"],
  ["azure", "azure"],
  ["azure-openai", "azure"],
  ["faulty", "faulty"]
])

const variables: ReadonlyMap<string, ReadonlyArray<string>> = new Map([
  ["openai", ["OPENAI_API_KEY"]],
  ["responses", ["OPENAI_API_KEY"]],
  ["openai-responses", ["OPENAI_API_KEY"]],
  ["anthropic", ["ANTHROPIC_API_KEY"]],
  ["gemini", ["GEMINI_API_KEY", "GOOGLE_API_KEY"]],
  ["google", ["GOOGLE_API_KEY", "GEMINI_API_KEY"]],
  ["azure", ["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"]],
  ["azure-openai", ["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"]],
  ["groq", ["GROQ_API_KEY"]],
  ["mistral", ["MISTRAL_API_KEY"]],
  ["deepseek", ["DEEPSEEK_API_KEY"]],
  ["together", ["TOGETHER_API_KEY"]],
  ["fireworks", ["FIREWORKS_API_KEY"]],
  ["openrouter", ["OPENROUTER_API_KEY"]],
  ["xai", ["XAI_API_KEY"]],
  ["cerebras", ["CEREBRAS_API_KEY"]],
  ["moonshot", ["MOONSHOT_API_KEY"]],
  ["zai", ["ZAI_API_KEY"]]
])

/** Servers on this machine, without a key. */
const keyless = new Set(["vllm", "ollama", "faulty"])

/**
 * The API of a provider, by its name.
 *
 * @since 0.2.0
 * @category getters
 */
export const kindOf = (name: string): Resolved.Kind | undefined => kinds.get(name)

/**
 * The names of all known providers.
 *
 * @since 0.2.0
 * @category getters
 */
export const names: ReadonlyArray<string> = [...kinds.keys()]

/**
 * The usual variables of a provider's key, the first choice first.
 *
 * @since 0.2.0
 * @category getters
 */
export const variablesOf = (name: string): ReadonlyArray<string> => variables.get(name) ?? []

/**
 * The usual variable that is set.
 *
 * @since 0.2.0
 * @category getters
 */
export const keyIn = (
  name: string,
  env: Variables.Env
): { readonly variable: string; readonly key: string } | undefined => {
  for (const variable of variablesOf(name)) {
    const key = Variables.valueOf(env, variable)?.trim()
    if (key !== undefined) return { variable, key }
  }
  return undefined
}

/**
 * Whether a provider is asked without a key.
 *
 * @since 0.2.0
 * @category getters
 */
export const isKeyless = (name: string): boolean => keyless.has(name)

/**
 * Whether the address of a provider is known.
 *
 * @since 0.2.0
 * @category getters
 */
export const hasAddress = (name: string, kind: Resolved.Kind): boolean =>
  kind === "anthropic" || kind === "gemini" || kind === "responses" || kind === "faulty"
    ? true
    : kind === "openai" && OpenAiServers.dialects.get(name)?.baseUrl !== undefined
