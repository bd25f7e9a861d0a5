/**
 * Facts about Claude models: the settings that each refuses with status 400.
 *
 * The sources are Anthropic's pages: "Troubleshooting thinking" and "Effort" under build-with-claude, and the migration
 * guides of the models up to Claude Fable 5.2 and Claude Haiku 5.5. A Claude without a known version counts as the
 * newest, which takes the fewest settings.
 *
 * @since 0.2.0
 */

/**
 * The facts about a model.
 *
 * @since 0.2.0
 * @category models
 */
export interface Facts {
  /** Whether it takes `temperature` and `top_p` together, one of them, or none. */
  readonly sampling: "both" | "one" | "none"
  /** Whether thinking is asked for by a budget, by an effort, by either, or not at all. */
  readonly thinking: "none" | "budget" | "either" | "effort"
  /** Whether it thinks unless the request says otherwise. */
  readonly thinks: boolean
  /** The way to the least thinking: to ask for none, to say so, or the lowest setting where it cannot be turned off. */
  readonly least: "omit" | "disabled" | "between_tools" | "low"
  /** Whether it takes the effort `xhigh`. */
  readonly xhigh: boolean
  /** Whether a request may force the call of a tool. */
  readonly forcedTools: boolean
  /** Whether it refuses thoughts once anything before them has changed ("Preserved thinking"). */
  readonly bindsThoughts: boolean
  /** Whether it takes a JSON schema for its answer, and strict tools. */
  readonly schemas: boolean
  /** The largest `max_tokens`. */
  readonly maxOutput: number
}

const numberOf = (major: string | undefined, minor: string | undefined): number =>
  Number(major) * 100 + Number(minor ?? 0)

/** The family and the version as a whole number: 405 for 4.5. */
const parse = (model: string): { readonly family: string; readonly version: number } | undefined => {
  const name = model.toLowerCase()
  if (!name.includes("claude")) return undefined
  if (name.includes("claude-mythos-preview")) return { family: "mythos", version: 406 }
  const newer = /claude-([a-z]+)-(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)/.exec(name)
  if (newer !== null) return { family: newer[1] ?? "", version: numberOf(newer[2], newer[3]) }
  const older = /claude-v?(\d)(?:[-.](\d))?(?!\d)(?:-([a-z]+))?/.exec(name)
  if (older !== null) return { family: older[3] ?? "", version: numberOf(older[1], older[2]) }
  return { family: "", version: Number.POSITIVE_INFINITY }
}

const leastOf = (family: string, version: number, isMyth: boolean): Facts["least"] => {
  if (isMyth) return "low"
  if (version < 500) return "omit"
  if (family === "haiku" ? version <= 505 : version < 505) return "disabled"
  return family === "sonnet" && version === 505 ? "between_tools" : "low"
}

const maxOutputOf = (family: string, version: number): number => {
  if (version < 305) return 4096
  if (version < 307) return 8192
  // With the beta `output-128k-2025-02-19`.
  if (version < 400) return 128_000
  if (version < 405 && family === "opus") return 32_000
  return version < 406 ? 64_000 : 128_000
}

/**
 * The facts about a model by its name, also by that of a cloud or a gateway; `undefined` if it is no Claude.
 *
 * @since 0.2.0
 * @category facts
 */
export const factsOf = (model: string): Facts | undefined => {
  const parsed = parse(model)
  if (parsed === undefined) return undefined
  const { family, version } = parsed
  const isMyth = family === "mythos" || family === "fable"
  return {
    sampling: version >= 407 || isMyth ? "none" : version >= 401 ? "one" : "both",
    thinking: version < 307 ? "none" : version < 406 ? "budget" : version < 407 ? "either" : "effort",
    thinks: version >= 500 || isMyth,
    least: leastOf(family, version, isMyth),
    xhigh: version >= 407,
    forcedTools: version < (isMyth ? 501 : 505) || family === "haiku",
    bindsThoughts: version >= (isMyth ? 501 : 505),
    schemas: version >= 401,
    maxOutput: maxOutputOf(family, version)
  }
}
