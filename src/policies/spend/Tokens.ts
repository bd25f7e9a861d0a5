/**
 * Estimates of a prompt's tokens, before it is sent and without the provider's tokenizer.
 *
 * {@link estimate} errs on the high side of real text, for holds that the usage corrects later. {@link glance} is a
 * rule of thumb for a pacer, and reads no text. {@link bound} is an upper bound for every text, at three to five times
 * the true count.
 *
 * Gotchas: no estimate contains input that the provider itself adds: search results, files behind a URL, pages read by
 * its server-side tools.
 *
 * @example
 * import { Chat, Tokens } from "effect-steadfast"
 *
 * const request = Chat.prompt("The capital of France?")
 * const likely = Tokens.estimate(request)
 * const most = Tokens.bound(request)
 *
 * @since 0.2.0
 */

/**
 * The counted part of a request; a `Chat.Request` has this type.
 *
 * @since 0.2.0
 * @category models
 */
export interface Prompt {
  /** The conversation. */
  readonly messages: ReadonlyArray<unknown>
  /** The tools offered. Default: none. */
  readonly tools?: ReadonlyArray<unknown> | undefined
  /** The schema of the answer. Default: none. */
  readonly responseFormat?: unknown
  /** Extra fields of the body. They count too. Default: none. */
  readonly providerOptions?: unknown
}

/**
 * The weight of a character, in tenths of a token. Measured with OpenAI's o200k and cl100k on 39 texts: prose, code,
 * JSON, base64, numbers, emoji, and the names of the world's regions in 22 languages. The sum was 1.0 to 2.1 times the
 * true count for Latin text, code and data, and mostly 1.3 to 3.7 times for other scripts. It was too low for base64
 * with cl100k (by 3 %) and for Amharic (8 %; with cl100k 29 %, Armenian 27 %, Georgian and Burmese 4 %). Characters
 * divided by 3 were too low for everything but English prose and code, for some scripts by a factor of six.
 */
const weight = { letter: 4, other: 8, twoBytes: 15, moreBytes: 20 }

/** A longer run of letters is base64, a key or a hash, where hardly two characters make a token. */
const longestWord = 12

const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122

const isDigit = (code: number): boolean => code >= 48 && code <= 57

/**
 * The estimated tokens of a text. Each UTF-16 unit counts alone: a surrogate is half a character of four bytes.
 *
 * @internal
 */
export const ofText = (text: string): number => {
  let tenths = 0
  let run = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code >= 0x80) {
      run = 0
      tenths += code < 0x800 ? weight.twoBytes : weight.moreBytes
      continue
    }
    const letter = isLetter(code)
    run = letter || isDigit(code) ? run + 1 : 0
    tenths += code === 32 || (letter && run <= longestWord) ? weight.letter : weight.other
  }
  return Math.ceil(tenths / 10)
}

/**
 * The UTF-8 bytes of a text. A byte-level BPE starts from bytes and only merges them; SentencePiece falls back to
 * bytes, one token each.
 */
const bytes = (text: string): number => {
  let count = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // A surrogate pair is 2 units and 4 bytes.
    if (code >= 0x80) count += code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 1 : 2
  }
  return count
}

/**
 * Tokens of an image. Claude's largest have about 4,800 tokens (patches of 28 pixels), GPT-4o's 1,445 (8 tiles of 170,
 * plus 85). Only gpt-4o-mini counts 33 times as many: 8 tiles of 5,667, plus 2,833.
 */
const image = { glance: 1000, likely: 5000, most: 50_000 }

/** The tokens of a provider's own prompt around tools and schemas: 313 to 530 at Anthropic, fewer at others. */
const instructions = 600

/**
 * The weight of a prompt's JSON. The JSON around a message covers the chat template: `{"role":"user","content":""}`
 * weighs 16 tokens, and no template needs as many.
 */
const weigh = (prompt: Prompt, text: (text: string) => number, perImage: number): number => {
  let images = 0
  const { messages, providerOptions, responseFormat, tools } = prompt
  const json = written([messages, tools, responseFormat, providerOptions], (key, value) => {
    if (key !== "content" || !Array.isArray(value)) return value
    const shown = value.filter((part) => part?.type !== "image")
    images += value.length - shown.length
    return shown
  })
  const instructed = (tools !== undefined && tools.length > 0) || responseFormat !== undefined
  return text(json) + images * perImage + (instructed ? instructions : 0)
}

/** JSON, or nothing where there is none, as for a circular schema: such a request is never sent. */
const written = (value: unknown, replacer: (key: string, value: unknown) => unknown): string => {
  try {
    return JSON.stringify(value, replacer)
  } catch {
    return ""
  }
}

/**
 * The tokens of a prompt, estimated high: about 1.7 times the true count of English prose, twice that of code. Reads
 * each character once, in 10 ns.
 *
 * @since 0.2.0
 * @category getters
 */
export const estimate = (prompt: Prompt): number => weigh(prompt, ofText, image.likely)

/**
 * An upper bound of a prompt's tokens: the bytes of its JSON, and 50,000 for each image.
 *
 * @since 0.2.0
 * @category getters
 */
export const bound = (prompt: Prompt): number => weigh(prompt, bytes, image.most)

/** Four characters a token is OpenAI's rule of thumb for English. The template around a message counts as 4 tokens. */
const thumb = { characters: 4, message: 4 }

/**
 * The tokens of a prompt by the length of its messages' text, in negligible time. Half the true count for Chinese and
 * similar scripts, and blind to tools and schemas. The pacer corrects its reservation with the usage.
 *
 * @since 0.2.0
 * @category getters
 */
export const glance = (prompt: Prompt): number => {
  let characters = 0
  let images = 0
  for (const message of prompt.messages) {
    const { content } = message as { readonly content?: unknown }
    if (typeof content === "string") characters += content.length
    else if (Array.isArray(content)) {
      for (const part of content) {
        if (typeof part?.text === "string") characters += part.text.length
        else images += 1
      }
    }
  }
  return Math.ceil(characters / thumb.characters) + thumb.message * prompt.messages.length + images * image.glance
}
