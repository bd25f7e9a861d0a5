/**
 * Configurations of other gateways, LiteLLM's `config.yaml` and Portkey's config, as files of ours.
 *
 * {@link fromText} recognises which of the two a text is. What has no counterpart is listed with its path and the
 * reason, in the result and at the top of the file: nothing is dropped silently.
 *
 * Gotchas: keys do not get into the file. A literal key becomes a variable, which the list names.
 *
 * @example
 * import { Effect } from "effect"
 * import * as ConfigImport from "./ConfigImport.js"
 *
 * const imported = ConfigImport.fromText(`
 * model_list:
 *   - model_name: fast
 *     litellm_params: { model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY }
 * `)
 * const text = Effect.map(imported, ({ text }) => text)
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Yaml from "yaml"
import * as Document from "./config/Document.js"
import { ConfigProblems, type Problem } from "./config/Problem.js"
import * as Tree from "./config/Tree.js"
import * as Carrier from "./import/Carrier.js"
import * as LiteLlm from "./import/LiteLlm.js"
import * as Portkey from "./import/Portkey.js"

/**
 * An imported configuration.
 *
 * @since 0.2.0
 * @category models
 */
export interface Imported {
  readonly from: "litellm" | "portkey"
  /** Our file, for `GatewayConfig.parse`. */
  readonly text: string
  /** What could not be carried over: the path, and why. */
  readonly notCarried: ReadonlyArray<string>
  /** The variables of the environment that the file needs. */
  readonly variables: ReadonlyArray<string>
}

const wrapped = (title: string, lines: ReadonlyArray<string>): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["#", `# ${title}:`, ...lines.map((line) => `#   ${line}`)]

const write = (from: string, file: Tree.Fields, carrier: Carrier.Carrier): string => {
  const header = [
    `# Made from a configuration of ${from}. Check it before use.`,
    ...wrapped("It needs these variables", [...carrier.variables]),
    ...wrapped("Not carried over", carrier.notCarried)
  ]
  const { models, ...rest } = file
  const whole = { ...rest, providers: Object.fromEntries(carrier.providers), models }
  return `${header.join("\n")}\n\n${Yaml.stringify(whole, { lineWidth: 0, aliasDuplicateObjects: false })}`
}

const failure = (problem: Omit<Problem, "line" | "path">) =>
  new ConfigProblems({ problems: [{ line: undefined, path: "", ...problem }] })

/**
 * Makes a file of ours. Fails where the text is no YAML and no JSON, is of neither gateway, or has no model that can be
 * carried over.
 *
 * @since 0.2.0
 * @category constructors
 */
export const fromText = (text: string, file = "import"): Effect.Effect<Imported, ConfigProblems> =>
  Effect.suspend(() => {
    const { problems, value } = Document.read(text, file)
    const [first, ...more] = problems
    if (first !== undefined) return Effect.fail(new ConfigProblems({ problems: [first, ...more] }))
    const from = !Tree.isFields(value)
      ? undefined
      : LiteLlm.is(value)
        ? "litellm"
        : Portkey.is(value)
          ? "portkey"
          : undefined
    if (!Tree.isFields(value) || from === undefined) {
      const expected = "LiteLLM's config.yaml (model_list) or Portkey's config (strategy and targets)"
      return Effect.fail(failure({ file, found: "neither", expected }))
    }
    const carrier = Carrier.make()
    const converted = from === "litellm" ? LiteLlm.convert(value, carrier) : Portkey.convert(value, carrier)
    if (Object.keys(converted.models as object).length === 0) {
      const why = carrier.notCarried.slice(0, 5).join("; ")
      return Effect.fail(
        failure({ file, found: `no model that can be carried over${why === "" ? "" : ` (${why})`}`, expected: "one" })
      )
    }
    return Effect.succeed<Imported>({
      from,
      text: write(from === "litellm" ? "LiteLLM" : "Portkey", converted, carrier),
      notCarried: carrier.notCarried,
      variables: [...carrier.variables]
    })
  })
