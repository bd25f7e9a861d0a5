/**
 * What an import builds up: the providers, what could not be carried over, and the variables that are needed.
 *
 * @since 0.2.0
 */

import * as OpenAiServers from "../../providers/openai/OpenAiServers.js"
import { type Path, pathText } from "../config/Problem.js"
import * as Tree from "../config/Tree.js"
import * as WellKnown from "../config/WellKnown.js"

/**
 * A provider as the file has it.
 *
 * @since 0.2.0
 * @category models
 */
export interface Provider {
  readonly kind?: string | undefined
  readonly baseUrl?: string | undefined
  readonly key?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly apiVersion?: string | undefined
  readonly limits?: unknown
}

/**
 * The fields of an object, each to be read or left behind.
 *
 * @since 0.2.0
 * @category models
 */
export interface Fields {
  readonly path: Path
  /** Reads a field. */
  readonly get: (name: string) => unknown
  /** Reads a number, or its text. Anything else is left behind. */
  readonly number: (name: string) => number | undefined
  readonly text: (name: string) => string | undefined
  /** Leaves a field behind, if it is there. */
  readonly leave: (why: string, ...names: ReadonlyArray<string>) => void
  /** Leaves all behind that was not asked for. */
  readonly rest: (why: string) => void
}

/**
 * @since 0.2.0
 * @category models
 */
export interface Carrier {
  readonly providers: ReadonlyMap<string, Provider>
  readonly notCarried: ReadonlyArray<string>
  readonly variables: Set<string>
  readonly lose: (path: Path, why: string) => void
  readonly fields: (value: unknown, path: Path) => Fields
  /** The name of a provider with these settings: a new one, unless there is one. */
  readonly provider: (name: string, settings: Provider) => string
  /** A text with its variable, which is then needed. */
  readonly text: (value: string) => string
  /** A base URL as the file may have it; `undefined` after a loss. */
  readonly baseUrl: (value: string, path: Path) => string | undefined
  /** A key as a variable. A literal key stays out of the file. */
  readonly key: (value: unknown, path: Path, variable: string) => string | undefined
}

/** The names of LiteLLM and Portkey that differ from ours. */
const providerNames: Readonly<Record<string, string>> = {
  "azure-openai": "azure",
  azure_ai: "",
  fireworks_ai: "fireworks",
  "fireworks-ai": "fireworks",
  google: "gemini",
  google_ai_studio: "gemini",
  hosted_vllm: "vllm",
  "mistral-ai": "mistral",
  ollama_chat: "ollama",
  openai_like: "openai",
  custom_openai: "openai",
  "text-completion-openai": "",
  together_ai: "together",
  "together-ai": "together",
  "x-ai": "xai",
  "z-ai": "zai",
  zhipu: "zai"
}

/**
 * Our name of a provider, if there is one for its API.
 *
 * @since 0.2.0
 * @category getters
 */
export const providerName = (theirs: string): string | undefined => {
  const name = Object.hasOwn(providerNames, theirs) ? providerNames[theirs] : theirs
  return name !== undefined && WellKnown.kindOf(name) !== undefined && name !== "faulty" ? name : undefined
}

/** Words that servers without a key are given as one. */
const noKey = /^(?:none|null|empty|fake.*|dummy.*|not[-_ ]needed|anything|x+|ollama|)$/i

/**
 * A time in the words of the file, at least 1 millisecond, at most a week.
 *
 * @since 0.2.0
 * @category getters
 */
export const duration = (millis: number): string => {
  const whole = Math.min(604_800_000, Math.max(1, Math.round(millis)))
  return whole % 1000 === 0 ? `${whole / 1000} seconds` : `${whole} millis`
}

/** A text with `os.environ/NAME` as `${NAME}`; a `${` of its own stays one. */
const withVariables = (text: string): string => {
  const name = /^os\.environ\/([A-Za-z_]\w*)$/.exec(text.trim())?.[1]
  return name === undefined ? text.replaceAll("${", "$$${") : `\${${name}}`
}

/** The variable that a text as written is. */
const variableOf = (written: string): string | undefined => /^\$\{(\w+)\}$/.exec(written)?.[1]

/**
 * The text of a target.
 *
 * @since 0.2.0
 * @category getters
 */
export const target = (provider: string, model: string): string => `${provider}/${model.replaceAll("${", "$$${")}`

/** A name that the file may have. */
const tidy = (name: string): string => name.replace(/[^\w.-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "model"

/**
 * A name of a model that the file may have.
 *
 * @since 0.2.0
 * @category getters
 */
export const modelName = (name: string): string =>
  (name.replace(/[^\w.:/@+-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "") || "model").slice(0, 200)

const compact = (provider: Provider): Provider =>
  Object.fromEntries(Object.entries(provider).filter(([, value]) => value !== undefined))

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = (): Carrier => {
  const providers = new Map<string, Provider>()
  const names = new Map<string, string>()
  const lost = new Set<string>()
  const variables = new Set<string>()
  const lose = (path: Path, why: string) => lost.add(`${pathText(path)}: ${why}`)

  const fields = (value: unknown, path: Path): Fields => {
    const given = Tree.isFields(value) ? value : {}
    if (value !== undefined && value !== null && !Tree.isFields(value)) lose(path, "it is no object")
    const asked = new Set<string>()
    const get = (name: string) => {
      asked.add(name)
      const found = Object.hasOwn(given, name) ? given[name] : undefined
      return found === null ? undefined : found
    }
    const leave = (why: string, ...names: ReadonlyArray<string>) => {
      for (const name of names) if (get(name) !== undefined) lose([...path, name], why)
    }
    return {
      path,
      get,
      leave,
      number: (name) => {
        const found = get(name)
        const number = typeof found === "string" && found.trim() !== "" ? Number(found) : found
        if (typeof number === "number" && Number.isFinite(number) && number >= 0) return number
        if (found !== undefined) lose([...path, name], "it is no number of 0 or more")
        return undefined
      },
      text: (name) => {
        const found = get(name)
        if (typeof found === "string" && found.trim() !== "") return found.trim()
        if (found !== undefined) lose([...path, name], "it is no text")
        return undefined
      },
      rest: (why) => {
        for (const name of Object.keys(given)) if (!asked.has(name)) leave(why, name)
      }
    }
  }

  const text = (value: string): string => {
    const written = withVariables(value)
    const own = variableOf(written)
    if (own !== undefined) variables.add(own)
    return written
  }

  return {
    providers,
    text,
    get notCarried() {
      return [...lost]
    },
    variables,
    lose,
    fields,
    provider: (base, settings) => {
      const identity = JSON.stringify([base, compact(settings)])
      const known = names.get(identity)
      if (known !== undefined) return known
      let name = base
      for (let n = 2; providers.has(name); n++) name = `${tidy(base)}-${n}`
      // A second one has not the name by which the rest is known.
      const own =
        name === base
          ? settings
          : {
              ...settings,
              kind: settings.kind ?? WellKnown.kindOf(base),
              baseUrl: settings.baseUrl ?? OpenAiServers.dialects.get(base)?.baseUrl
            }
      names.set(identity, name)
      providers.set(name, compact(own))
      return name
    },
    baseUrl: (value, path) => {
      const written = text(value).replace(/\/+$/, "")
      if (variableOf(written) !== undefined) return written
      const url = URL.canParse(value) ? new URL(value) : undefined
      if (url !== undefined && /^https?:$/.test(url.protocol) && url.username + url.password === "") return written
      lose(path, "it is no URL with http or https, without a password")
      return undefined
    },
    key: (value, path, variable) => {
      if (value === undefined) return undefined
      const written = typeof value === "string" ? text(value) : ""
      if (variableOf(written) !== undefined) return written
      if (typeof value === "string" && noKey.test(value.trim())) return undefined
      lose(path, `a key does not belong into a file: set the variable ${variable}`)
      variables.add(variable)
      return `\${${variable}}`
    }
  }
}
