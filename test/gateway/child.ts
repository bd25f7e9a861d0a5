import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { Effect, type Scope } from "effect"

const root = fileURLToPath(new URL("../../", import.meta.url))

export interface Child {
  readonly url: string
  readonly port: number
  /** What it has said, on both outputs. */
  readonly said: () => string
  readonly signal: (signal: NodeJS.Signals) => void
  /** Its exit: a code, or the signal that ended it. */
  readonly ended: Promise<number | string | null>
}

const address = /gateway: http:\/\/127\.0\.0\.1:(\d+)/

/** `steadfast gateway` in a process of its own, on a free port. It is ready when it says `ready`, with its port. */
export const gatewayProcess = (
  file: string,
  args: ReadonlyArray<string> = [],
  ready = address
): Effect.Effect<Child, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(
      () =>
        new Promise<Child>((resolve, reject) => {
          let text = ""
          const child = spawn(
            process.execPath,
            ["--import", "tsx", "src/bin.ts", "gateway", "--config", file, "--port", "0", ...args],
            {
              cwd: root,
              env: { PATH: process.env.PATH },
              stdio: ["ignore", "pipe", "pipe"]
            }
          )
          const ended = new Promise<number | string | null>((end) =>
            child.once("exit", (code, signal) => end(signal ?? code))
          )
          const take = (chunk: Buffer): void => {
            text += String(chunk)
            const port = ready.exec(text)?.[1]
            if (port === undefined) return
            resolve({
              url: `http://127.0.0.1:${port}`,
              port: Number(port),
              said: () => text,
              signal: (signal) => void child.kill(signal),
              ended
            })
          }
          child.stdout.on("data", take)
          child.stderr.on("data", take)
          void ended.then((exit) => reject(new Error(`the gateway ended with ${exit}: ${text}`)))
        })
    ),
    (child) =>
      Effect.promise(async () => {
        child.signal("SIGKILL")
        await child.ended
      })
  )
