/**
 * From the values of a file to the configuration: variables, shorthands, secrets, the schema, and what must fit
 * together.
 *
 * A value with a problem is taken out and the rest is checked on, so that all problems are told at once.
 *
 * @since 0.2.0
 */

import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import * as Clients from "./Clients.js"
import type * as Document from "./Document.js"
import * as Environment from "./Environment.js"
import { File } from "./FileSchema.js"
import * as Models from "./Models.js"
import { ConfigProblems, type Path, type Problem, show } from "./Problem.js"
import * as Providers from "./Providers.js"
import * as Report from "./Report.js"
import type * as Resolved from "./Resolved.js"
import { isOuter, issuesOf } from "./SchemaWalk.js"
import * as Secrets from "./Secrets.js"
import * as Settings from "./Settings.js"
import * as Shorthands from "./Shorthands.js"
import * as Tree from "./Tree.js"
import * as Variables from "./Variables.js"

/**
 * What a configuration is read with.
 *
 * @since 0.2.0
 * @category options
 */
export interface Options {
  /** The name of the file in problems. */
  readonly file: string
  /** The environment, such as `process.env`. */
  readonly env: Variables.Env
  /** Reads the files of secrets. */
  readonly readFile: Secrets.ReadFile
}

/** A value taken out can leave the one around it without what it needs, so some rounds follow each other. */
const maxRounds = 20

const decodeFile = Schema.decodeUnknownEither(File, { errors: "all", onExcessProperty: "error" })

const tell = (tree: unknown, issue: ReturnType<typeof issuesOf>[number], report: Report.Report): void => {
  const { expected, isName, path, reason } = issue
  if (report.has(path)) return
  const value = Tree.at(tree, path)
  if (reason === "unknown") {
    report.add(path, expected, isName ? show(path[path.length - 1]) : "an unknown key")
  } else if (reason === "missing") report.add(path, expected, "nothing")
  // A text in the place of an object may be a secret that was meant for a key of it.
  else report.add(path, expected, typeof value === "string" && isOuter(File, path) ? "a text" : undefined)
}

/** The file, without what was wrong; `undefined` if nothing is left. */
const decode = (tree: unknown, report: Report.Report): File | undefined => {
  let current = tree
  for (let round = 0; round < maxRounds; round++) {
    const decoded = decodeFile(current)
    if (Either.isRight(decoded)) return decoded.right
    const issues = issuesOf(File, decoded.left)
    for (const issue of issues) tell(current, issue, report)
    const gone = issues.map(({ path, reason }): Path => (reason === "missing" ? path.slice(0, -1) : path))
    if (gone.some((path) => path.length === 0)) return undefined
    const moves: Array<readonly [to: Path, from: Path]> = []
    current = Tree.without(current, gone, (to, from) => moves.push([to, from]))
    report.stage()
    for (const [to, from] of moves) report.moved(to, from)
  }
  return undefined
}

const declaredIn = (tree: unknown, key: string): ReadonlySet<string> => {
  const value = Tree.at(tree, [key])
  return new Set(Tree.isFields(value) ? Object.keys(value) : [])
}

const inOrder = (problems: ReadonlyArray<Problem>): ReadonlyArray<Problem> =>
  [...problems].sort((a, b) => (a.line ?? Number.MAX_SAFE_INTEGER) - (b.line ?? Number.MAX_SAFE_INTEGER))

/**
 * Builds the configuration. Fails with all problems at once.
 *
 * @since 0.2.0
 * @category constructors
 */
export const build = (
  document: Document.Document,
  { env, file, readFile }: Options
): Effect.Effect<Resolved.Config, ConfigProblems> =>
  Effect.gen(function* () {
    const report = Report.make(document, file)
    const failure = () => {
      const [first, ...more] = inOrder(report.problems)
      return first === undefined ? undefined : new ConfigProblems({ problems: [first, ...more] })
    }
    const expanded = Variables.expand(document.value ?? {}, env, report)
    if (document.value !== undefined && !Tree.isFields(expanded.value)) {
      report.add([], "an object with models and providers", show(document.value))
    }
    const overrides = Environment.read(env, report)
    if (document.value === undefined || !Tree.isFields(expanded.value)) {
      return yield* Effect.fail(failure() as ConfigProblems)
    }
    const written = Shorthands.expand(expanded.value, report)
    const whole = yield* Secrets.read(written, report, readFile)
    const isExpanded = (path: Path) => expanded.isExpanded(report.origin(path))
    const given = decode(Variables.typed(whole, File, isExpanded), report) ?? {}
    const { find, providers } = Providers.make(given, {
      env,
      report,
      isExpanded: expanded.isExpanded,
      declared: declaredIn(written, "providers")
    })
    const declared = declaredIn(written, "models")
    const { models, names } = Models.make(given, { report, find, declared, overrides })
    const config: Resolved.Config = {
      server: Settings.server(given, Tree.at(written, ["keys", 0]) !== undefined, report),
      providers,
      models,
      keys: Clients.make(given, names, report),
      observability: Settings.observability(given),
      prices: given.prices ?? {},
      passthrough: Settings.passthrough(given, providers, report),
      notes: report.notes
    }
    const problems = failure()
    return problems === undefined ? config : yield* Effect.fail(problems)
  })
