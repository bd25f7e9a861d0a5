/**
 * Collects the problems and the notes of one file. A value is named by its place in the file, wherever it was moved to
 * since.
 *
 * @since 0.2.0
 */

import * as ErrorMessage from "../../errors/ErrorMessage.js"
import type * as Document from "./Document.js"
import { type Path, type Problem, pathText, show } from "./Problem.js"
import * as Tree from "./Tree.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Report {
  readonly problems: ReadonlyArray<Problem>
  readonly notes: ReadonlyArray<string>
  /** Adds a problem. By default the value found is read from the file. */
  readonly add: (path: Path, expected: string, found?: string) => void
  /** Adds a problem of a variable of the environment. */
  readonly addVariable: (name: string, expected: string, found: string) => void
  /** Adds a note, once. */
  readonly note: (text: string) => void
  /** Whether something at this place, or in it, is a problem already. What follows from it is none. */
  readonly has: (path: Path) => boolean
  /** The value at `to` is from `from`. */
  readonly moved: (to: Path, from: Path) => void
  /** Begins a stage: places of later moves are those of the values as they are then. */
  readonly stage: () => void
  /** The place in the file. */
  readonly origin: (path: Path) => Path
  /** The place in words. */
  readonly where: (path: Path) => string
  /** A text that may stand in no problem and no note. */
  readonly secret: (text: string) => void
}

const secretPlaces: ReadonlyArray<RegExp> = [
  /^providers\/[^/]*\/(?:key|keys|headers)(?:\/|$)/,
  /^server\/adminKey$/,
  /^keys\/\d+\/(?:key|hash)$/,
  /^observability\/(?:callLog$|otlp(?:$|\/headers))/
]

/**
 * Whether a secret stands at a place.
 *
 * @since 0.2.0
 * @category getters
 */
export const isSecret = (path: Path): boolean => {
  const place = path.map((part) => String(part).replaceAll("/", " ")).join("/")
  return secretPlaces.some((pattern) => pattern.test(place))
}

/** More than shorthands can be nested. */
const maxRounds = 8

/** The place before the newest moves; the longest match counts. */
const before = (moves: ReadonlyMap<string, Path>, path: Path): Path => {
  for (let length = path.length; length > 0; length--) {
    const from = moves.get(JSON.stringify(path.slice(0, length)))
    if (from !== undefined) return [...from, ...path.slice(length)]
  }
  return path
}

/**
 * @since 0.2.0
 * @category constructors
 */
export const make = (document: Document.Document, file: string): Report => {
  const problems: Array<Problem> = [...document.problems]
  const places: Array<Path> = []
  const notes = new Set<string>()
  const secrets: Array<string> = []
  const stages: Array<Map<string, Path>> = [new Map()]
  const clean = (text: string, max = 400) => ErrorMessage.clean(text, secrets, max)
  /** In the first stage a shorthand may be within another. */
  const origin = (path: Path) => {
    const [first, ...later] = stages
    let place = later.reduceRight((place, moves) => before(moves, place), path)
    for (let round = 0; first !== undefined && round < maxRounds; round++) {
      const from = before(first, place)
      if (from === place) break
      place = from
    }
    return place
  }

  /** A text written out of another may have no place of its own in the file. */
  const nearest = (path: Path): Path => {
    const place = origin(path)
    const parent = place.slice(0, -1)
    const isOwn =
      place.length === 1 ||
      Tree.at(document.value, place) !== undefined ||
      Tree.isFields(Tree.at(document.value, parent))
    return isOwn ? place : parent
  }

  const found = (path: Path, place: Path): string => {
    const value = Tree.at(document.value, place)
    const hidden = value !== undefined && typeof value !== "object" && (isSecret(path) || isSecret(place))
    return hidden ? "a value that is not shown" : show(value)
  }

  return {
    get problems() {
      return problems.map((problem) => ({
        ...problem,
        path: clean(problem.path),
        found: clean(problem.found),
        expected: clean(problem.expected)
      }))
    },
    get notes() {
      return [...notes].map((note) => clean(note))
    },
    add: (path, expected, given) => {
      const place = nearest(path)
      places.push(origin(path))
      problems.push({
        file,
        line: document.lineOf(place),
        path: pathText(place),
        found: given ?? found(path, place),
        expected
      })
    },
    addVariable: (name, expected, given) =>
      problems.push({ file: "environment", line: undefined, path: name, found: given, expected }),
    note: (text) => notes.add(text),
    has: (path) => {
      const place = origin(path)
      return places.some((other) =>
        other.length >= place.length
          ? place.every((part, index) => part === other[index])
          : other.length > 1 && other.every((part, index) => part === place[index])
      )
    },
    moved: (to, from) => stages[stages.length - 1]?.set(JSON.stringify(to), from),
    stage: () => stages.push(new Map()),
    origin,
    where: (path) => pathText(origin(path)),
    secret: (text) => secrets.push(text)
  }
}
