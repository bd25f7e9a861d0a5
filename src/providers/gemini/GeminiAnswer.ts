/**
 * Reads answers of Gemini's `generateContent`. Each chunk of a stream is a body with the next parts.
 *
 * Gotchas: a stream has no terminator: it is complete if a finish reason came. A function call is whole in its part,
 * unless the part says `willContinue`: then its arguments come in pieces, by their paths.
 *
 * @since 0.2.0
 */

import type { LlmError } from "../../errors/LlmError.js"
import type * as Assembly from "../wire/Assembly.js"
import * as Json from "../wire/Json.js"
import type * as Reader from "../wire/Reader.js"
import type * as ToolCalls from "../wire/ToolCalls.js"
import * as WireFields from "../wire/WireFields.js"

// -----------------------------------------------------------------------------
// usage and details
// -----------------------------------------------------------------------------

const counted = new Set([
  "promptTokenCount",
  "candidatesTokenCount",
  "thoughtsTokenCount",
  "toolUsePromptTokenCount",
  "cachedContentTokenCount",
  "totalTokenCount",
  "promptTokensDetails",
  "candidatesTokensDetails",
  "cacheTokensDetails",
  "toolUsePromptTokensDetails",
  "thoughtsTokensDetails"
])

/** Gemini counts thoughts apart from the candidate, and results of built-in tools apart from the prompt. */
const countUsage = (assembly: Assembly.Assembly, u: unknown): void => {
  const usage = Json.object(u)
  if (usage !== u) return
  const prompt = Json.count(usage.promptTokenCount)
  const candidate = Json.count(usage.candidatesTokenCount)
  const thoughts = Json.count(usage.thoughtsTokenCount)
  assembly.count({
    input: prompt === undefined ? undefined : prompt + (Json.count(usage.toolUsePromptTokenCount) ?? 0),
    output: candidate === undefined ? undefined : candidate + (thoughts ?? 0),
    total: Json.count(usage.totalTokenCount),
    cached: Json.count(usage.cachedContentTokenCount),
    reasoning: thoughts
  })
  assembly.detail("usage", WireFields.uncounted(usage, counted))
}

/** The fields of a candidate that only Gemini has. */
const detailed = [
  "groundingMetadata",
  "citationMetadata",
  "urlContextMetadata",
  "avgLogprobs",
  "logprobsResult"
] as const

// -----------------------------------------------------------------------------
// arguments in pieces
// -----------------------------------------------------------------------------

/** The keys of a path such as `$.items[0].name`; `undefined` if it is none. */
const keysOf = (path: unknown): ReadonlyArray<string | number> | undefined => {
  if (typeof path !== "string" || !path.startsWith("$") || path.length > 1000) return undefined
  const keys: Array<string | number> = []
  const step = /\.([^.[\]]+)|\[(\d{1,6})\]|\['([^']*)'\]|\["([^"]*)"\]/y
  step.lastIndex = 1
  while (step.lastIndex < path.length) {
    const found = step.exec(path)
    if (found === null) return undefined
    keys.push(found[2] === undefined ? (found[1] ?? found[3] ?? found[4] ?? "") : Number(found[2]))
  }
  return keys
}

const valueOf = (piece: Json.Json): unknown => {
  for (const name of ["stringValue", "numberValue", "boolValue"]) if (piece[name] !== undefined) return piece[name]
  return null
}

/** The most elements of a list in arguments: a larger index would fill memory with nothing. */
const maxElements = 100_000

/** Adds a piece to arguments. A piece of a text is joined to the text before it. Returns whether the path is one. */
const addPiece = (args: Record<string, unknown>, piece: Json.Json): boolean => {
  const keys = keysOf(piece.jsonPath)
  const last = keys?.at(-1)
  if (keys === undefined || last === undefined) return false
  let at: Record<string | number, unknown> = args
  for (const [index, key] of keys.slice(0, -1).entries()) {
    if (typeof key === "number" && key > maxElements) return false
    const inner = Object.hasOwn(at, key) ? at[key] : undefined
    if (typeof inner === "object" && inner !== null) at = inner as typeof at
    else {
      const made = typeof keys[index + 1] === "number" ? [] : {}
      define(at, key, made)
      at = made as unknown as typeof at
    }
  }
  if (typeof last === "number" && last > maxElements) return false
  const value = valueOf(piece)
  const before = Object.hasOwn(at, last) ? at[last] : undefined
  define(at, last, typeof before === "string" && typeof value === "string" ? before + value : value)
  return true
}

/** Sets a field of its own, whatever its name. */
const define = (at: object, key: string | number, value: unknown): void => {
  Object.defineProperty(at, key, { value, enumerable: true, configurable: true, writable: true })
}

// -----------------------------------------------------------------------------
// answers
// -----------------------------------------------------------------------------

/**
 * The reader of `generateContent`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const reader = (assembly: Assembly.Assembly): Reader.Reader => {
  const { context } = assembly
  /** The function call whose arguments come in pieces. */
  let open: { readonly call: ToolCalls.OpenCall; readonly args: Record<string, unknown> } | undefined
  /** The parts as they go back: texts joined, function calls by their place. */
  const parts: Array<Record<string, unknown>> = []

  const readCall = (part: Json.Json, field: string): LlmError | undefined => {
    const fn = Json.object(part.functionCall)
    const name = Json.text(fn.name)
    const id = Json.text(fn.id)
    if (open === undefined || (name !== undefined && (id === undefined || id !== open.call.id))) {
      if (name === undefined) return WireFields.missing(context, `${field}.name`, fn.name, "a string")
      const args = { ...Json.object(fn.args) }
      const value = typeof fn.args === "string" ? fn.args : args
      const call = assembly.open({ id: id ?? "", name, value, proof: "given", field })
      parts.push({ functionCall: {} })
      open = { call, args }
    } else assembly.alive("tool-call")
    if (typeof part.thoughtSignature === "string") open.call.reply = { thoughtSignature: part.thoughtSignature }
    for (const [index, entry] of Json.array(fn.partialArgs).entries()) {
      const piece = Json.object(entry)
      if (!addPiece(open.args, piece)) {
        return WireFields.missing(context, `${field}.partialArgs[${index}].jsonPath`, piece.jsonPath, "a path")
      }
    }
    if (fn.willContinue === true) return undefined
    const { call } = open
    open = undefined
    return assembly.settle(call)
  }

  const readText = (part: Json.Json, text: string): void => {
    if (part.thought === true) assembly.reasoning(text)
    else assembly.text(text)
    if (typeof part.thoughtSignature === "string") {
      assembly.alive()
      // A signed part goes back as it came: joined to another, its signature would be wrong.
      parts.push({ text, thoughtSignature: part.thoughtSignature, ...(part.thought === true ? { thought: true } : {}) })
      return
    }
    if (part.thought === true) return
    const last = parts.at(-1)
    if (last?.text === undefined || last.thoughtSignature !== undefined) parts.push({ text })
    else last.text += text
  }

  const read = (body: Json.Json): LlmError | undefined => {
    assembly.origin(body.responseId, body.modelVersion)
    countUsage(assembly, body.usageMetadata)
    const candidate = Json.object(Json.array(body.candidates)[0])
    const field = "candidates[0].content"
    const content = Json.object(candidate.content)
    if (candidate.content != null && content !== candidate.content) {
      return WireFields.missing(context, field, candidate.content, "an object")
    }
    if (content.parts != null && !Array.isArray(content.parts)) {
      return WireFields.missing(context, `${field}.parts`, content.parts, "an array")
    }
    for (const [index, entry] of Json.array(content.parts).entries()) {
      const part = Json.object(entry)
      const at = `${field}.parts[${index}]`
      if (part.functionCall != null) {
        const error = readCall(part, `${at}.functionCall`)
        if (error !== undefined) return error
      } else if (part.text != null) {
        if (typeof part.text !== "string") return WireFields.missing(context, `${at}.text`, part.text, "a string")
        readText(part, part.text)
      } else {
        // Images, and code that the provider ran, and its results.
        if (part.inlineData != null) assembly.other()
        else assembly.alive()
        parts.push(Object.fromEntries(Object.entries(part).filter(([, value]) => value !== null)))
      }
    }
    for (const name of detailed) if (candidate[name] != null) assembly.detail(name, candidate[name])
    assembly.finish(candidate.finishReason)
    return undefined
  }

  return {
    whole: (body) => {
      const candidate = Json.object(Json.array(body.candidates)[0])
      return candidate.content === undefined && candidate.finishReason === undefined
        ? WireFields.missing(context, "candidates[0].content", candidate.content, "an object")
        : read(body)
    },
    event: read,
    failed: (body) => countUsage(assembly, body.usageMetadata),
    done: () => {},
    reply: () =>
      parts.some(
        (part) => part.thoughtSignature !== undefined || (part.text === undefined && !("functionCall" in part))
      )
        ? { parts }
        : undefined
  }
}
