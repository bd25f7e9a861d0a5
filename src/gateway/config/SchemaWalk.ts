/**
 * What a schema says about a place of the file: its keys, its kind of value; and the issues of a failed decoding as
 * problems.
 *
 * @since 0.2.0
 */

import * as Option from "effect/Option"
import * as ParseResult from "effect/ParseResult"
import type * as Schema from "effect/Schema"
import * as AST from "effect/SchemaAST"
import { closest, type Path } from "./Problem.js"

/** The plain types of JSON that a type allows. */
const flat = (ast: AST.AST): ReadonlyArray<AST.AST> => {
  if (AST.isUnion(ast)) return ast.types.flatMap(flat)
  if (AST.isRefinement(ast) || AST.isTransformation(ast)) return flat(ast.from)
  return AST.isSuspend(ast) ? flat(ast.f()) : [ast]
}

const step = (ast: AST.AST, part: string | number): ReadonlyArray<AST.AST> => {
  if (AST.isTupleType(ast)) return ast.rest.flatMap(({ type }) => flat(type))
  if (!AST.isTypeLiteral(ast)) return []
  const own = ast.propertySignatures.find(({ name }) => name === part)
  return own !== undefined ? flat(own.type) : ast.indexSignatures.flatMap(({ type }) => flat(type))
}

/**
 * The types that may stand at a path. Empty where nothing may.
 *
 * @since 0.2.0
 * @category getters
 */
export const typesAt = (schema: Schema.Schema.All, path: Path): ReadonlyArray<AST.AST> =>
  path.reduce<ReadonlyArray<AST.AST>>((asts, part) => asts.flatMap((ast) => step(ast, part)), flat(schema.ast))

/**
 * The keys of the objects that may stand at a path.
 *
 * @since 0.2.0
 * @category getters
 */
export const keysAt = (schema: Schema.Schema.All, path: Path): ReadonlyArray<string> =>
  typesAt(schema, path).flatMap((ast) =>
    AST.isTypeLiteral(ast) ? ast.propertySignatures.map(({ name }) => String(name)) : []
  )

/**
 * Whether only objects and lists may stand at a path.
 *
 * @since 0.2.0
 * @category getters
 */
export const isOuter = (schema: Schema.Schema.All, path: Path): boolean =>
  typesAt(schema, path).every((ast) => AST.isTypeLiteral(ast) || AST.isTupleType(ast))

/**
 * Whether a duration may stand at a path: the options of the library give it as an example.
 *
 * @since 0.2.0
 * @category getters
 */
export const isDurationAt = (schema: Schema.Schema.All, path: Path): boolean => {
  const isDuration = (ast: AST.AST): boolean => {
    if (AST.isUnion(ast)) return ast.types.some(isDuration)
    if (AST.isRefinement(ast)) return isDuration(ast.from)
    if (!AST.isTransformation(ast)) return false
    return JSON.stringify(Option.getOrNull(AST.getJSONSchemaAnnotation(ast)))?.includes("30 seconds") === true
  }
  const name = path[path.length - 1]
  return typesAt(schema, path.slice(0, -1)).some(
    (ast) => AST.isTypeLiteral(ast) && ast.propertySignatures.some((one) => one.name === name && isDuration(one.type))
  )
}

const nounOf = (ast: AST.AST): string => {
  if (AST.isTypeLiteral(ast)) return "an object"
  if (AST.isTupleType(ast)) return "a list"
  if (AST.isStringKeyword(ast)) return "text"
  if (AST.isNumberKeyword(ast)) return "a number"
  if (AST.isBooleanKeyword(ast)) return "true or false"
  return AST.isLiteral(ast) ? JSON.stringify(ast.literal) : ""
}

const nouns = (schema: Schema.Schema.All, path: Path): string =>
  [...new Set(typesAt(schema, path).map(nounOf))].filter((noun) => noun !== "").join(" or ")

/** The message of an option says what was found too, and where it is from depends on the module. */
const expectedOf = (message: string): string | undefined => {
  const [, after] = /^found [\s\S]*, expected ([\s\S]+)$/.exec(message) ?? []
  const [, before] = /^expected ([\s\S]+?), found /.exec(message) ?? []
  return after ?? before
}

/**
 * An issue: where, and what was expected. `unknown` marks a key that is not one.
 *
 * @since 0.2.0
 * @category models
 */
export interface Issue {
  readonly path: Path
  readonly expected: string
  /** The name of a record that may not be one. */
  readonly isName: boolean
  readonly reason: "wrong" | "missing" | "unknown"
}

const within = (inner: Path, outer: Path): boolean =>
  inner.length >= outer.length && outer.every((part, index) => inner[index] === part)

/** What a record says of its keys. */
const keyWords = (asts: ReadonlyArray<AST.AST>): string | undefined => {
  for (const ast of asts) {
    for (const { parameter } of AST.isTypeLiteral(ast) ? ast.indexSignatures : []) {
      const worded = Option.getOrUndefined(AST.getMessageAnnotation(parameter))?.({ _tag: "Missing" } as never)
      const message = typeof worded === "object" && "message" in worded ? worded.message : undefined
      const words = typeof message === "string" ? expectedOf(message) : undefined
      return words ?? Option.getOrUndefined(AST.getDescriptionAnnotation(parameter))
    }
  }
  return undefined
}

/** Keys that objects of one level have in common may stand one level too deep or too high. */
const unknownKey = (schema: Schema.Schema.All, path: Path): string => {
  const name = String(path[path.length - 1])
  const keys = keysAt(schema, path.slice(0, -1))
  const words = keyWords(typesAt(schema, path.slice(0, -1)))
  if (words !== undefined) return words
  const near = closest(name, keys)
  if (near !== undefined) return `a known key (did you mean ${near}?)`
  const above = path.slice(0, -2)
  if (path.length > 1 && keysAt(schema, above).includes(name)) return `it one level higher`
  const below = keys.find((key) => keysAt(schema, [...path.slice(0, -1), key]).includes(name))
  return below === undefined ? `one of the keys ${keys.join(", ")}` : `it in ${below}`
}

/**
 * The issues of a failed decoding. Of the issues of one union only the deepest are told.
 *
 * @since 0.2.0
 * @category getters
 */
export const issuesOf = (schema: Schema.Schema.All, error: ParseResult.ParseError): ReadonlyArray<Issue> => {
  const all = ParseResult.ArrayFormatter.formatErrorSync(error).map(({ _tag, message, path }) => ({
    _tag,
    message,
    path: path as Path
  }))
  const told = new Map<string, Issue>()
  for (const { _tag, message, path } of all) {
    if (message.startsWith("Expected undefined")) continue
    if (all.some((other) => other.path.length > path.length && within(other.path, path))) continue
    const key = JSON.stringify(path)
    if (told.has(key)) continue
    if (_tag === "Unexpected") {
      const isName = keyWords(typesAt(schema, path.slice(0, -1))) !== undefined
      told.set(key, { path, reason: "unknown", expected: unknownKey(schema, path), isName })
    } else {
      const expected = expectedOf(message) ?? (nouns(schema, path) || "another value")
      told.set(key, { path, expected, reason: _tag === "Missing" ? "missing" : "wrong", isName: false })
    }
  }
  return [...told.values()]
}
