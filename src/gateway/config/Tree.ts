/**
 * Plain values of a file: to look into them, and to change them.
 *
 * @since 0.2.0
 */

import type { Path } from "./Problem.js"

/**
 * An object of a file.
 *
 * @since 0.2.0
 * @category models
 */
export type Fields = Record<string, unknown>

/**
 * @since 0.2.0
 * @category guards
 */
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * The value at a path.
 *
 * @since 0.2.0
 * @category getters
 */
export const at = (tree: unknown, path: Path): unknown =>
  path.reduce<unknown>(
    (value, part) =>
      typeof value === "object" && value !== null && Object.hasOwn(value, part)
        ? (value as Readonly<Record<string | number, unknown>>)[part]
        : undefined,
    tree
  )

/**
 * A copy with each value that is neither list nor object replaced. In objects `undefined` leaves the key out.
 *
 * @since 0.2.0
 * @category combinators
 */
export const mapLeaves = (tree: unknown, f: (value: unknown, path: Path) => unknown, path: Path = []): unknown => {
  if (Array.isArray(tree)) return tree.map((item, index) => mapLeaves(item, f, [...path, index]))
  if (!isFields(tree)) return f(tree, path)
  const entries = Object.entries(tree).map(([key, value]) => [key, mapLeaves(value, f, [...path, key])] as const)
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined))
}

/**
 * A copy without the values at some paths. `moved` hears of each item of a list that changed its place.
 *
 * @since 0.2.0
 * @category combinators
 */
export const without = (tree: unknown, paths: ReadonlyArray<Path>, moved: (to: Path, from: Path) => void): unknown => {
  const gone = new Set(paths.map((path) => JSON.stringify(path)))
  const isGone = (path: Path) => gone.has(JSON.stringify(path))
  const visit = (value: unknown, from: Path, to: Path): unknown => {
    if (Array.isArray(value)) {
      const kept = value.flatMap((item, index) => (isGone([...from, index]) ? [] : [[item, index] as const]))
      return kept.map(([item, index], place) => {
        if (place !== index) moved([...to, place], [...from, index])
        return visit(item, [...from, index], [...to, place])
      })
    }
    if (!isFields(value)) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([key, inner]) =>
        isGone([...from, key]) ? [] : [[key, visit(inner, [...from, key], [...to, key])] as const]
      )
    )
  }
  return visit(tree, [], [])
}
