/**
 * What a target can do, what a request needs, and what of that is lacking. Nothing here needs a runtime.
 *
 * A leaf has the {@link Capabilities} that are {@link known} of its model, {@link merge}d with what its user says of
 * it; {@link needs} reads a request, and {@link lacking} compares the two. `Fallback` asks before a request goes to
 * another target. What is not known never excludes: a target is left out only if it surely cannot do what is asked.
 *
 * Gotchas: whoever serves open weights decides how large a window they have, so for those the table says none: a leaf
 * on Ollama, vLLM or a host should be told its `contextWindow`. Names that their maker moves from model to model
 * (`mistral-large-latest`, `grok-4`) are in no row either. A composition can do what one of its targets can do alone;
 * there are no capabilities of a whole, because one target with images and one with tools make none with both.
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
 * What a target can do; `undefined` where that is not known.
 *
 * - `contextWindow`: the tokens of prompt and answer together.
 * - `maxOutputTokens`: the most `maxTokens` that it accepts.
 * - `tools`, `images`: whether it takes them in a request.
 * - `structuredOutput`: whether an answer can be asked for as any JSON, or also by a JSON schema.
 * - `prefill`: whether it goes on from a last message of the assistant.
 *
 * @since 0.2.0
 * @category models
 */
export interface Capabilities {
  readonly contextWindow?: number | undefined
  readonly maxOutputTokens?: number | undefined
  readonly tools?: boolean | undefined
  readonly images?: boolean | undefined
  readonly structuredOutput?: false | "json" | "json-schema" | undefined
  readonly prefill?: boolean | undefined
}

// -----------------------------------------------------------------------------
// facts
// -----------------------------------------------------------------------------

/**
 * A model by its own name: behind the vendor, region or folder that a gateway puts before it, with or without a date or
 * a revision, and before a variant. `gpt-4o` is not `gpt-4o-audio-preview`, and `claude-opus-4` not `claude-opus-4-6`.
 */
const named = (family: string): RegExp => {
  const date = "[-@](?:\\d{8}|\\d{4}-\\d\\d-\\d\\d|\\d\\d-\\d{2,4}|\\d{3,4})"
  return new RegExp(`(?:^|[/.:])(?:${family})(?:-(?:latest|preview|exp))?(?:${date})?(?:-v\\d+)?(?:$|[:@])`)
}

const everything: Capabilities = { tools: true, images: true, structuredOutput: "json-schema" }

/**
 * What is known, by the name of the provider and the model's in lower case. Every row that fits counts, a later one
 * over an earlier. The numbers are those of the makers' own pages; a row without a maker's endpoint says only what the
 * weights cannot do anywhere.
 */
const facts: ReadonlyArray<readonly [provider: RegExp, model: RegExp, capabilities: Capabilities]> = [
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
  // xAI: docs.x.ai/developers/models. Older names are aliases there, of whatever model is new.
  [/^xai$/, named("grok-4\\.3"), { ...everything, contextWindow: 1_000_000 }],
  [/^xai$/, named("grok-4\\.5"), { ...everything, contextWindow: 500_000 }],
  // Weights that take text alone: Llama 3, 3.1 and 3.3 (github.com/meta-llama/llama-models), Qwen 2.5 and 3
  // (huggingface.co/Qwen), gpt-oss (huggingface.co/openai). Their relatives with `vision`, `vl` and `omni` have other
  // names.
  [/./, /(?:^|[/.:])(?:meta-)?llama-?v?3(?:[-.p][13])?(?:$|[-:](?:\d+b|latest))/, { images: false }],
  [/./, /(?:^|[/.:])qwen-?(?:2\.5|3)(?:-coder|-next)?[-:]\d+(?:\.\d+)?b/, { images: false }],
  [/./, /(?:^|[/.:])gpt-oss[-:](?:20|120)b/, { images: false }]
]

/**
 * What is publicly known of a model where a provider serves it. `prefill` is what `Continuation.methodOf` knows.
 *
 * @since 0.2.0
 * @category facts
 */
export const known = (target: { readonly provider: string; readonly model: string }): Capabilities => {
  const name = target.model.toLowerCase()
  const method = Continuation.methodOf(target)
  const first: Capabilities = method === undefined ? {} : { prefill: method === "prefill" }
  const rows = facts.filter(([provider, model]) => provider.test(target.provider) && model.test(name))
  return Object.assign({}, first, ...rows.map(([, , capabilities]) => capabilities))
}

/**
 * What is known, and over it what its user says; `undefined` says nothing. Throws a `RangeError` for a number of tokens
 * that is none.
 *
 * @since 0.2.0
 * @category combinators
 */
export const merge = (known: Capabilities, said: Capabilities): Capabilities => {
  for (const option of ["contextWindow", "maxOutputTokens"] as const) {
    const found = said[option]
    if (found !== undefined && !(Number.isInteger(found) && found > 0)) {
      throw new RangeError(`capabilities.${option}: found ${found}, expected a positive integer`)
    }
  }
  return { ...known, ...Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)) }
}

// -----------------------------------------------------------------------------
// needs
// -----------------------------------------------------------------------------

/**
 * What a request needs of a target.
 *
 * - `tools`: it offers some, or its conversation has calls, which a model without tools cannot read.
 * - `prefill`: its last message is the assistant's.
 * - `contextTokens`: the tokens of its prompt, by the lowest estimate, and its `maxTokens`.
 * - `outputTokens`: its `maxTokens`.
 *
 * @since 0.2.0
 * @category models
 */
export interface Needs {
  readonly tools: boolean
  readonly images: boolean
  readonly structuredOutput: false | "json" | "json-schema"
  readonly prefill: boolean
  readonly contextTokens: number
  readonly outputTokens: number | undefined
}

/**
 * More characters than ordinary text has in a token, so that an estimate stays below the count of every tokenizer.
 * Measured with `o200k_base`, whose tokens are long: legal English 5.1, German 4.7, source code 3.6 to 4.4, JSON 2.6 to
 * 4.4; Korean 1.9, Chinese and Japanese 1.5, set phrases of Japanese 3.1. Four characters for all, the rule of thumb,
 * would count some prose a quarter too long and Chinese hardly half.
 */
const charactersPerToken = { narrow: 6, wide: 4 }

/** From here on UTF-16 units are those of Chinese, Japanese and Korean, and the halves of emoji. */
const firstWide = 0x2e80

/**
 * The fewest tokens of texts. A repeated character counts once: an indent, or a line of dashes, is one token or two.
 */
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
 * What a request needs. Of a prompt only its text is counted: what images, tools and the marks between messages take
 * differs from model to model.
 *
 * Counting reads the text, at 1 ms for 100,000 characters; a prompt that is so short that it fits into `window`, the
 * smallest one in question, whatever it says, is not counted. Default 0: every prompt is.
 *
 * @since 0.2.0
 * @category constructors
 */
export const needs = (request: Chat.Request, window = 0): Needs => {
  const texts: Array<string> = []
  let characters = 0
  let tools = (request.tools?.length ?? 0) > 0
  let images = false
  const add = (text: string): void => {
    texts.push(text)
    characters += text.length
  }
  for (const message of request.messages) {
    if (typeof message.content === "string") add(message.content)
    else {
      for (const part of message.content) {
        if (part.type === "text") add(part.text)
        else images = true
      }
    }
    if (message.role === "tool" || (message.role === "assistant" && hasCalls(message))) tools = true
  }
  const last = request.messages[request.messages.length - 1]
  const outputTokens = request.maxTokens ?? 0
  const fits = characters / charactersPerToken.wide + outputTokens <= window
  return {
    tools,
    images,
    structuredOutput: request.responseFormat?.type ?? false,
    prefill: last?.role === "assistant" && !hasCalls(last),
    contextTokens: outputTokens + (fits ? 0 : fewestTokens(texts)),
    outputTokens: request.maxTokens
  }
}

const hasCalls = (message: Extract<Chat.Message, { role: "assistant" }>): boolean =>
  message.toolCalls !== undefined && message.toolCalls.length > 0

const levels = { "": 0, json: 1, "json-schema": 2 }

const levelOf = (output: Exclude<Capabilities["structuredOutput"], undefined>): number => levels[output || ""]

/**
 * What a request needs and a target is known not to have, in words; empty where nothing is known to be lacking.
 *
 * @since 0.2.0
 * @category combinators
 */
export const lacking = (capabilities: Capabilities, needs: Needs): ReadonlyArray<string> => {
  const { contextWindow, images, maxOutputTokens, prefill, structuredOutput, tools } = capabilities
  const words: Array<string> = []
  if (needs.tools && tools === false) words.push("tools")
  if (needs.images && images === false) words.push("images")
  if (structuredOutput !== undefined && levelOf(structuredOutput) < levelOf(needs.structuredOutput)) {
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
