import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, Exit, FastCheck as fc } from "effect"
import { parseDocument, stringify } from "yaml"
import * as ConfigImport from "../../src/gateway/ConfigImport.js"
import * as GatewayConfig from "../../src/gateway/GatewayConfig.js"
import { cases } from "../support/cases.js"
import { options } from "./support.js"

const literal = "sk-literal-key-0123456789"

const litellm = `model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 600
      tpm: 100000
      timeout: 30
      stream_timeout: 10
      max_retries: 1
      temperature: 0.2
    model_info: { mode: chat, id: one, input_cost_per_token: 0.0000025, output_cost_per_token: 0.00001 }
  - model_name: gpt
    litellm_params:
      model: azure/my-gpt
      api_base: https://res.openai.azure.com/
      api_version: "2024-10-21"
      api_key: ${literal}
      rpm: 200
  - model_name: claude
    litellm_params: { model: claude-haiku-4-5 }
  - model_name: local llama
    litellm_params: { model: hosted_vllm/llama, api_base: "http://localhost:8000/v1", api_key: none }
  - model_name: vectors
    litellm_params: { model: openai/text-embedding-3-small, api_key: os.environ/OPENAI_API_KEY }
    model_info: { mode: embedding }
  - model_name: bedrock
    litellm_params: { model: bedrock/anthropic.claude-v2, aws_region_name: us-east-1 }
  - model_name: "*"
    litellm_params: { model: "*" }
  - model_name: pictures
    litellm_params: { model: openai/dall-e-3 }
    model_info: { mode: image_generation }
router_settings:
  routing_strategy: least-busy
  num_retries: 3
  timeout: 120
  retry_after: 2
  allowed_fails: 3
  cooldown_time: 30
  fallbacks: [{ gpt: [claude] }, { claude: [gpt] }]
  context_window_fallbacks: [{ "local llama": [claude] }]
  model_group_alias: { gpt-4: gpt, old: { model: claude, hidden: true } }
  retry_policy: { AuthenticationErrorRetries: 0, RateLimitErrorRetries: 3, BadRequestErrorRetries: 1 }
  redis_host: localhost
litellm_settings:
  drop_params: true
  request_timeout: 60
  success_callback: [langfuse]
  cache: true
general_settings:
  master_key: os.environ/LITELLM_MASTER_KEY
  database_url: postgresql://user:${literal}@host/db
environment_variables: { REDIS_PASSWORD: ${literal} }
`

const run = (text: string) => Effect.runSync(ConfigImport.fromText(text, "config.yaml"))

/** The imported text as a configuration, with a value for each of its variables. */
const load = ({ text, variables }: ConfigImport.Imported): GatewayConfig.Config => {
  const env = Object.fromEntries(
    variables.map((name, index) => [
      name,
      /URL|BASE|HOST|^X$/.test(name) ? "http://h:1" : `secret-${index}-of-an-import`
    ])
  )
  return Effect.runSync(GatewayConfig.parse(text, options(env)))
}

const modelOf = (config: GatewayConfig.Config, name: string) => {
  const model = config.models.find((model) => model.name === name)
  if (model === undefined) throw new Error(`no model ${name}`)
  return model
}

const targetsOf = (config: GatewayConfig.Config, name: string) =>
  modelOf(config, name).targets.map(({ model, provider }) => `${provider}/${model}`)

const millis = (input: Duration.DurationInput | undefined) => input && Duration.toMillis(Duration.decode(input))

describe("LiteLLM", () => {
  const imported = run(litellm)
  const config = load(imported)

  it("keeps the deployments of a name as targets that share its traffic", () => {
    assert.strictEqual(imported.from, "litellm")
    const gpt = modelOf(config, "gpt")
    assert.deepStrictEqual(targetsOf(config, "gpt"), ["openai/gpt-4o", "azure/my-gpt"])
    assert.deepStrictEqual(
      gpt.targets.map(({ weight }) => weight),
      [600, 200]
    )
    assert.strictEqual(gpt.balance, "least-busy")
    const [first] = gpt.targets
    assert.deepStrictEqual([first?.retry?.maxAttempts, millis(first?.timeout?.attempt)], [2, 30_000])
    assert.strictEqual(millis(first?.timeout?.firstToken), 10_000)
    assert.deepStrictEqual(gpt.aliases, ["gpt-4"])
  })

  it("keeps providers apart by address, key and limits", () => {
    assert.deepStrictEqual(
      [...config.providers.values()].map(({ baseUrl, kind, limits, name }) => [
        name,
        kind,
        baseUrl,
        limits?.requests?.limit
      ]),
      [
        ["openai", "openai", undefined, 600],
        ["azure", "azure", "https://res.openai.azure.com", 200],
        ["anthropic", "anthropic", undefined, undefined],
        ["vllm", "openai", "http://localhost:8000/v1", undefined],
        ["openai-2", "openai", "https://api.openai.com/v1", undefined]
      ]
    )
    assert.deepStrictEqual(config.providers.get("vllm")?.keys, [])
    assert.strictEqual(modelOf(config, "vectors").kind, "embeddings")
    assert.deepStrictEqual(config.prices["openai/gpt-4o"], { input: 2.5, output: 10 })
  })

  it("keeps retries, times and fallbacks, without a circle", () => {
    const gpt = modelOf(config, "gpt")
    assert.deepStrictEqual(
      [gpt.retry?.maxAttempts, millis(gpt.retry?.initialDelay), gpt.retry?.retryOn, gpt.retry?.giveUpOn],
      [4, 2000, ["InvalidRequest"], ["AuthError"]]
    )
    assert.deepStrictEqual([millis(gpt.deadline), millis(gpt.timeout?.attempt)], [120_000, 60_000])
    assert.deepStrictEqual(gpt.fallbacks, ["claude"])
    assert.deepStrictEqual(modelOf(config, "claude").fallbacks, [])
    const llama = modelOf(config, "local-llama")
    assert.deepStrictEqual(llama.fallbacks, ["claude"])
    assert.isTrue(typeof llama.fallback === "object" && llama.fallback.ContextLengthExceeded === true)
    assert.isTrue(typeof llama.fallback === "object" && llama.fallback.RateLimited === false)
    assert.deepStrictEqual(
      config.keys.map(({ name }) => name),
      ["master"]
    )
    assert.isDefined(config.server.adminKeyHash)
  })

  it("lists what is not carried over, by its path", () => {
    assert.deepStrictEqual(
      imported.notCarried.map((line) => line.split(": ")[0]),
      [
        "model_list[0].model_info.id",
        "model_list[0].litellm_params.temperature",
        "model_list[1].litellm_params.api_key",
        "model_list[3].model_name",
        "model_list[5].litellm_params.model",
        "model_list[6]",
        "model_list[7]",
        "router_settings.fallbacks[1].claude",
        "router_settings.model_group_alias.old.hidden",
        "router_settings.retry_policy.BadRequestErrorRetries",
        "router_settings.allowed_fails",
        "router_settings.cooldown_time",
        "router_settings.redis_host",
        "litellm_settings.drop_params",
        "litellm_settings.cache",
        "litellm_settings.success_callback",
        "general_settings.database_url",
        "environment_variables"
      ]
    )
    for (const line of imported.notCarried) assert.include(imported.text, `#   ${line}\n`)
    assert.deepStrictEqual(imported.variables, [
      "OPENAI_API_KEY",
      "GPT_API_KEY",
      "ANTHROPIC_API_KEY",
      "LITELLM_MASTER_KEY"
    ])
  })

  it("leaves literal keys out", () => {
    assert.isFalse(JSON.stringify(imported).includes(literal))
  })
})

describe("Portkey", () => {
  it("keeps a fallback, with groups in it as models of their own", () => {
    const imported = run(
      JSON.stringify({
        strategy: { mode: "fallback", on_status_codes: [429, 500, 503] },
        retry: { attempts: 2, on_status_codes: [429, 503], use_retry_after_header: false },
        request_timeout: 30_000,
        cache: { mode: "semantic", max_age: 60 },
        targets: [
          { provider: "openai", api_key: literal, override_params: { model: "gpt-4o", temperature: 0 } },
          {
            strategy: { mode: "loadbalance" },
            targets: [
              { provider: "anthropic", virtual_key: "main-258f4d", weight: 0.7, request_timeout: 5000 },
              {
                provider: "azure-openai",
                azureResourceName: "res",
                azureDeploymentId: "dep",
                azureApiVersion: "2024-10-21",
                weight: 0.3
              },
              { provider: "openai", weight: 0 }
            ]
          },
          { provider: "groq", customHost: "http://localhost:9/v1", override_params: { model: "llama" } },
          { provider: "bedrock", virtual_key: "aws" }
        ]
      })
    )
    assert.strictEqual(imported.from, "portkey")
    const config = load(imported)
    assert.deepStrictEqual(
      config.models.map(({ balance, fallbacks, name }) => [name, targetsOf(config, name), balance, fallbacks]),
      [
        ["default", ["openai/gpt-4o"], undefined, ["default-2", "default-3"]],
        ["default-2", ["anthropic/claude-haiku-4-5", "azure/dep"], "weighted", []],
        ["default-3", ["groq/llama"], undefined, []]
      ]
    )
    const [first] = modelOf(config, "default").targets
    assert.deepStrictEqual(
      [first?.retry?.maxAttempts, first?.retry?.retryOn, first?.retry?.giveUpOn, millis(first?.timeout?.attempt)],
      [3, [429, 503], [500, 502, 504], 30_000]
    )
    const [claude] = modelOf(config, "default-2").targets
    assert.deepStrictEqual([claude?.weight, millis(claude?.timeout?.attempt)], [0.7, 5000])
    const { fallback } = modelOf(config, "default")
    assert.deepStrictEqual(fallback, {
      Timeout: false,
      AuthError: false,
      PermissionDenied: false,
      ModelNotFound: false
    })
    assert.strictEqual(config.providers.get("azure")?.baseUrl, "https://res.openai.azure.com")
    assert.deepStrictEqual(
      imported.notCarried.map((line) => line.split(": ")[0]),
      [
        "retry.use_retry_after_header",
        "targets[0].api_key",
        "targets[0].override_params.temperature",
        "targets[1].targets[0].virtual_key",
        "targets[1].targets[0].override_params",
        "targets[1].targets[2].override_params",
        "targets[1].targets[2].weight",
        "targets[3].provider",
        "strategy.on_status_codes",
        "cache"
      ]
    )
    assert.isFalse(JSON.stringify(imported).includes(literal))
  })

  it("keeps one target, and of a condition the default", () => {
    const one = load(run('{ "provider": "openai", "api_key": "x-key", "retry": { "attempts": 5 } }'))
    assert.strictEqual(modelOf(one, "default").targets[0]?.retry?.maxAttempts, 6)
    const conditional = run(`
strategy: { mode: conditional, conditions: [{ query: {}, then: a }], default: b }
targets:
  - { name: a, provider: openai, override_params: { model: a } }
  - { name: b, provider: anthropic, override_params: { model: b } }
`)
    assert.deepStrictEqual(targetsOf(load(conditional), "default"), ["anthropic/b"])
    assert.isTrue(conditional.notCarried.some((line) => line.startsWith("strategy.conditions: ")))
  })
})

describe("other texts", () => {
  const failureOf = (text: string) => {
    const either = Effect.runSync(Effect.either(ConfigImport.fromText(text, "f")))
    return Either.isLeft(either) ? either.left.message : "none"
  }

  it("are refused with the reason", () => {
    const example = readFileSync(new URL("../../docs/gateway.example.yaml", import.meta.url), "utf8")
    const expected =
      "f: found neither, expected LiteLLM's config.yaml (model_list) or Portkey's config (strategy and targets)"
    for (const text of ["", "[]", "a: 1", "3", example]) assert.strictEqual(failureOf(text), expected)
    assert.strictEqual(failureOf("a: [1"), "f:1: found what is no YAML, expected an indent as in the lines around it")
    assert.strictEqual(
      failureOf("model_list: [{ model_name: a, litellm_params: { model: bedrock/x } }]"),
      "f: found no model that can be carried over (model_list[0].litellm_params.model: its provider is not known here), expected one"
    )
  })

  /** Whatever comes out is a configuration that parses. */
  const holds = (text: string) => {
    const exit = Effect.runSyncExit(ConfigImport.fromText(text))
    if (Exit.isSuccess(exit)) load(exit.value)
    else assert.strictEqual(exit.cause._tag, "Fail", text)
  }

  const wild = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.constantFrom(
      null,
      0,
      -1,
      1e12,
      "",
      "*",
      "gpt",
      "claude",
      "$" + "{X}",
      "os.environ/X",
      "openai/x",
      "azure/y",
      "http://u:p@h/",
      [],
      {}
    )
  )

  const pathsOf = (
    value: unknown,
    path: ReadonlyArray<string | number> = []
  ): ReadonlyArray<ReadonlyArray<string | number>> => [
    ...(path.length === 0 ? [] : [path]),
    ...(typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, inner]) =>
          pathsOf(inner, [...path, Array.isArray(value) ? Number(key) : key])
        )
      : [])
  ]

  const portkey = {
    strategy: { mode: "fallback", on_status_codes: [429] },
    retry: { attempts: 2, on_status_codes: [429] },
    request_timeout: 1000,
    targets: [
      { provider: "openai", weight: 1, api_key: "k", override_params: { model: "m" } },
      {
        strategy: { mode: "loadbalance" },
        weight: 2,
        targets: [
          { provider: "anthropic", weight: 3, virtual_key: "v" },
          { strategy: { mode: "fallback" }, targets: [{ provider: "groq" }, { provider: "gemini" }] }
        ]
      },
      { provider: "azure-openai", azure_resource_name: "r", azure_deployment_id: "d" }
    ]
  }

  for (const [name, source] of [
    ["LiteLLM", parseDocument(litellm).toJS()],
    ["Portkey", portkey]
  ] as const) {
    const changes = fc.array(fc.tuple(fc.constantFrom(...pathsOf(source)), wild), { minLength: 1, maxLength: 5 })
    it.prop(
      `end as a configuration that parses, or as a failure: ${name}'s with parts of it changed`,
      [changes],
      ([changes]) => {
        const document = parseDocument(stringify(source))
        for (const [path, value] of changes) {
          try {
            document.setIn(path, document.createNode(value))
          } catch {
            // A path that an earlier change has taken away.
          }
        }
        holds(document.toString())
      },
      { fastCheck: { numRuns: cases(5000, 60) } }
    )
  }
})
