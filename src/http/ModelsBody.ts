/**
 * The bodies with which a service tells its models, for the clients of OpenAI, Anthropic, Gemini, Ollama and Cohere.
 *
 * `GET /v1/models` and `/v1/models/{id}` have one body for all of them, because they share these paths: {@link list}
 * and {@link one}. What only Gemini's clients ask for, `GET /v1beta/models`, is {@link geminiList} and
 * {@link geminiOne}. Ollama's clients ask `GET /api/tags` for {@link ollamaList} and `POST /api/show` for
 * {@link ollamaOne}. Cohere's share a path with the others, and not the form: {@link cohereList} and {@link cohereOne}
 * are for requests whose `user-agent` begins with `cohere`. All models stand on one page.
 *
 * @example
 * import { ModelsBody } from "effect-steadfast/http"
 *
 * const body = ModelsBody.list([{ id: "fast" }, { id: "careful", name: "Careful", created: 1_790_000_000 }])
 *
 * @since 0.2.0
 */

/**
 * A model of a service.
 *
 * @since 0.2.0
 * @category models
 */
export interface Model {
  /** The name by which clients ask for it. */
  readonly id: string
  /** The name for people. Default: the id. */
  readonly name?: string | undefined
  /** When it was made, in whole seconds since 1970. Default 0. */
  readonly created?: number | undefined
  /** Its owner, which OpenAI's clients show. Default `"steadfast"`. */
  readonly ownedBy?: string | undefined
  /** What it answers with, which Cohere's clients are told. Default `"chat"`. */
  readonly kind?: "chat" | "embeddings" | undefined
}

type Body = Readonly<Record<string, unknown>>

/** The last second of the calendar of `Date`. */
const lastSecond = 8_640_000_000_000

/** A time that `Date` can tell, in whole seconds since 1970. */
const secondsOf = (created: number): number => (Math.abs(created) <= lastSecond ? Math.trunc(created) : 0)

/**
 * A time in seconds since 1970, in the words of ISO 8601.
 *
 * @internal
 */
export const timeOf = (created: number): string =>
  new Date(secondsOf(created) * 1000).toISOString().replace(".000Z", "Z")

/**
 * A model, to the clients of Gemini.
 *
 * @since 0.2.0
 * @category constructors
 */
export const geminiOne = ({ id, name = id }: Model): Body => ({
  name: `models/${id}`,
  displayName: name,
  supportedGenerationMethods: ["generateContent", "streamGenerateContent"]
})

/**
 * The models, to the clients of Gemini.
 *
 * @since 0.2.0
 * @category constructors
 */
export const geminiList = (models: ReadonlyArray<Model>): Body => ({ models: models.map(geminiOne) })

/**
 * A model, to all clients.
 *
 * @since 0.2.0
 * @category constructors
 */
export const one = (model: Model): Body => ({ ...common(model), ...geminiOne(model) })

const common = ({ created = 0, id, name = id, ownedBy = "steadfast" }: Model): Body => ({
  id,
  object: "model",
  type: "model",
  created: secondsOf(created),
  created_at: timeOf(created),
  owned_by: ownedBy,
  display_name: name
})

/**
 * The models, to all clients.
 *
 * @since 0.2.0
 * @category constructors
 */
export const list = (models: ReadonlyArray<Model>): Body => ({
  object: "list",
  data: models.map(common),
  ...geminiList(models),
  has_more: false,
  first_id: models[0]?.id ?? null,
  last_id: models[models.length - 1]?.id ?? null
})

/** Nothing is known of the weights. Ollama's clients read a text in each field. */
const details = { parent_model: "", format: "", family: "", families: [], parameter_size: "", quantization_level: "" }

/**
 * The models, to the clients of Ollama.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ollamaList = (models: ReadonlyArray<Model>): Body => ({
  models: models.map(({ created = 0, id }) => ({
    name: id,
    model: id,
    modified_at: timeOf(created),
    size: 0,
    digest: "",
    details
  }))
})

/**
 * A model, to the clients of Ollama. The capabilities are in its words: `completion`, `tools`, `vision`, `thinking`,
 * `embedding`.
 *
 * @since 0.2.0
 * @category constructors
 */
export const ollamaOne = ({ created = 0 }: Model, capabilities: ReadonlyArray<string>): Body => ({
  modelfile: "",
  parameters: "",
  template: "",
  details,
  model_info: {},
  capabilities,
  modified_at: timeOf(created)
})

/**
 * A model, to the clients of Cohere.
 *
 * @since 0.2.0
 * @category constructors
 */
export const cohereOne = ({ id, kind }: Model): Body => ({
  name: id,
  is_deprecated: false,
  endpoints: [kind === "embeddings" ? "embed" : "chat"],
  default_endpoints: [],
  finetuned: false,
  features: []
})

/**
 * The models, to the clients of Cohere.
 *
 * @since 0.2.0
 * @category constructors
 */
export const cohereList = (models: ReadonlyArray<Model>): Body => ({ models: models.map(cohereOne) })
