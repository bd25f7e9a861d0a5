/**
 * The text of a configuration as plain values, YAML or JSON, with the line of each.
 *
 * @since 0.2.0
 */

import * as Yaml from "yaml"
import { type Path, type Problem, pathText } from "./Problem.js"

/**
 * @since 0.2.0
 * @category models
 */
export interface Document {
  /** Only null, booleans, numbers, texts, lists and objects. `undefined` after an error of syntax. */
  readonly value: unknown
  /** The line of a value, or else of the nearest one around it. */
  readonly lineOf: (path: Path) => number | undefined
  /** Errors of syntax, and keys that stand twice. */
  readonly problems: ReadonlyArray<Problem>
}

/** The words of the parser repeat the text, which may be a secret. So these are our own. */
const syntax: { readonly [code: string]: string } = {
  ALIAS_PROPS: "an alias alone",
  BAD_ALIAS: "an alias of an anchor that stands before it",
  BAD_INDENT: "an indent as in the lines around it",
  BLOCK_AS_IMPLICIT_KEY: "a value after the colon, on the next line if it is nested",
  BLOCK_IN_FLOW: "a list or an object in brackets, as it stands in brackets",
  IMPOSSIBLE: "YAML or JSON",
  KEY_OVER_1024_CHARS: "a key of at most 1024 characters",
  MISSING_CHAR: "a closing quote or bracket, a comma or a colon",
  MULTILINE_IMPLICIT_KEY: "a key on one line",
  MULTIPLE_ANCHORS: "one anchor",
  MULTIPLE_DOCS: "one document: no second ---",
  TAB_AS_INDENT: "spaces as indent, no tab",
  TAG_RESOLVE_FAILED: "a value without a tag",
  UNEXPECTED_TOKEN: "YAML or JSON; within { } or [ ] a text with such a bracket needs quotes"
}

const maxDepth = 64

/** Aliases may repeat a part many times over. */
const maxNodes = 100_000

class TooLarge extends Error {}

/**
 * Reads a text. Never throws.
 *
 * @since 0.2.0
 * @category constructors
 */
export const read = (text: string, file: string): Document => {
  const counter = new Yaml.LineCounter()
  const problems: Array<Problem> = []
  const lines = new Map<string, number>()
  const lineAt = (offset: number) => Math.max(1, counter.linePos(offset).line)
  const add = (line: number | undefined, path: Path, found: string, expected: string) =>
    problems.push({ file, line, path: pathText(path), found, expected })
  const lineOf = (path: Path): number | undefined => {
    for (let length = path.length; length >= 0; length--) {
      const line = lines.get(JSON.stringify(path.slice(0, length)))
      if (line !== undefined) return line
    }
    return undefined
  }
  const failed = { value: undefined, lineOf, problems }

  let nodes = 0

  const plain = (doc: Yaml.Document, given: unknown, path: Path, depth: number): unknown => {
    const node = Yaml.isAlias(given) ? given.resolve(doc) : given
    if (++nodes > maxNodes || depth > maxDepth) throw new TooLarge()
    if (Yaml.isMap(node)) return fields(doc, node, path, depth)
    if (Yaml.isSeq(node)) {
      return node.items.map((item, index) => {
        const at = [...path, index]
        mark(at, item)
        return plain(doc, item, at, depth + 1)
      })
    }
    const value = Yaml.isScalar(node) ? node.value : null
    return typeof value === "object" || typeof value === "bigint" ? (value === null ? null : String(value)) : value
  }

  const mark = (path: Path, node: unknown) => {
    const range = Yaml.isNode(node) ? node.range : undefined
    if (range) lines.set(JSON.stringify(path), lineAt(range[0]))
  }

  const fields = (doc: Yaml.Document, map: Yaml.YAMLMap, path: Path, depth: number): Record<string, unknown> => {
    const own = new Map<string, unknown>()
    const merged = new Map<string, unknown>()
    for (const pair of map.items) {
      const key = String(Yaml.isScalar(pair.key) ? pair.key.value : pair.key)
      const at = [...path, key]
      if (key === "<<") {
        const value = plain(doc, pair.value, path, depth + 1)
        for (const one of Array.isArray(value) ? value : [value]) {
          if (typeof one !== "object" || one === null) continue
          for (const [name, inner] of Object.entries(one)) if (!merged.has(name)) merged.set(name, inner)
        }
        continue
      }
      const line = Yaml.isNode(pair.key) && pair.key.range ? lineAt(pair.key.range[0]) : undefined
      if (own.has(key)) {
        add(line, at, "the key a second time", "each key once")
        continue
      }
      if (key === "__proto__") {
        add(line, path, "the key __proto__", "another name")
        continue
      }
      if (line !== undefined) lines.set(JSON.stringify(at), line)
      own.set(key, plain(doc, pair.value, at, depth + 1))
      if (line !== undefined) lines.set(JSON.stringify(at), line)
    }
    return Object.fromEntries([...merged, ...own])
  }

  try {
    const doc = Yaml.parseDocument(text, {
      lineCounter: counter,
      prettyErrors: false,
      uniqueKeys: false,
      strict: true,
      logLevel: "error"
    })
    // One error of syntax makes others, which say less.
    for (const { code, pos } of [...doc.errors, ...doc.warnings]) {
      const line = lineAt(pos[0])
      const isFirst = problems.every((problem) => problem.line !== line)
      if (isFirst) add(line, [], "what is no YAML", syntax[code] ?? "YAML or JSON")
    }
    if (problems.length > 0) return failed
    return { value: plain(doc, doc.contents, [], 0), lineOf, problems }
  } catch (error) {
    const expected = `at most ${maxDepth} levels and ${maxNodes} values`
    if (error instanceof TooLarge) add(undefined, [], "more than is read", expected)
    else add(undefined, [], "what is no YAML", `YAML or JSON, with ${expected}`)
    return failed
  }
}
