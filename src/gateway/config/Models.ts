/**
 * The models of a configuration, and the checks between them: names, fallbacks, kinds, bounds.
 *
 * @since 0.2.0
 */

import * as Duration from "effect/Duration"
import * as Environment from "./Environment.js"
import type { Defaults, File } from "./FileSchema.js"
import { oneOf, type Path } from "./Problem.js"
import type * as Providers from "./Providers.js"
import type * as Report from "./Report.js"
import type * as Resolved from "./Resolved.js"

type Given = NonNullable<File["models"]>[string]

type GivenTarget = Given["targets"][number]

/** As the SDKs of OpenAI and Anthropic give one request. */
const deadline = Duration.minutes(10)

/** Twice the attempts of the standard policy, and some. */
const mostAttempts = 10

const isEmbedding = (model: string): boolean => /embed/i.test(model)

const vectorKinds: ReadonlySet<Resolved.Kind> = new Set(["openai", "gemini", "azure", "faulty"])

/**
 * What the models of a file are resolved with.
 *
 * @since 0.2.0
 * @category models
 */
export interface Context {
  readonly report: Report.Report
  readonly find: Providers.Find
  /** All names of models in the file, those with problems too. */
  readonly declared: ReadonlySet<string>
  readonly overrides: Environment.Overrides
}

/** Names of models, and of their aliases, to the names of models. */
const namesOf = (file: File, { declared, report }: Context): ReadonlyMap<string, string> => {
  const names = new Map([...declared].map((name) => [name, name] as const))
  for (const [name, { aliases = [] }] of Object.entries(file.models ?? {})) {
    for (const [index, alias] of aliases.entries()) {
      const other = names.get(alias)
      if (other === undefined) names.set(alias, name)
      else {
        const whose = declared.has(alias) ? "is the name of a model" : `is an alias of ${other}`
        report.add(["models", name, "aliases", index], `another name: it ${whose} already`)
      }
    }
  }
  return names
}

const parts = (text: string): { readonly provider: string; readonly model: string } => {
  const slash = text.indexOf("/")
  return { provider: text.slice(0, slash), model: text.slice(slash + 1) }
}

/** The provider and the model of a target, and the place of each. */
const placeOf = (given: GivenTarget, at: Path, report: Report.Report) => {
  const { model, provider, target } = given
  if (target !== undefined) {
    if (model !== undefined || provider !== undefined) report.add(at, "target, or provider and model", "both")
    return { ...parts(target), at: [...at, "target"] }
  }
  if (provider !== undefined && model !== undefined) return { provider, model, at: [...at, "provider"] }
  if (!report.has(at)) report.add(at, 'target, such as "openai/gpt-4o-mini", or provider and model', "none")
  return undefined
}

/** Options laid over others; `undefined` without any. */
const over = <A extends object>(below: A | undefined, above: A | undefined): A | undefined =>
  below === undefined ? above : above === undefined ? below : { ...below, ...above }

interface Reference {
  readonly text: string
  readonly at: Path
  /** The variable that it is from. */
  readonly variable: string | undefined
}

/** A fallback is a model of this file, or a target more. */
const referenceOf = (
  { at, text, variable }: Reference,
  names: ReadonlyMap<string, string>,
  { find, report }: Context
): { readonly model: string } | { readonly target: Resolved.Target } | undefined => {
  const say = (expected: string) =>
    variable === undefined ? report.add(at, expected) : report.addVariable(variable, expected, JSON.stringify(text))
  const model = names.get(text)
  if (model !== undefined) return { model }
  if (text.includes("/")) {
    const place = parts(text)
    if (find(place.provider, say) === undefined) return undefined
    return { target: { ...place, weight: undefined, retry: undefined, timeout: undefined } }
  }
  say(oneOf(text, names.keys(), "a model of this file, or provider/model"))
  return undefined
}

const kindOf = (name: string, given: Given, targets: ReadonlyArray<Resolved.Target>, report: Report.Report) => {
  if (given.kind !== undefined) return given.kind
  const vectors = targets.filter(({ model }) => isEmbedding(model)).length
  if (vectors > 0 && vectors < targets.length) {
    report.add(["models", name, "targets"], "models for chats alone or for embeddings alone", "both")
  }
  return vectors > 0 ? "embeddings" : "chat"
}

const checkPolicies = (name: string, given: Given, model: Resolved.Model, report: Report.Report): void => {
  const at = ["models", name]
  const say = (key: string, text: string) => report.note(`${report.where([...at, key])} ${text}`)
  const { bounds, hedge } = given
  if (hedge !== undefined && hedge !== false) {
    if (model.kind === "embeddings") report.add([...at, "hedge"], "it at a model for chats alone")
    else if (given.targets.length < 2) report.add([...at, "hedge"], "two targets for it", "one target")
    else if (given.balance !== undefined) report.add([...at, "hedge"], "either hedge or balance", "both")
  }
  if (given.balance !== undefined && model.targets.length < 2) say("balance", "has no effect with one target")
  if (model.balance === undefined && model.targets.some(({ weight }) => weight !== undefined)) {
    say("targets", "have weights, which have no effect without balance")
  }
  if (model.kind === "embeddings" && given.mode === "continue") say("mode", "has no effect on embeddings")
  if (given.fallback === false && model.targets.length + model.fallbacks.length > 1) {
    say("fallback", "is false: no other target is asked after a failure")
  }
  const attempts = model.retry?.maxAttempts
  if (bounds?.maxAttempts !== undefined && attempts !== undefined && bounds.maxAttempts < attempts) {
    report.add([...at, "bounds", "maxAttempts"], `at least the ${attempts} of retry.maxAttempts`)
  }
  if (bounds?.timeout !== undefined && Duration.lessThan(bounds.timeout, model.deadline)) {
    report.add([...at, "bounds", "timeout"], `at least the deadline, ${Duration.format(model.deadline)}`)
  }
  const attempt = model.timeout?.attempt
  if (attempt !== undefined && Duration.greaterThan(attempt, model.deadline)) {
    report.note(
      `the attempts of ${name} may take ${Duration.format(attempt)}, but its deadline is ${Duration.format(model.deadline)}`
    )
  }
}

/** Each circle of fallbacks, told where it closes. */
const checkCircles = (
  models: ReadonlyArray<Resolved.Model>,
  places: ReadonlyMap<string, Reference>,
  report: Report.Report
): void => {
  const byName = new Map(models.map((model) => [model.name, model]))
  const done = new Set<string>()
  const visit = (name: string, way: ReadonlyArray<string>): void => {
    for (const next of byName.get(name)?.fallbacks ?? []) {
      const start = [...way, name].indexOf(next)
      if (start >= 0) {
        const place = places.get(`${name} ${next}`)
        const circle = [...[...way, name].slice(start), next].join(" → ")
        const expected = `no circle of fallbacks: ${circle}`
        if (place?.variable !== undefined) report.addVariable(place.variable, expected, JSON.stringify(place.text))
        else if (place !== undefined) report.add(place.at, expected)
      } else if (!done.has(next)) visit(next, [...way, name])
    }
    done.add(name)
  }
  for (const { name } of models) if (!done.has(name)) visit(name, [])
}

/**
 * The models, in the order of the file, and the name of a model for each name that a client may use.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  file: File,
  context: Context
): { readonly models: ReadonlyArray<Resolved.Model>; readonly names: ReadonlyMap<string, string> } => {
  const { declared, find, overrides, report } = context
  const names = namesOf(file, context)
  const shared: Defaults = Environment.overlay(file.defaults ?? {}, overrides.defaults)
  if (declared.size === 0 && !report.has(["models"])) report.add(["models"], "at least one model", "none")

  const variable = overrides.variableOf(["fallbacks"])
  const references = (texts: ReadonlyArray<string> | undefined, at: Path, variable: string | undefined) =>
    (texts ?? []).flatMap((text, index) => {
      const reference = { text, at: [...at, index], variable }
      const to = referenceOf(reference, names, context)
      return to === undefined ? [] : [{ reference, to }]
    })
  const sharedFallbacks = references(shared.fallbacks, ["defaults", "fallbacks"], variable)
  const places = new Map<string, Reference>()

  /** The fallbacks of all models, but of those among them only the later ones: else there would be a circle. */
  const inherited = (name: string) => {
    const own = sharedFallbacks.findIndex(({ to }) => "model" in to && to.model === name)
    return sharedFallbacks.slice(own + 1)
  }

  const models = Object.entries(file.models ?? {}).map(([name, given]): Resolved.Model => {
    const at = ["models", name]
    if (given.targets.length === 0 && !report.has([...at, "targets"])) report.add([...at, "targets"], "at least one")
    const retry = over(shared.retry, given.retry)
    const timeout = over(shared.timeout, given.timeout)
    const listed = given.targets.flatMap((target, index): ReadonlyArray<Resolved.Target> => {
      const place = placeOf(target, [...at, "targets", index], report)
      if (place === undefined) return []
      const provider = find(place.provider, (expected) => report.add(place.at, expected))
      if (given.kind === "embeddings" || (given.kind === undefined && isEmbedding(place.model))) {
        if (provider !== undefined && !vectorKinds.has(provider.kind)) {
          report.add(place.at, `a provider that makes vectors, which one of kind ${provider.kind} does not`)
        }
      }
      return [
        {
          provider: place.provider,
          model: place.model,
          weight: target.weight,
          retry: target.retry && over(retry, target.retry),
          timeout: target.timeout && over(timeout, target.timeout)
        }
      ]
    })
    const kind = kindOf(name, given, listed, report)
    const balance = given.balance ?? (listed.length > 1 ? shared.balance : undefined)
    const hedge = given.hedge ?? (kind === "chat" && listed.length > 1 && balance === undefined ? shared.hedge : false)
    const isOwn = given.fallbacks !== undefined
    const own = isOwn ? references(given.fallbacks, [...at, "fallbacks"], undefined) : inherited(name)
    const targets = [...listed]
    const fallbacks: Array<string> = []
    for (const { reference, to } of own) {
      if ("model" in to) {
        if (fallbacks.includes(to.model)) continue
        fallbacks.push(to.model)
        places.set(`${name} ${to.model}`, reference)
      } else if (balance === undefined) {
        const { model, provider } = to.target
        if (isOwn || isEmbedding(model) === (kind === "embeddings")) {
          if (!targets.some((one) => one.provider === provider && one.model === model)) targets.push(to.target)
        }
      } else if (isOwn) report.add(reference.at, "the name of a model: the targets of this one share its traffic")
    }
    const total = given.deadline ?? shared.deadline ?? Duration.min(deadline, given.bounds?.timeout ?? deadline)
    const bounds = { ...shared.bounds, ...given.bounds }
    const model: Resolved.Model = {
      name,
      aliases: (given.aliases ?? []).filter((alias) => names.get(alias) === name),
      kind,
      targets,
      fallbacks,
      retry,
      timeout,
      deadline: total,
      fallback: given.fallback ?? shared.fallback,
      balance,
      hedge: hedge === false ? undefined : hedge,
      mode: given.mode ?? shared.mode ?? "strict",
      bounds: {
        maxAttempts: bounds.maxAttempts ?? Math.max(mostAttempts, retry?.maxAttempts ?? 0),
        timeout: bounds.timeout ?? Duration.max(total, deadline)
      }
    }
    checkPolicies(name, given, model, report)
    return model
  })

  const kinds = new Map(models.map(({ kind, name }) => [name, kind]))
  const fitting = models.map((model): Resolved.Model => {
    const isFitting = (name: string) => (kinds.get(name) ?? model.kind) === model.kind
    const isOwn = file.models?.[model.name]?.fallbacks !== undefined
    for (const name of model.fallbacks) {
      const place = places.get(`${model.name} ${name}`)
      if (isOwn && !isFitting(name) && place !== undefined) {
        report.add(place.at, `a model for ${model.kind === "chat" ? "chats" : "embeddings"}`)
      }
    }
    return { ...model, fallbacks: model.fallbacks.filter(isFitting) }
  })
  checkCircles(fitting, places, report)
  return { models: fitting, names }
}
