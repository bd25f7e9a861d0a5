import { spawn } from "node:child_process"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { request as send } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"

const root = fileURLToPath(new URL("../../", import.meta.url))

/** A gateway of several workers, and its file. */
export interface Fleet {
  readonly url: string
  readonly folder: string
  readonly file: string
  /** What it has said, on both outputs. */
  readonly said: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  /** Its exit: a code, or the signal that ended it. */
  readonly ended: Promise<number | string | null>
}

/** `steadfast gateway --workers` on a free port. `{folder}` in the text of the file is a folder of its own. */
export const fleet = (text: string, workers: number): Effect.Effect<Fleet, never, Scope.Scope> => {
  const folder = mkdtempSync(join(tmpdir(), "steadfast-workers-"))
  const file = join(folder, "gateway.yaml")
  writeFileSync(file, text.replaceAll("{folder}", folder))
  const args = ["--import", "tsx", "src/bin.ts", "gateway", "--config", file, "--port", "0"]
  const started = new Promise<Fleet>((resolve, reject) => {
    let said = ""
    const child = spawn(process.execPath, [...args, "--workers", String(workers)], {
      cwd: root,
      env: { PATH: process.env.PATH },
      stdio: ["ignore", "pipe", "pipe"]
    })
    const ended = new Promise<number | string | null>((end) =>
      child.once("exit", (code, signal) => end(signal ?? code))
    )
    const take = (chunk: Buffer): void => {
      said += String(chunk)
      const url = /gateway: (http:\/\/127\.0\.0\.1:\d+), /.exec(said)?.[1]
      if (url === undefined) return
      resolve({ url, folder, file, said: () => said, signal: (signal) => void child.kill(signal), ended })
    }
    child.stdout.on("data", take)
    child.stderr.on("data", take)
    void ended.then((exit) => reject(new Error(`the gateway ended with ${exit}: ${said}`)))
  })
  return Effect.acquireRelease(
    Effect.promise(() => started),
    (fleet) =>
      Effect.promise(async () => {
        // Workers end with their primary.
        fleet.signal("SIGKILL")
        await fleet.ended
        rmSync(folder, { recursive: true, force: true })
      })
  )
}

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
