/**
 * Agents: a model and its tools in a loop, until the model answers.
 *
 * {@link run} asks the model, runs the tools that it calls, tells it the results, and asks again. The model is any
 * composition: retries, fallbacks and waits happen inside of each question. The tools stand **outside** of them: a
 * handler runs once an answer is whole, and at most once for each call that the model made.
 *
 * Each question is a call with a record of its own; the run is one span (`invoke_agent`), and so is each tool
 * (`execute_tool`). `Call.withLabels`, `Spend.within` and `Resilience.deadline` around a run hold for all of it, tools
 * included.
 *
 * A conversation is plain data. `save` gets it after each answer and each result, and a run that begins with what was
 * saved goes on where that one ended. A tool that was running then is not run again, unless it is `idempotent`: the
 * model is told that the outcome is not known.
 *
 * Gotchas: an agent that gives up fails with {@link AgentStopped}, which is no `LlmError`. A handler's defect ends the
 * run; errors for the model go into the tool's `failure`.
 *
 * @example
 * import { Effect, Schema } from "effect"
 * import { Chat, type ChatModel } from "effect-steadfast"
 * import { Agent, Tool, Toolkit } from "effect-steadfast/agent"
 *
 * declare const assistant: ChatModel.ChatModel
 * const Look = Tool.make({ name: "look", parameters: Schema.Struct({ order: Schema.Int }) })
 * const tools = Toolkit.make(Look)
 * const handlers = tools.toLayer({ look: ({ order }) => Effect.succeed({ order, paid: true }) })
 *
 * const program = Agent.run(assistant, tools, Chat.prompt("Is order 7 paid?")).pipe(Effect.provide(handlers))
 *
 * @since 0.2.0
 */

import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberRef from "effect/FiberRef"
import { identity } from "effect/Function"
import * as Queue from "effect/Queue"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Take from "effect/Take"
import * as Resilience from "../calls/Resilience.js"
import * as Answer from "../chat/Answer.js"
import * as Chat from "../chat/Chat.js"
import type * as ChatModel from "../chat/ChatModel.js"
import * as ChatStream from "../chat/stream/ChatStream.js"
import type * as LlmError from "../errors/LlmError.js"
import * as PolicyOptions from "../policies/Options.js"
import * as Usage from "../policies/Usage.js"
import type * as Tool from "./Tool.js"
import * as Toolkit from "./Toolkit.js"
import * as Turn from "./Turn.js"

// -----------------------------------------------------------------------------
// models
// -----------------------------------------------------------------------------

/**
 * The agent stopped without an answer, and why. `messages` is the conversation so far, from which another run can go
 * on; an answer that is empty or was cut is not in it.
 *
 * @since 0.2.0
 * @category errors
 */
export class AgentStopped extends Schema.TaggedError<AgentStopped>()("AgentStopped", {
  reason: Schema.Literal("steps", "empty", "repeated", "length"),
  /** The answers of the model. */
  steps: Schema.Int,
  /** The text of the last answer. */
  text: Schema.String,
  messages: Schema.Array(Chat.Message)
}) {
  override get message(): string {
    return `${words[this.reason]} (after ${this.steps} ${this.steps === 1 ? "step" : "steps"})`
  }
}

const words: Readonly<Record<Turn.StopReason, string>> = {
  steps: "the agent used up its steps",
  empty: "the model answered with neither text nor tool calls",
  repeated: "the model made the same tool calls again and again",
  length: "the model's answer was cut at the token limit"
}

/**
 * The end of a run.
 *
 * @since 0.2.0
 * @category models
 */
export interface Result {
  /** The answer. */
  readonly text: string
  /** The whole conversation, with the answer. */
  readonly messages: readonly [Chat.Message, ...ReadonlyArray<Chat.Message>]
  /** The model's answers in this run, the last one being the answer; none if the conversation had ended before. */
  readonly responses: ReadonlyArray<Chat.Response>
  /** The tokens of these answers; `undefined` if no provider told. Lost attempts are in the records. */
  readonly usage: Chat.Usage | undefined
}

/**
 * What happens in a run: the events of the model's answers, the results of the tools, and at last the result.
 *
 * @since 0.2.0
 * @category models
 */
export type AgentEvent =
  | { readonly _tag: "Answer"; readonly step: number; readonly event: Chat.Event }
  | {
      readonly _tag: "ToolResult"
      readonly step: number
      readonly call: Chat.ToolCall
      readonly content: string
      readonly isFailure: boolean
    }
  | { readonly _tag: "Done"; readonly result: Result }

/**
 * The options of {@link run} and {@link stream}.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options<E = never, R = never> {
  /** The most answers of the model. Default 10. */
  readonly steps?: number | undefined
  /** How many times in a row the model may make the same calls; the last time they are not run. Default 3. */
  readonly repeats?: number | undefined
  /** How many tools of one answer run at a time. Default `"unbounded"`. */
  readonly concurrency?: number | "unbounded" | undefined
  /** The longest time of the whole run. Default: none. */
  readonly deadline?: Duration.DurationInput | undefined
  /** The name of the agent in its span. Default: the model's name. */
  readonly name?: string | undefined
  /** Gets the conversation after each answer and each result, one at a time. The run waits for it. Default: nothing. */
  readonly save?: ((messages: ReadonlyArray<Chat.Message>) => Effect.Effect<unknown, E, R>) | undefined
}

type Messages = readonly [Chat.Message, ...ReadonlyArray<Chat.Message>]

// -----------------------------------------------------------------------------
// the loop
// -----------------------------------------------------------------------------

const count = (name: string, value: number): number => {
  if (Number.isSafeInteger(value) && value >= 1) return value
  throw PolicyOptions.wrong(`Agent: ${name}`, value, "a whole number of at least 1")
}

const time = PolicyOptions.duration()

/** The answer to a call that was cut off. */
const cutOff: Toolkit.Result = {
  content: "Error: this call was cut off. Whether it took effect is not known.",
  isFailure: true
}

/** The answer to calls that an agent does not run because it stops, so that its conversation can go on. */
const unrun: Toolkit.Result = { content: "Error: this call was not run, because the agent stopped.", isFailure: true }

/** How the loop asks the model, and tells what happens. */
interface Face {
  readonly ask: (request: Chat.Request, step: number) => Effect.Effect<Chat.Response, LlmError.LlmError>
  readonly tell: (event: AgentEvent) => Effect.Effect<unknown>
}

/** Runs an effect in a span. Where it was begun is the same place in this file each time. */
const spanned = <A, E, R>(
  self: Effect.Effect<A, E, R>,
  name: string,
  attributes: Readonly<Record<string, string>>
): Effect.Effect<A, E, R> =>
  Effect.withFiberRuntime((fiber) =>
    // A span that nobody sees takes as long as one that somebody does.
    fiber.getFiberRef(FiberRef.currentTracerEnabled)
      ? (Effect.withSpan(self, name, { attributes, captureStackTrace: false }) as Effect.Effect<A, E, R>)
      : self
  )

/** The options as the loop uses them. Throws a `RangeError` for one that is out of its range. */
const settingsOf = <E, R>(model: ChatModel.ChatModel, options: Options<E, R>) => {
  const { concurrency = "unbounded", deadline, name = model.name, repeats = 3, save, steps = 10 } = options
  return {
    limits: { steps: count("steps", steps), repeats: count("repeats", repeats) },
    concurrency: concurrency === "unbounded" ? concurrency : count("concurrency", concurrency),
    within: deadline === undefined ? identity : Resilience.deadline(time.read(deadline, "Agent: deadline")),
    name,
    save
  }
}

const loop = <const Tools extends ReadonlyArray<Tool.Any>, E, R>(
  toolkit: Toolkit.Toolkit<Tools>,
  request: Chat.Request,
  { concurrency, limits, name, save, within }: ReturnType<typeof settingsOf<E, R>>,
  { ask, tell }: Face
): Effect.Effect<Result, LlmError.LlmError | AgentStopped | E, Toolkit.HandlersOf<Tools> | R> => {
  const own = Toolkit.described(toolkit.tools)
  // A request that was kept may have them already, and providers refuse a name that comes twice.
  const others = (request.tools ?? []).filter((tool) => own.every(({ name }) => name !== tool.name))
  const tools = [...others, ...own]
  const idempotent = new Set(toolkit.tools.filter((tool) => tool.idempotent).map((tool) => tool.name as string))
  const saved = (messages: Messages): Effect.Effect<unknown, E, R> => save?.(messages) ?? Effect.void

  const ran = (call: Chat.ToolCall) =>
    spanned(Toolkit.run(toolkit, call), `execute_tool ${call.name}`, {
      "gen_ai.operation.name": "execute_tool",
      "gen_ai.tool.name": call.name,
      "gen_ai.tool.call.id": call.id
    })

  /** Runs calls, and gives the conversation with their results, in the order of the calls. */
  const answering = (messages: Messages, calls: ReadonlyArray<Chat.ToolCall>, step: number, wasCut: boolean) =>
    Effect.suspend(() => {
      // By place and not by id: a model may give two calls the same one.
      const results: Array<Chat.Message | undefined> = calls.map(() => undefined)
      const so = (): Messages => [...messages, ...results.filter((result) => result !== undefined)]
      // One result at a time is saved, each time all that are there.
      const saving = save === undefined ? undefined : Effect.unsafeMakeSemaphore(1)
      const one = (call: Chat.ToolCall, index: number) =>
        Effect.flatMap(wasCut && !idempotent.has(call.name) ? Effect.succeed(cutOff) : ran(call), (result) => {
          results[index] = Toolkit.answer(call, result)
          const told = tell({ _tag: "ToolResult", step, call, ...result })
          return saving === undefined
            ? told
            : Effect.zipRight(saving.withPermits(1)(Effect.suspend(() => saved(so()))), told)
        })
      const [first] = calls
      const all =
        calls.length === 1 && first !== undefined
          ? one(first, 0)
          : Effect.forEach(calls, one, { concurrency, discard: true })
      return Effect.map(all, so)
    })

  const running = Effect.gen(function* () {
    const responses: Array<Chat.Response> = []
    let messages: Messages = request.messages
    let state = Turn.initial
    const before = Turn.ended(messages)
    if (before !== undefined) return { text: before, messages, responses, usage: undefined }
    const cut = Turn.unanswered(messages)
    if (cut.length > 0) messages = yield* answering(messages, cut, 0, true)
    for (;;) {
      const response = yield* ask({ ...request, messages, ...(tools.length === 0 ? {} : { tools }) }, state.steps + 1)
      const [next, after] = Turn.next(state, response, limits)
      responses.push(response)
      state = after
      if (next._tag === "Stop") {
        const { text, toolCalls } = response
        // An answer that is empty or cut is none to go on from: a conversation that ends with it would count as ended.
        const closed = toolCalls.map((call) => Toolkit.answer(call, unrun))
        if (closed.length > 0) messages = [...messages, Chat.reply(response), ...closed]
        yield* saved(messages)
        return yield* new AgentStopped({ reason: next.reason, steps: state.steps, text, messages })
      }
      messages = [...messages, Chat.reply(response)]
      yield* saved(messages)
      if (next._tag === "Done") {
        const usage = responses.reduce<Chat.Usage | undefined>((sum, one) => Usage.add(sum, one.usage), undefined)
        return { text: response.text, messages, responses, usage }
      }
      messages = yield* answering(messages, next.calls, state.steps, false)
    }
  })
  const attributes = { "gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name }
  return spanned(within(running), `invoke_agent ${name}`, attributes)
}

// -----------------------------------------------------------------------------
// public
// -----------------------------------------------------------------------------

/**
 * Runs a model with tools until it answers.
 *
 * Fails with the `LlmError` of a question that the model's policies could not save, with {@link AgentStopped} where no
 * answer comes, and with the error of `save`. Throws a `RangeError` for an option that is out of its range.
 *
 * @since 0.2.0
 * @category destructors
 */
export const run = <const Tools extends ReadonlyArray<Tool.Any>, E = never, R = never>(
  model: ChatModel.ChatModel,
  toolkit: Toolkit.Toolkit<Tools>,
  request: Chat.Request,
  options: Options<E, R> = {}
): Effect.Effect<Result, LlmError.LlmError | AgentStopped | E, Toolkit.HandlersOf<Tools> | R> =>
  loop(toolkit, request, settingsOf(model, options), {
    ask: (request) => model.generate(request),
    tell: () => Effect.void
  })

/** The events that wait for the reader of a stream: so many, and then the model's stream waits. */
const capacity = 16

/**
 * The same as a stream: the events of the model's answers as they come, the results of the tools, and at last the
 * result. Whoever stops reading stops the run: the open call is cancelled, running tools are interrupted.
 *
 * @since 0.2.0
 * @category destructors
 */
export const stream = <const Tools extends ReadonlyArray<Tool.Any>, E = never, R = never>(
  model: ChatModel.ChatModel,
  toolkit: Toolkit.Toolkit<Tools>,
  request: Chat.Request,
  options: Options<E, R> = {}
): Stream.Stream<AgentEvent, LlmError.LlmError | AgentStopped | E, Toolkit.HandlersOf<Tools> | R> => {
  const settings = settingsOf(model, options)
  return Stream.unwrapScoped(
    Effect.gen(function* () {
      const queue = yield* Effect.acquireRelease(
        Queue.bounded<Take.Take<AgentEvent, LlmError.LlmError | AgentStopped | E>>(capacity),
        Queue.shutdown
      )
      const tell = (event: AgentEvent) => Queue.offer(queue, Take.of(event))
      const ask: Face["ask"] = (request, step) =>
        Effect.suspend(() => {
          const answer = Answer.make()
          const reading = ChatStream.forEach(model.stream(request), (event) => {
            answer.add([event])
            return tell({ _tag: "Answer", step, event })
          })
          return Effect.map(reading, () => answer.response())
        })
      const running = Effect.flatMap(loop(toolkit, request, settings, { ask, tell }), (result) =>
        tell({ _tag: "Done", result })
      )
      // No finalizer: an interrupted run has no reader, and would wait for a place in the queue for ever.
      const ending = Effect.matchCauseEffect(running, {
        onFailure: (cause) => Queue.offer(queue, Take.failCause(cause)),
        onSuccess: () => Queue.offer(queue, Take.end)
      })
      yield* Effect.forkScoped(Effect.interruptible(ending))
      return Stream.flattenTake(Stream.fromQueue(queue))
    })
  )
}
