/**
 * The models that a provider offers to a key: {@link list}, for OpenAI and servers that speak its API, Anthropic and
 * Gemini.
 *
 * All pages are read, up to a bound. Failures are typed `LlmError`s, as those of a call; the option `retry` asks again
 * for the page that failed. A list is no call: it leaves no record.
 *
 * Gotchas: a list names models of all kinds, also those that neither chat nor embed. Only Gemini and Anthropic tell
 * more than names; OpenAI's list has no window.
 *
 * @example
 * import { Config, Effect } from "effect"
 * import { RetryPolicy } from "effect-steadfast"
 * import * as Models from "effect-steadfast/Models"
 *
 * const names = Models.list({
 *   provider: "anthropic",
 *   apiKey: Config.redacted("ANTHROPIC_API_KEY"),
 *   retry: RetryPolicy.standard
 * }).pipe(Effect.map((models) => models.map(({ id }) => id)))
 *
 * @since 0.2.0
 */

import * as HttpClient from "@effect/platform/HttpClient"
import type * as ConfigError from "effect/ConfigError"
import * as Effect from "effect/Effect"
import type * as Schedule from "effect/Schedule"
import * as Resilience from "../calls/Resilience.js"
import * as Classify from "../errors/Classify.js"
import * as LlmError from "../errors/LlmError.js"
import * as Address from "./http/Address.js"
import * as HttpExchange from "./http/HttpExchange.js"
import * as HttpTarget from "./http/HttpTarget.js"
import * as OpenAiServers from "./openai/OpenAiServers.js"
import * as Json from "./wire/Json.js"
import * as WireFields from "./wire/WireFields.js"

/**
 * A model of a provider. A field that the provider does not tell is absent.
 *
 * @since 0.2.0
 * @category models
 */
export interface Model {
  /** The name to ask for, as in the option `model` of a provider. */
  readonly id: string
  /** The name for people. */
  readonly name?: string | undefined
  /** The owner. */
  readonly owner?: string | undefined
  /** When it was made, in epoch milliseconds. */
  readonly createdAt?: number | undefined
  /** The most tokens of a prompt. */
  readonly contextWindow?: number | undefined
  /** The most tokens of an answer. */
  readonly maxTokens?: number | undefined
  /** The methods that it answers, in the provider's words. */
  readonly methods?: ReadonlyArray<string> | undefined
}

/**
 * The options of {@link list}: those of every provider, without the model.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options extends Omit<Address.Options, "model" | "keyGroup" | "traceHeaders"> {
  /**
   * The API that the server speaks. Default: that of the provider `anthropic` or `gemini`, for all others that of
   * OpenAI.
   */
  readonly api?: "openai" | "anthropic" | "gemini" | undefined
  /** The most pages that are read; a longer list is an `InvalidResponse`. Default 100. */
  readonly maxPages?: number | undefined
  /** When a page that failed is asked for again: a policy, or any schedule over `LlmError`. Default: never. */
  readonly retry?: Schedule.Schedule<unknown, LlmError.LlmError> | undefined
}

/** How one API lists its models. */
interface Api {
  readonly place: (provider: string, baseUrl: string | undefined) => Address.Place
  /** The query of a page, after the place that the page before told. */
  readonly query: (next: string | undefined) => Readonly<Record<string, string>>
  /** The field of the models. */
  readonly field: string
  readonly model: (one: Json.Json) => Model | undefined
  /** Where the next page begins; `undefined` after the last. */
  readonly next: (body: Json.Json) => string | undefined
}

const compact = (model: Model): Model => Json.compact({ ...model }) as unknown as Model

const named = (id: unknown, more: (id: string) => Model): Model | undefined => {
  const text = Json.text(id)
  return text === undefined ? undefined : compact(more(text))
}

const timeOf = (date: unknown): number | undefined => {
  const millis = Date.parse(Json.string(date) ?? "")
  return Number.isNaN(millis) ? undefined : millis
}

const apis: Readonly<Record<NonNullable<Options["api"]>, Api>> = {
  // https://platform.openai.com/docs/api-reference/models/list: one page.
  openai: {
    place: (provider, baseUrl) => OpenAiServers.place(provider, baseUrl, "/models"),
    query: () => ({}),
    field: "data",
    model: ({ created, id, owned_by }) =>
      named(id, (id) => {
        const seconds = Json.count(created)
        return { id, owner: Json.text(owned_by), createdAt: seconds === undefined ? undefined : seconds * 1000 }
      }),
    next: () => undefined
  },
  // https://docs.anthropic.com/en/api/models-list: 1000 is the largest page.
  anthropic: {
    place: (provider, baseUrl = "https://api.anthropic.com/v1") => ({
      provider,
      baseUrl,
      url: (baseUrl) => `${baseUrl}/models`,
      auth: (key) => ({ "x-api-key": key }),
      headers: { "anthropic-version": "2023-06-01" }
    }),
    query: (next) => ({ limit: "1000", ...(next === undefined ? {} : { after_id: next }) }),
    field: "data",
    model: (one) =>
      named(one.id, (id) => ({
        id,
        name: Json.text(one.display_name),
        createdAt: timeOf(one.created_at),
        contextWindow: Json.count(one.max_input_tokens),
        maxTokens: Json.count(one.max_tokens)
      })),
    next: ({ has_more, last_id }) => (has_more === true ? Json.text(last_id) : undefined)
  },
  // https://ai.google.dev/api/models#method:-models.list: 1000 is the largest page.
  gemini: {
    place: (provider, baseUrl = "https://generativelanguage.googleapis.com/v1beta") => ({
      provider,
      baseUrl,
      url: (baseUrl) => `${baseUrl}/models`,
      auth: (key) => ({ "x-goog-api-key": key })
    }),
    query: (next) => ({ pageSize: "1000", ...(next === undefined ? {} : { pageToken: next }) }),
    field: "models",
    model: (one) =>
      named(one.name, (name) => ({
        id: name.replace(/^models\//, ""),
        name: Json.text(one.displayName),
        contextWindow: Json.count(one.inputTokenLimit),
        maxTokens: Json.count(one.outputTokenLimit),
        methods: Array.isArray(one.supportedGenerationMethods)
          ? one.supportedGenerationMethods.filter((method) => typeof method === "string")
          : undefined
      })),
    next: ({ nextPageToken }) => Json.text(nextPageToken)
  }
}

/** One page: its models, and the place of the next one. */
interface Page {
  readonly models: ReadonlyArray<Model>
  readonly next: string | undefined
}

const read = (api: Api, text: string, context: WireFields.Exchange): Page | LlmError.LlmError => {
  const body = Json.parse(text)
  if (body === undefined) return Classify.unreadable(context, text)
  const hidden = Classify.hidden(context, body)
  if (hidden !== undefined) return hidden
  const fields = Json.object(body)
  // Together answers with the bare list. Gemini leaves out what is empty.
  const list = Array.isArray(body) ? body : (fields[api.field] ?? (api === apis.gemini ? [] : undefined))
  if (!Array.isArray(list)) return WireFields.missing(context, api.field, list, "an array")
  return {
    models: list.map((one) => api.model(Json.object(one))).filter((model) => model !== undefined),
    next: api.next(fields)
  }
}

/** The fault of a model is in no error of a list: it asks for none. */
const withoutModel = (error: LlmError.LlmError): LlmError.LlmError => LlmError.override(error, { model: undefined })

/**
 * Lists the models of a provider, in its order. Fails with a `ConfigError` if the key is not configured, and with an
 * `InvalidResponse` if the pages do not end.
 *
 * @since 0.2.0
 * @category constructors
 */
export const list = (
  options: Options = {}
): Effect.Effect<ReadonlyArray<Model>, ConfigError.ConfigError | LlmError.LlmError, HttpClient.HttpClient> =>
  Effect.gen(function* () {
    const { baseUrl, maxPages = 100, retry, provider = options.api ?? "openai" } = options
    const api = apis[options.api ?? (provider === "anthropic" || provider === "gemini" ? provider : "openai")]
    const client = yield* HttpClient.HttpClient
    const address = yield* Address.resolve({ ...options, model: "models" }, api.place(provider, baseUrl))
    const url = address.url(false)
    const target = HttpTarget.make(address, url, () => undefined)
    const send = HttpExchange.make(client)
    const headers = HttpTarget.lowerCased(address.headers)

    const answer = (text: string, context: WireFields.Exchange, isWhole: boolean) => {
      if (!target.isSuccess(context)) return Effect.fail(target.refused(text, context))
      if (!isWhole) return Effect.fail(WireFields.tooLarge(context))
      const page = read(api, text, context)
      return page instanceof Error ? Effect.fail(page) : Effect.succeed({ page, context })
    }
    const pageAt = (next: string | undefined) =>
      Effect.withFiberRuntime<{ readonly page: Page; readonly context: WireFields.Exchange }, LlmError.LlmError>(
        (fiber) => {
          const asked = new URL(url)
          for (const [name, value] of Object.entries(api.query(next))) asked.searchParams.set(name, value)
          const request = {
            method: "GET",
            url: asked.href,
            headers,
            body: undefined,
            maxBytes: target.maxBytes
          } as const
          const reader = { head: target.readHead(), text: answer, failed: target.failed }
          return send(fiber, fiber.currentContext, request, reader)
        }
      )

    const models: Array<Model> = []
    let next: string | undefined
    for (let pages = 1; ; pages++) {
      const asked = Effect.mapError(pageAt(next), withoutModel)
      const { context, page } = yield* retry === undefined ? asked : Resilience.retry(asked, retry)
      models.push(...page.models)
      if (page.next === undefined) return models
      if (page.next === next || pages >= maxPages) {
        const found =
          page.next === next ? "found a page that names itself as the next" : `found more than ${pages} pages`
        const fields = { ...WireFields.errorFields(context, `the list does not end: ${found}`), model: undefined }
        return yield* Effect.fail(new LlmError.InvalidResponse({ ...fields, retryable: false }))
      }
      next = page.next
    }
  })
