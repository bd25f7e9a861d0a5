/**
 * The metrics of Steadfast as data: names, units, meanings, attributes. Instruments, docs, dashboard and alerts follow
 * it.
 *
 * Names under `gen_ai.` are those of https://github.com/open-telemetry/semantic-conventions-genai, v0.1.0
 * (`docs/gen-ai/client-inference.md`, `docs/gen-ai/gen-ai-token-metrics.md`), with their units, attributes and bucket
 * boundaries. The conventions know no attempts, fallbacks or costs: those are under `steadfast.`.
 *
 * @since 0.2.0
 */

/**
 * One metric. Units are UCUM: seconds are `s`; what stands in braces is only a remark.
 *
 * @since 0.2.0
 * @category models
 */
export interface Definition {
  readonly name: string
  readonly kind: "counter" | "gauge" | "histogram"
  readonly unit: string
  /** What it counts, in one sentence. */
  readonly description: string
  /** The names of its attributes, in the order in which they are given. An unknown one is left out. */
  readonly attributes: ReadonlyArray<string>
  /** The upper ends of the buckets of a histogram. */
  readonly boundaries?: ReadonlyArray<number> | undefined
  /** Whether it takes the labels of calls that the application chose. */
  readonly labels?: true | undefined
}

/** The boundaries of the conventions for durations, in seconds. */
const seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]

/** One bucket for each number of attempts that a policy allows by default, and some for agents. */
const counts = [0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 32]

const operation = "gen_ai.operation.name"
const provider = "gen_ai.provider.name"
const requestModel = "gen_ai.request.model"
const responseModel = "gen_ai.response.model"
const modality = "gen_ai.token.modality"
const errorType = "error.type"
const target = "steadfast.attempt.target"
const kind = "steadfast.attempt.kind"
const served = "steadfast.served"
const asked = [operation, provider, modality, requestModel, responseModel]

/**
 * All metrics.
 *
 * @since 0.2.0
 * @category constants
 */
export const metrics = {
  duration: {
    name: "gen_ai.client.inference.duration",
    kind: "histogram",
    unit: "s",
    description: "Time of a call, with all its attempts and waits",
    attributes: [operation, provider, requestModel, responseModel, errorType],
    boundaries: seconds,
    labels: true
  },
  firstChunk: {
    name: "gen_ai.client.inference.time_to_first_chunk",
    kind: "histogram",
    unit: "s",
    description: "Time from the start of a streamed call to its first content",
    attributes: [operation, provider, requestModel, responseModel],
    boundaries: seconds,
    labels: true
  },
  inputTokens: {
    name: "gen_ai.client.inference.usage.input_tokens",
    kind: "counter",
    unit: "{token}",
    description: "Input tokens of all attempts, those of caches included",
    attributes: asked,
    labels: true
  },
  outputTokens: {
    name: "gen_ai.client.inference.usage.output_tokens",
    kind: "counter",
    unit: "{token}",
    description: "Output tokens of all attempts, reasoning included",
    attributes: asked,
    labels: true
  },
  cacheReadTokens: {
    name: "gen_ai.client.inference.usage.cache_read.input_tokens",
    kind: "counter",
    unit: "{token}",
    description: "Input tokens read from the cache of a provider",
    attributes: asked,
    labels: true
  },
  cacheWriteTokens: {
    name: "gen_ai.client.inference.usage.cache_write.input_tokens",
    kind: "counter",
    unit: "{token}",
    description: "Input tokens written to the cache of a provider",
    attributes: asked,
    labels: true
  },
  reasoningTokens: {
    name: "gen_ai.client.inference.usage.reasoning.output_tokens",
    kind: "counter",
    unit: "{token}",
    description: "Output tokens that were reasoning",
    attributes: asked,
    labels: true
  },
  calls: {
    name: "steadfast.calls",
    kind: "counter",
    unit: "{call}",
    description: "Calls by outcome",
    attributes: [operation, "steadfast.outcome", errorType, served],
    labels: true
  },
  callAttempts: {
    name: "steadfast.call.attempts",
    kind: "histogram",
    unit: "{attempt}",
    description: "Calls by their number of attempts",
    attributes: ["steadfast.outcome"],
    boundaries: counts
  },
  backoff: {
    name: "steadfast.call.backoff",
    kind: "histogram",
    unit: "s",
    description: "Time that a call waited before its retries",
    attributes: [provider, requestModel],
    boundaries: seconds
  },
  queue: {
    name: "steadfast.call.queue",
    kind: "histogram",
    unit: "s",
    description: "Time that a call waited for circuits, retry budgets, pools and pacers",
    attributes: [provider, requestModel],
    boundaries: seconds
  },
  tokens: {
    name: "steadfast.tokens",
    kind: "counter",
    unit: "{token}",
    description: "Tokens of all attempts, by the way in which their call was served",
    attributes: [provider, requestModel, "steadfast.token.type", served],
    labels: true
  },
  usd: {
    name: "steadfast.cost.usd",
    kind: "counter",
    unit: "{USD}",
    description: "Cost of all attempts with a known price, by the way in which their call was served",
    attributes: [provider, requestModel, served],
    labels: true
  },
  wastedUsd: {
    name: "steadfast.cost.wasted_usd",
    kind: "counter",
    unit: "{USD}",
    description: "Part of the cost for attempts without use: failed, cancelled, or of a failed call",
    attributes: [provider, requestModel],
    labels: true
  },
  attempts: {
    name: "steadfast.attempts",
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts by target, kind and outcome",
    attributes: [target, kind, "steadfast.attempt.outcome", errorType]
  },
  attemptsByNumber: {
    name: "steadfast.attempts.by_number",
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts by their number, to see which attempt still helps",
    attributes: ["steadfast.attempt.number", "steadfast.attempt.outcome"]
  },
  firstToken: {
    name: "steadfast.attempt.time_to_first_token",
    kind: "histogram",
    unit: "s",
    description: "Time from the start of a streamed attempt to its first content",
    attributes: [target],
    boundaries: seconds
  },
  unpriced: {
    name: "steadfast.attempts.unpriced",
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts with a usage and without a price: their cost is in no sum",
    attributes: [target]
  },
  usageUnknown: {
    name: "steadfast.attempts.usage_unknown",
    kind: "counter",
    unit: "{attempt}",
    description: "Attempts that may have cost money, but told no usage",
    attributes: [target]
  },
  fallbacks: {
    name: "steadfast.fallbacks",
    kind: "counter",
    unit: "{fallback}",
    description: "Handoffs from one target to another",
    attributes: ["steadfast.fallback.from", "steadfast.fallback.to", "steadfast.fallback.reason"]
  },
  circuitState: {
    name: "steadfast.circuit.state",
    kind: "gauge",
    unit: "1",
    description: "State of a circuit: 0 closed, 1 half-open, 2 open",
    attributes: ["steadfast.circuit.key"]
  },
  circuitTransitions: {
    name: "steadfast.circuit.transitions",
    kind: "counter",
    unit: "{transition}",
    description: "Transitions of circuits",
    attributes: ["steadfast.circuit.key", "steadfast.circuit.to", "steadfast.circuit.reason"]
  },
  pacerWaiting: {
    name: "steadfast.pacer.waiting",
    kind: "gauge",
    unit: "{request}",
    description: "Requests in the queue of a pacer",
    attributes: ["steadfast.pacer.key"]
  },
  pacerInFlight: {
    name: "steadfast.pacer.in_flight",
    kind: "gauge",
    unit: "{request}",
    description: "Requests that a pacer let through and that have no answer yet",
    attributes: ["steadfast.pacer.key"]
  },
  pacerPause: {
    name: "steadfast.pacer.pause",
    kind: "gauge",
    unit: "s",
    description: "Rest of the pause after a 429; 0 without one",
    attributes: ["steadfast.pacer.key"]
  },
  budgetLevel: {
    name: "steadfast.retry_budget.level",
    kind: "gauge",
    unit: "{retry}",
    description: "Retries that a budget has left",
    attributes: ["steadfast.retry_budget.group"]
  }
} as const satisfies Readonly<Record<string, Definition>>

/**
 * The meanings of the attributes.
 *
 * @since 0.2.0
 * @category constants
 */
export const attributes: Readonly<Record<string, string>> = {
  [operation]: "the operation: `chat`, `embeddings`",
  [provider]: "the provider by the conventions; `_OTHER` if the call ended before any was known",
  [requestModel]: "the model that was asked for",
  [responseModel]: "the model that the answer names",
  [modality]: "always `unknown`: usage is not told by modality",
  [errorType]: "tag of the `LlmError`; `interrupted`; `_OTHER` for any other failure; absent on success",
  "steadfast.outcome": "of the call: `success`, `failure`, `defect`, `interrupted`",
  [served]: "kind of the attempt that answered the call; `none` if none did",
  "steadfast.token.type": "`input`, `output`",
  [target]: "`provider/model`",
  [kind]: "`first`, `retry`, `fallback`, `hedge`",
  "steadfast.attempt.outcome": "of the attempt: `success`, `failure`, `defect`, `interrupted`",
  "steadfast.attempt.number": "1, 2 … `10+` within the attempts at an answer; a hedge has that of the one beside it",
  "steadfast.fallback.from": "the target that failed",
  "steadfast.fallback.to": "the target that was asked instead",
  "steadfast.fallback.reason": "tag of the error that led there",
  "steadfast.circuit.key": "name of the circuit: provider, base URL, model, hash of the key",
  "steadfast.circuit.to": "`Closed`, `HalfOpen`, `Open`",
  "steadfast.circuit.reason": "`Unhealthy`, `Dead`, `Manual`, if it opened",
  "steadfast.pacer.key": "name of the queue, as that of the circuit",
  "steadfast.retry_budget.group": "the targets that share the budget: provider, base URL, key group"
}

/** By name, as exporters meet them. */
const byName: ReadonlyMap<string, Definition> = new Map(
  Object.values<Definition>(metrics).map((definition) => [definition.name, definition])
)

/**
 * The definition of a metric with this name, if it is ours.
 *
 * @since 0.2.0
 * @category getters
 */
export const find = (name: string): Definition | undefined => byName.get(name)

/**
 * A name as Prometheus writes it. What it does not take becomes `_`.
 *
 * @internal
 */
export const prometheusWord = (name: string): string => name.replaceAll(/[^a-zA-Z0-9_]/g, "_").replace(/^(?=\d)/, "_")

/**
 * The name of a metric in Prometheus: with its unit at the end, and `_total` for a counter.
 *
 * @since 0.2.0
 * @category getters
 */
export const prometheusName = ({ kind, name, unit }: Pick<Definition, "kind" | "name" | "unit">): string =>
  prometheusWord(name) + (unit === "s" ? "_seconds" : "") + (kind === "counter" ? "_total" : "")
