/** What it costs to have the package at all: to load it in a cold process, and to send it in a bundle. */
import { fileURLToPath } from "node:url"
import type { Case, Goal, Table } from "./case.js"

/** Loads packages in a process that has loaded nothing but the measuring; `there` are loaded before. */
const loaded = (name: string, specifiers: ReadonlyArray<string>, there: ReadonlyArray<string> = []): Case => ({
  name,
  make: async () => ({
    sample: async () => {
      for (const specifier of there) await import(specifier)
      globalThis.gc?.()
      const before = process.memoryUsage()
      const start = performance.now()
      for (const specifier of specifiers) await import(specifier)
      const millis = performance.now() - start
      globalThis.gc?.()
      const after = process.memoryUsage()
      return { millis, rss: after.rss - before.rss, heap: after.heapUsed - before.heapUsed }
    }
  })
})

/** The modules that most begin with. */
const modules = ["Chat", "ChatModel", "OpenAi", "RetryPolicy"]

const entries = modules.map((module) => `effect-steadfast/${module}`)

const imports: Table = {
  title: "a cold import",
  fresh: true,
  columns: [
    { head: "ms", figure: "millis", show: "mean", digits: 0 },
    { head: "± %", figure: "millis", show: "spread", digits: 0 },
    { head: "resident", figure: "rss", show: "mean", unit: "MiB" },
    { head: "heap", figure: "heap", show: "mean", unit: "MiB" }
  ],
  cases: [
    loaded("effect-steadfast", ["effect-steadfast"]),
    loaded("effect-steadfast, effect and platform there", ["effect-steadfast"], ["effect", "@effect/platform"]),
    loaded("its four modules of an app", entries),
    loaded("its four modules of an app, effect and platform there", entries, ["effect", "@effect/platform"]),
    loaded("openai", ["openai"]),
    loaded("ai and @ai-sdk/openai", ["ai", "@ai-sdk/openai"])
  ]
}

const fromRoot = `import { ${modules.join(", ")} } from "effect-steadfast"`

const fromModules = modules.map((module) => `import * as ${module} from "effect-steadfast/${module}"`).join("\n")

const asking = (imports: string, policies: ReadonlyArray<string>): string => `
  ${imports}
  import * as Effect from "effect/Effect"
  export const answer = Effect.flatMap(OpenAi.make({ model: "gpt-4o-mini" }), (model) =>
    model.pipe(${policies.join(", ")}).generate(Chat.prompt("Hello"))
  )`

const retry = ["ChatModel.retry(RetryPolicy.standard)"]

const composed = [
  'ChatModel.timeout({ attempt: "30 seconds" })',
  ...retry,
  "ChatModel.orElse(model)",
  'ChatModel.deadline("90 seconds")'
]

const openAiApp = `
  import OpenAI from "openai"
  export const answer = () =>
    new OpenAI().chat.completions.create({ model: "gpt-4o-mini", messages: [{ role: "user", content: "Hello" }] })`

const aiApp = `
  import { createOpenAI } from "@ai-sdk/openai"
  import { generateText } from "ai"
  export const answer = () => generateText({ model: createOpenAI().chat("gpt-4o-mini"), prompt: "Hello" })`

const bundled = (name: string, contents: string, goals: ReadonlyArray<Goal> = []): Case => ({
  name,
  goals,
  make: async () => ({
    sample: async () => {
      const { build } = await import("esbuild")
      const { outputFiles } = await build({
        stdin: { contents, resolveDir: fileURLToPath(new URL(".", import.meta.url)) },
        bundle: true,
        minify: true,
        format: "esm",
        platform: "browser",
        external: ["effect", "@effect/platform"],
        tsconfigRaw: {},
        write: false,
        logLevel: "error"
      })
      return { bytes: outputFiles[0]?.contents.length ?? Number.NaN }
    }
  })
})

const bundles: Table = {
  title: "a bundle, minified, without effect and platform",
  rounds: 1,
  fresh: true,
  columns: [{ head: "size", figure: "bytes", show: "mean", unit: "kB" }],
  cases: [
    bundled("Steadfast, an app with one provider and retry", asking(fromModules, retry), [
      { figure: "bytes", most: 100_000 }
    ]),
    bundled("Steadfast, with timeout, deadline and fallback too", asking(fromModules, composed)),
    bundled("Steadfast, the latter over the root entry", asking(fromRoot, composed)),
    bundled("Steadfast, everything", `export * from "effect-steadfast"`),
    bundled("openai SDK, an app", openAiApp),
    bundled("AI SDK, an app", aiApp)
  ]
}

export const tables: ReadonlyArray<Table> = [imports, bundles]
