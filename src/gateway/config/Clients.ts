/**
 * The keys of clients: of each only the SHA-256 is kept.
 *
 * @since 0.2.0
 */

import type { File } from "./FileSchema.js"
import { oneOf } from "./Problem.js"
import type * as Report from "./Report.js"
import type * as Resolved from "./Resolved.js"
import * as Secrets from "./Secrets.js"

/** A SHA-256 hides a key only while nobody can try all keys of its length. */
const shortKey = 16

/**
 * The clients of a file. `names` has the name of a model for each name that a client may use.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (
  file: File,
  names: ReadonlyMap<string, string>,
  report: Report.Report
): ReadonlyArray<Resolved.ClientKey> => {
  const seen = new Map<string, string>()
  const clients = new Set<string>()
  return (file.keys ?? []).flatMap((given, index) => {
    const at = ["keys", index]
    const { hash, key, labels, maxConcurrent, models, name, requestsPerMinute, tokensPerMinute, usdPerDay } = given
    if (clients.has(name)) report.add([...at, "name"], "another name: a client has it already")
    clients.add(name)
    if (key !== undefined && hash !== undefined) report.add(at, "one of key, keyFile and hash", "key and hash")
    if (key === undefined && hash === undefined) {
      if (!report.has(at)) report.add(at, "key, keyFile or hash", "none of them")
      return []
    }
    const isHashed = key === undefined || /^sha256:[0-9a-f]{64}$/i.test(key)
    const digest = isHashed ? (hash ?? key ?? "").slice("sha256:".length).toLowerCase() : Secrets.hashOf(key)
    if (!isHashed && key.length < shortKey) {
      report.note(`${report.where([...at, "key"])} has fewer than ${shortKey} characters: it can be guessed`)
    }
    const other = seen.get(digest)
    if (other !== undefined) {
      report.add([...at, key === undefined ? "hash" : "key"], `another key: ${other} has it already`, "a key twice")
    }
    seen.set(digest, name)
    const allowed = models?.includes("*")
      ? undefined
      : models?.flatMap((model, place) => {
          const found = names.get(model)
          if (found === undefined) {
            report.add([...at, "models", place], oneOf(model, names.keys(), "a model of this file"))
          }
          return found === undefined ? [] : [found]
        })
    return [
      {
        name,
        hash: digest,
        models: allowed && [...new Set(allowed)],
        requestsPerMinute,
        tokensPerMinute,
        maxConcurrent,
        usdPerDay,
        labels: labels ?? {}
      }
    ]
  })
}
