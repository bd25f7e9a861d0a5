import type { Stream } from "effect"
import { Context, Effect, JSONSchema, Schema } from "effect"
import { Chat, ChatModel, type LlmError } from "effect-steadfast"
import { describe, expectTypeOf, it } from "vitest"

declare const model: ChatModel.ChatModel

/** What is declared above has no value: the bodies are compiled, and never run. */
const typed = (_: () => void): void => {}

class Person extends Schema.Class<Person>("Person")({
  name: Schema.NonEmptyString,
  age: Schema.optional(Schema.Int),
  born: Schema.DateFromString
}) {}

class Factor extends Context.Tag("test/Factor")<Factor, number>() {}

const Scaled = Schema.transformOrFail(Schema.Number, Schema.Number, {
  strict: true,
  decode: (n) => Effect.map(Factor, (factor) => n * factor),
  encode: (n) => Effect.succeed(n)
})

const ask = Chat.prompt("Who is she?")

describe("generateObject", () => {
  it("gives the decoded value, fails with LlmError alone, and requires nothing", () =>
    typed(() => {
      const answer = ChatModel.generateObject(model, Person, ask)
      expectTypeOf(answer).toEqualTypeOf<Effect.Effect<ChatModel.ObjectResponse<Person>, LlmError.LlmError>>()
      expectTypeOf<Effect.Effect.Success<typeof answer>["value"]["born"]>().toEqualTypeOf<Date>()
      expectTypeOf<Effect.Effect.Success<typeof answer>["text"]>().toEqualTypeOf<string>()
      expectTypeOf(model.pipe(ChatModel.generateObject(Person, ask))).toEqualTypeOf<typeof answer>()
      expectTypeOf(Effect.flatMap(ChatModel.ChatModel, ChatModel.generateObject(Person, ask))).toEqualTypeOf<
        Effect.Effect<ChatModel.ObjectResponse<Person>, LlmError.LlmError, ChatModel.ChatModel>
      >()
      const unfit = Effect.catchTag(answer, "InvalidResponse", (error) => Effect.succeed(error.code))
      expectTypeOf<Effect.Effect.Error<typeof unfit>>().toEqualTypeOf<
        Exclude<LlmError.LlmError, { readonly _tag: "InvalidResponse" }>
      >()
    }))

  it("requires what the schema needs to decode", () =>
    typed(() => {
      const scaled = Schema.Struct({ n: Scaled })
      expectTypeOf(ChatModel.generateObject(model, scaled, ask)).toEqualTypeOf<
        Effect.Effect<ChatModel.ObjectResponse<{ readonly n: number }>, LlmError.LlmError, Factor>
      >()
      const events = ChatModel.streamObject(model, scaled, ask)
      expectTypeOf<Stream.Stream.Context<typeof events>>().toEqualTypeOf<Factor>()
    }))

  it("takes a Schema and nothing else", () =>
    typed(() => {
      // @ts-expect-error a JSON schema does not decode
      ChatModel.generateObject(model, { type: "object" }, ask)
      // @ts-expect-error an unknown option
      ChatModel.generateObject(model, Person, ask, { retries: 3 })
    }))
})

describe("streamObject", () => {
  it("gives encoded parts, and the decoded whole", () =>
    typed(() => {
      const events = ChatModel.streamObject(model, Person, ask)
      expectTypeOf(events).toEqualTypeOf<
        Stream.Stream<ChatModel.ObjectEvent<Person, typeof Person.Encoded>, LlmError.LlmError>
      >()
      type Event = Stream.Stream.Success<typeof events>
      type Part = Extract<Event, { readonly _tag: "Partial" }>["value"]
      expectTypeOf<Part>().toEqualTypeOf<ChatModel.Growing<typeof Person.Encoded>>()
      expectTypeOf<Part["born"]>().toEqualTypeOf<string | undefined>()
      expectTypeOf<Part["age"]>().toEqualTypeOf<number | null | undefined>()
      expectTypeOf<Extract<Event, { readonly _tag: "Whole" }>["value"]>().toEqualTypeOf<Person>()
    }))

  it("a growing value may lack anything but the kind of what is there", () =>
    typed(() => {
      interface Tree {
        readonly label: string
        readonly kids: ReadonlyArray<Tree>
        readonly next?: Tree
      }
      type Part = ChatModel.Growing<Tree>
      expectTypeOf<Part["label"]>().toEqualTypeOf<string | undefined>()
      expectTypeOf<NonNullable<Part["kids"]>[number]["label"]>().toEqualTypeOf<string | undefined>()
      expectTypeOf<null>().toExtend<Part["next"]>()
      expectTypeOf<null>().not.toExtend<Part["kids"]>()
      expectTypeOf<ChatModel.Growing<"a" | 1 | null>>().toEqualTypeOf<"a" | 1 | null>()
      expectTypeOf<ChatModel.Growing<ReadonlyArray<string>>>().toEqualTypeOf<ReadonlyArray<string>>()
      expectTypeOf<ChatModel.Growing<readonly [string, { readonly a: number }]>>().toEqualTypeOf<
        ReadonlyArray<string | { readonly a?: number }>
      >()
      expectTypeOf<ChatModel.Growing<unknown>>().toEqualTypeOf<unknown>()
    }))
})

describe("a request", () => {
  it("takes a Schema, the JSON schema of one, and a plain object", () =>
    typed(() => {
      for (const parameters of [
        Person,
        Schema.Struct({ n: Scaled }),
        JSONSchema.make(Person),
        { type: "object", properties: {} }
      ]) {
        const tool: Chat.Tool = { name: "look", parameters }
        const request: Chat.Request = {
          ...ask,
          tools: [tool],
          responseFormat: { type: "json-schema", name: "answer", schema: parameters }
        }
        model.generate(request)
      }
      // @ts-expect-error a text is no schema
      const _tool: Chat.Tool = { name: "look", parameters: "object" }
    }))
})
