/**
 * The providers of a configuration: those of the file, and well-known ones that are only named in a target.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Redacted from "effect/Redacted"
import type { File } from "./FileSchema.js"
import type { Path } from "./Problem.js"
import { oneOf } from "./Problem.js"
import type * as Report from "./Report.js"
import type * as Resolved from "./Resolved.js"
import type * as Variables from "./Variables.js"
import * as WellKnown from "./WellKnown.js"

type Given = NonNullable<File["providers"]>[string]

const confidential = /auth|key|token|secret|cookie|password|credential/i

const headersOf = (given: Given["headers"], isPlain: (name: string) => boolean): Resolved.Provider["headers"] =>
  Object.fromEntries(
    Object.entries(given ?? {}).map(([name, value]) => [name, isPlain(name) ? value : Redacted.make(value)] as const)
  )

const faultsOf = ({ errorRate = 0, latency = Duration.zero, status = 503 }: NonNullable<Given["faults"]>) => ({
  errorRate,
  status,
  latency
})

/** The kind of a provider whose name says none: what the problem says is enough. */
const placeholder: Resolved.Kind = "faulty"

const listed = (
  name: string,
  given: Given,
  env: Variables.Env,
  report: Report.Report,
  isExpanded: (path: Path) => boolean
): Resolved.Provider => {
  const at = ["providers", name]
  const known = given.kind ?? WellKnown.kindOf(name)
  const kind = known ?? placeholder
  const skip = report.has([...at, "kind"])
  if (known === undefined && !skip) {
    report.add([...at, "kind"], "openai, responses, anthropic, gemini, azure or faulty", "nothing")
  }
  const baseUrl = given.baseUrl?.replace(/\/+$/, "")
  const isFaulty = kind === "faulty" && known !== undefined
  if (known !== undefined && baseUrl === undefined && !report.has([...at, "baseUrl"])) {
    if (!WellKnown.hasAddress(name, kind)) report.add([...at, "baseUrl"], "a URL: the address is not known", "nothing")
  }
  if (given.faults !== undefined && !isFaulty && known !== undefined) {
    report.add([...at, "faults"], "it at a provider of kind faulty alone")
  }
  if (given.apiVersion !== undefined && kind !== "azure" && kind !== "faulty") {
    report.add([...at, "apiVersion"], "it at a provider of kind azure alone")
  }
  // A key goes only where its owner said: the usual key never to another address.
  const usual = given.keys === undefined && baseUrl === undefined ? WellKnown.keyIn(name, env) : undefined
  if (usual !== undefined) report.secret(usual.key)
  const keys = [...(given.keys ?? []), ...(usual === undefined ? [] : [usual.key])]
  const variables = WellKnown.variablesOf(name)
  const isAsked = keys.length === 0 && baseUrl === undefined && variables.length > 0 && given.headers === undefined
  if (isAsked && !report.has([...at, "keys"]) && !report.has([...at, "baseUrl"])) {
    report.add([...at, "key"], `a key, or the variable ${variables[0]}`, "nothing")
  }
  if (new Set(keys).size < keys.length) report.add([...at, "keys"], "each key once", "a key twice")
  return {
    name,
    kind,
    baseUrl,
    keys: [...new Set(keys)].map((key) => Redacted.make(key)),
    keyGroup: given.keyGroup,
    headers: headersOf(
      given.headers,
      (header) => !confidential.test(header) && !isExpanded(report.origin([...at, "headers", header]))
    ),
    apiVersion: given.apiVersion,
    limits: given.limits,
    faults: isFaulty ? faultsOf(given.faults ?? {}) : undefined
  }
}

const implicit = (name: string, kind: Resolved.Kind, key: string | undefined): Resolved.Provider => ({
  name,
  kind,
  baseUrl: undefined,
  keys: key === undefined ? [] : [Redacted.make(key)],
  keyGroup: undefined,
  headers: {},
  apiVersion: undefined,
  limits: undefined,
  faults: kind === "faulty" ? faultsOf({}) : undefined
})

/**
 * Finds a provider by its name. Where there is none, `say` hears what was expected, once.
 *
 * @since 0.2.0
 * @category models
 */
export type Find = (name: string, say: (expected: string) => void) => Resolved.Provider | undefined

/**
 * The providers of a file, and a way to find one by the name in a target.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  file: File,
  context: {
    readonly env: Variables.Env
    readonly report: Report.Report
    readonly isExpanded: (path: Path) => boolean
    /** All names in the file, those with problems too. */
    readonly declared: ReadonlySet<string>
  }
): {
  readonly providers: ReadonlyMap<string, Resolved.Provider>
  /** Adds a well-known provider that is not listed; a problem if there is none. `undefined` after one. */
  readonly find: Find
} => {
  const { declared, env, isExpanded, report } = context
  const providers = new Map(
    Object.entries(file.providers ?? {}).map(
      ([name, given]) => [name, listed(name, given, env, report, isExpanded)] as const
    )
  )
  const find: Find = (name, say) => {
    const found = providers.get(name)
    if (found !== undefined || declared.has(name)) return found
    const kind = WellKnown.kindOf(name)
    const [variable] = WellKnown.variablesOf(name)
    if (kind === undefined) {
      const names = new Set([...declared, ...WellKnown.names])
      say(oneOf(name, names, "a provider of this file"))
      return undefined
    }
    const usual = WellKnown.keyIn(name, env)
    if (!WellKnown.hasAddress(name, kind) || (usual === undefined && !WellKnown.isKeyless(name))) {
      const needed = kind === "azure" ? "with its baseUrl" : `or the variable ${variable}`
      say(`the provider ${name} in providers, ${needed}`)
      return undefined
    }
    if (usual !== undefined) {
      report.secret(usual.key)
      report.note(`the provider ${name} is not listed: its key is that of ${usual.variable}`)
    }
    const provider = implicit(name, kind, usual?.key)
    providers.set(name, provider)
    return provider
  }
  return { providers, find }
}
