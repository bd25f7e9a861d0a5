import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { request as send } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, type Scope } from "effect"
import { type Child, gatewayProcess } from "./child.js"

/** A gateway of several workers, and its file. */
export interface Fleet extends Child {
  readonly folder: string
  readonly file: string
}

/** A folder that is gone at the end. */
const scratch = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "steadfast-workers-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
)

/** What is said when all workers serve: their number follows the address. */
const ready = /gateway: http:\/\/127\.0\.0\.1:(\d+), /

/** `steadfast gateway --workers` on a free port. `{folder}` in the text of the file is a folder of its own. */
export const fleet = (text: string, workers: number): Effect.Effect<Fleet, never, Scope.Scope> =>
  Effect.gen(function* () {
    const folder = yield* scratch
    const file = join(folder, "gateway.yaml")
    writeFileSync(file, text.replaceAll("{folder}", folder))
    // Workers end with their primary.
    const child = yield* gatewayProcess(file, ["--workers", String(workers)], ready)
    return { ...child, folder, file }
  })

/** An answer; `status` is 0 where the connection was broken before one. */
export interface Heard {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
  /** Whether it was broken off. */
  readonly cut: boolean
}

/** Asks over a connection of its own: the next worker gets it. */
export const ask = (url: string, path: string, body?: object, key?: string): Effect.Effect<Heard> =>
  Effect.promise(
    () =>
      new Promise<Heard>((resolve) => {
        const text = body && JSON.stringify(body)
        const request = send(
          url + path,
          {
            method: text === undefined ? "GET" : "POST",
            agent: false,
            headers: {
              "content-type": "application/json",
              ...(key === undefined ? {} : { authorization: `Bearer ${key}` })
            }
          },
          (response) => {
            let heard = ""
            let whole = false
            response.setEncoding("utf8").on("data", (chunk: string) => {
              heard += chunk
            })
            response.on("end", () => {
              whole = true
            })
            response.on("error", () => {})
            response.on("close", () =>
              resolve({ status: response.statusCode ?? 0, headers: response.headers, body: heard, cut: !whole })
            )
          }
        )
        request.on("error", () => resolve({ status: 0, headers: {}, body: "", cut: true }))
        request.end(text)
      })
  )
