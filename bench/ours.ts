/** Steadfast as an app has it: models over a layer, run from promise to promise. */
import { Effect, Layer, ManagedRuntime, Redacted, Stream } from "effect"
import { Call, type Chat, type ChatModel, ChatStream, OpenAi } from "effect-steadfast"
import { request, resilient } from "./fixtures.js"
import { layers } from "./layers.js"
import { model } from "./wire.js"

export interface Options {
  readonly layer?: keyof typeof layers
  readonly baseUrl?: string
  /** A leaf alone, or with timeout, retry, fallback and deadline around it. */
  readonly all?: boolean
  /** A tracer (Effect's own) and an observer of records. */
  readonly evidence?: boolean
}

/** A model, and how to run it. */
export const open = async ({ all = true, baseUrl, evidence = false, layer = "fetch" }: Options = {}) => {
  const watched = evidence ? Call.observe(() => Effect.void) : Layer.setTracerEnabled(false)
  const runtime = ManagedRuntime.make(Layer.merge(layers[layer].layer, watched))
  const leaf = await runtime.runPromise(
    OpenAi.make({ model, apiKey: Redacted.make("sk-bench"), ...(baseUrl === undefined ? {} : { baseUrl }) })
  )
  const assistant: ChatModel.ChatModel = all ? resilient(leaf, leaf) : leaf
  return { runtime, assistant }
}

/** A whole call. */
export const caller = async (options?: Options): Promise<() => Promise<Chat.Response>> => {
  const { assistant, runtime } = await open(options)
  return () => runtime.runPromise(assistant.generate(request))
}

type Reader = (events: Stream.Stream<Chat.Event, unknown>) => Effect.Effect<number, unknown>

/** How a stream is read. Each tells how many characters of text came out. */
export const readers = {
  /** Event by event, by Effect's own operator. */
  pulled: (events) =>
    Effect.suspend(() => {
      let length = 0
      return Effect.map(
        Stream.runForEach(events, (event) =>
          Effect.sync(() => {
            if (event._tag === "TextDelta") length += event.text.length
          })
        ),
        () => length
      )
    }),
  /** By a plain function for each event. */
  callback: (events) =>
    Effect.suspend(() => {
      let length = 0
      const add = (event: Chat.Event): void => {
        if (event._tag === "TextDelta") length += event.text.length
      }
      return Effect.map(ChatStream.forEach(events, add), () => length)
    }),
  /** As a whole answer in the end. */
  collected: (events) => Effect.map(ChatStream.collect(events), ({ text }) => text.length)
} satisfies Record<string, Reader>

/** A whole stream, from the call to its end. */
export const reader = async (how: keyof typeof readers, options?: Options): Promise<() => Promise<number>> => {
  const { assistant, runtime } = await open(options)
  return () => runtime.runPromise(readers[how](assistant.stream(request)))
}
