/**
 * Puts one answer together from the pieces of any wire format, whole or streamed.
 *
 * A `Reader` of a wire format reads a whole body or the events of a stream, and calls the same methods for both.
 * What ends an answer, when a tool call is whole, which count holds and what an empty answer is stands here, once for
 * all formats:
 *
 * - The last finish reason holds, and content after a finish reason belongs to the answer.
 * - A tool call is delivered only when it is whole. One that the token limit cut is left out, and the answer ends with
 *   `length`.
 * - Counts are cumulative: the largest holds. If one half of a usage is unknown, the total tells it, or the usage is
 *   unknown.
 * - An answer that says nothing is an `InvalidResponse`, unless the limit or the model itself left it empty.
 * - A refusal is a `ContentFiltered`.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import type * as StreamDecoder from "../../chat/stream/StreamDecoder.js"
import * as Classify from "../../errors/Classify.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import { ContentFiltered, InvalidResponse, type LlmError } from "../../errors/LlmError.js"
import * as Counts from "./Counts.js"
import * as Json from "./Json.js"
import * as ToolCalls from "./ToolCalls.js"
import * as Fields from "./WireFields.js"

/** Refusals are shown in an error, which shows 400 characters. */
const maxRefusal = 400

/**
 * The options of an {@link Assembly}.
 *
 * @since 0.2.0
 * @category models
 */
export interface Options {
  /** The name of the wire format in `ProviderData`. */
  readonly wire: string
  /** The field of the finish reason, for errors. */
  readonly reasonField: string
  /** Whether an answer is over only after the wire's own end, also if it has a finish reason. Default `false`. */
  readonly needsEnd?: boolean
  /** Whether an empty answer is never what the model meant, also if it counts tokens. Default `false`. */
  readonly neverSilent?: boolean
  /** Whether the answer goes to its client as it came, with the parts that no event tells. Default `false`. */
  readonly relayed?: boolean
  /** Whether an earlier stream delivered the beginning of the answer. Default `false`. */
  readonly resumed?: boolean
}

/**
 * An answer that is being read. The readers call its methods; what they deliver is appended to {@link Assembly.out}.
 *
 * @since 0.2.0
 * @category models
 */
export class Assembly {
  /** Receives the events. Whoever reads replaces it. */
  out: Array<Chat.Event> = []
  /** The number of pieces that added to the answer, hidden reasoning included. */
  progress = 0
  /** The size of the pieces, in UTF-16 units. */
  size = 0
  /** The part of the answer that is open. */
  inside: StreamDecoder.Cursor["inside"] = "nothing"
  /** Whether the wire's own end came. */
  closed = false
  /** Whether another answer of the same stream is open, so that only the wire's own end is the end. */
  waits = false
  /** The last finish reason, in the provider's word. */
  reason: string | undefined
  /** Whether text has been delivered. */
  texted: boolean
  /** Whether reasoning has been delivered. */
  reasoned: boolean
  /** The number of tool calls that an earlier stream of the answer delivered. */
  earlierCalls = 0
  private started: boolean
  private id: string | undefined
  private model: string | undefined
  /** Whether content came after a finish reason: then the reasons of this stream do not tell the end. */
  private contradicted = false
  private refused = ""
  private counts: Counts.Counts = {}
  /** The usage that the counts tell; each piece of a stream asks for it. */
  private told: Chat.Usage | undefined
  private details: Record<string, unknown> | undefined
  private readonly calls = new Set<ToolCalls.OpenCall>()
  /** Calls that the wire closed, and that are whole if something comes after them. */
  private readonly closedCalls: Array<ToolCalls.OpenCall> = []
  private readonly ids = new Set<string>()
  private answered: boolean

  constructor(
    readonly context: Fields.Exchange,
    private readonly options: Options
  ) {
    const { resumed = false } = options
    this.started = this.texted = this.reasoned = this.answered = resumed
  }

  /** The number of tool calls, delivered and open. */
  get callCount(): number {
    return this.ids.size + this.calls.size
  }

  /** The number of tool calls that have been delivered. */
  get deliveredCalls(): number {
    return this.ids.size
  }

  /** Whether a refusal has begun. */
  get hasRefused(): boolean {
    return this.refused !== ""
  }

  /** The provider's id of the answer and its model. The first that is not empty holds. */
  origin(id: unknown, model: unknown): void {
    this.id ??= Json.text(id)
    this.model ??= Json.text(model)
  }

  /** The answer begins: for formats whose first event has the id and the model. */
  begin(id: unknown, model: unknown): void {
    this.origin(id, model)
    if (this.started) return
    this.started = true
    this.out.push({ _tag: "Start", ...Fields.origin(this.context, this.id, this.model) })
  }

  private emit(event: Chat.Event): void {
    // Not earlier: Azure's first chunk has an empty id and model.
    if (!this.started) this.begin(undefined, undefined)
    this.out.push(event)
  }

  /** An event without text, which says that the answer goes on. */
  beat(): Chat.Event {
    const event: Chat.Event = { _tag: "TextDelta", text: "" }
    this.emit(event)
    return event
  }

  /** A piece that adds to the answer and is not delivered: hidden reasoning, a server's tool. */
  alive(inside: StreamDecoder.Cursor["inside"] = this.inside): void {
    this.progress++
    this.inside = inside
    if (this.reason !== undefined) this.contradicted = true
  }

  /** A part that no event tells, such as an image. To a client who gets it all the same, it is an answer. */
  other(): void {
    this.alive()
    if (this.options.relayed === true) this.answered = true
  }

  /** A piece of the text. */
  text(piece: string): void {
    if (piece === "") return
    this.alive("text")
    this.size += piece.length
    this.texted = this.answered = true
    this.emit({ _tag: "TextDelta", text: piece })
  }

  /** A piece of the reasoning. */
  reasoning(piece: string): void {
    if (piece === "") return
    this.alive("reasoning")
    this.size += piece.length
    this.reasoned = this.answered = true
    this.emit({ _tag: "ReasoningDelta", text: piece })
  }

  /** A piece of a refusal. */
  refusal(piece: string): void {
    if (piece === "") return
    this.alive()
    if (this.refused.length < maxRefusal) this.refused += piece
  }

  /** A tool call begins. */
  open(call: Partial<ToolCalls.OpenCall> & Pick<ToolCalls.OpenCall, "field">): ToolCalls.OpenCall {
    const opened: ToolCalls.OpenCall = {
      id: "",
      name: "",
      pieces: [],
      value: undefined,
      reply: undefined,
      proof: "text",
      closed: false,
      ...call
    }
    this.alive("tool-call")
    this.calls.add(opened)
    return opened
  }

  /** A piece of the arguments of an open call. */
  fragment(call: ToolCalls.OpenCall, piece: string): void {
    if (piece === "") return
    this.alive("tool-call")
    this.size += piece.length
    call.pieces.push(piece)
  }

  /** A piece of the text that a call has instead of arguments. */
  input(call: ToolCalls.OpenCall, piece: string): void {
    const before = Json.string(Json.object(call.value).input) ?? ""
    call.value = { input: before + piece }
    if (piece === "") return
    this.alive("tool-call")
    this.size += piece.length
  }

  /** Delivers an open call, which is whole. Returns the error if it is broken. */
  settle(call: ToolCalls.OpenCall): LlmError | undefined {
    this.drop(call)
    return this.deliver(call)
  }

  /** Gives an open call up. */
  drop(call: ToolCalls.OpenCall): void {
    this.calls.delete(call)
  }

  /** The wire closed a call that is whole if something comes after it. */
  close(call: ToolCalls.OpenCall): void {
    this.closedCalls.push(call)
  }

  /** Delivers the closed calls, because something comes after them. */
  passed(): LlmError | undefined {
    if (this.closedCalls.length === 0) return undefined
    for (const call of this.closedCalls.splice(0)) {
      const error = this.settle(call)
      if (error !== undefined) return error
    }
    return undefined
  }

  private proven(call: ToolCalls.OpenCall): boolean {
    return call.proof === "text" && ToolCalls.isWhole(call)
  }

  private deliver(call: ToolCalls.OpenCall): LlmError | undefined {
    if (call.name === "") return Fields.missing(this.context, `${call.field}.name`, undefined, "a string")
    const parsed = ToolCalls.argumentsOf(this.context, call)
    if (parsed instanceof InvalidResponse) return parsed
    const id = this.idOf(call)
    this.answered = true
    const providerData = call.reply === undefined ? undefined : this.data({ reply: call.reply })
    this.emit({
      _tag: "ToolCall",
      id,
      name: call.name,
      arguments: parsed,
      ...Json.optional("providerData", providerData)
    })
    return undefined
  }

  /** The id of a call, unique in the answer. One that is made here is unique in the conversation. */
  private idOf(call: ToolCalls.OpenCall): string {
    const base = call.id === "" ? `call_${this.id ?? this.context.now.toString(36)}` : call.id
    let id = call.id === "" ? `${base}_${this.ids.size}` : base
    for (let n = this.ids.size; this.ids.has(id); n++) id = `${base}_${n}`
    this.ids.add(id)
    return id
  }

  /** Counts of the answer so far. The larger of two holds. */
  count(counts: Counts.Counts): void {
    this.counts = Counts.larger(this.counts, counts)
    this.told = undefined
  }

  /** The usage that the counts tell, if both halves are known. */
  usage(): Chat.Usage | undefined {
    this.told ??= Counts.usage(this.counts)
    return this.told
  }

  /** What only this provider says. Lists are joined; of other values the last holds. */
  detail(name: string, value: unknown): void {
    if (value == null || (Array.isArray(value) && value.length === 0)) return
    this.details ??= {}
    const before = this.details[name]
    if (!Array.isArray(value)) this.details[name] = value
    else if (!Array.isArray(before)) this.details[name] = [...value]
    else for (const one of value) before.push(one)
  }

  /** The service tier, if it is not the usual one. */
  tier(tier: unknown): void {
    if (tier !== "default" && tier !== "standard" && tier !== "auto") this.detail("service_tier", tier)
  }

  /** A finish reason, in the provider's word. */
  finish(reason: unknown): void {
    if (typeof reason === "string" && Classify.finishReason(reason) !== "none") this.reason = reason
  }

  private get needsEnd(): boolean {
    return this.waits || this.options.needsEnd === true
  }

  /** Whether the answer is over, as far as the stream told. A finish reason before any content is no end. */
  over(): boolean {
    if (this.closed) return this.reason !== undefined
    return this.reason !== undefined && this.progress > 0 && !this.needsEnd && !this.contradicted
  }

  /** The position in the answer. */
  position(resume: StreamDecoder.Cursor["resume"]): StreamDecoder.Cursor {
    const inside = this.reason === undefined || this.contradicted ? this.inside : "end"
    return { inside, usage: this.usage(), resume }
  }

  /**
   * Ends the answer: appends the open tool calls, the usage and `Finish`. Appends no `Finish` if the answer was cut
   * before its end.
   */
  end(reply?: () => unknown): LlmError | undefined {
    const { context, reason } = this
    if (reason === undefined || (!this.closed && this.needsEnd)) {
      return this.closed && this.progress === 0 && !this.answered
        ? Fields.missing(context, this.options.reasonField, undefined, "an answer")
        : undefined
    }
    if (this.refused !== "") {
      const message = ErrorMessage.clean(`the model refused: ${this.refused}`, context.secrets, maxRefusal)
      return new ContentFiltered({ ...Fields.errorFields(context, message), code: "refusal" })
    }
    const meaning = Classify.finishReason(reason)
    for (const call of this.calls) {
      this.calls.delete(call)
      // The limit cut it.
      if (meaning === "length" && !this.proven(call)) continue
      const error =
        call.proof === "given"
          ? Fields.missing(context, call.field, undefined, `the end of the call of ${call.name}`)
          : this.deliver(call)
      if (error !== undefined) return error
    }
    const usage = this.usage()
    if (!this.answered && meaning !== "length" && !(isSilent(usage) && this.options.neverSilent !== true)) {
      return new InvalidResponse(Fields.errorFields(context, "an answer without content"))
    }
    const kept = reply?.()
    const { details } = this
    const providerData = kept === undefined && details === undefined ? undefined : this.data({ reply: kept, details })
    if (usage !== undefined) this.emit({ _tag: "Usage", usage })
    const last = finishOf(meaning, this.ids.size + this.earlierCalls)
    this.emit(
      providerData === undefined ? { _tag: "Finish", reason: last } : { _tag: "Finish", reason: last, providerData }
    )
    return undefined
  }

  private data({ details, reply }: Pick<Chat.ProviderData, "details" | "reply">): Chat.ProviderData {
    return {
      wire: this.options.wire,
      provider: this.context.provider,
      model: this.context.model,
      ...Json.optional("reply", reply),
      ...Json.optional("details", details)
    }
  }
}

/** Whether the model itself chose to say nothing: it generated tokens, and not only of reasoning. */
const isSilent = (usage: Chat.Usage | undefined): boolean =>
  usage !== undefined && usage.outputTokens > (usage.reasoningTokens ?? 0)

/** An answer with tool calls ended with them, unless it was cut at the token limit; one without them did not. */
const finishOf = (meaning: ReturnType<typeof Classify.finishReason>, calls: number): Chat.FinishReason =>
  meaning === "length" ? "length" : calls > 0 ? "tool-calls" : meaning === "stop" ? "stop" : "other"
