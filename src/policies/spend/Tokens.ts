/**
 * How many tokens a prompt will be, told before it is sent and without the provider's tokenizer.
 *
 * {@link estimate} is on the safe side of what text really is, for holds that are put right when the usage is known.
 * {@link glance} is the rule of thumb, for a pacer, which has no time to read. {@link bound} is what no text can
 * exceed, at three to five times the true count.
 *
 * Gotchas: what a provider adds by itself (search results, files behind a URL, the pages of a tool that runs at its
 * side) is in no prompt and in neither number.
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
 * The part of a request that is counted as input; a `Chat.Request` is one. `providerOptions` count too, for they are
 * merged into the body.
 *
 * @since 0.2.0
 * @category models
 */
export interface Prompt {
  readonly messages: ReadonlyArray<unknown>
  readonly tools?: ReadonlyArray<unknown> | undefined
  readonly responseFormat?: unknown
  readonly providerOptions?: unknown
}

/**
 * What a character weighs, in tenths of a token. Measured with OpenAI's o200k and cl100k on 39 texts: prose, code,
 * JSON, base64, numbers, emoji, and the names of the world's regions in 22 languages. The sum was 1.0 to 2.1 times the
 * true count of Latin text, code and data, and mostly 1.3 to 3.7 times that of other scripts. Too low were base64 with
 * cl100k (by 3 %) and Amharic (8 %; with cl100k 29 %, Armenian 27 %, Georgian and Burmese 4 %). Characters divided by 3
 * were too low for everything but prose and code in English, for some scripts six times.
 */
const weight = { letter: 4, other: 8, twoBytes: 15, moreBytes: 20 }

/**
 * Letters beyond this many in a row are no word but base64, a key or a hash, where two characters hardly make a token.
 */
const longestWord = 12

const isLetter = (code: number): boolean => (code | 32) >= 97 && (code | 32) <= 122

const isDigit = (code: number): boolean => code >= 48 && code <= 57

/** Every unit of UTF-16 counts for itself: one of a pair is half a character of four bytes. */
const likely = (text: string): number => {
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

/** A byte-level BPE starts from bytes and only merges them; SentencePiece falls back to bytes, one token each. */
const bytes = (text: string): number => {
  let count = text.length
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    // a surrogate pair is 2 units and 4 bytes
    if (code >= 0x80) count += code < 0x800 || (code >= 0xd800 && code < 0xe000) ? 1 : 2
  }
  return count
}

/**
 * What a picture is at most. Claude's largest are about 4,800 tokens (patches of 28 pixels), GPT-4o's 1,445 (8 tiles of
 * 170 and 85); gpt-4o-mini alone counts 33 times that: 2,833 and 8 tiles of 5,667.
 */
const image = { glance: 1000, likely: 5000, most: 50_000 }

/** The prompt that a provider puts around tools and schemas: 313 to 530 tokens at Anthropic, less at others. */
const instructions = 600

/**
 * The JSON of a message stands for what the chat template puts around it: `{"role":"user","content":""}` weighs 16
 * tokens, and no template needs as many.
 */
const weigh = (prompt: Prompt, text: (text: string) => number, perImage: number): number => {
  let images = 0
  const { messages, providerOptions, responseFormat, tools } = prompt
  const json = JSON.stringify([messages, tools, responseFormat, providerOptions], (key, value) => {
    if (key !== "content" || !Array.isArray(value)) return value
    const shown = value.filter((part) => part?.type !== "image")
    images += value.length - shown.length
    return shown
  })
  const instructed = (tools !== undefined && tools.length > 0) || responseFormat !== undefined
  return text(json) + images * perImage + (instructed ? instructions : 0)
}

/**
 * The tokens of a prompt, rather too many than too few: about 1.7 times the true count of English prose, twice that of
 * code. Reads each character once, 10 ns each.
 *
 * @since 0.2.0
 * @category getters
 */
export const estimate = (prompt: Prompt): number => weigh(prompt, likely, image.likely)

/**
 * The tokens that a prompt cannot exceed: as many as its JSON has bytes, and 50,000 for each image.
 *
 * @since 0.2.0
 * @category getters
 */
export const bound = (prompt: Prompt): number => weigh(prompt, bytes, image.most)

/**
 * Four characters a token is OpenAI's own rule of thumb for English; what is put around a message weighs as many more.
 */
const thumb = { characters: 4, message: 4 }

/**
 * The tokens of a prompt by the length of its text, in no time. Too low by half for Chinese and its like, and for what
 * is in no message; whoever reserves by it puts it right with the usage.
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
