/** Texts in pieces, and values that grow. */

/** Cuts a text at random places. */
export const cuts = (text: string, places: ReadonlyArray<number>): ReadonlyArray<string> => {
  const ends = [...new Set(places.map((place) => place % (text.length + 1)))].sort((a, b) => a - b)
  return [...ends, text.length].map((end, index) => text.slice(ends[index - 1] ?? 0, end))
}

/** Whether `after` is `before` or more of it. */
export const hasGrown = (before: unknown, after: unknown): boolean => {
  if (before === undefined) return true
  if (typeof before === "string") return typeof after === "string" && after.startsWith(before)
  if (Array.isArray(before)) {
    return Array.isArray(after) && before.every((one, index) => index < after.length && hasGrown(one, after[index]))
  }
  if (typeof before === "object" && before !== null) {
    return (
      typeof after === "object" &&
      after !== null &&
      Object.keys(before).every(
        (key) =>
          Object.hasOwn(after, key) &&
          hasGrown((before as Record<string, unknown>)[key], (after as Record<string, unknown>)[key])
      )
    )
  }
  return Object.is(before, after)
}
