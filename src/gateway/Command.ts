/**
 * The commands of the gateway: `steadfast gateway`, `steadfast status`, `steadfast import`. What they run is loaded
 * when they are called, so that the other commands start without it.
 *
 * @since 0.2.0
 */

import { readFileSync } from "node:fs"
import { setFlagsFromString } from "node:v8"
import * as Args from "@effect/cli/Args"
import * as Command from "@effect/cli/Command"
import * as CliOptions from "@effect/cli/Options"
import * as Console from "effect/Console"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Loopback from "../http/Loopback.js"
import type { Config } from "./config/Resolved.js"

/** What the user got wrong. */
class Mistake extends Data.TaggedError("Mistake")<{ readonly message: string }> {}

const mistake = (message: string): Effect.Effect<never, Mistake> => Effect.fail(new Mistake({ message }))

const textOf = (file: string): Effect.Effect<string, Mistake> =>
  Effect.try({
    try: () => readFileSync(file, "utf8"),
    catch: (cause) =>
      new Mistake({
        message:
          (cause as { readonly code?: unknown }).code === "ENOENT"
            ? `there is no file ${file}`
            : `cannot read ${file}: ${String((cause as { readonly code?: unknown }).code ?? cause)}`
      })
  })

/** The configuration of a file, or the embedded one. */
const configOf = (file: string | undefined) =>
  Effect.gen(function* () {
    const GatewayConfig = yield* Effect.promise(() => import("./GatewayConfig.js"))
    if (file === undefined) return yield* GatewayConfig.embedded(process.env)
    const text = yield* textOf(file)
    return yield* GatewayConfig.parse(text, {
      file,
      env: process.env,
      readFile: (path) => Effect.mapError(textOf(path), ({ message }) => message)
    })
  })

const config = CliOptions.file("config").pipe(
  CliOptions.withDescription("The file, YAML or JSON; without it models for the keys in the environment, or a demo"),
  CliOptions.optional
)
const port = CliOptions.integer("port").pipe(
  CliOptions.withDescription("The port, 0 for a free one; by default that of the file, or 4000"),
  CliOptions.optional
)
const host = CliOptions.text("host").pipe(
  CliOptions.withDescription("The address to listen on; by default that of the file, or 127.0.0.1"),
  CliOptions.optional
)
const workers = CliOptions.integer("workers").pipe(
  CliOptions.withDescription("How many processes serve the port; limits and circuits stay those of one gateway"),
  CliOptions.withDefault(1)
)
const check = CliOptions.boolean("check").pipe(
  CliOptions.withDescription("Print what the file says for each model, and do not start")
)

/** The primary serves all of them: more would only wait for it. */
const mostWorkers = 64

/**
 * After a while V8 allocates what a fiber needs in the old space, where it stays until the next full collection: half
 * of the cost of a call, and memory that grows to many times of what is held. A process that serves turns that off.
 */
const keepYoung = (): void => setFlagsFromString("--no-allocation-site-pretenuring")

/**
 * Whether a gateway may listen on a host: others that can reach it need a key, unless the file says that they do not.
 *
 * @internal
 */
export const isSafe = ({ keys, server }: Pick<Config, "keys" | "server">, host: string): boolean =>
  keys.length > 0 || server.open || Loopback.isHost(host)

/**
 * `steadfast gateway`.
 *
 * @since 0.2.0
 * @category commands
 */
export const gateway = Command.make("gateway", { config, port, host, workers, check }, (given) =>
  Effect.gen(function* () {
    const file = Option.getOrUndefined(given.config)
    const wanted = Option.getOrUndefined(given.port)
    const at = Option.getOrUndefined(given.host)
    if (wanted !== undefined && (wanted < 0 || wanted > 65_535)) {
      return yield* mistake(`--port ${wanted}: expected 0 to 65535`)
    }
    if (given.workers < 1 || given.workers > mostWorkers) {
      return yield* mistake(`--workers ${given.workers}: expected 1 to ${mostWorkers}`)
    }
    if (given.check) {
      const GatewayConfig = yield* Effect.promise(() => import("./GatewayConfig.js"))
      const Unpriced = yield* Effect.promise(() => import("./Unpriced.js"))
      const found = yield* configOf(file)
      const notes = [...found.notes, ...(yield* Unpriced.lines(found))]
      return yield* Console.log(GatewayConfig.describe({ ...found, notes }))
    }
    const read = Effect.filterOrElse(
      configOf(file),
      (found) => at === undefined || isSafe(found, at),
      () => mistake(`--host ${at}: others can reach it, expected client keys or server.open: true in the file`)
    )
    keepYoung()
    const options = { read, file, host: at, port: wanted }
    if (given.workers > 1) {
      const Workers = yield* Effect.promise(() => import("./workers/Workers.js"))
      return yield* Workers.run(options, given.workers)
    }
    const Launch = yield* Effect.promise(() => import("./Launch.js"))
    yield* Launch.run(options)
  })
).pipe(Command.withDescription("Serves OpenAI, Anthropic and Gemini clients over the models of a file"))

const url = CliOptions.text("url").pipe(
  CliOptions.withDescription("The address of the gateway"),
  CliOptions.withDefault("http://127.0.0.1:4000")
)
const json = CliOptions.boolean("json").pipe(CliOptions.withDescription("Print JSON"))

/**
 * `steadfast status`. The admin key is read from `STEADFAST_ADMIN_KEY`.
 *
 * @since 0.2.0
 * @category commands
 */
export const status = Command.make("status", { url, json }, (given) =>
  Effect.gen(function* () {
    const { text } = yield* Effect.promise(() => import("./StatusText.js"))
    const key = process.env.STEADFAST_ADMIN_KEY
    const headers = key === undefined || key === "" ? {} : { authorization: `Bearer ${key}` }
    const address = `${given.url.replace(/\/+$/, "")}/status`
    const response = yield* Effect.tryPromise({
      try: (signal) => fetch(address, { headers, signal, redirect: "manual" }),
      catch: () => new Mistake({ message: `no gateway answers at ${given.url}` })
    })
    if (response.status === 401 || response.status === 403) {
      return yield* mistake(`${given.url} wants the admin key: set STEADFAST_ADMIN_KEY`)
    }
    const found = yield* Effect.tryPromise({
      try: () => response.json() as Promise<unknown>,
      catch: () => new Mistake({ message: `${address} answers ${response.status}, and no state of a gateway` })
    })
    yield* Console.log(given.json ? JSON.stringify(found, undefined, 2) : text(found))
  })
).pipe(Command.withDescription("Tells what a running gateway knows: models, circuits, clients"))

const foreign = Args.file({ name: "FILE" }).pipe(
  Args.withDescription("LiteLLM's config.yaml, or Portkey's config JSON")
)

/**
 * `steadfast import`.
 *
 * @since 0.2.0
 * @category commands
 */
export const importing = Command.make("import", { foreign }, (given) =>
  Effect.gen(function* () {
    const ConfigImport = yield* Effect.promise(() => import("./ConfigImport.js"))
    const found = yield* ConfigImport.fromText(yield* textOf(given.foreign), given.foreign)
    yield* Console.log(found.text)
    for (const line of found.notCarried) yield* Console.error(`not carried over: ${line}`)
  })
).pipe(
  Command.withDescription("Prints the file for a configuration of another gateway, and what it could not carry over")
)
