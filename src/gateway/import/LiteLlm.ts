/**
 * LiteLLM's `config.yaml` as a configuration of ours.
 *
 * Deployments of one `model_name` share its traffic, as there. Times there are in seconds; the router's `timeout` is
 * for the whole call, the one of a deployment for a request.
 *
 * @since 0.2.0
 */

import type { Path } from "../config/Problem.js"
import * as Tree from "../config/Tree.js"
import * as WellKnown from "../config/WellKnown.js"
import * as Carrier from "./Carrier.js"
import * as Fallbacks from "./LiteLlmFallbacks.js"

const seconds = (amount: number): string => Carrier.duration(amount * 1000)

/** The strategies by what they choose by. */
const strategies: Readonly<Record<string, string>> = {
  "simple-shuffle": "weighted",
  "least-busy": "least-busy",
  "latency-based-routing": "fastest",
  "cost-based-routing": "cheapest",
  "usage-based-routing": "weighted",
  "usage-based-routing-v2": "weighted"
}

/** A model without a provider is known by its family. */
const families: ReadonlyArray<readonly [name: RegExp, provider: string]> = [
  [/^(?:gpt-|chatgpt-|o\d|text-embedding-)/, "openai"],
  [/^claude-/, "anthropic"],
  [/^gemini-/, "gemini"]
]

const placeOf = (text: string): { readonly provider: string; readonly model: string } | undefined => {
  const slash = text.indexOf("/")
  if (slash < 0) {
    const family = families.find(([name]) => name.test(text))
    return family && { provider: family[1], model: text }
  }
  const provider = Carrier.providerName(text.slice(0, slash))
  const model = text.slice(slash + 1)
  return provider === undefined || model === "" ? undefined : { provider, model }
}

const modelInfo = (
  value: unknown,
  path: Path,
  carrier: Carrier.Carrier
): {
  readonly isOther: boolean
  readonly kind: "chat" | "embeddings" | undefined
  readonly price: Tree.Fields | undefined
} => {
  const info = carrier.fields(value, path)
  const mode = info.text("mode")
  const input = info.number("input_cost_per_token")
  const output = info.number("output_cost_per_token")
  info.rest("facts of models are known from their names here")
  return {
    isOther: mode !== undefined && !/^(?:chat|completion|responses|embedding)$/.test(mode),
    kind: mode === undefined ? undefined : mode === "embedding" ? "embeddings" : "chat",
    price: priceOf(input, output)
  }
}

/** From dollars a token to dollars a million tokens, without the noise of the product. */
const priceOf = (input: number | undefined, output: number | undefined): Tree.Fields | undefined =>
  input === undefined || output === undefined
    ? undefined
    : { input: Number((input * 1e6).toPrecision(12)), output: Number((output * 1e6).toPrecision(12)) }

const limitsOf = (requests: number | undefined, tokens: number | undefined): Tree.Fields | undefined =>
  !requests && !tokens
    ? undefined
    : { ...(requests ? { requests: { limit: requests } } : {}), ...(tokens ? { tokens: { limit: tokens } } : {}) }

const deployment = (
  value: unknown,
  path: Path,
  models: Map<string, Fallbacks.Model>,
  prices: Tree.Fields,
  carrier: Carrier.Carrier
) => {
  const entry = carrier.fields(value, path)
  const name = entry.text("model_name")
  const params = carrier.fields(entry.get("litellm_params"), [...path, "litellm_params"])
  const named = params.text("model")
  const info = modelInfo(entry.get("model_info"), [...path, "model_info"], carrier)
  if (name === undefined || named === undefined) return carrier.lose(path, "it has no model_name or no model")
  if (named.includes("*") || name.includes("*")) {
    return carrier.lose(path, "a name with * stands for many models: name each of them")
  }
  if (info.isOther) return carrier.lose(path, "it is for neither chats nor embeddings")
  const theirs = params.text("custom_llm_provider")
  const place = placeOf(theirs === undefined || named.startsWith(`${theirs}/`) ? named : `${theirs}/${named}`)
  if (place === undefined) {
    return carrier.lose([...path, "litellm_params", "model"], "its provider is not known here")
  }
  const kind = info.kind ?? (/embed/i.test(place.model) ? "embeddings" : "chat")
  const ours = Carrier.modelName(name)
  if (kind !== (models.get(ours)?.kind ?? kind)) {
    return carrier.lose(path, "a name is for chats alone or for embeddings alone")
  }
  if (kind === "embeddings" && WellKnown.kindOf(place.provider) === "anthropic") {
    return carrier.lose(path, "its provider makes no embeddings")
  }
  const field = params.get("api_base") === undefined ? "base_url" : "api_base"
  const address = params.text(field)
  const baseUrl = address === undefined ? undefined : carrier.baseUrl(address, [...params.path, field])
  if (baseUrl === undefined && address !== undefined) return
  if (field === "api_base") params.leave("api_base says the same", "base_url")
  const apiVersion = params.text("api_version")
  const isAzure = WellKnown.kindOf(place.provider) === "azure"
  if (apiVersion !== undefined && !isAzure) carrier.lose([...params.path, "api_version"], "only Azure has versions")
  const variable = WellKnown.variablesOf(place.provider)[0] ?? "PROVIDER_API_KEY"
  const own = Carrier.modelName(name).replace(/\W+/g, "_").toUpperCase()
  const key = carrier.key(params.get("api_key"), [...params.path, "api_key"], `${own}_API_KEY`)
  const rpm = params.number("rpm") ?? entry.number("rpm")
  const tpm = params.number("tpm") ?? entry.number("tpm")
  if (isAzure && baseUrl === undefined) {
    return carrier.lose(path, "a deployment at Azure needs its api_base in the file")
  }
  // With an address of its own a provider is not asked with the usual key unless the file says so.
  const isOwnKey = key === undefined && (baseUrl === undefined || isAzure) && !WellKnown.isKeyless(place.provider)
  if (isOwnKey) carrier.variables.add(variable)
  const provider = carrier.provider(place.provider, {
    baseUrl,
    key: isOwnKey ? `\${${variable}}` : key,
    apiVersion: isAzure && apiVersion !== undefined ? carrier.text(apiVersion) : undefined,
    limits: limitsOf(rpm, tpm)
  })
  const retries = params.number("max_retries") ?? params.number("num_retries")
  const attempt = params.number("timeout")
  const firstToken = params.number("stream_timeout")
  const weight = params.number("weight")
  const price = priceOf(params.number("input_cost_per_token"), params.number("output_cost_per_token")) ?? info.price
  params.leave("several targets share the traffic or stand in their order, not both", "order")
  params.rest("parameters of a request are the client's")
  entry.rest("it has no counterpart")
  if (price !== undefined) prices[`${provider}/${place.model}`] = price
  if (weight === 0) return carrier.lose([...params.path, "weight"], "a target with weight 0 gets nothing: left out")
  if (ours !== name) carrier.lose([...path, "model_name"], `the name has become ${ours}`)
  const model = models.get(ours) ?? { kind, targets: [], aliases: [], fallbacks: [], fallback: undefined }
  models.set(ours, model)
  const share = weight ?? rpm ?? tpm
  model.targets.push({
    target: Carrier.target(provider, place.model),
    ...(share ? { weight: Math.min(share, 1_000_000) } : {}),
    ...(retries === undefined ? {} : { retry: { maxAttempts: Math.min(100, Math.round(retries) + 1) } }),
    ...(attempt || firstToken
      ? {
          timeout: {
            ...(attempt ? { attempt: seconds(attempt) } : {}),
            ...(firstToken ? { firstToken: seconds(firstToken) } : {})
          }
        }
      : {})
  })
}

const retryTags: Readonly<Record<string, string>> = {
  BadRequestErrorRetries: "InvalidRequest",
  AuthenticationErrorRetries: "AuthError",
  TimeoutErrorRetries: "Timeout",
  RateLimitErrorRetries: "RateLimited",
  ContentPolicyViolationErrorRetries: "ContentFiltered",
  InternalServerErrorRetries: "ServerError"
}

/** Retries by the kind of error: which errors, and the largest number. */
const retryPolicy = (value: unknown, path: Path, carrier: Carrier.Carrier): Tree.Fields => {
  if (value === undefined) return {}
  const fields = carrier.fields(value, path)
  const counts = Object.entries(retryTags).flatMap(([name, tag]) => {
    const count = fields.number(name)
    return count === undefined ? [] : [{ name, tag, count }]
  })
  fields.rest("it is no kind of error there")
  const most = Math.max(0, ...counts.map(({ count }) => count))
  for (const { count, name } of counts) {
    if (count > 0 && count < most) carrier.lose([...path, name], `the number is the same for all errors: ${most}`)
  }
  const tagsOf = (isOf: (count: number) => boolean) => counts.filter(({ count }) => isOf(count)).map(({ tag }) => tag)
  const retryOn = tagsOf((count) => count > 0).filter((tag) =>
    /^(?:InvalidRequest|AuthError|ContentFiltered)$/.test(tag)
  )
  const giveUpOn = tagsOf((count) => count === 0)
  return {
    ...(most > 0 ? { maxAttempts: Math.min(100, Math.round(most) + 1) } : {}),
    ...(retryOn.length > 0 ? { retryOn } : {}),
    ...(giveUpOn.length > 0 ? { giveUpOn } : {})
  }
}

/**
 * Whether a file is LiteLLM's.
 *
 * @since 0.2.0
 * @category guards
 */
export const is = (file: Tree.Fields): boolean =>
  ["model_list", "litellm_settings", "router_settings", "general_settings"].some((key) => Object.hasOwn(file, key))

/**
 * Our file from LiteLLM's.
 *
 * @since 0.2.0
 * @category constructors
 */
export const convert = (given: Tree.Fields, carrier: Carrier.Carrier): Tree.Fields => {
  const file = carrier.fields(given, [])
  const models = new Map<string, Fallbacks.Model>()
  const prices: Tree.Fields = {}
  const list = file.get("model_list")
  if (list !== undefined && !Array.isArray(list)) carrier.lose(["model_list"], "it is no list")
  for (const [index, one] of (Array.isArray(list) ? list : []).entries()) {
    deployment(one, ["model_list", index], models, prices, carrier)
  }
  const router = carrier.fields(file.get("router_settings"), ["router_settings"])
  const library = carrier.fields(file.get("litellm_settings"), ["litellm_settings"])
  const general = carrier.fields(file.get("general_settings"), ["general_settings"])

  const both = [router, library]
  for (const { get, path } of both) {
    for (const { from, path: place, to } of Fallbacks.pairs(get("fallbacks"), [...path, "fallbacks"], carrier)) {
      for (const name of to) Fallbacks.addFallback(from, name, place, models, carrier)
    }
  }
  for (const { get, path } of both) {
    const context = "context_window_fallbacks"
    Fallbacks.special(get(context), [...path, context], "ContextLengthExceeded", models, carrier)
    const content = "content_policy_fallbacks"
    Fallbacks.special(get(content), [...path, content], "ContentFiltered", models, carrier)
  }
  const defaultFallbacks = both.flatMap(({ get, path }) => {
    const names = get("default_fallbacks")
    return (Array.isArray(names) ? names : []).flatMap((name, index) => {
      const ours = typeof name === "string" ? Carrier.modelName(name) : ""
      const fits = [...models.keys()].every((other) => other === ours || !Fallbacks.reaches(ours, other, models))
      if (models.has(ours) && fits) return [ours]
      carrier.lose([...path, "default_fallbacks", index], "it is no model of the file, or would lead in a circle")
      return []
    })
  })
  Fallbacks.aliasesOf(router.get("model_group_alias"), ["router_settings", "model_group_alias"], models, carrier)

  const asked = router.text("routing_strategy") ?? "simple-shuffle"
  const balance = strategies[asked]
  if (balance === undefined) carrier.lose(["router_settings", "routing_strategy"], "it is not known: weighted")
  if (asked.startsWith("usage-based")) {
    carrier.lose(["router_settings", "routing_strategy"], "the limits of providers pace the requests here: weighted")
  }
  const retries = router.number("num_retries") ?? library.number("num_retries")
  const wait = router.number("retry_after")
  const policy = retryPolicy(router.get("retry_policy"), ["router_settings", "retry_policy"], carrier)
  const retry = {
    ...policy,
    ...(retries === undefined ? {} : { maxAttempts: Math.min(100, Math.round(retries) + 1) }),
    ...(wait ? { initialDelay: seconds(wait) } : {})
  }
  const total = router.number("timeout")
  const request = library.number("request_timeout")
  const firstToken = router.number("stream_timeout")

  const breaker = "the circuit breaker of each target decides by its rate of failures, and tries again by itself"
  router.leave(breaker, "allowed_fails", "cooldown_time", "disable_cooldowns", "allowed_fails_policy")
  router.leave(
    "processes do not share their state through Redis",
    "redis_host",
    "redis_port",
    "redis_password",
    "redis_url"
  )
  router.leave("a context that is too long goes only to a larger window anyway", "enable_pre_call_checks")
  router.leave("answers are not cached", "cache_responses", "caching_groups")
  router.leave("retries are set for all models, or at a model", "model_group_retry_policy")
  router.rest("it has no counterpart")
  library.leave("it is so anyway: what a provider does not take is left out and logged", "drop_params", "modify_params")
  library.leave("answers are not cached", "cache", "cache_params")
  library.leave(
    "use observability: the call log, OTLP and metrics",
    "success_callback",
    "failure_callback",
    "callbacks",
    "service_callbacks"
  )
  library.leave("use observability.logLevel and logFormat", "set_verbose", "json_logs")
  library.rest("it has no counterpart")

  const master = carrier.key(general.get("master_key"), ["general_settings", "master_key"], "LITELLM_MASTER_KEY")
  general.leave("keys of clients stand in keys; for a log of calls set observability.callLog", "database_url")
  general.rest("it has no counterpart")
  file.leave("set them in the environment", "environment_variables")
  file.rest("it has no counterpart")

  const defaults = {
    ...(Object.keys(retry).length > 0 ? { retry } : {}),
    ...(request || firstToken
      ? {
          timeout: {
            ...(request ? { attempt: seconds(request) } : {}),
            ...(firstToken ? { firstToken: seconds(firstToken) } : {})
          }
        }
      : {}),
    ...(total ? { deadline: seconds(total) } : {}),
    ...(defaultFallbacks.length > 0 ? { fallbacks: [...new Set(defaultFallbacks)] } : {})
  }
  return {
    ...(master === undefined ? {} : { server: { adminKey: master }, keys: [{ name: "master", key: master }] }),
    models: Object.fromEntries(
      [...models].map(([name, { aliases, fallback, fallbacks, kind, targets }]) => [
        name,
        {
          ...(kind === "chat" && !targets.some(({ target }) => /embed/i.test(String(target))) ? {} : { kind }),
          ...(aliases.length > 0 ? { aliases } : {}),
          targets:
            targets.length > 1
              ? targets
              : targets.map(({ weight, ...target }) => (Object.keys(target).length === 1 ? target.target : target)),
          ...(targets.length > 1 ? { balance: balance ?? "weighted" } : {}),
          ...(fallbacks.length > 0 ? { fallbacks } : {}),
          ...(fallback === undefined ? {} : { fallback })
        }
      ])
    ),
    ...(Object.keys(defaults).length > 0 ? { defaults } : {}),
    ...(Object.keys(prices).length > 0 ? { prices } : {})
  }
}
