/**
 * The words of an alarm: what happened, with numbers, and what to change.
 *
 * @internal
 */

import type { Figures } from "./DegradationWindow.js"

interface Settings {
  readonly slotMillis: number
  readonly windowSlots: number
  readonly raise: { readonly share: number; readonly addedP95Millis: number }
  readonly clear: { readonly share: number }
}

const percent = (share: number): string => `${Math.round(100 * share)} %`

const time = (millis: number): string => {
  if (millis >= 2 * 3_600_000) return `${Math.round(millis / 3_600_000)} h`
  if (millis >= 60_000) return `${Math.round(millis / 60_000)} min`
  return `${millis >= 10_000 ? Math.round(millis / 1000) : Math.round(millis / 100) / 10} s`
}

/** What to change, by the most frequent first error. Every other error is the target's own trouble. */
const remedies: Readonly<Record<string, (target: string) => string>> = {
  RateLimited: (target) => `raise the key's limit for ${target}, or pace its calls`,
  QuotaExhausted: (target) => `top up the account of ${target}`,
  AuthError: (target) => `check the key of ${target}`,
  PermissionDenied: (target) => `check what the key of ${target} may do`,
  ModelNotFound: (target) => `check the name of ${target}`,
  ContextLengthExceeded: (target) => `send long prompts past ${target}`,
  InvalidRequest: (target) => `check what is sent to ${target}`
}

/** The most frequent first; names break ties. */
const ranked = (reasons: Figures["reasons"]): ReadonlyArray<readonly [string, number]> =>
  Object.entries(reasons).sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))

/** "mostly" is more than half. */
const among = (reasons: ReadonlyArray<readonly [string, number]>, again: number): string => {
  const [top, next] = reasons
  if (top === undefined) return ""
  if (top[1] === again) return ` (${top[0]})`
  return top[1] * 2 > again ? ` (mostly ${top[0]})` : ` (${top[0]}, ${next?.[0] ?? "other"} and others)`
}

const elsewhere = (target: string, others: number | undefined, clear: number): readonly [string, string] => {
  if (others === undefined) return [`add a fallback for ${target}`, "no other target has enough calls to compare with"]
  if (others <= clear) return [`route around ${target}`, `the other targets need ${percent(others)}`]
  return [`${target} is not alone`, `the other targets need ${percent(others)} too`]
}

const wait = (target: string, figures: Figures): string => {
  const { addedP95Millis, backoffMillis, queuedMillis } = figures
  const queued = queuedMillis / Math.max(1, queuedMillis + backoffMillis)
  const numbers = `one call in twenty to ${target} waited about ${time(addedP95Millis)} or more`
  return queued >= 0.5
    ? `the wait is in our own queue: ${numbers}, ${percent(queued)} of it queued; raise the limits there or send less`
    : `the wait is before retries: ${numbers}, ${percent(1 - queued)} of it backoff; fall back sooner`
}

/** @internal */
export const raised = (
  target: string,
  figures: Figures,
  others: number | undefined,
  { clear, raise, slotMillis, windowSlots }: Settings
): string => {
  const { calls, failed, later, reasons, share } = figures
  const excess = figures.addedP95Millis / raise.addedP95Millis
  if (share < raise.share && share / raise.share < excess) return wait(target, figures)
  const ranking = ranked(reasons)
  const [top = "", many = 0] = ranking[0] ?? []
  const span = `for ${time(slotMillis * windowSlots)}`
  const lost = failed === 0 ? "" : `; ${percent(failed / calls)} were not served at all`
  const remedy = Object.hasOwn(remedies, top) ? remedies[top] : undefined
  if (remedy !== undefined && many * 2 > later + failed) {
    return `${remedy(target)}: ${percent(many / calls)} of calls were ${top} ${span}${lost}`
  }
  const [what, compared] = elsewhere(target, others, clear.share)
  const again = `${percent(share)} of calls needed a second attempt ${span}${among(ranking, later + failed)}`
  return `${what}: ${again}${lost}; ${compared}`
}

/** @internal */
export const chronic = (advice: string, lastedMillis: number): string =>
  `the alarm has stood for ${time(lastedMillis)}; ${advice}`

/** @internal */
export const cleared = (target: string, figures: Figures, why: string, lastedMillis: number): string => {
  const lasted = `after ${time(lastedMillis)}`
  if (why !== "recovered") return `${target} is no longer watched ${lasted}: ${why}`
  return `${target} recovered ${lasted}: ${percent(figures.share)} of calls need a second attempt`
}
