/**
 * The configuration of the gateway: one file, YAML or JSON, checked before anything starts.
 *
 * {@link parse} reads a text and ends with a configuration, or with all problems of it at once: each has its line, its
 * key path, the value found and the value expected. {@link embedded} is the configuration without a file, and
 * {@link describe} tells what a configuration does.
 *
 * - `${NAME}` and `${NAME:-default}` are variables of the environment, in any text; `$${` is a plain `${`.
 * - `file:/run/secrets/x` in the place of a key is what that file has. So is `keyFile: /run/secrets/x`.
 * - Durations are text with a unit: `"30 seconds"`, or short, `30s`.
 * - Keys at the top that begin with `x-` are left alone: a place for the anchors of YAML.
 * - Retry blocks with the names of other gateways (`max_attempts`, `initial_delay_ms`, `after_retry_exhausted`) are
 *   taken, and a note tells what they mean here.
 * - Variables such as `LLM_MAX_RETRIES`, `LLM_TIMEOUT` and `LLM_FALLBACK_MODELS` override the `defaults`.
 *
 * Gotchas: no problem, note or description has the value of a secret, so a value found may be only named. The usual
 * key of a provider (`OPENAI_API_KEY`) is taken from the environment only where the file has no key and no `baseUrl`
 * for it.
 *
 * @example
 * import { Effect } from "effect"
 * import * as GatewayConfig from "./GatewayConfig.js"
 *
 * const text = "models: { fast: { targets: [openai/gpt-4o-mini], retry: { maxAttempts: 3 } } }"
 * const config = GatewayConfig.parse(text, {
 *   file: "gateway.yaml",
 *   env: { OPENAI_API_KEY: "sk-…" },
 *   readFile: () => Effect.fail("none")
 * })
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Build from "./config/Build.js"
import * as Document from "./config/Document.js"
import * as Embedded from "./config/Embedded.js"
import type { ConfigProblems } from "./config/Problem.js"
import type * as Resolved from "./config/Resolved.js"
import type * as Variables from "./config/Variables.js"

export type { Options } from "./config/Build.js"
export { describe } from "./config/Describe.js"
export { ConfigProblems, format, Problem } from "./config/Problem.js"
export type {
  ClientKey,
  Config,
  Faults,
  Kind,
  Model,
  Observability,
  Provider,
  Server,
  Target
} from "./config/Resolved.js"
export type { ReadFile } from "./config/Secrets.js"
export type { Env } from "./config/Variables.js"

/**
 * Reads a configuration. Fails with all its problems at once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const parse = (text: string, options: Build.Options): Effect.Effect<Resolved.Config, ConfigProblems> =>
  Effect.suspend(() => Build.build(Document.read(text, options.file), options))

/**
 * The configuration without a file.
 *
 * With keys in the environment (`OPENAI_API_KEY`, `ANTHROPIC_API_KEY`, `GEMINI_API_KEY`) it has models of those
 * providers by their own names, and `default`, which falls back from one provider to the next. Without any it has
 * `demo`, where three of ten requests fail, and `demo-steady`, to which it falls back. Fails where a variable such as
 * `LLM_TIMEOUT` is wrong.
 *
 * @since 0.2.0
 * @category constructors
 */
export const embedded = (env: Variables.Env): Effect.Effect<Resolved.Config, ConfigProblems> =>
  Effect.suspend(() =>
    Build.build(
      { value: Embedded.file(env), lineOf: () => undefined, problems: [] },
      { file: "embedded", env, readFile: () => Effect.fail("there is no file") }
    )
  )
