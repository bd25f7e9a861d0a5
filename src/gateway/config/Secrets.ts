/**
 * Secrets of a file: where they stand, `file:/run/secrets/x` as what that file has, and their SHA-256.
 *
 * @since 0.2.0
 */

import { createHash } from "node:crypto"
import * as Effect from "effect/Effect"
import type { Path } from "./Problem.js"
import * as Report from "./Report.js"
import * as Tree from "./Tree.js"

/**
 * Reads a file as text.
 *
 * @since 0.2.0
 * @category models
 */
export type ReadFile = (path: string) => Effect.Effect<string, unknown>

/**
 * The SHA-256 of a key in lower-case hexadecimal digits.
 *
 * @since 0.2.0
 * @category getters
 */
export const hashOf = (key: string): string => createHash("sha256").update(key, "utf8").digest("hex")

/** `file:/run/secrets/x` and `file:///run/secrets/x`. */
const fileOf = (text: string): string | undefined => /^file:(?:\/\/(?=\/))?(.+)$/.exec(text.trim())?.[1]

/** The URL of a call log may be one of a file. */
const mayBeFile = (path: Path): boolean => Report.isSecret(path) && path[path.length - 1] !== "callLog"

/** A shorter text may well be a word of another one. */
const leastSecret = 12

/**
 * Replaces the names of secret files with their contents, and tells the report all secrets. Blanks around a secret are
 * not of it. A secret that stands in another place too, where it would be shown, is a problem.
 *
 * @since 0.2.0
 * @category combinators
 */
export const read = (tree: unknown, report: Report.Report, readFile: ReadFile): Effect.Effect<unknown> =>
  Effect.gen(function* () {
    const contents = new Map<string, string>()
    const places: Array<readonly [path: Path, file: string]> = []
    Tree.mapLeaves(tree, (leaf, path) => {
      const file = typeof leaf === "string" && mayBeFile(path) ? fileOf(leaf) : undefined
      if (file !== undefined) places.push([path, file])
      return leaf
    })
    for (const [path, file] of places) {
      const text = yield* Effect.suspend(() => readFile(file)).pipe(
        Effect.map((content) => content.trim()),
        Effect.catchAllCause(() => Effect.succeed(undefined))
      )
      if (text === undefined || text === "") {
        const expected = text === undefined ? "a file that can be read" : "a file with a secret"
        report.add(path, expected, `file:${file}${text === undefined ? "" : ", which is empty"}`)
      } else contents.set(JSON.stringify(path), text)
    }
    const secrets: Array<string> = []
    const whole = Tree.mapLeaves(tree, (leaf, path) => {
      if (typeof leaf !== "string" || !Report.isSecret(path)) return leaf
      // What stands there is the name of a variable or a file without a value.
      if (report.has(path)) return leaf
      const secret = (contents.get(JSON.stringify(path)) ?? leaf).trim()
      report.secret(secret)
      if (secret.length >= leastSecret && path[path.length - 1] !== "callLog") secrets.push(secret)
      return secret
    })
    const isShown = (text: unknown) => typeof text === "string" && secrets.some((secret) => text.includes(secret))
    Tree.mapLeaves(whole, (leaf, path) => {
      const misplaced = path.find((_, index) => isShown(path[index]))
      if (misplaced !== undefined)
        report.add(path.slice(0, path.indexOf(misplaced) + 1), "a name without a secret", "a secret")
      else if (!Report.isSecret(path) && isShown(leaf)) report.add(path, "a text without a secret", "a secret")
      return leaf
    })
    return whole
  })
