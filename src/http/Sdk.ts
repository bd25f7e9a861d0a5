/**
 * The clients that do not take all that others of their dialect take.
 *
 * @since 0.2.0
 */

/**
 * A client with a need of its own:
 *
 * - `cohere` asks for the list of models under `/v1`, and reads the names of Gemini's list there as its own.
 * - `huggingface` asks again at once and without end after a 503, and after nothing else: an overload is a 529.
 * - `mistral` takes the frames of Chat Completions only as Mistral sends them, which our codec does: a call of a tool
 *   whole.
 * - `openrouter` wants a number as the code of an error, reads an error in a stream as part of a chunk, gets the usage
 *   of a stream without asking for it, and takes no `null` for what a chunk may lack.
 *
 * @internal
 */
export type Sdk = "cohere" | "huggingface" | "mistral" | "openrouter"

const agents: ReadonlyArray<readonly [agent: RegExp, sdk: Sdk]> = [
  [/^cohere/, "cohere"],
  [/^mistral-client/, "mistral"],
  [/@huggingface\/inference/, "huggingface"],
  [/@openrouter\/sdk/, "openrouter"]
]

/** OpenRouter's own paths. */
const openrouter = /^\/api\/v1\//

/**
 * The client that sends a request, if it is one of these.
 *
 * @internal
 */
export const of = (path: string, userAgent = ""): Sdk | undefined =>
  agents.find(([agent]) => agent.test(userAgent))?.[1] ?? (openrouter.test(path) ? "openrouter" : undefined)
