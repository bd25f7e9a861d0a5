/**
 * Writes the shorthands of a file out, so that one schema fits: `fast: openai/gpt-4o-mini`, `timeout: 30 seconds`,
 * `hedge: true`, `keyFile`, and the names of other gateways.
 *
 * @since 0.2.0
 */

import { FileKeys } from "./FileKeys.js"
import type { Path } from "./Problem.js"
import type * as Report from "./Report.js"
import * as Retries from "./Retries.js"
import * as Tree from "./Tree.js"

/** A key without a value says nothing, as if all below it were commented out. */
const withoutNulls = (tree: unknown): unknown => {
  if (Array.isArray(tree)) return tree.map(withoutNulls)
  if (!Tree.isFields(tree)) return tree
  return Object.fromEntries(
    Object.entries(tree).flatMap(([key, value]) => (value === null ? [] : [[key, withoutNulls(value)]]))
  )
}

const isText = (value: unknown): value is string => typeof value === "string"

const isScalar = (value: unknown): boolean => isText(value) || typeof value === "number"

/** Gives a value another place, if there is none yet. */
const move = (
  fields: Tree.Fields,
  at: Path,
  key: string,
  to: string,
  report: Report.Report,
  change: (value: unknown) => unknown = (value) => value
): void => {
  if (!Object.hasOwn(fields, key)) return
  if (Object.hasOwn(fields, to)) report.add([...at, key], `either ${key} or ${to}`, "both")
  else {
    fields[to] = change(fields[key])
    report.moved([...at, to], [...at, key])
  }
  delete fields[key]
}

const asFile = (path: unknown): unknown => (isText(path) && !path.startsWith("file:") ? `file:${path}` : path)

/** Makes a value the only one of a list. */
const listed = (fields: Tree.Fields, at: Path, key: string, report: Report.Report, is: (value: unknown) => boolean) => {
  if (!is(fields[key])) return
  fields[key] = [fields[key]]
  report.moved([...at, key, 0], [...at, key])
}

const limits = (fields: Tree.Fields, at: Path, report: Report.Report): void => {
  if (Tree.isFields(fields.retry)) fields.retry = Retries.retry(fields.retry, [...at, "retry"], report)
  if (isScalar(fields.timeout)) {
    fields.timeout = { attempt: fields.timeout }
    report.moved([...at, "timeout", "attempt"], [...at, "timeout"])
  }
}

const policies = (fields: Tree.Fields, at: Path, report: Report.Report): void => {
  limits(fields, at, report)
  if (fields.hedge === true || fields.hedge === "true") fields.hedge = {}
  Retries.fallback(fields, at, report)
  listed(fields, at, "fallbacks", report, isText)
}

const target = (given: unknown, at: Path, report: Report.Report): unknown => {
  if (isText(given)) {
    report.moved([...at, "target"], at)
    return { target: given }
  }
  if (Tree.isFields(given)) limits(given, at, report)
  return given
}

const model = (given: unknown, at: Path, report: Report.Report): unknown => {
  const isShort = isText(given) || Array.isArray(given)
  if (isShort) report.moved([...at, "targets"], at)
  const fields: unknown = isShort ? { targets: given } : given
  if (!Tree.isFields(fields)) return fields
  move(fields, at, "target", "targets", report)
  listed(fields, at, "targets", report, (value) => isText(value) || Tree.isFields(value))
  listed(fields, at, "aliases", report, isText)
  policies(fields, at, report)
  if (Array.isArray(fields.targets)) {
    fields.targets = fields.targets.map((one, index) => target(one, [...at, "targets", index], report))
  }
  return fields
}

const provider = (fields: Tree.Fields, at: Path, report: Report.Report): void => {
  move(fields, at, "keyFile", "key", report, asFile)
  move(fields, at, "key", "keys", report)
  listed(fields, at, "keys", report, isScalar)
}

const each = (value: unknown, at: Path, change: (fields: Tree.Fields, at: Path) => void): void => {
  for (const [key, inner] of Array.isArray(value)
    ? value.entries()
    : Tree.isFields(value)
      ? Object.entries(value)
      : []) {
    if (Tree.isFields(inner)) change(inner, [...at, key])
  }
}

/** Policies at the top of a file are meant for all models. */
const toDefaults = (file: Tree.Fields, report: Report.Report): void => {
  for (const key of FileKeys.policies) {
    if (!Object.hasOwn(file, key)) continue
    if (file.defaults !== undefined && !Tree.isFields(file.defaults)) return
    const defaults = file.defaults ?? {}
    if (Object.hasOwn(defaults, key)) report.add([key], `it in defaults alone`, "it twice")
    else {
      file.defaults = { ...defaults, [key]: file[key] }
      report.moved(["defaults", key], [key])
      report.note(`${key} at the top is read as defaults.${key}`)
    }
    delete file[key]
  }
}

/**
 * The file with its shorthands written out. The value is a copy.
 *
 * @since 0.2.0
 * @category combinators
 */
export const expand = (given: unknown, report: Report.Report): unknown => {
  const file = withoutNulls(given)
  if (!Tree.isFields(file)) return file
  // A place for anchors.
  for (const key of Object.keys(file)) if (key.startsWith("x-")) delete file[key]
  toDefaults(file, report)
  if (Tree.isFields(file.server)) {
    move(file.server, ["server"], "adminKeyFile", "adminKey", report, asFile)
  }
  each(file.providers, ["providers"], (fields, at) => provider(fields, at, report))
  each(file.keys, ["keys"], (fields, at) => move(fields, at, "keyFile", "key", report, asFile))
  if (Tree.isFields(file.models)) {
    for (const [name, one] of Object.entries(file.models)) file.models[name] = model(one, ["models", name], report)
  }
  if (Tree.isFields(file.defaults)) policies(file.defaults, ["defaults"], report)
  if (Tree.isFields(file.observability) && isText(file.observability.otlp)) {
    file.observability.otlp = { url: file.observability.otlp }
    report.moved(["observability", "otlp", "url"], ["observability", "otlp"])
  }
  return file
}
