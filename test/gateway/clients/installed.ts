import { existsSync } from "node:fs"
import { createRequire } from "node:module"
import { fileURLToPath } from "node:url"

const manifest = fileURLToPath(new URL("../../../clients/package.json", import.meta.url))

/** Whether the clients are there. They are installed for these tests alone. */
export const installed = existsSync(fileURLToPath(new URL("../../../clients/node_modules/openai", import.meta.url)))

export const how = "SKIPPED: the clients are not installed: npm --prefix clients ci"

if (!installed) console.warn(how)

/** What a package exports. Its types are not there where it is not installed. */
// biome-ignore lint/suspicious/noExplicitAny: as said
export type Client = any

/** A package of a client. */
export const load = (name: string): Promise<Client> => import(/* @vite-ignore */ createRequire(manifest).resolve(name))

/** The packages, so that they are loaded before a clock runs. */
export const packages = [
  "openai",
  "openai-6",
  "groq-sdk",
  "@anthropic-ai/sdk",
  "ai",
  "ai-6",
  "@ai-sdk/openai",
  "@ai-sdk/openai-6",
  "@ai-sdk/anthropic",
  "@ai-sdk/anthropic-6",
  "@ai-sdk/google",
  "@openrouter/ai-sdk-provider",
  "@google/genai",
  "@mistralai/mistralai",
  "@langchain/openai",
  "@langchain/anthropic",
  "@openai/agents",
  "together-ai",
  "portkey-ai",
  "@openrouter/sdk",
  "@huggingface/inference",
  "@effect/ai",
  "@effect/ai-openai",
  "@effect/ai-anthropic",
  "ollama",
  "cohere-ai"
]
