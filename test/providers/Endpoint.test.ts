import { inspect } from "node:util"
import { HttpClient } from "@effect/platform"
import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Redacted } from "effect"
import { Chat, OpenAi } from "effect-steadfast"
import { Fault, FaultyProvider, Reply } from "effect-steadfast/testing"

const asked = (options: Omit<OpenAi.Options, "model">, ...script: ReadonlyArray<Parameters<typeof Reply.raw>[0]>) =>
  Effect.gen(function* () {
    const provider = yield* FaultyProvider.make({
      script: script.length === 0 ? [Reply.text("hi")] : script.map((body) => Fault.status(500, { body: String(body) }))
    })
    const model = yield* Effect.provideService(
      OpenAi.make({ model: "m", ...options }),
      HttpClient.HttpClient,
      provider.client
    )
    const answer = yield* Effect.either(model.generate(Chat.prompt("hi")))
    const [request] = yield* provider.requests
    return { answer, request, model }
  })

const refused = (options: Omit<OpenAi.Options, "model">) => Effect.flip(asked(options))

describe("a base URL with a wrong path", () => {
  it.effect("is an error that says where the request went, without its secrets", () =>
    Effect.gen(function* () {
      for (const baseUrl of ["https://api.openai.com", "https://user:secret-pass@api.openai.com/?sig=secret-sig"]) {
        const { answer } = yield* asked({ baseUrl })
        const error = answer._tag === "Left" ? answer.left : assert.fail("answered")
        assert.strictEqual(error._tag, "ModelNotFound")
        assert.include(error.message, "(at api.openai.com/chat/completions)")
        assert.notInclude(inspect(error), "secret-")
      }
    })
  )

  it.effect("says nothing of it where the server names the model", () =>
    Effect.gen(function* () {
      const body = { error: { message: "no such model", code: "model_not_found" } }
      const provider = yield* FaultyProvider.make({ script: [Fault.status(404, { body })] })
      const model = yield* Effect.provideService(OpenAi.make({ model: "m" }), HttpClient.HttpClient, provider.client)
      assert.strictEqual((yield* Effect.flip(model.generate(Chat.prompt("hi")))).message, "no such model")
    })
  )
})

describe("a key", () => {
  it.effect("has no blanks around it, as of a file that ends a line", () =>
    Effect.gen(function* () {
      const { request } = yield* asked({ apiKey: Redacted.make("  sk-from-a-file\n") })
      assert.strictEqual(request?.headers.authorization, "Bearer sk-from-a-file")
    })
  )

  it.effect("that no header can carry is refused by name, and never shown", () =>
    Effect.gen(function* () {
      for (const key of ["sk-one\nsk-two", "“sk-quoted”", "sk-\u0000null"]) {
        const error = yield* refused({ apiKey: Redacted.make(key) })
        assert.strictEqual(error._tag, "ConfigError")
        assert.include(String(error), "apiKey")
        assert.notInclude(String(error), "sk-")
      }
      const read = Effect.withConfigProvider(
        refused({ apiKey: Config.redacted("KEY") }),
        ConfigProvider.fromMap(new Map([["KEY", "sk-one\nsk-two"]]))
      )
      assert.notInclude(String(yield* read), "sk-")
    })
  )
})

describe("the headers of an application", () => {
  it.effect("are sent, also redacted ones, whose values are secrets", () =>
    Effect.gen(function* () {
      const headers = {
        "x-team": "red",
        "x-gate": Redacted.make("open-sesame-now"),
        "x-team-token": "t0ken-of-the-team"
      }
      const { request } = yield* asked({ headers })
      assert.deepInclude(request?.headers, {
        "x-team": "red",
        "x-gate": "open-sesame-now",
        "x-team-token": "t0ken-of-the-team"
      })
      const { answer } = yield* asked({ headers }, "red, open-sesame-now and t0ken-of-the-team are wrong")
      const text = answer._tag === "Left" ? answer.left.message : assert.fail("no error")
      assert.include(text, "red, ")
      assert.notInclude(text, "sesame")
      assert.notInclude(text, "ken-of-the-team")
    })
  )

  it.effect("are secrets without their scheme, each cookie alone, and also if one begins another", () =>
    Effect.gen(function* () {
      const { answer } = yield* asked(
        {
          apiKey: Redacted.make("team-9"),
          headers: {
            authorization: Redacted.make("Token of-the-scheme"),
            cookie: "lang=en; session=of-the-cookie",
            "x-team-token": "team-9-and-its-rest",
            "x-gate": Redacted.make('open "sesame" now')
          }
        },
        'no of-the-scheme, of-the-cookie, team-9-and-its-rest, open \\"sesame\\" now'
      )
      assert.strictEqual(answer._tag === "Left" ? answer.left.message : "", "no of-…, of-…, tea…, ope…")
    })
  )

  it.effect("that no request can carry are refused by name", () =>
    Effect.gen(function* () {
      const error = yield* refused({ headers: { "x-team": "red\r\nx-evil: 1" } })
      assert.include(String(error), "x-team")
      assert.notInclude(String(error), "evil")
      for (const name of ["x team", "x-tëam", "x\nteam", ""]) {
        const unnamed = yield* refused({ headers: { [name]: "red" } })
        assert.deepStrictEqual([unnamed._tag, String(unnamed).includes("headers")], ["ConfigError", true], name)
      }
    })
  )
})

describe("a base URL", () => {
  it.effect("keeps its user, password and query to itself", () =>
    Effect.gen(function* () {
      const baseUrl = "https://me:pass-word-1@proxy.example/v1/?route=secret-route-1"
      const { answer, model, request } = yield* asked(
        { baseUrl },
        "no pass-word-1 for secret-route-1 (Basic bWU6cGFzcy13b3JkLTE=)"
      )
      assert.strictEqual(request?.url, "/v1/chat/completions?route=secret-route-1")
      assert.strictEqual(request?.headers.authorization, "Basic bWU6cGFzcy13b3JkLTE=")
      const shown = JSON.stringify(answer) + inspect(model, { depth: 9 })
      for (const secret of ["word-1", "route-1", "bWU6"]) assert.notInclude(shown, secret)
    })
  )

  it.effect("keeps them as they stand in it, too", () =>
    Effect.gen(function* () {
      const baseUrl = "https://me:p%40ss+word@proxy.example/v1?code=se+cret/route"
      const { answer } = yield* asked({ baseUrl }, "no p@ss+word, p%40ss+word, se+cret/route")
      assert.strictEqual(answer._tag === "Left" ? answer.left.message : "", "no …, …, se+…")
    })
  )

  it.effect("is one of HTTP", () =>
    Effect.gen(function* () {
      for (const baseUrl of [
        "localhost:4200/v1",
        "htp://api.example",
        "nowhere",
        "//x",
        "",
        "http://x:0",
        "http://x:65536"
      ]) {
        const error = yield* refused({ baseUrl })
        assert.strictEqual(error._tag, "ConfigError", baseUrl)
        assert.include(String(error), "baseUrl")
      }
      for (const baseUrl of [
        "https://me:pass-word-1@x:65536/v1",
        "me:pass-word-1@x/v1",
        "https://me:pass/word-1@x:0"
      ]) {
        assert.notInclude(String(yield* refused({ baseUrl })), "word-1")
      }
    })
  )
})

describe("texts that an error shows", () => {
  it.effect("have no control characters and no directions of text", () =>
    Effect.gen(function* () {
      const body = JSON.stringify({ error: { message: "bad \u001b[31mred\u0007\u202eevil\u2066 \u009b2J end" } })
      const { answer } = yield* asked({}, body)
      const text = answer._tag === "Left" ? answer.left.message : ""
      assert.strictEqual(text, "bad [31mredevil 2J end")
    })
  )
})
