/**
 * Portkey's config as a configuration of ours.
 *
 * A config there has no name and mostly no models: it becomes the model `default`, and groups within it become models
 * that it falls back to. Times there are in milliseconds.
 *
 * @since 0.2.0
 */

import type { Path } from "../config/Problem.js"
import * as Tree from "../config/Tree.js"
import * as WellKnown from "../config/WellKnown.js"
import * as Carrier from "./Carrier.js"

/** The models of providers for which the config names none. */
const usualModels: Readonly<Record<string, string>> = {
  openai: "gpt-5.4-mini",
  azure: "gpt-5.4-mini",
  anthropic: "claude-haiku-4-5",
  gemini: "gemini-3.5-flash",
  mistral: "mistral-large-2512",
  deepseek: "deepseek-chat",
  xai: "grok-4.3"
}

/** Both spellings are theirs. */
const snakeCase = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(snakeCase)
  if (!Tree.isFields(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [
      key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      key === "metadata" ? inner : snakeCase(inner)
    ])
  )
}

/** What is set once for all targets within. */
interface Shared {
  readonly retry: Tree.Fields | undefined
  readonly timeout: string | undefined
}

interface Leaf {
  readonly target: string
  readonly weight: number | undefined
  readonly retry: Tree.Fields | undefined
  readonly timeout: string | undefined
}

interface Group {
  readonly balance: "weighted" | undefined
  readonly fallback: Tree.Fields | false | undefined
  readonly leaves: ReadonlyArray<Leaf>
  /** Asked one after the other when all leaves failed. */
  readonly next: ReadonlyArray<Group>
}

const retriedThere = [429, 500, 502, 503, 504]

const statusList = (value: unknown): ReadonlyArray<number> | undefined =>
  Array.isArray(value)
    ? value.filter((one): one is number => Number.isInteger(one) && one >= 100 && one <= 599)
    : undefined

const retryOf = (value: unknown, path: Path, carrier: Carrier.Carrier): Tree.Fields | undefined => {
  if (value === undefined) return undefined
  const fields = carrier.fields(value, path)
  const attempts = fields.number("attempts")
  const codes = statusList(fields.get("on_status_codes"))
  for (const name of ["use_retry_after_header", "use_retry_after_headers"]) {
    if (fields.get(name) === false)
      carrier.lose([...path, name], "the server's hint always counts; retry.maxHint bounds it")
  }
  fields.rest("it has no counterpart")
  const giveUpOn = codes === undefined ? [] : retriedThere.filter((status) => !codes.includes(status))
  return {
    ...(attempts === undefined ? {} : { maxAttempts: Math.min(100, Math.round(attempts) + 1) }),
    ...(codes !== undefined && codes.length > 0 ? { retryOn: [...new Set(codes)] } : {}),
    ...(giveUpOn.length > 0 ? { giveUpOn } : {})
  }
}

/** The classes of errors that another target is asked after, by their statuses. */
const classes: Readonly<Record<string, ReadonlyArray<number>>> = {
  RateLimited: [429],
  QuotaExhausted: [402, 429],
  Overloaded: [503, 529],
  ServerError: [500, 502, 520],
  Timeout: [408, 504],
  AuthError: [401],
  PermissionDenied: [403],
  ModelNotFound: [404],
  InvalidRequest: [400, 422]
}

/** Rules that differ from the library's, which asks another target after all of these but the last. */
const rulesOf = (value: unknown, path: Path, carrier: Carrier.Carrier): Tree.Fields | undefined => {
  const codes = statusList(value)
  if (codes === undefined) {
    carrier.lose(
      path,
      "there all errors go to the next target; here InvalidRequest and ContentFiltered do not, see fallback"
    )
    return undefined
  }
  carrier.lose(path, "fallback goes by classes of errors, not by statuses: check the rules")
  const rules = Object.entries(classes).flatMap(([tag, statuses]) => {
    const isListed = statuses.some((status) => codes.includes(status))
    return isListed === (tag !== "InvalidRequest") ? [] : [[tag, isListed] as const]
  })
  return rules.length === 0 ? undefined : Object.fromEntries(rules)
}

const providerOf = (fields: Carrier.Fields, carrier: Carrier.Carrier): string | undefined => {
  const given = fields.text("provider")
  const virtual = fields.text("virtual_key") ?? (given?.startsWith("@") ? given : undefined)
  const named = given === undefined || given.startsWith("@") ? undefined : Carrier.providerName(given)
  if (given !== undefined && named === undefined && !given.startsWith("@")) {
    carrier.lose([...fields.path, "provider"], "this provider is not known here")
    return undefined
  }
  if (virtual === undefined) {
    if (named === undefined) carrier.lose(fields.path, "it names no provider")
    return named
  }
  const guessed = named ?? WellKnown.names.find((name) => virtual.toLowerCase().includes(name) && name !== "faulty")
  const place = [...fields.path, given === virtual ? "provider" : "virtual_key"]
  if (guessed === undefined)
    carrier.lose(place, "a virtual key is known to Portkey alone: name the provider and its key")
  else carrier.lose(place, `a virtual key is known to Portkey alone: the key of ${guessed} is its usual variable`)
  return guessed
}

const leafOf = (value: unknown, path: Path, shared: Shared, carrier: Carrier.Carrier): Leaf | undefined => {
  const fields = carrier.fields(value, path)
  const theirs = providerOf(fields, carrier)
  if (theirs === undefined) return undefined
  const isAzure = WellKnown.kindOf(theirs) === "azure"
  const resource = fields.text("azure_resource_name") ?? fields.text("resource_name")
  const host = fields.text("custom_host")
  const address = host ?? (isAzure && resource !== undefined ? `https://${resource}.openai.azure.com` : undefined)
  const at = [...path, host === undefined ? "azure_resource_name" : "custom_host"]
  const baseUrl = address === undefined ? undefined : carrier.baseUrl(address, at)
  if (baseUrl === undefined && (address !== undefined || isAzure)) {
    if (address === undefined) carrier.lose(path, "a target at Azure needs its azure_resource_name in the file")
    return undefined
  }
  const usual = WellKnown.variablesOf(theirs)[0]
  const key = carrier.key(fields.get("api_key"), [...path, "api_key"], usual ?? "PROVIDER_API_KEY")
  const isUsual = key === undefined && usual !== undefined && (baseUrl === undefined || isAzure)
  if (isUsual) carrier.variables.add(usual)
  const version = fields.text("azure_api_version")
  const provider = carrier.provider(theirs, {
    baseUrl,
    key: isUsual ? `\${${usual}}` : key,
    apiVersion: isAzure && version !== undefined ? carrier.text(version) : undefined
  })
  const overrides = carrier.fields(fields.get("override_params"), [...path, "override_params"])
  const deployment = fields.text("azure_deployment_id")
  const stated = deployment ?? overrides.text("model") ?? fields.text("model")
  if (deployment !== undefined) overrides.leave("azure_deployment_id says it", "model")
  overrides.rest("parameters of a request are the client's")
  const model = stated?.replace(/^@[^/]+\//, "") ?? usualModels[theirs]
  if (stated === undefined) {
    carrier.lose(
      [...path, "override_params"],
      model === undefined
        ? "there the client names the model; here a target does: left out"
        : `there the client names the model; here a target does: ${model}`
    )
  }
  const weight = fields.number("weight")
  const timeout = fields.number("request_timeout")
  const retry = retryOf(fields.get("retry"), [...path, "retry"], carrier)
  fields.leave("answers are not cached", "cache")
  fields.leave("it is for conditions", "name")
  fields.leave(
    "requests and answers are not judged",
    "input_guardrails",
    "output_guardrails",
    "before_request_hooks",
    "after_request_hooks"
  )
  fields.rest("it has no counterpart")
  if (model === undefined) return undefined
  return {
    target: Carrier.target(provider, model),
    weight,
    retry: retry ?? shared.retry,
    timeout: timeout ? Carrier.duration(timeout) : shared.timeout
  }
}

const single = (leaf: Leaf): Group => ({ balance: undefined, fallback: undefined, leaves: [leaf], next: [] })

/** Children of a group with weights: one leaf each. */
const balanced = (
  groups: ReadonlyArray<{ readonly group: Group; readonly weight: number | undefined; readonly path: Path }>,
  carrier: Carrier.Carrier
) =>
  groups.flatMap(({ group, path, weight }): ReadonlyArray<Leaf> => {
    const [first, ...others] = group.leaves
    if (first === undefined) return []
    if (weight === 0) {
      carrier.lose([...path, "weight"], "a target with weight 0 gets nothing: left out")
      return []
    }
    if (group.balance !== undefined) {
      const total = group.leaves.reduce((sum, leaf) => sum + (leaf.weight ?? 1), 0)
      return group.leaves.map((leaf) => ({ ...leaf, weight: ((weight ?? 1) * (leaf.weight ?? 1)) / total }))
    }
    if (others.length + group.next.length > 0) {
      carrier.lose(path, "a group among targets that share the traffic has its first target alone")
    }
    return [{ ...first, weight: weight ?? first.weight }]
  })

/** Groups one after the other; leaves in a row are one group. */
const inOrder = (groups: ReadonlyArray<Group>, fallback: Tree.Fields | undefined): Group | undefined => {
  const [first, ...others] = groups.reduce<Array<Group>>((row, group) => {
    const last = row[row.length - 1]
    const isPlain = (one: Group) => one.balance === undefined && one.next.length === 0 && one.fallback !== false
    if (last !== undefined && isPlain(last) && isPlain(group)) {
      row[row.length - 1] = { ...last, leaves: [...last.leaves, ...group.leaves] }
    } else row.push(group)
    return row
  }, [])
  return first && { ...first, fallback, next: [...first.next, ...others] }
}

const groupOf = (value: unknown, path: Path, above: Shared, carrier: Carrier.Carrier): Group | undefined => {
  if (!Tree.isFields(value)) {
    carrier.lose(path, "it is no object")
    return undefined
  }
  if (value.targets === undefined) {
    const leaf = leafOf(value, path, above, carrier)
    return leaf && single(leaf)
  }
  const fields = carrier.fields(value, path)
  const strategy = carrier.fields(fields.get("strategy"), [...path, "strategy"])
  const mode = strategy.text("mode") ?? "single"
  const timeout = fields.number("request_timeout")
  const shared: Shared = {
    retry: retryOf(fields.get("retry"), [...path, "retry"], carrier) ?? above.retry,
    timeout: timeout ? Carrier.duration(timeout) : above.timeout
  }
  const given = fields.get("targets")
  const targets: ReadonlyArray<unknown> = Array.isArray(given) ? given : []
  if (!Array.isArray(given)) carrier.lose([...path, "targets"], "it is no list")
  const children = targets.flatMap((one, index) => {
    const place = [...path, "targets", index]
    const group = groupOf(one, place, shared, carrier)
    const weight = Tree.isFields(one) && typeof one.weight === "number" && one.weight >= 0 ? one.weight : undefined
    const name = Tree.isFields(one) ? one.name : undefined
    return group === undefined ? [] : [{ group, weight, name, path: place }]
  })
  const codes = strategy.get("on_status_codes")
  const fallbackRules = () => rulesOf(codes, [...path, "strategy", "on_status_codes"], carrier)
  const modePath = [...path, "strategy", "mode"]
  let group: Group | undefined
  if (mode === "fallback") {
    group = inOrder(
      children.map(({ group }) => group),
      fallbackRules()
    )
  } else if (mode === "loadbalance") {
    group = { balance: "weighted", fallback: false, leaves: balanced(children, carrier), next: [] }
    if (codes !== undefined) carrier.lose([...path, "strategy", "on_status_codes"], "it is for fallbacks")
  } else {
    const wanted = strategy.text("default")
    const chosen = children.find(({ name }) => name === wanted && name !== undefined) ?? children[0]
    if (mode === "conditional") {
      carrier.lose(modePath, "a client names the model here: only the default target is kept")
      strategy.leave("there are no conditions", "conditions")
    } else if (mode !== "single") carrier.lose(modePath, "it is not known: the first target alone")
    if (children.length > 1 && mode === "single")
      carrier.lose([...path, "targets"], "single asks the first target alone")
    group = chosen?.group
  }
  strategy.rest("it has no counterpart")
  fields.leave("answers are not cached", "cache")
  fields.leave("it is for the group around it", ...(path.length === 0 ? [] : ["weight", "name"]))
  fields.rest("it has no counterpart")
  return group?.leaves.length === 0 ? undefined : group
}

/**
 * Whether a file is Portkey's.
 *
 * @since 0.2.0
 * @category guards
 */
export const is = (file: Tree.Fields): boolean => {
  const keys = snakeCase(file) as Tree.Fields
  return (
    Tree.isFields(keys.strategy) ||
    Array.isArray(keys.targets) ||
    typeof keys.virtual_key === "string" ||
    (typeof keys.provider === "string" && !Object.hasOwn(keys, "models"))
  )
}

const written = (leaf: Leaf, isBalanced: boolean): unknown => {
  const { retry, target, timeout, weight } = leaf
  const more = {
    ...(isBalanced && weight !== undefined && weight > 0 ? { weight: Math.min(weight, 1_000_000) } : {}),
    ...(retry !== undefined && Object.keys(retry).length > 0 ? { retry } : {}),
    ...(timeout === undefined ? {} : { timeout })
  }
  return Object.keys(more).length === 0 ? target : { target, ...more }
}

/**
 * Our file from Portkey's.
 *
 * @since 0.2.0
 * @category constructors
 */
export const convert = (given: Tree.Fields, carrier: Carrier.Carrier): Tree.Fields => {
  const models: Tree.Fields = {}
  let count = 0
  const add = (group: Group): string => {
    count++
    const name = count === 1 ? "default" : `default-${count}`
    models[name] = undefined
    const fallbacks = group.next.map(add)
    const isBalanced = group.balance !== undefined && group.leaves.length > 1
    const isAlone = group.leaves.length + fallbacks.length === 1
    models[name] = {
      targets: group.leaves.map((leaf) => written(leaf, isBalanced)),
      ...(isBalanced ? { balance: group.balance } : {}),
      ...(fallbacks.length > 0 ? { fallbacks } : {}),
      ...(group.fallback === undefined || isAlone ? {} : { fallback: group.fallback })
    }
    return name
  }
  const group = groupOf(snakeCase(given), [], { retry: undefined, timeout: undefined }, carrier)
  if (group !== undefined && group.leaves.length > 0) add(group)
  return { models }
}
