import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Route from "../../src/gateway/Route.js"
import { cases } from "../support/cases.js"

/** How clients put base and path together. */
const prefixes = ["", "/v1", "/v1/v1", "/openai", "/openai/v1", "/api", "/api/v1"] as const

const chat = (dialect: string) => ({ _tag: "Chat", dialect }) as Route.Route

const posted: ReadonlyArray<readonly [path: string, route: Route.Route]> = [
  ["/chat/completions", chat("openai")],
  ["/responses", chat("responses")],
  ["/messages", chat("anthropic")],
  ["/messages/count_tokens", { _tag: "CountTokens", dialect: "anthropic" }],
  ["/embeddings", { _tag: "Embeddings", dialect: "openai" }],
  ["/v2/chat", chat("cohere")],
  ["/v2/embed", { _tag: "Embeddings", dialect: "cohere" }]
]

describe("of", () => {
  it("knows each path under each base, with a query and a slash at its end", () => {
    for (const prefix of prefixes) {
      for (const [path, route] of posted) {
        for (const end of ["", "/", "?beta=true", "/?a=/v1/responses", "?"]) {
          assert.deepStrictEqual(Route.of("POST", prefix + path + end), route, prefix + path + end)
        }
      }
    }
  })

  it("knows Ollama's paths, which are no paths of others under the same base", () => {
    for (const prefix of ["", "/v1"]) {
      assert.deepStrictEqual(Route.of("POST", `${prefix}/api/chat?x`), chat("ollama"))
      assert.deepStrictEqual(Route.of("POST", `${prefix}/api/generate/`), chat("ollama-generate"))
      assert.deepStrictEqual(Route.of("POST", `${prefix}/api/embed`), { _tag: "Embeddings", dialect: "ollama" })
      assert.deepStrictEqual(Route.of("POST", `${prefix}/api/show`), { _tag: "Show", dialect: "ollama" })
      assert.deepStrictEqual(Route.of("GET", `${prefix}/api/tags`), { _tag: "Models", dialect: "ollama" })
      assert.deepStrictEqual(Route.of("GET", `${prefix}/api/version`), { _tag: "Version", dialect: "ollama" })
    }
    assert.deepStrictEqual(Route.of("DELETE", "/api/chat"), {
      _tag: "WrongMethod",
      dialect: "ollama",
      allowed: "POST"
    })
    assert.deepStrictEqual(Route.of("POST", "/api/pull"), { _tag: "Unknown", dialect: "ollama" })
    assert.deepStrictEqual(Route.of("GET", "/api/models"), { _tag: "Models", dialect: "openai" })
    assert.deepStrictEqual(Route.of("POST", "/api/v1/pull"), { _tag: "Unknown", dialect: "openai" })
    for (const path of ["/chat", "/v1/chat", "/generate", "/openai/v1/embed"]) {
      assert.strictEqual(Route.of("POST", path)._tag, "Unknown", path)
    }
  })

  it("finds Gemini's model and its way of answering in the path", () => {
    for (const prefix of ["", "/v1", "/v1beta", "/v1/v1beta"]) {
      for (const [name, model] of [
        ["gemini-2.5-flash", "gemini-2.5-flash"],
        ["tuned%2Fmine", "tuned/mine"],
        ["openai/gpt-4o", "openai/gpt-4o"],
        ["%zz", "%zz"]
      ] as const) {
        const of = (action: string) => Route.of("POST", `${prefix}/models/${name}:${action}?alt=sse&key=k`)
        assert.deepStrictEqual(of("generateContent"), { _tag: "Chat", dialect: "gemini", model, stream: false })
        assert.deepStrictEqual(of("streamGenerateContent"), { _tag: "Chat", dialect: "gemini", model, stream: true })
        assert.deepStrictEqual(of("countTokens"), { _tag: "CountTokens", dialect: "gemini", model })
      }
    }
  })

  it("lists models in the dialect of the version", () => {
    assert.deepStrictEqual(Route.of("GET", "/v1/models"), { _tag: "Models", dialect: "openai" })
    assert.deepStrictEqual(Route.of("HEAD", "/models"), { _tag: "Models", dialect: "openai" })
    assert.deepStrictEqual(Route.of("GET", "/v1beta/models?pageSize=9"), { _tag: "Models", dialect: "gemini" })
    assert.deepStrictEqual(Route.of("GET", "/v1/models/openai/gpt%204o"), {
      _tag: "Models",
      dialect: "openai",
      id: "openai/gpt 4o"
    })
    assert.deepStrictEqual(Route.of("GET", "/v1beta/models/fast"), { _tag: "Models", dialect: "gemini", id: "fast" })
  })

  it("hands on the provider's own APIs, without the version", () => {
    for (const path of [
      "/files",
      "/files/f-1/content",
      "/uploads",
      "/batches/b",
      "/images/generations",
      "/audio/speech"
    ]) {
      for (const prefix of ["", "/v1", "/openai/v1"]) {
        assert.deepStrictEqual(Route.of("DELETE", `${prefix}${path}?limit=2`), { _tag: "Passthrough", path })
      }
    }
    for (const path of ["/filesystem", "/v1/file", "/v1/fine_tuning/jobs", "/v1/organization/admin_api_keys"]) {
      assert.strictEqual(Route.of("GET", path)._tag, "Unknown", path)
    }
  })

  it("hands on no path that leads elsewhere", () => {
    for (const step of ["..", ".", "%2e%2e", "%2E.", ".%2e", "%2e"]) {
      for (const path of [
        `/files/${step}/models`,
        `/files/a/${step}`,
        `/files\\${step}\\models`,
        `/files/a\\${step}/x`
      ]) {
        assert.strictEqual(Route.of("GET", `/v1${path}`)._tag, "Unknown", path)
      }
    }
    assert.strictEqual(Route.of("GET", "/v1/files/..a/b..c/...")._tag, "Passthrough")
  })

  it("has pages for the operator at their own paths alone", () => {
    for (const page of ["healthz", "readyz", "metrics", "status"] as const) {
      assert.deepStrictEqual(Route.of("GET", `/${page}`), { _tag: "Operator", page })
      assert.deepStrictEqual(Route.of("POST", `/${page}`), { _tag: "WrongMethod", dialect: "openai", allowed: "GET" })
      assert.strictEqual(Route.of("GET", `/v1/${page}`)._tag, "Unknown")
    }
    for (const path of ["/dashboard", "/dashboard/", "/dashboard/calls?since=1"]) {
      assert.deepStrictEqual(Route.of("GET", path), { _tag: "Operator", page: "dashboard" })
    }
    assert.strictEqual(Route.of("GET", "/dashboards")._tag, "Unknown")
    assert.deepStrictEqual(Route.of("GET", "/?x"), { _tag: "Welcome" })
  })

  it("tells the method that a known path takes, in the path's dialect", () => {
    for (const [path, dialect] of [
      ["/v1/chat/completions", "openai"],
      ["/v1/messages", "anthropic"],
      ["/v1/responses", "responses"],
      ["/v1beta/models/m:generateContent", "gemini"]
    ] as const) {
      assert.deepStrictEqual(Route.of("GET", path), { _tag: "WrongMethod", dialect, allowed: "POST" })
    }
    assert.deepStrictEqual(Route.of("DELETE", "/v1/models/m"), {
      _tag: "WrongMethod",
      dialect: "openai",
      allowed: "GET"
    })
  })

  const piece = fc.constantFrom(
    "/",
    "v1",
    "v1beta",
    "openai",
    "api",
    "models",
    "files",
    ":generateContent",
    "%",
    "%2e",
    "..",
    "?",
    "chat/completions",
    "\\",
    "é",
    "\n"
  )
  const path = fc.oneof(
    fc.string(),
    fc.array(piece).map((all) => all.join(""))
  )

  it.prop(
    "is a route for any string, and hands on nothing that a URL would mend",
    [fc.string(), path],
    ([method, url]) => {
      const route = Route.of(method, url)
      assert.isString(route._tag)
      if (route._tag === "Passthrough") {
        assert.isTrue(new URL(`http://p.invalid/base${route.path}`).pathname.startsWith("/base/"))
      }
    },
    { fastCheck: { numRuns: cases(20_000, 500) } }
  )

  it("takes no longer for a path of many versions", () => {
    // A pattern that tries each way to read it takes minutes.
    assert.strictEqual(Route.of("GET", `${"/v1".repeat(4000)}\n`)._tag, "Unknown")
    assert.strictEqual(Route.of("POST", `/models/${"a:".repeat(4000)}`)._tag, "WrongMethod")
  })
})
