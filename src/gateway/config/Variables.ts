/**
 * Variables of the environment in texts: `${NAME}` and `${NAME:-default}`; `$${` is a plain `${`.
 *
 * @since 0.2.0
 */

import type * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import type { Path } from "./Problem.js"
import type * as Report from "./Report.js"
import { isDurationAt, typesAt } from "./SchemaWalk.js"
import * as Tree from "./Tree.js"

/**
 * The environment.
 *
 * @since 0.2.0
 * @category models
 */
export type Env = Readonly<Record<string, string | undefined>>

/**
 * The value of a variable. Blanks alone are no value.
 *
 * @since 0.2.0
 * @category getters
 */
export const valueOf = (env: Env, name: string): string | undefined => {
  const value = Object.hasOwn(env, name) ? env[name] : undefined
  return typeof value === "string" && value.trim() !== "" ? value : undefined
}

const reference = /\$\$\{|\$\{([A-Za-z_]\w*)(?::-([^}]*))?\}|\$\{/g

/** Names of variables whose values are shown nowhere. */
const isConfidential = (name: string): boolean => /KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH/i.test(name)

/**
 * Puts the values of variables into all texts. Returns the values, and whether a place had a variable.
 *
 * @since 0.2.0
 * @category combinators
 */
export const expand = (
  tree: unknown,
  env: Env,
  report: Report.Report
): { readonly value: unknown; readonly isExpanded: (path: Path) => boolean } => {
  const expanded = new Set<string>()
  const value = Tree.mapLeaves(tree, (leaf, path) => {
    if (typeof leaf !== "string" || !leaf.includes("${")) return leaf
    expanded.add(JSON.stringify(path))
    return leaf.replace(reference, (whole: string, name: string | undefined, initial: string | undefined) => {
      if (whole === "$${") return "${"
      if (name === undefined) {
        report.add(path, `\${NAME} or \${NAME:-default}, and $\${ for a plain \${`, `a \${ without a name and its }`)
        return ""
      }
      const found = valueOf(env, name) ?? initial
      if (found === undefined) {
        report.add(path, `the variable ${name}, or a default as in \${${name}:-…}`, `\${${name}}, which is not set`)
      } else if (isConfidential(name)) report.secret(found)
      return found ?? whole
    })
  })
  return { value, isExpanded: (path) => expanded.has(JSON.stringify(path)) }
}

const compact = /^(\d+(?:\.\d+)?)\s?(ms|s|sec|secs|m|min|mins|h|d)$/

const units: Readonly<Record<string, string>> = {
  ms: "millis",
  s: "seconds",
  sec: "seconds",
  secs: "seconds",
  m: "minutes",
  min: "minutes",
  mins: "minutes",
  h: "hours",
  d: "days"
}

/**
 * A duration such as `30s` in the words of the library; other texts as they are.
 *
 * @since 0.2.0
 * @category combinators
 */
export const duration = (text: string): string => {
  const [, amount, unit] = compact.exec(text.trim()) ?? []
  return amount === undefined || unit === undefined ? text : `${amount} ${units[unit]}`
}

/**
 * Reads the texts of variables as the numbers and yes or no that the schema asks for, and short durations.
 *
 * @since 0.2.0
 * @category combinators
 */
export const typed = (tree: unknown, schema: Schema.Schema.All, isExpanded: (path: Path) => boolean): unknown =>
  Tree.mapLeaves(tree, (leaf, path) => {
    if (typeof leaf !== "string") return leaf
    if (compact.test(leaf)) return isDurationAt(schema, path) ? duration(leaf) : leaf
    if (!isExpanded(path)) return leaf
    const types = typesAt(schema, path)
    const isNumber = /^[+-]?\d+(?:\.\d+)?$/.test(leaf.trim())
    if (types.some(AST.isNumberKeyword) && isNumber) return Number(leaf)
    const asks = types.some((ast) => AST.isBooleanKeyword(ast) || (AST.isLiteral(ast) && ast.literal === false))
    return asks && /^(?:true|false)$/i.test(leaf.trim()) ? leaf.trim().toLowerCase() === "true" : leaf
  })
