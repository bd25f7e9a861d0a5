import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, Exit, FastCheck as fc, Redacted } from "effect"
import { parseDocument, stringify } from "yaml"
import * as GatewayConfig from "../../src/gateway/GatewayConfig.js"
import { cases } from "../support/cases.js"
import { fileSecret, good, options, secrets, wrong } from "./support.js"

const example = readFileSync(new URL("../../docs/gateway.example.yaml", import.meta.url), "utf8")

const one = "models: { fast: openai/gpt-4o-mini }\n"

const modelOf = (config: GatewayConfig.Config, name: string): GatewayConfig.Model => {
  const model = config.models.find((model) => model.name === name)
  if (model === undefined) throw new Error(`no model ${name}`)
  return model
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex")

const millis = (input: Duration.DurationInput | undefined) => input && Duration.toMillis(Duration.decode(input))

/** All that a person may see of a configuration. */
const visible = (text: string, env: GatewayConfig.Env): string => {
  const parsed = Effect.runSync(Effect.either(GatewayConfig.parse(text, options(env))))
  return Either.isLeft(parsed)
    ? `${parsed.left.message}\n${JSON.stringify(parsed.left)}\n${String(parsed.left)}`
    : `${GatewayConfig.describe(parsed.right)}\n${parsed.right.notes.join("\n")}`
}

const assertNoSecret = (text: string, known: ReadonlyArray<string> = [...Object.values(secrets), fileSecret]) => {
  for (const secret of known) {
    assert.isFalse(text.includes(secret), `${secret} in ${text}`)
  }
}

describe("a file", () => {
  it("may be as short as one line", () => {
    const config = good(one)
    assert.deepStrictEqual(
      config.models.map(({ name, kind, mode, targets }) => [name, kind, mode, targets[0]?.provider, targets[0]?.model]),
      [["fast", "chat", "strict", "openai", "gpt-4o-mini"]]
    )
    assert.strictEqual(config.server.host, "127.0.0.1")
    assert.deepStrictEqual(config.keys, [])
    const openai = config.providers.get("openai")
    assert.deepStrictEqual(openai?.keys.map(Redacted.value), [secrets.OPENAI_API_KEY])
    assert.strictEqual(openai?.kind, "openai")
  })

  it("may be JSON", () => {
    const json = JSON.stringify({ models: { fast: { targets: ["openai/gpt-4o-mini"], deadline: "30 seconds" } } })
    assert.strictEqual(millis(modelOf(good(json), "fast").deadline), 30_000)
    const [line] = wrong(JSON.stringify({ models: { fast: { targets: ["openai/x"], deadline: 30 } } }, null, 2))
    assert.strictEqual(
      line,
      'gateway.yaml:7: models.fast.deadline: found 30, expected a finite duration above 0, such as "30 seconds"'
    )
  })

  it("is the example, with every part", () => {
    const config = good(example)
    assert.deepStrictEqual(
      config.models.map(({ name }) => name),
      ["cheap", "assistant", "pool", "migrated", "demo", "vectors"]
    )
    assert.deepStrictEqual([...config.providers.keys()], ["openai", "anthropic", "azure", "local", "test"])
    assert.deepStrictEqual(config.providers.get("openai")?.keys.map(Redacted.value), [
      secrets.OPENAI_API_KEY,
      secrets.OPENAI_API_KEY_2
    ])
    assert.deepStrictEqual(config.providers.get("azure")?.keys.map(Redacted.value), [fileSecret])
    assert.strictEqual(config.server.maxBodyBytes, 32 * 1024 * 1024)
    assert.strictEqual(config.server.port, 4000)
    assert.strictEqual(config.server.adminKeyHash, sha256(secrets.STEADFAST_ADMIN_KEY))
    assert.deepStrictEqual(
      config.keys.map(({ hash, name }) => [name, hash]),
      [
        ["team-a", sha256(secrets.TEAM_A_KEY)],
        ["batch", sha256("password")]
      ]
    )
    const authorization = config.observability.otlp?.headers.authorization
    assert.strictEqual(authorization && Redacted.value(authorization), `Bearer ${secrets.OTLP_TOKEN}`)
    assert.strictEqual(modelOf(config, "vectors").kind, "embeddings")
    assert.strictEqual(modelOf(config, "pool").balance, "weighted")
    assert.deepStrictEqual(
      modelOf(config, "migrated").targets.map(({ model, provider }) => `${provider}/${model}`),
      ["openai/gpt-4.1", "anthropic/claude-haiku-4-5"]
    )
    assertNoSecret(visible(example, secrets))
  })

  it("of the example has in its comments the defaults that are so", () => {
    const { server } = good(one)
    const stated = good(example).server
    assert.deepStrictEqual({ ...stated, adminKeyHash: undefined }, server)
  })

  it("lays the model's policies over the defaults, option by option", () => {
    const config = good(`
defaults: { retry: { maxAttempts: 6, jitter: none }, timeout: { attempt: 20s, idle: 5s }, deadline: 1m }
models:
  a: { targets: [{ target: openai/x, retry: { maxAttempts: 2 } }], retry: { initialDelay: 100ms }, timeout: 10s }
  b: openai/y
`)
    const { deadline, retry, targets, timeout } = modelOf(config, "a")
    assert.deepStrictEqual([retry?.maxAttempts, retry?.jitter, millis(retry?.initialDelay)], [6, "none", 100])
    assert.deepStrictEqual([millis(timeout?.attempt), millis(timeout?.idle), millis(deadline)], [10_000, 5000, 60_000])
    assert.deepStrictEqual([targets[0]?.retry?.maxAttempts, targets[0]?.retry?.jitter], [2, "none"])
    assert.strictEqual(millis(modelOf(config, "b").timeout?.attempt), 20_000)
  })

  it("may use anchors and merged keys", () => {
    const config = good(`
x-base: &base { targets: [openai/x], deadline: 45s }
models:
  a: *base
  b: { <<: *base, mode: continue }
`)
    assert.deepStrictEqual(
      config.models.map(({ deadline, mode }) => [millis(deadline), mode]),
      [
        [45_000, "strict"],
        [45_000, "continue"]
      ]
    )
  })
})

describe("problems", () => {
  it("are told all at once, with their lines", () => {
    assert.deepStrictEqual(
      wrong(
        `server:
  host: 0.0.0.0
  prt: 4000
  maxBodyBytes: 12 parsecs
providers:
  openai:
    baseUrl: ftp://x
  acme:
    baseUrl: https://acme.test
models:
  fast:
    aliases: [smart]
    targets:
      - openia/gpt-4o
      - 5
      - target: openai/gpt-4o
        wieght: 2
    retry:
      maxAttempts: 0
    timeout: 30
    fallbacks: [smrt]
    bounds: { maxAttempts: 500 }
  smart:
    targets: []
    mode: restart
observability: { logLevel: loud }
`,
        {}
      ),
      [
        'gateway.yaml:2: server.host: found "0.0.0.0" and no keys, expected client keys in keys, or server.open: true, as others than this machine can connect',
        "gateway.yaml:3: server.prt: found an unknown key, expected a known key (did you mean port?)",
        'gateway.yaml:4: server.maxBodyBytes: found "12 parsecs", expected a number of bytes from 1 KiB to 1 GiB, such as "32 MiB"',
        'gateway.yaml:7: providers.openai.baseUrl: found "ftp://x", expected a URL with http or https, without a password, such as "https://api.openai.com/v1"',
        "gateway.yaml:8: providers.acme.kind: found nothing, expected openai, responses, anthropic, gemini, azure or faulty",
        'gateway.yaml:12: models.fast.aliases[0]: found "smart", expected another name: it is the name of a model already',
        'gateway.yaml:14: models.fast.targets[0]: found "openia/gpt-4o", expected a provider of this file (did you mean openai?)',
        "gateway.yaml:15: models.fast.targets[1]: found 5, expected an object",
        "gateway.yaml:17: models.fast.targets[2].wieght: found an unknown key, expected a known key (did you mean weight?)",
        "gateway.yaml:19: models.fast.retry.maxAttempts: found 0, expected a whole number from 1 to 100",
        'gateway.yaml:20: models.fast.timeout: found 30, expected a duration of 0 or more, such as "30 seconds"',
        'gateway.yaml:21: models.fast.fallbacks[0]: found "smrt", expected a model of this file, or provider/model (did you mean smart?)',
        "gateway.yaml:22: models.fast.bounds.maxAttempts: found 500, expected a whole number from 1 to 100",
        "gateway.yaml:24: models.smart.targets: found an empty list, expected at least one",
        'gateway.yaml:25: models.smart.mode: found "restart", expected "strict" or "continue"; "restart" cannot be, as clients cannot take text back',
        'gateway.yaml:26: observability.logLevel: found "loud", expected "debug" or "info" or "warn" or "error"'
      ]
    )
  })

  const table: ReadonlyArray<readonly [what: string, text: string, problem: string]> = [
    ["an empty file", "", "gateway.yaml: models: found none, expected at least one model"],
    ["a list", "- a\n", "gateway.yaml: found a list, expected an object with models and providers"],
    ["no models", "models: {}\n", "gateway.yaml:1: models: found none, expected at least one model"],
    [
      "a key twice",
      "models:\n  a: openai/x\n  b: openai/y\n  a: openai/z\n",
      "gateway.yaml:4: models.a: found the key a second time, expected each key once"
    ],
    [
      "an open bracket",
      "models: {\n  a: [1, 2\n",
      "gateway.yaml:3: found what is no YAML, expected an indent as in the lines around it"
    ],
    ["a tab", "models:\n\ta: 1\n", "gateway.yaml:2: found what is no YAML, expected spaces as indent, no tab"],
    ["a tag", "models:\n  a: !env X\n", "gateway.yaml:2: found what is no YAML, expected a value without a tag"],
    [
      "two documents",
      `${one}---\n${one}`,
      "gateway.yaml:2: found what is no YAML, expected one document: no second ---"
    ],
    [
      "a variable that is not set",
      "models:\n  a: openai/$" + "{MODEL}\n",
      "gateway.yaml:2: models.a: found $" +
        "{MODEL}, which is not set, expected the variable MODEL, or a default as in $" +
        "{MODEL:-…}"
    ],
    [
      "an alias of two models",
      "models:\n  a: { targets: [openai/x], aliases: [c] }\n  b: { targets: [openai/y], aliases: [c] }\n",
      'gateway.yaml:3: models.b.aliases[0]: found "c", expected another name: it is an alias of a already'
    ],
    [
      "fallbacks in a circle",
      "models:\n  a: { targets: [openai/x], fallbacks: [b] }\n  b:\n    targets: [openai/y]\n    fallbacks:\n      - a\n",
      'gateway.yaml:6: models.b.fallbacks[0]: found "a", expected no circle of fallbacks: a → b → a'
    ],
    [
      "a fallback to itself",
      "models:\n  a: { targets: [openai/x], fallbacks: [a] }\n",
      'gateway.yaml:2: models.a.fallbacks[0]: found "a", expected no circle of fallbacks: a → a'
    ],
    [
      "embeddings among chats",
      "models:\n  a: [openai/gpt-4o, openai/text-embedding-3-small]\n",
      "gateway.yaml:2: models.a: found both, expected models for chats alone or for embeddings alone"
    ],
    [
      "a fallback from chats to embeddings",
      "models:\n  a: { targets: [openai/x], fallbacks: [v] }\n  v: openai/text-embedding-3-small\n",
      'gateway.yaml:2: models.a.fallbacks[0]: found "v", expected a model for chats'
    ],
    [
      "vectors of a provider without",
      "models:\n  v: { kind: embeddings, targets: [anthropic/x] }\n",
      'gateway.yaml:2: models.v.targets[0]: found "anthropic/x", expected a provider that makes vectors, which one of kind anthropic does not'
    ],
    [
      "a client of no model",
      `${one}keys:\n  - name: a\n    key: 0123456789abcdef\n    models: [fats]\n`,
      'gateway.yaml:5: keys[0].models[0]: found "fats", expected a model of this file (did you mean fast?)'
    ],
    [
      "a client without a key",
      `${one}keys:\n  - name: a\n`,
      "gateway.yaml:3: keys[0]: found none of them, expected key, keyFile or hash"
    ],
    [
      "a hash that is none",
      `${one}keys:\n  - { name: a, hash: "sha256:12" }\n`,
      "gateway.yaml:3: keys[0].hash: found a value that is not shown, expected sha256: and 64 hexadecimal digits"
    ],
    [
      "a secret file that is not there",
      `${one}keys:\n  - name: a\n    keyFile: /etc/nothing\n`,
      "gateway.yaml:4: keys[0].keyFile: found file:/etc/nothing, expected a file that can be read"
    ],
    [
      "a hedge without a second target",
      "models:\n  a:\n    targets: [openai/x]\n    hedge: true\n",
      "gateway.yaml:4: models.a.hedge: found one target, expected two targets for it"
    ],
    [
      "bounds below the policy",
      "models:\n  a:\n    targets: [openai/x]\n    retry: { maxAttempts: 5 }\n    bounds: { maxAttempts: 3 }\n",
      "gateway.yaml:5: models.a.bounds.maxAttempts: found 3, expected at least the 5 of retry.maxAttempts"
    ],
    [
      "bounds below the deadline",
      "models:\n  a:\n    targets: [openai/x]\n    deadline: 2m\n    bounds: { timeout: 1m }\n",
      'gateway.yaml:5: models.a.bounds.timeout: found "1m", expected at least the deadline, 2m'
    ],
    [
      "an Azure without an address",
      "providers:\n  azure: { key: abcdefghij }\nmodels: { a: azure/x }\n",
      "gateway.yaml:2: providers.azure.baseUrl: found nothing, expected a URL: the address is not known"
    ],
    [
      "a passthrough that is no provider",
      `${one}passthrough: opnai\n`,
      'gateway.yaml:2: passthrough: found "opnai", expected a provider (did you mean openai?)'
    ],
    [
      "a price of no target",
      `${one}prices: { gpt: { input: 1, output: 2 } }\n`,
      'gateway.yaml:2: prices.gpt: found "gpt", expected provider/model'
    ],
    [
      "a price below nothing",
      `${one}prices: { openai/gpt: { input: -1, output: 2 } }\n`,
      "gateway.yaml:2: prices.openai/gpt.input: found -1, expected US dollars per million tokens, 0 or more"
    ],
    [
      "a name that no client can send",
      "models:\n  my model: openai/x\n",
      'gateway.yaml:2: models["my model"]: found "my model", expected a name of letters, digits and . : / @ + - _'
    ],
    [
      "a name of the language",
      "models:\n  __proto__: openai/x\n  a: openai/x\n",
      "gateway.yaml:2: models: found the key __proto__, expected another name"
    ],
    [
      "a key one level too high",
      "models:\n  a:\n    targets: [openai/x]\n    maxAttempts: 3\n",
      "gateway.yaml:4: models.a.maxAttempts: found an unknown key, expected it in retry"
    ],
    [
      "a timeout twice",
      "timeout: 3s\ndefaults: { timeout: 4s }\nmodels: { a: openai/x }\n",
      "gateway.yaml:1: timeout: found it twice, expected it in defaults alone"
    ]
  ]
  for (const [what, text, problem] of table) {
    it(`name ${what}`, () => {
      assert.deepStrictEqual(wrong(text), [problem])
    })
  }

  it("name the place where a shorthand or another gateway's name stands", () => {
    assert.deepStrictEqual(
      wrong(`retry:
  max_attempts: lots
models:
  a:
    target: openai/x
    retry:
      initial_delay_ms: soon
      backoff: wild
      max_delay_ms: -1
      on_status_codes: [42]
    fallback:
      after_retry_exhausted:
        - openai/y
        - nowhere
`),
      [
        'gateway.yaml:2: retry.max_attempts: found "lots", expected a whole number from 1 to 100',
        'gateway.yaml:7: models.a.retry.initial_delay_ms: found "soon", expected a number of milliseconds',
        'gateway.yaml:8: models.a.retry.backoff: found "wild", expected "exponential", "fixed" or a factor',
        'gateway.yaml:9: models.a.retry.max_delay_ms: found -1, expected a duration from 0 to 1 week, such as "30 seconds"',
        `gateway.yaml:10: models.a.retry.on_status_codes[0]: found 42, expected ${wrong(
          "models: { a: { targets: [openai/x], retry: { retryOn: [42] } } }"
        )[0]?.replace(/^.*expected /, "")}`,
        'gateway.yaml:14: models.a.fallback.after_retry_exhausted[1]: found "nowhere", expected a model of this file, or provider/model: a'
      ]
    )
  })

  it("keep the lines of a list after an item that is wrong", () => {
    assert.deepStrictEqual(
      wrong("models:\n  a:\n    targets:\n      - 1\n      - openai/x\n      - nobody/y\n").map((line) =>
        line.slice(0, 38)
      ),
      ["gateway.yaml:4: models.a.targets[0]: f", "gateway.yaml:6: models.a.targets[2]: f"]
    )
  })

  it("follow from no other problem", () => {
    // A model with a wrong field is still a model, and a provider with one a provider.
    assert.deepStrictEqual(
      wrong(`providers: { p: { kind: openai, baseUrl: nothing } }
models:
  a: { targets: [p/x], fallbacks: [b] }
  b: 5
keys: [{ name: k, key: 0123456789abcdef, models: [b] }]
`).map((line) => line.split(": found")[0]),
      ["gateway.yaml:1: providers.p.baseUrl", "gateway.yaml:4: models.b"]
    )
  })

  it("have no value of a secret", () => {
    const text = `providers:
  openai: ${secrets.OPENAI_API_KEY}
  groq: { key: [1], baseUrl: "http://u:${secrets.OTLP_TOKEN}@h" }
  xai: { key: abcdefghij, baseUrl: "ws://h/v1?key=${secrets.OTLP_TOKEN}" }
  anthropic: { apiKey: ${secrets.ANTHROPIC_API_KEY}, key: [1], headers: { "x y": ${fileSecret} } }
models:
  a: ${secrets.OPENAI_API_KEY}/x
  b: { targets: [openai/x], deadline: "$${"{TEAM_A_KEY}"}" }
keys:
  - { name: a, key: { value: ${secrets.TEAM_A_KEY} } }
  - { name: b, hash: "${secrets.TEAM_A_KEY}" }
  - ${secrets.STEADFAST_ADMIN_KEY}
observability: { callLog: "postgres://u:${secrets.OTLP_TOKEN}@h/d", otlp: "http://u:${secrets.OTLP_TOKEN}@h" }
`
    assert.isAbove(wrong(text).length, 7)
    assertNoSecret(visible(text, secrets))
  })
})

describe("variables and secret files", () => {
  it("are no place for a secret that stands elsewhere too", () => {
    const text = `models: { a: openai/x }\nkeys: [{ name: ${secrets.TEAM_A_KEY}, key: ${secrets.TEAM_A_KEY} }]`
    assert.deepStrictEqual(wrong(text), [
      "gateway.yaml:2: keys[0].name: found a secret, expected a text without a secret"
    ])
  })

  it("take numbers and yes or no where these are asked for, and text where text is", () => {
    const config = good(
      [
        'server: { port: "$' + '{PORT}", open: "$' + '{OPEN}", maxBodyBytes: "$' + '{SIZE:-2 MiB}" }',
        'models: { a: "openai/$' + '{MODEL}" }',
        'keys: [{ name: "7", key: "$' + '{DIGITS}" }]'
      ].join("\n"),
      { ...secrets, PORT: "8080", OPEN: "true", MODEL: "gpt", DIGITS: "1234567890123456" }
    )
    assert.deepStrictEqual([config.server.port, config.server.maxBodyBytes], [8080, 2 * 1024 * 1024])
    assert.strictEqual(config.models[0]?.targets[0]?.model, "gpt")
    assert.strictEqual(config.keys[0]?.hash, sha256("1234567890123456"))
  })

  it("leave a doubled dollar as one, and the text of a variable as it is", () => {
    const { models } = good("models: { a: 'openai/$$" + "{x}-$" + "{M}' }", { ...secrets, M: "$" + "{N} $&" })
    assert.strictEqual(models[0]?.targets[0]?.model, "$" + "{x}-$" + "{N} $&")
  })

  it("need the usual key of a provider only where its owner is asked", () => {
    const config = good("providers: { openai: { baseUrl: http://localhost:1 } }\nmodels: { a: openai/x }")
    assert.deepStrictEqual(config.providers.get("openai")?.keys, [])
    assert.deepStrictEqual(wrong(one, {}), [
      'gateway.yaml:1: models.fast: found "openai/gpt-4o-mini", expected the provider openai in providers, or the variable OPENAI_API_KEY'
    ])
    assert.deepStrictEqual(wrong("providers: { openai: {} }\nmodels: { a: openai/x }", {}), [
      "gateway.yaml:1: providers.openai.key: found nothing, expected a key, or the variable OPENAI_API_KEY"
    ])
  })

  it("are trimmed, and an empty file is a problem", () => {
    const config = good(`${one}server: { adminKey: "file:/run/secrets/admin" }`)
    assert.strictEqual(config.server.adminKeyHash, sha256(fileSecret))
    const empty = Effect.runSyncExit(
      GatewayConfig.parse(`${one}server: { adminKey: "file:/x" }`, {
        ...options(),
        readFile: () => Effect.succeed("\n")
      })
    )
    assert.isTrue(Exit.isFailure(empty))
    const broken = Effect.runSyncExit(
      GatewayConfig.parse(`${one}server: { adminKey: "file:/x" }`, { ...options(), readFile: () => Effect.die("disk") })
    )
    assert.isTrue(Exit.isFailure(broken) && broken.cause._tag === "Fail")
  })

  it("override the defaults", () => {
    const text =
      "defaults: { retry: { maxAttempts: 2 }, timeout: 5s }\nmodels: { a: openai/x, b: { targets: [openai/y], retry: { maxAttempts: 7 } } }"
    const config = good(text, {
      ...secrets,
      LLM_MAX_RETRIES: "4",
      LLM_REQUEST_TIMEOUT: "45",
      LLM_RETRY_BACKOFF: "fixed",
      LLM_RETRY_DELAY: "250ms",
      LLM_RETRY_JITTER: "false",
      LLM_FALLBACK_MODELS: "b, anthropic/claude-haiku-4-5"
    })
    const a = modelOf(config, "a")
    assert.deepStrictEqual(
      [a.retry?.maxAttempts, a.retry?.backoffFactor, millis(a.retry?.initialDelay), a.retry?.jitter],
      [5, 1, 250, "none"]
    )
    assert.strictEqual(millis(a.timeout?.attempt), 45_000)
    assert.deepStrictEqual(a.fallbacks, ["b"])
    assert.deepStrictEqual(
      a.targets.map(({ provider }) => provider),
      ["openai", "anthropic"]
    )
    assert.strictEqual(modelOf(config, "b").retry?.maxAttempts, 7)
    assert.deepStrictEqual(modelOf(config, "b").fallbacks, [])
    assert.isTrue(config.notes.includes("LLM_MAX_RETRIES sets defaults.retry.maxAttempts"))
  })

  it("are problems where they are wrong", () => {
    assert.deepStrictEqual(
      wrong(one, {
        ...secrets,
        LLM_MAX_RETRIES: "many",
        LLM_TIMEOUT: "-3",
        LLM_RETRY_JITTER: "some",
        LLM_RETRY_BACKOFF: "wild",
        LLM_FALLBACK_MODEL: "fats"
      }),
      [
        'environment: LLM_MAX_RETRIES: found "many", expected a whole number of retries from 0 to 99',
        'environment: LLM_TIMEOUT: found "-3", expected a time in seconds, or with a unit as in "30s"',
        'environment: LLM_RETRY_BACKOFF: found "wild", expected exponential, fixed or a factor from 1 to 10',
        'environment: LLM_RETRY_JITTER: found "some", expected true, false, full or none',
        'environment: LLM_FALLBACK_MODEL: found "fats", expected a model of this file, or provider/model (did you mean fast?)'
      ]
    )
    assert.deepStrictEqual(wrong(one, { ...secrets, LLM_TIMEOUT: "3", LLM_REQUEST_TIMEOUT: "4" }), [
      'environment: LLM_REQUEST_TIMEOUT: found "4", expected it left out, as LLM_TIMEOUT says the same'
    ])
    assert.isTrue(
      good(one, { ...secrets, LLM_RETRY_JITER: "1" }).notes.includes(
        "the variable LLM_RETRY_JITER is not known (did you mean LLM_RETRY_JITTER?)"
      )
    )
  })
})

describe("names of other gateways", () => {
  it("are mapped, and noted", () => {
    const config = good(`models:
  a:
    targets: [openai/x]
    retry:
      { max_retries: 2, backoff: 3, initial_delay_ms: 250, max_delay_ms: 8000, jitter: false, on_timeout: false,
        on_status_codes: [409, 425] }
    fallback: { after_retry_exhausted: [b, anthropic/y, { provider: openai, model: z }] }
  b: { targets: [openai/y], fallback: { after_retry_exhausted: true } }
`)
    const { fallbacks, retry, targets } = modelOf(config, "a")
    assert.deepStrictEqual(
      { ...retry, initialDelay: millis(retry?.initialDelay), maxDelay: millis(retry?.maxDelay) },
      {
        maxAttempts: 3,
        backoffFactor: 3,
        initialDelay: 250,
        maxDelay: 8000,
        jitter: "none",
        giveUpOn: ["Timeout"],
        retryOn: [409, 425]
      }
    )
    assert.deepStrictEqual(fallbacks, ["b"])
    assert.deepStrictEqual(
      targets.map(({ model, provider }) => `${provider}/${model}`),
      ["openai/x", "anthropic/y", "openai/z"]
    )
    assert.strictEqual(config.notes.filter((note) => note.startsWith("models.")).length, 9)
  })
})

describe("the embedded configuration", () => {
  it("is a demo without keys", () => {
    const config = Effect.runSync(GatewayConfig.embedded({}))
    assert.deepStrictEqual(
      config.models.map(({ fallbacks, name, targets }) => [
        name,
        config.providers.get(targets[0]?.provider ?? "")?.faults?.errorRate,
        fallbacks
      ]),
      [
        ["demo", 0.3, ["demo-steady"]],
        ["demo-steady", 0, []]
      ]
    )
  })

  it("has the models of the keys that are set, and an assistant over them", () => {
    const both = Effect.runSync(GatewayConfig.embedded({ ...secrets, GEMINI_API_KEY: "gemini-key-1" }))
    assert.deepStrictEqual(
      modelOf(both, "default").targets.map(({ provider }) => provider),
      ["openai", "anthropic", "gemini"]
    )
    assert.strictEqual(modelOf(both, "text-embedding-3-small").kind, "embeddings")
    const claude = Effect.runSync(GatewayConfig.embedded({ ANTHROPIC_API_KEY: "x" }))
    assert.deepStrictEqual([...claude.providers.keys()], ["anthropic"])
    assertNoSecret(GatewayConfig.describe(both))
  })

  it("fails where the environment is wrong", () => {
    const exit = Effect.runSync(Effect.either(GatewayConfig.embedded({ LLM_TIMEOUT: "soon" })))
    assert.isTrue(Either.isLeft(exit))
  })
})

describe("the description", () => {
  it("tells the policy of each model", () => {
    const text = GatewayConfig.describe(good(example))
    for (const line of [
      "  assistant, also gpt-4, claude: chat",
      "    1. openai/gpt-5.5",
      "    time     attempt 2m, first token 20s, idle 20s, deadline 5m for all together",
      "    fallback by the library's rules, but ContentFiltered yes, ContextLengthExceeded larger-window; then cheap",
      "    - azure/my-deployment; weight 3",
      "  openai: openai, 2 keys, 500 requests in 1m, 200,000 tokens in 1m",
      "clients: 2 keys"
    ]) {
      assert.isTrue(text.split("\n").includes(line), `${line} in\n${text}`)
    }
    assert.include(text, "4 attempts; backoff 500ms ×2 up to 30s; after Overloaded from 1s; jitter full")
  })
})

describe("what is shown of an address", () => {
  it("ends before its query", () => {
    const text = GatewayConfig.describe(
      good("providers: { local: { kind: openai, baseUrl: 'http://h/v1?code=abcdef' } }\nmodels: { a: local/x }")
    )
    assert.include(text, "  local: openai, http://h/v1?…, no key")
    assert.notInclude(text, "abcdef")
  })
})

describe("whatever is given", () => {
  const settles = (text: string) => {
    const exit = Effect.runSyncExit(GatewayConfig.parse(text, options()))
    if (Exit.isSuccess(exit)) {
      GatewayConfig.describe(exit.value)
      return
    }
    assert.strictEqual(exit.cause._tag, "Fail", text)
    if (exit.cause._tag !== "Fail") return
    for (const problem of exit.cause.error.problems) {
      assert.isNotEmpty(problem.expected)
      assert.isNotEmpty(problem.found)
    }
  }

  it.prop(
    "ends as a configuration or as problems: JSON",
    [fc.jsonValue({ maxDepth: 6 })],
    ([value]) => settles(JSON.stringify(value)),
    { fastCheck: { numRuns: cases(20_000, 200) } }
  )

  it.prop(
    "ends as a configuration or as problems: text",
    [fc.string({ unit: "binary", maxLength: 200 })],
    ([text]) => settles(text),
    { fastCheck: { numRuns: cases(20_000, 200) } }
  )

  const pathsOf = (
    value: unknown,
    path: ReadonlyArray<string | number> = []
  ): ReadonlyArray<ReadonlyArray<string | number>> => [
    path,
    ...(typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, inner]) =>
          pathsOf(inner, [...path, Array.isArray(value) ? Number(key) : key])
        )
      : [])
  ]
  const paths = pathsOf(parseDocument(example).toJS()).filter((path) => path.length > 0)

  const mutation = fc.record({
    path: fc.constantFrom(...paths),
    value: fc.oneof(
      fc.constantFrom(...Object.values(secrets), fileSecret),
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(null, -1, 0, 1e9, "", "file:/none", "$" + "{TEAM_A_KEY}", "$" + "{NONE}", "constructor", [], {})
    ),
    how: fc.constantFrom("set", "add", "delete" as const)
  })

  it.prop(
    "ends so, and shows no secret: the example with parts of it changed",
    [fc.array(mutation, { minLength: 1, maxLength: 6 })],
    ([mutations]) => {
      const document = parseDocument(example)
      for (const { how, path, value } of mutations) {
        try {
          if (how === "delete") document.deleteIn(path)
          else document.setIn(how === "add" ? [...path, "constructor"] : path, document.createNode(value))
        } catch {
          // A path that an earlier change has taken away.
        }
      }
      const text = document.toString()
      settles(text)
      // A text that is nowhere the value of a key is no secret.
      const used = Object.entries(secrets).filter(([name]) => text.includes(`\${${name}}`) || name === "OPENAI_API_KEY")
      const isRead = text.includes("file: /run/secrets/azure") || text.includes("keyFile: /run/secrets/azure")
      assertNoSecret(visible(text, secrets), [...used.map(([, value]) => value), ...(isRead ? [fileSecret] : [])])
    },
    { fastCheck: { numRuns: cases(5000, 50) } }
  )

  it("is read in bounded time: deep lists, many aliases", () => {
    settles("[".repeat(100_000))
    settles(`models: ${"{ a: ".repeat(5000)}`)
    const bomb = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for (const name of "bcdefghij") {
      const before = String.fromCharCode(name.charCodeAt(0) - 1)
      bomb.push(`${name}: &${name} [${Array.from({ length: 10 }, () => `*${before}`).join(", ")}]`)
    }
    assert.deepStrictEqual(wrong(bomb.join("\n")), [
      "gateway.yaml: found more than is read, expected at most 64 levels and 100000 values"
    ])
    assert.isNotEmpty(wrong("a: &a [*a]"))
    settles(stringify({ models: Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`m${n}`, "openai/x"])) }))
  })
})
