/**
 * The capabilities of a target, the needs of a request, and the difference. Everything here is pure.
 *
 * A leaf has the {@link known} capabilities of its model, {@link merge}d with those that its user states. {@link needs}
 * reads a request, and {@link lacking} compares the two. `Fallback` asks before a request goes to another target. An
 * unknown capability never excludes a target: a target is skipped only if it certainly lacks a capability.
 *
 * Gotchas: the host of open weights decides the context window, so the table has none for them: state the
 * `contextWindow` of a leaf on Ollama, vLLM or a host. Aliases that move from model to model (`mistral-large-latest`,
 * `grok-4`) are in no row. A composition meets the needs only if one single target does: a target with images and
 * another with tools do not add up to both.
 *
 * @example
 * import { Capabilities, Chat } from "effect-steadfast"
 *
 * const local = Capabilities.merge(Capabilities.known({ provider: "ollama", model: "llama3.1:8b" }), {
 *   contextWindow: 8192
 * })
 * const request = Chat.prompt("Hello", { maxTokens: 10_000 })
 * const words = Capabilities.lacking(local, Capabilities.needs(request))
 * // ["a context window of 10000 tokens (has 8192)"]
 *
 * @since 0.2.0
 */

import type * as Chat from "./Chat.js"
import * as Continuation from "./stream/Continuation.js"

/**
 * The capabilities of a target. An absent one is unknown.
 *
 * @since 0.2.0
 * @category models
 */
export interface Capabilities {
  /** The most tokens of prompt and answer together. */
  readonly contextWindow?: number | undefined
  /** The largest `maxTokens` that the target accepts. */
  readonly maxOutputTokens?: number | undefined
  /** Whether the target takes tools in a request. */
  readonly tools?: boolean | undefined
  /** Whether the target takes images in a request. */
  readonly images?: boolean | undefined
  /** Whether the target takes files other than images in a request: documents, sounds, films. */
  readonly files?: boolean | undefined
  /** `"json"`: it can answer in JSON; `"json-schema"`: also by a JSON schema; `false`: neither. */
  readonly structuredOutput?: false | "json" | "json-schema" | undefined
  /** Whether the target continues a last message of the assistant. */
  readonly prefill?: boolean | undefined
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * Matches a model's own name: after the vendor, region or folder that a gateway puts before it, with or without a date
 * or revision, and before a variant. `gpt-4o` is not `gpt-4o-audio-preview`, and `claude-opus-4` not `claude-opus-4-6`.
 */
const named = (family: string): RegExp => {
  const date = "[-@](?:\\d{8}|\\d{4}-\\d\\d-\\d\\d|\\d\\d-\\d{2,4}|\\d{3,4})"
  return new RegExp(`(?:^|[/.:])(?:${family})(?:-(?:latest|preview|exp))?(?:${date})?(?:-v\\d+)?(?:$|[:@])`)
}

const everything: Capabilities = { tools: true, images: true, structuredOutput: "json-schema" }

/**
 * Capabilities by provider name and lower-case model name. All matching rows count; a later row overrides an earlier
 * one. The numbers are from the makers' own pages. A row for models on any host states only limits of the weights.
 */
const table = (): ReadonlyArray<readonly [provider: RegExp, model: RegExp, capabilities: Capabilities]> => [
  // OpenAI: developers.openai.com/api/docs/models and the guide on structured outputs, which begin with
  // gpt-4o-2024-08-06.
  [/./, named("gpt-4o(?:-mini)?"), { ...everything, contextWindow: 128_000, maxOutputTokens: 16_384 }],
  [/./, /gpt-4o-2024-05-13/, { maxOutputTokens: 4096, structuredOutput: "json" }],
  [/./, named("gpt-4\\.1(?:-mini|-nano)?"), { ...everything, contextWindow: 1_047_576, maxOutputTokens: 32_768 }],
  [/./, named("o1|o3(?:-mini|-pro)?|o4-mini"), { ...everything, contextWindow: 200_000, maxOutputTokens: 100_000 }],
  [/./, named("o3-mini"), { images: false }],
  [
    /./,
    named("gpt-5(?:\\.[12])?(?:-mini|-nano)?|gpt-5\\.4-(?:mini|nano)"),
    { ...everything, contextWindow: 400_000, maxOutputTokens: 128_000 }
  ],
  [
    /./,
    named("gpt-5\\.[45]|gpt-5\\.6(?:-luna|-sol|-terra)?|gpt-6-(?:astra|luna|sol)"),
    { ...everything, contextWindow: 1_050_000, maxOutputTokens: 128_000 }
  ],
  // Anthropic: platform.claude.com/docs/en/models/overview; structured outputs: build-with-claude/structured-outputs.
  // JSON without a schema is asked for in words, which every Claude follows.
  [/./, named("claude-3(?:[-.][57])?-(?:opus|sonnet|haiku)"), { contextWindow: 200_000, tools: true }],
  [/./, named("claude-(?:opus|sonnet|haiku)-4(?:[-.][015])?"), { contextWindow: 200_000, tools: true, images: true }],
  [/./, named("claude-(?:opus|sonnet|haiku)-4[-.]5"), { ...everything, maxOutputTokens: 64_000 }],
  [
    /^anthropic$/,
    named("claude-3(?:[-.][57])?-(?:opus|sonnet|haiku)|claude-(?:opus|sonnet)-4(?:[-.]0)?"),
    { structuredOutput: "json" }
  ],
  [
    /./,
    named("claude-(?:opus|sonnet)-4[-.][678]|claude-(?:opus|sonnet|haiku|fable)-5(?:[-.]\\d)?"),
    { ...everything, contextWindow: 1_000_000, maxOutputTokens: 128_000 }
  ],
  // Gemini: ai.google.dev/gemini-api/docs/models. It limits prompt and answer apart: the window here is their sum.
  [
    /./,
    named("gemini-(?:2\\.5|3(?:\\.\\d)?)-(?:pro|flash|flash-lite)"),
    { ...everything, contextWindow: 1_048_576 + 65_536, maxOutputTokens: 65_536 }
  ],
  // Mistral: docs.mistral.ai/getting-started/models, and the cards of the weights at huggingface.co/mistralai.
  [/^mistral$/, named("mistral-large-2512"), { ...everything, contextWindow: 262_144 }],
  [/^mistral$/, named("mistral-medium-2505"), { ...everything, contextWindow: 131_072 }],
  [/^mistral$/, named("mistral-large-2411"), { ...everything, contextWindow: 131_072, images: false }],
  [/./, /(?:^|[/.:])(?:(?:open-)?(?:mistral-(?:7b|nemo)|mixtral-8x)|codestral-\d{4})/, { images: false }],
  // DeepSeek: api-docs.deepseek.com/quick_start/pricing and api/create-chat-completion.
  [/^deepseek$/, named("deepseek-(?:chat|reasoner)"), { tools: true, images: false, structuredOutput: "json" }],
  [
    /^deepseek$/,
    named("deepseek-v4-(?:flash|pro)"),
    { tools: true, images: false, contextWindow: 1_048_576, maxOutputTokens: 393_216 }
  ],
  [/./, /(?:^|[/.:])deepseek-(?:v3|r1)/, { images: false }],
  // xAI: docs.x.ai/developers/models. Older names are moving aliases there.
  [/^xai$/, named("grok-4\\.3"), { ...everything, contextWindow: 1_000_000 }],
  [/^xai$/, named("grok-4\\.5"), { ...everything, contextWindow: 500_000 }],
  // Weights that take text alone: Llama 3, 3.1 and 3.3 (github.com/meta-llama/llama-models), Qwen 2.5 and 3
  // (huggingface.co/Qwen), gpt-oss (huggingface.co/openai). Their relatives with `vision`, `vl` and `omni` have other
  // names.
  [/./, /(?:^|[/.:])(?:meta-)?llama-?v?3(?:[-.p][13])?(?:$|[-:](?:\d+b|latest))/, { images: false }],
  [/./, /(?:^|[/.:])qwen-?(?:2\.5|3)(?:-coder|-next)?[-:]\d+(?:\.\d+)?b/, { images: false }],
  [/./, /(?:^|[/.:])gpt-oss[-:](?:20|120)b/, { images: false }],
  // Hosts whose API has no field for files, by their references.
  [/^(?:groq|deepseek|cerebras|fireworks|moonshot|zai|ollama)$/, /./, { files: false }]
]

/** Made at the first look: most programs need none of these expressions. */
let facts: ReturnType<typeof table> | undefined

/**
 * The published capabilities of a model at a provider. `prefill` comes from `Continuation.methodOf`.
 *
 * @since 0.2.0
 * @category facts
 */
export const known = (target: { readonly provider: string; readonly model: string }): Capabilities => {
  const name = target.model.toLowerCase()
  const method = Continuation.methodOf(target)
  const first: Capabilities = method === undefined ? {} : { prefill: method === "prefill" }
  facts ??= table()
  const rows = facts.filter(([provider, model]) => provider.test(target.provider) && model.test(name))
  return Object.assign({}, first, ...rows.map(([, , capabilities]) => capabilities))
}

/**
 * Overrides known capabilities with stated ones; `undefined` overrides nothing. Throws a `RangeError` if a number of
 * tokens is not a positive integer.
 *
 * @since 0.2.0
 * @category combinators
 */
export const merge = (known: Capabilities, stated: Capabilities): Capabilities => {
  for (const option of ["contextWindow", "maxOutputTokens"] as const) {
    const found = stated[option]
    if (found !== undefined && !(Number.isInteger(found) && found > 0)) {
      throw new RangeError(`capabilities.${option}: found ${found}, expected a positive integer`)
    }
  }
  return { ...known, ...Object.fromEntries(Object.entries(stated).filter(([, value]) => value !== undefined)) }
}

// -----------------------------------------------------------------------------
// needs
// -----------------------------------------------------------------------------

/**
 * The needs of a request.
 *
 * @since 0.2.0
 * @category models
 */
export interface Needs {
  /** The request offers tools, or its conversation has tool calls, which a model without tools cannot read. */
  readonly tools: boolean
  /** A message has an image. */
  readonly images: boolean
  /** A message has a file that is no image. */
  readonly files: boolean
  /** The format of the answer; `false` for text. */
  readonly structuredOutput: false | "json" | "json-schema"
  /** The last message is the assistant's. */
  readonly prefill: boolean
  /** The tokens of the prompt, by the lowest estimate, plus `maxTokens`. */
  readonly contextTokens: number
  /** The request's `maxTokens`. */
  readonly outputTokens: number | undefined
}

/**
 * Characters in one token, above the average of ordinary text, so that an estimate stays below every tokenizer's count.
 * Measured with `o200k_base`, which has long tokens: legal English 5.1, German 4.7, source code 3.6 to 4.4, JSON 2.6 to
 * 4.4; Korean 1.9, Chinese and Japanese 1.5, set phrases of Japanese 3.1. The rule of thumb of 4 characters for all
 * texts counts some prose a quarter too long and Chinese less than half.
 */
const charactersPerToken = { narrow: 6, wide: 4 }

/** The first UTF-16 unit of Chinese, Japanese and Korean; the surrogate halves of emoji are above it too. */
const firstWide = 0x2e80

/** The fewest tokens of texts. A repeated character counts once: an indent or a line of dashes is one or two tokens. */
const fewestTokens = (texts: ReadonlyArray<string>): number => {
  let narrow = 0
  let wide = 0
  for (const text of texts) {
    let previous = -1
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit !== previous) {
        if (unit < firstWide) narrow++
        else wide++
      }
      previous = unit
    }
  }
  return Math.floor(narrow / charactersPerToken.narrow + wide / charactersPerToken.wide)
}

/**
 * Reads the needs of a request. Only the text of a prompt is counted: the tokens of images, tools and message marks
 * differ from model to model.
 *
 * Counting takes 1 ms for 100,000 characters. A prompt that is short enough to fit into `window`, the smallest context
 * window in question, is not counted. Default 0: every prompt is counted.
 *
 * @since 0.2.0
 * @category constructors
 */
export const needs = (request: Chat.Request, window = 0): Needs => {
  const texts: Array<string> = []
  let characters = 0
  let tools = (request.tools?.length ?? 0) > 0
  let images = false
  let files = false
  for (const message of request.messages) {
    const { content } = message
    for (const part of typeof content === "string" ? [{ type: "text", text: content } as const] : content) {
      if (part.type === "text") {
        texts.push(part.text)
        characters += part.text.length
      } else if (part.type === "image" || part.mediaType?.startsWith("image/") === true) images = true
      else files = true
    }
    if (message.role === "tool" || (message.role === "assistant" && hasCalls(message))) tools = true
  }
  const last = request.messages[request.messages.length - 1]
  const outputTokens = request.maxTokens ?? 0
  const fits = characters / charactersPerToken.wide + outputTokens <= window
  return {
    tools,
    images,
    files,
    structuredOutput: request.responseFormat?.type ?? false,
    prefill: last?.role === "assistant" && !hasCalls(last),
    contextTokens: outputTokens + (fits ? 0 : fewestTokens(texts)),
    outputTokens: request.maxTokens
  }
}

const hasCalls = (message: Extract<Chat.Message, { role: "assistant" }>): boolean =>
  message.toolCalls !== undefined && message.toolCalls.length > 0

/** Each format includes those before it. */
const formats: ReadonlyArray<Capabilities["structuredOutput"]> = [false, "json", "json-schema"]

/**
 * The needs of a request that a target certainly does not meet, in words. Empty if none is known.
 *
 * @since 0.2.0
 * @category combinators
 */
export const lacking = (capabilities: Capabilities, needs: Needs): ReadonlyArray<string> => {
  const { contextWindow, files, images, maxOutputTokens, prefill, structuredOutput, tools } = capabilities
  const words: Array<string> = []
  if (needs.tools && tools === false) words.push("tools")
  if (needs.images && images === false) words.push("images")
  if (needs.files && files === false) words.push("files")
  if (structuredOutput !== undefined && formats.indexOf(structuredOutput) < formats.indexOf(needs.structuredOutput)) {
    words.push(needs.structuredOutput === "json" ? "JSON answers" : "answers by a JSON schema")
  }
  if (needs.prefill && prefill === false) words.push("a prefilled answer")
  if (contextWindow !== undefined && needs.contextTokens > contextWindow) {
    words.push(`a context window of ${needs.contextTokens} tokens (has ${contextWindow})`)
  }
  if (maxOutputTokens !== undefined && needs.outputTokens !== undefined && needs.outputTokens > maxOutputTokens) {
    words.push(`answers of ${needs.outputTokens} tokens (has ${maxOutputTokens})`)
  }
  return words
}
