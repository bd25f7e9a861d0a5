/**
 * A configuration in words, for `--check`: the policy of each model as it will be. No value of a secret is in it.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type * as ChatModel from "../../chat/ChatModel.js"
import * as ErrorMessage from "../../errors/ErrorMessage.js"
import type * as Pacer from "../../policies/pacer/Pacer.js"
import * as RetryPolicy from "../../policies/retry/RetryPolicy.js"
import type * as Resolved from "./Resolved.js"

const time = (input: Duration.DurationInput): string => Duration.format(Duration.decode(input))

const count = (number: number, noun: string): string =>
  `${number.toLocaleString("en-US")} ${noun}${number === 1 ? "" : "s"}`

const bytes = (number: number): string => {
  const mebibytes = number / 2 ** 20
  return mebibytes >= 1 ? `${Math.round(mebibytes * 10) / 10} MiB` : `${Math.round(number / 1024)} KiB`
}

const some = (parts: ReadonlyArray<string | undefined | false>, between = ", "): string =>
  parts.filter((part) => typeof part === "string" && part !== "").join(between)

const retryText = (options: RetryPolicy.Options | undefined): string => {
  if (options === undefined) return `${retryText({})} (the library's policy; 8 attempts at the last target)`
  const { backoffFactor, initialDelay, jitter, maxAttempts, maxDelay, maxHint, overloadedDelay } =
    RetryPolicy.settings(options)
  if (maxAttempts === 1) return "1 attempt"
  const lists = (["retryOn", "giveUpOn"] as const).map((key) => {
    const list = options[key]
    return list !== undefined && list.length > 0 && `${key} ${list.join(" ")}`
  })
  const providers = Object.keys(options.providers ?? {})
  return some(
    [
      `${maxAttempts} attempts`,
      `backoff ${time(initialDelay)} ×${backoffFactor} up to ${time(maxDelay)}`,
      `after Overloaded from ${time(Math.max(initialDelay, overloadedDelay))}`,
      `jitter ${jitter}`,
      `server's hints up to ${time(maxHint)}`,
      ...lists,
      providers.length > 0 && `own lists for ${providers.join(" ")}`
    ],
    "; "
  )
}

const timeoutText = ({ attempt, firstToken, idle }: ChatModel.Timeouts): string =>
  some([
    attempt !== undefined && `attempt ${time(attempt)}`,
    firstToken !== undefined && `first token ${time(firstToken)}`,
    idle !== undefined && `idle ${time(idle)}`
  ])

const limit = (noun: string, given: Pacer.Options["requests"]): string | undefined =>
  given && `${given.limit.toLocaleString("en-US")} ${noun} in ${time(given.window ?? "1 minute")}`

const limitsText = (limits: Pacer.Options): string =>
  some([
    limit("requests", limits.requests),
    limit("tokens", limits.tokens),
    limit("tokens in", limits.inputTokens),
    limit("tokens out", limits.outputTokens)
  ])

const providerText = (provider: Resolved.Provider): string =>
  some([
    `${provider.name}: ${provider.kind}`,
    provider.baseUrl?.replace(/\?.*$/s, "?…"),
    provider.keys.length === 0 ? "no key" : count(provider.keys.length, "key"),
    provider.keyGroup !== undefined && `key group ${provider.keyGroup}`,
    provider.apiVersion !== undefined && `API version ${provider.apiVersion}`,
    Object.keys(provider.headers).length > 0 && `headers ${Object.keys(provider.headers).join(" ")}`,
    provider.limits && limitsText(provider.limits),
    provider.faults &&
      (provider.faults.errorRate === 0
        ? "none fails"
        : `${Math.round(provider.faults.errorRate * 100)} % fail with ${provider.faults.status}`) +
        (Duration.toMillis(provider.faults.latency) > 0 ? `, ${time(provider.faults.latency)} each` : "")
  ])

const targetText = (target: Resolved.Target, isBalanced: boolean, index: number): string =>
  `    ${isBalanced ? "-" : `${index + 1}.`} ` +
  some(
    [
      `${target.provider}/${target.model}`,
      isBalanced && `weight ${target.weight ?? 1}`,
      target.retry && `retry ${retryText(target.retry)}`,
      target.timeout && `timeout ${timeoutText(target.timeout)}`
    ],
    "; "
  )

const fallbackText = ({ fallback, fallbacks, targets }: Resolved.Model): string => {
  if (targets.length + fallbacks.length === 1) return "none: there is one target"
  if (fallback === false) return "never"
  const then = fallbacks.length > 0 && `then ${fallbacks.join(", then ")}`
  if (typeof fallback === "function") return some(["by a function", then], "; ")
  const rules = Object.entries(fallback ?? {}).map(
    ([tag, rule]) => `${tag} ${rule === true ? "yes" : rule === false ? "no" : String(rule)}`
  )
  return some(
    [rules.length === 0 ? "by the library's rules" : `by the library's rules, but ${rules.join(", ")}`, then],
    "; "
  )
}

const modelText = (model: Resolved.Model): ReadonlyArray<string> => {
  const isBalanced = model.balance !== undefined
  const lines: ReadonlyArray<readonly [string, string | undefined | false]> = [
    ["retry", retryText(model.retry)],
    [
      "time",
      some([
        timeoutText({ attempt: "10 minutes", ...model.timeout }),
        `deadline ${time(model.deadline)} for all together`
      ])
    ],
    ["fallback", fallbackText(model)],
    ["balance", model.balance],
    [
      "hedge",
      model.hedge && `after the quantile ${model.hedge.quantile ?? 0.95}, for ${(model.hedge.ratio ?? 0.05) * 100} %`
    ],
    ["stream", model.kind === "chat" && `${model.mode} after the first content`],
    ["clients", `may set up to ${count(model.bounds.maxAttempts, "attempt")} and ${time(model.bounds.timeout)}`]
  ]
  return [
    `  ${some([model.name, model.aliases.length > 0 && `also ${model.aliases.join(", ")}`])}: ${model.kind}`,
    ...model.targets.map((target, index) => targetText(target, isBalanced, index)),
    ...lines.flatMap(([name, text]) => (text ? [`    ${name.padEnd(9)}${text}`] : []))
  ]
}

const clientText = (client: Resolved.ClientKey): string =>
  some([
    `  ${client.name}: ${client.models === undefined ? "all models" : client.models.join(" ") || "no model"}`,
    client.requestsPerMinute !== undefined && `${client.requestsPerMinute} requests a minute`,
    client.tokensPerMinute !== undefined && `${client.tokensPerMinute} tokens a minute`,
    client.maxConcurrent !== undefined && `${client.maxConcurrent} at once`,
    client.usdPerDay !== undefined && `${client.usdPerDay} USD a day`
  ])

const observabilityText = ({ callLog, logFormat, logLevel, otlp, retention }: Resolved.Observability): string =>
  some([
    callLog === undefined ? "no call log" : "a call log",
    retention !== undefined && `kept for ${time(retention)}`,
    otlp && `OTLP to ${new URL(otlp.url).origin}`,
    `log ${logLevel} as ${logFormat}`
  ])

/** A shorter key may be a word of the text. */
const leastSecret = 12

/** Nothing here shows a secret; if a name is one, it is not shown either. */
const secretsOf = ({ observability, providers }: Resolved.Config): ReadonlyArray<string> =>
  [
    ...[...providers.values()].flatMap(({ headers, keys }) => [...keys, ...Object.values(headers)]),
    ...Object.values(observability.otlp?.headers ?? {})
  ]
    .flatMap((secret) => (Redacted.isRedacted(secret) ? [String(Redacted.value(secret))] : []))
    .filter((secret) => secret.length >= leastSecret)

/**
 * The configuration in words.
 *
 * @since 0.2.0
 * @category formatting
 */
export const describe = (config: Resolved.Config): string => {
  const { keys, models, notes, observability, providers, server } = config
  const text = [
    `server: ${some([
      `${server.host.includes(":") && !server.host.startsWith("[") ? `[${server.host}]` : server.host}:${server.port}`,
      `bodies up to ${bytes(server.maxBodyBytes)}`,
      `${count(server.maxConcurrent, "request")} at once`,
      server.adminKeyHash === undefined
        ? "operator's pages for this machine alone"
        : "operator's pages by the admin key"
    ])}`,
    "providers:",
    ...[...providers.values()].map((provider) => `  ${providerText(provider)}`),
    "models:",
    ...models.flatMap(modelText),
    `clients: ${keys.length === 0 ? "no keys, whoever connects may ask" : count(keys.length, "key")}`,
    ...keys.map(clientText),
    `observability: ${observabilityText(observability)}`,
    ...(Object.keys(config.prices).length === 0
      ? []
      : [`prices: ${count(Object.keys(config.prices).length, "own price")}`]),
    ...(config.passthrough === undefined ? [] : [`passthrough: ${config.passthrough}`]),
    ...(notes.length === 0 ? [] : ["notes:", ...notes.map((note) => `  ${note}`)])
  ].join("\n")
  return ErrorMessage.scrub(text, secretsOf(config))
}
