import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Schema, Stream } from "effect"
import { Chat, ChatModel, type LlmError, RetryPolicy } from "effect-steadfast"
import { Fault, FaultyProvider, Reply, type Step } from "effect-steadfast/testing"
import { attempts, elapse, modelOf, recorded, scripted } from "../support.js"

class Person extends Schema.Class<Person>("Person")({
  name: Schema.NonEmptyString,
  age: Schema.optional(Schema.Int),
  born: Schema.DateFromString
}) {}

interface List {
  readonly next: List | null
}
const List: Schema.Schema<List> = Schema.Struct({
  next: Schema.NullOr(Schema.suspend((): Schema.Schema<List> => List))
}).annotations({ identifier: "List" })

type Term =
  | { readonly left: Term; readonly right: Term; readonly op: "plus" | "times" }
  | { readonly n: number; readonly note?: string | undefined }
const term = Schema.suspend((): Schema.Schema<Term> => Term)
const Term: Schema.Schema<Term> = Schema.Union(
  Schema.Struct({ left: term, right: term, op: Schema.Literal("plus") }),
  Schema.Struct({ left: term, right: term, op: Schema.Literal("times") }),
  Schema.Struct({ n: Schema.Number, note: Schema.optional(Schema.String) })
).annotations({ identifier: "Term" })

const ask = Chat.prompt("Who is she?")
const json = '{"name":"Ada","age":36,"born":"1815-12-10"}'

const bodies = (provider: FaultyProvider.Provider) =>
  Effect.map(provider.requests, (requests) => requests.map(({ body }) => body as Record<string, unknown>))

/** The value, or the error in words, of one request that the model answers with these steps. */
const asked = <A, I>(schema: Schema.Schema<A, I>, ...steps: ReadonlyArray<Step.Step>) =>
  Effect.gen(function* () {
    const { model } = yield* scripted(...steps)
    return yield* elapse(ChatModel.generateObject(model, schema, ask)).pipe(
      Effect.map(({ value }): unknown => value),
      Effect.catchAll((error) => Effect.succeed(`${error._tag} ${error.code}: ${error.message}`))
    )
  })

describe("generateObject", () => {
  it.effect("decodes the answer to a schema that the request has", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text(json))
      const { text, usage, value } = yield* elapse(ChatModel.generateObject(model, Person, ask))
      assert.instanceOf(value, Person)
      assert.deepStrictEqual([value.name, value.age, value.born.getUTCFullYear()], ["Ada", 36, 1815])
      assert.strictEqual(text, json)
      assert.isDefined(usage)
      const [body] = yield* bodies(provider)
      assert.nestedPropertyVal(body, "response_format.json_schema.name", "Person")
      assert.nestedPropertyVal(body, "response_format.json_schema.strict", true)
    })
  )

  it.effect("is data last too, and works on the model of the context", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text(json))
      const { value } = yield* elapse(model.pipe(ChatModel.generateObject(Person, ask)))
      assert.strictEqual(value.name, "Ada")
      const fromContext = Effect.flatMap(ChatModel.ChatModel, ChatModel.generateObject(Person, ask))
      const again = yield* elapse(Effect.provideService(fromContext, ChatModel.ChatModel, model))
      assert.strictEqual(again.value.age, 36)
    })
  )

  it.effect("unwraps fences, and takes null for an absent field", () =>
    Effect.gen(function* () {
      const bare = Schema.Struct({ name: Schema.String, age: Schema.optional(Schema.Int) })
      assert.deepStrictEqual(yield* asked(bare, Reply.text('```json\n{"name":"Ada"}\n```')), { name: "Ada" })
      assert.deepStrictEqual(yield* asked(bare, Reply.text('```json\n\uFEFF{"name":"Ada"}\n```')), { name: "Ada" })
      assert.deepStrictEqual(yield* asked(bare, Reply.text('Here:\n```\n{"name":"`A```"}\n```\nDone.')), {
        name: "`A```"
      })
      assert.deepStrictEqual(yield* asked(bare, Reply.text('{"name":"Ada","age":null}')), { name: "Ada" })
    })
  )

  it.effect("asks for a list, a union and a text as a field of an object", () =>
    Effect.gen(function* () {
      const list = Schema.Array(Schema.Number)
      const { model, provider } = yield* scripted(Reply.text('{"value":[1,2]}'))
      const { value } = yield* elapse(ChatModel.generateObject(model, list, ask))
      assert.deepStrictEqual(value, [1, 2])
      const [body] = yield* bodies(provider)
      assert.nestedPropertyVal(body, "response_format.json_schema.schema.type", "object")
      assert.deepStrictEqual(yield* asked(list, Reply.text("[1, 2]")), [1, 2])
      const either = Schema.Union(Schema.Struct({ a: Schema.String }), Schema.Struct({ b: Schema.Number }))
      assert.deepStrictEqual(yield* asked(either, Reply.text('{"value":{"b":2}}')), { b: 2 })
      const pair = Schema.Union(Schema.Struct({ kind: Schema.String, value: Schema.Number }), Schema.Null)
      const held = { kind: "a", value: 1 }
      assert.deepStrictEqual(yield* asked(pair, Reply.text(JSON.stringify(held))), held)
      assert.deepStrictEqual(yield* asked(pair, Reply.text(JSON.stringify({ value: held }))), held)
      assert.deepStrictEqual(yield* asked(pair, Reply.text(JSON.stringify({ value: held, note: "x" }))), held)
    })
  )

  it.effect("says what is wrong, by path and kind, without a value of the answer", () =>
    Effect.gen(function* () {
      const Order = Schema.Struct({
        items: Schema.Array(Schema.Struct({ price: Schema.Number, kind: Schema.Literal("book", "toy") }))
      })
      const wrong = yield* asked(Order, Reply.text('{"items":[{"price":"secret","kind":"pet"}]}'))
      assert.strictEqual(
        wrong,
        'InvalidResponse misfit: answer.items[0].price: found a string, expected number; answer.items[0].kind: found a string, expected "book" or "toy"'
      )
      assert.strictEqual(
        yield* asked(Order, Reply.text("{}")),
        "InvalidResponse misfit: answer.items: found nothing, expected a value"
      )
      assert.strictEqual(
        yield* asked(Order, Reply.text("I would say it is a toy.")),
        "InvalidResponse not-json: found text (24 characters), expected one JSON value and nothing else"
      )
      assert.match(
        String(yield* asked(Order, Reply.text('{"items":[{"pri', { finish: "length" }))),
        /^InvalidResponse truncated: found an answer that was cut at the token limit/
      )
      assert.match(String(yield* asked(Order, Reply.text('{"items":[{"pri'))), /begins like JSON and is none/)
    })
  )

  it.effect("shows no value in the words of a parser or a filter", () =>
    Effect.gen(function* () {
      const Inner = Schema.Struct({ a: Schema.parseJson(Schema.Struct({ b: Schema.Number })) })
      const Own = Schema.Struct({ a: Schema.String.pipe(Schema.filter((a) => `${a} is no name`)) })
      for (const text of ["my secret", "{my secret", '["my secret"', "{'my secret'}", '"my secret']) {
        assert.strictEqual(
          yield* asked(Inner, Reply.text(JSON.stringify({ a: text }))),
          "InvalidResponse misfit: answer.a: found a string, expected JSON"
        )
      }
      assert.strictEqual(
        yield* asked(Own, Reply.text('{"a":"my secret"}')),
        "InvalidResponse misfit: answer.a: found a string, … is no name"
      )
    })
  )

  it.effect("refuses JSON that is nested too deep for a decoder, as an error and no defect", () =>
    Effect.gen(function* () {
      const nested = (levels: number) => `${'{"next":'.repeat(levels - 1)}{"next":null}${"}".repeat(levels - 1)}`
      assert.isObject(yield* asked(List, Reply.text(nested(200))))
      for (const levels of [201, 20_000]) {
        assert.strictEqual(
          yield* asked(List, Reply.text(nested(levels))),
          "InvalidResponse misfit: answer: found JSON of more than 200 levels, expected fewer"
        )
      }
    })
  )

  it.effect("looks at each value of choices in choices once", () =>
    Effect.gen(function* () {
      const deep = (levels: number): string =>
        levels === 0 ? '{"n":1,"note":null}' : `{"left":${deep(levels - 1)},"right":{"n":1},"op":"times"}`
      // Without that, each level would double the time: a minute would be far too short.
      const value = yield* asked(Term, Reply.text(deep(60)))
      assert.strictEqual(JSON.stringify(value), deep(60).replace(',"note":null', ""))
    })
  )

  it.effect("retries a wrong answer, tells the model what was wrong, and counts every attempt", () =>
    Effect.gen(function* () {
      const { model, provider } = yield* scripted(Reply.text("no idea"), Reply.text('{"name":""}'), Reply.text(json))
      const held = model.pipe(ChatModel.retry(RetryPolicy.standard))
      const { records, value } = yield* recorded(elapse(ChatModel.generateObject(held, Person, ask)))
      assert.strictEqual(value.value.name, "Ada")
      assert.deepStrictEqual(attempts(records[0]), ["failure InvalidResponse", "failure InvalidResponse", "success"])
      assert.deepStrictEqual(
        records[0]?.attempts.map(({ correction, usage }) => [correction, usage !== undefined]),
        [
          [undefined, true],
          [true, true],
          [true, true]
        ]
      )
      const sent = yield* bodies(provider)
      const turns = sent.map(({ messages }) => (messages as ReadonlyArray<{ content: string }>).map((_) => _.content))
      assert.deepStrictEqual(turns[0], ["Who is she?"])
      assert.strictEqual(turns[1]?.[1], "no idea")
      assert.match(turns[1]?.[2] ?? "", /^Your answer does not fit: found text \(7 characters\)/)
      assert.match(turns[2]?.[2] ?? "", /answer\.name: found an empty string/)
      assert.lengthOf(turns[2] ?? [], 3)
    })
  )

  it.effect("tells it to the attempts of a plain schedule too, and to nobody without feedback", () =>
    Effect.gen(function* () {
      const first = yield* scripted(Reply.text("no idea"), Reply.text(json))
      yield* elapse(ChatModel.generateObject(first.model, Person, ask).pipe(Effect.retry(RetryPolicy.standard)))
      const [, told] = yield* bodies(first.provider)
      assert.lengthOf(told?.messages as ReadonlyArray<unknown>, 2)
      const second = yield* scripted(Reply.text("no idea"), Reply.text(json))
      const held = second.model.pipe(ChatModel.retry(RetryPolicy.standard))
      const { records } = yield* recorded(
        elapse(ChatModel.generateObject(held, Person, ask, { feedback: false, name: "her" }))
      )
      const [, untold] = yield* bodies(second.provider)
      assert.lengthOf(untold?.messages as ReadonlyArray<unknown>, 1)
      assert.nestedPropertyVal(untold, "response_format.json_schema.name", "her")
      assert.isUndefined(records[0]?.attempts[1]?.correction)
    })
  )

  it.effect("falls back after a wrong answer", () =>
    Effect.gen(function* () {
      const first = yield* scripted(Reply.text("no idea"))
      const second = yield* modelOf(yield* FaultyProvider.make({ script: [Reply.text(json)] }), { model: "m-2" })
      const both = first.model.pipe(ChatModel.orElse(second))
      const { records, value } = yield* recorded(elapse(ChatModel.generateObject(both, Person, ask)))
      assert.strictEqual(value.value.age, 36)
      assert.deepStrictEqual(attempts(records[0]), ["failure InvalidResponse", "success"])
    })
  )

  it.effect("falls back to a model that takes no schema: it is asked in words", () =>
    Effect.gen(function* () {
      const first = yield* scripted(Fault.status(503))
      const provider = yield* FaultyProvider.make({ script: [Reply.text(json)] })
      const second = yield* modelOf(provider, { provider: "deepseek", model: "deepseek-chat" })
      const both = first.model.pipe(ChatModel.orElse(second))
      const { value } = yield* elapse(ChatModel.generateObject(both, Person, ask))
      assert.strictEqual(value.name, "Ada")
      const [body] = yield* bodies(provider)
      assert.deepStrictEqual(body?.response_format, { type: "json_object" })
      assert.match(JSON.stringify(body?.messages), /must match this JSON schema/)
    })
  )

  it.effect("takes no beginning of a number for the number", () =>
    Effect.gen(function* () {
      const cut = yield* asked(Schema.Number, Reply.text("12", { finish: "length" }))
      assert.match(String(cut), /^InvalidResponse truncated/)
      assert.strictEqual(yield* asked(Schema.Number, Reply.text('{"value":12}', { finish: "length" })), 12)
    })
  )

  it.effect("says of a schema whose own code throws that the answer does not fit", () =>
    Effect.gen(function* () {
      const Link = Schema.transform(
        Schema.String,
        Schema.declare((u): u is URL => u instanceof URL),
        {
          strict: true,
          decode: (text) => new URL(text),
          encode: String
        }
      )
      const wrong = yield* asked(Schema.Struct({ link: Link }), Reply.text('{"link":"secret text"}'))
      assert.strictEqual(
        wrong,
        "InvalidResponse misfit: answer: found an object, the schema's own code threw (TypeError)"
      )
    })
  )

  it.effect("refuses a schema without a JSON schema, before anything is sent", () =>
    Effect.gen(function* () {
      const Odd = Schema.Struct({ when: Schema.DateFromSelf })
      const { model, provider } = yield* scripted(Reply.text(json))
      const error = yield* Effect.flip(elapse(ChatModel.generateObject(model, Odd, ask)))
      assert.deepStrictEqual([error._tag, error.delivery], ["InvalidRequest", "not-sent"])
      assert.match(error.message, /^schema: found a Schema without a JSON schema \(.*"when"/)
      assert.lengthOf(yield* provider.requests, 0)
    })
  )

  it.effect("decodes with what the schema needs", () =>
    Effect.gen(function* () {
      class Factor extends Context.Tag("test/Factor")<Factor, number>() {}
      const Scaled = Schema.transformOrFail(Schema.Number, Schema.Number, {
        strict: true,
        decode: (n) => Effect.map(Factor, (factor) => n * factor),
        encode: (n) => Effect.succeed(n)
      })
      const { model } = yield* scripted(Reply.text('{"n":2}'))
      const effect = ChatModel.generateObject(model, Schema.Struct({ n: Scaled }), ask)
      const typed: Effect.Effect<ChatModel.ObjectResponse<{ readonly n: number }>, LlmError.LlmError, Factor> = effect
      const { value } = yield* elapse(Effect.provideService(typed, Factor, 21))
      assert.strictEqual(value.n, 42)
    })
  )
})

describe("streamObject", () => {
  const reading = (model: ChatModel.ChatModel) =>
    elapse(
      Effect.suspend(() => {
        const events: Array<ChatModel.ObjectEvent<Person, typeof Person.Encoded>> = []
        return Effect.map(
          Effect.exit(
            Stream.runForEach(ChatModel.streamObject(model, Person, ask), (_) => Effect.sync(() => events.push(_)))
          ),
          (exit) => ({ events, exit })
        )
      })
    )

  it.effect("gives the value as it grows, and at the end what generateObject gives", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text(json, { chunks: 6, tokenDelay: "10 millis" }))
      const { events } = yield* reading(model)
      const whole = yield* elapse(ChatModel.generateObject(model, Person, ask))
      assert.isAtLeast(events.length, 5)
      assert.deepStrictEqual(events[1], { _tag: "Partial", value: { name: "Ada" } })
      const last = events[events.length - 1]
      assert.strictEqual(last?._tag, "Whole")
      if (last?._tag === "Whole") assert.deepStrictEqual(last.value, whole.value)
      assert.isTrue(events.slice(0, -1).every(({ _tag }) => _tag === "Partial"))
    })
  )

  it.effect("gives a list as it grows, in its field and bare", () =>
    Effect.gen(function* () {
      for (const text of ['{"value":[1,2]}', "[1,2]"]) {
        const { model } = yield* scripted(Reply.text(text, { chunks: text.length, tokenDelay: "10 millis" }))
        const events = yield* elapse(Stream.runCollect(ChatModel.streamObject(model, Schema.Array(Schema.Number), ask)))
        const values = [...events].map((event) => (event._tag === "Reset" ? event : event.value))
        assert.deepStrictEqual(values, [[], [1], [1, 2], [1, 2]])
      }
    })
  )

  it.effect("fails with the error of a wrong answer, recorded with its tokens; restart asks again", () =>
    Effect.gen(function* () {
      const { model } = yield* scripted(Reply.text('{"name":"Ada"}'), Reply.text(json))
      const { records, value } = yield* recorded(reading(model.pipe(ChatModel.retry(RetryPolicy.standard))))
      assert.isTrue(Exit.isFailure(value.exit))
      assert.deepStrictEqual(attempts(records[0]), ["failure InvalidResponse"])
      assert.isDefined(records[0]?.attempts[0]?.usage)
      const again = yield* scripted(Reply.text('{"name":"Bob"}'), Reply.text(json))
      const restarted = again.model.pipe(ChatModel.retry(RetryPolicy.standard, { mode: "restart" }))
      const { events } = yield* reading(restarted)
      assert.include(
        events.map(({ _tag }) => _tag),
        "Reset"
      )
      assert.strictEqual(events[events.length - 1]?._tag, "Whole")
    })
  )
})
