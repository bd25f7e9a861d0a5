import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { Worker } from "node:worker_threads"
import { build } from "esbuild"
import { afterAll, assert, beforeAll, describe, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))

/** What each example is there to show. */
const shows: Record<string, ReadonlyArray<string>> = {
  "agent-budget.ts": ["all five questions answered", "limit of attempts", "limit of usd", "spent 2400 tokens"],
  "agent.ts": ["attempt 1 of 8", "pays order 7 back", "I have paid order 7 back to you. (12 messages"],
  "batch.ts": ["of 400 rows are done", "all 400 rows are done", "400 lines in the file"],
  "conversation.ts": [
    "failed: Overloaded",
    ...["request 2", "request 3", "request 4"].map(
      (request) => `${request}\n  user      text\n  assistant thinking, tool_use\n            signed c2lnbmVk\n`
    )
  ],
  "custom-schedule.ts": ["patience pays", "so does persistence"],
  "deterministic-test.ts": ["ok: 3 attempts"],
  "embeddings.ts": [
    "embeddings: ok, ",
    "250 vectors of 1536 numbers",
    'the nearest is "document 123"',
    "RangeError: EmbeddingModel.orElse: found",
    "offered: text-embedding-3-small, gpt-4o-mini"
  ],
  "evaluation.ts": ["40 judged, mean 0.90", "40 judged, mean 0.40", "failed 0 times", "later answers: lower"],
  "fallback-by-error.ts": ["served by large-window", "served by local", "nobody is asked again"],
  "gateway.ts": [
    "200 Hello from GPT.",
    "2 attempts, 1 retries, 0 fallbacks",
    "200 Hello from Claude.",
    "3 attempts, 1 retries, 1 fallbacks",
    "served by claude/claude-haiku-4-5",
    "401 this key is not known here"
  ],
  "http-sse.ts": ["never sees:\nShall I", "temperate.", "✂", "4 requests, and the last one was cancelled"],
  "outage.ts": ["Five retries", "Steadfast", "requests for 600 calls"],
  "quickstart.ts": ["RateLimited > Overloaded > ok", "claude-haiku-4-5", "nobody", "npm run dashboard"],
  "rate-limits.ts": ["Retry alone", "100 of 100 jobs done", "A queue that learns it"],
  "streaming.ts": ["StreamInterrupted", "from the top", "repeated characters cut off", "Timeout"],
  "structured.ts": [
    "2 × desk for Ada, due 2026-05-01",
    "1 × lamp for Grace, due some day",
    "4 × chair for Edsger, due some day",
    "1 × desk for Barbara, due 2026-06-02",
    "found text (26 characters), expected one JSON value and nothing else\n  then ok",
    'answer.item: found a string, expected "desk" or "lamp" or "chair"; answer.count: found a number',
    "Rate limit reached"
  ],
  "typed-errors.ts": ["check the key of openai", "top up the account", "come back in 10m", "unhandled: ModelNotFound"]
}

const examples = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".ts"))

/** Where the examples are bundled: read as sources, each would compile all of Effect for itself. */
let bundles = ""

beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), "steadfast-examples-"))
  await build({
    entryPoints: examples.map((name) => join(root, "examples", name)),
    outdir: bundles,
    outExtension: { ".js": ".mjs" },
    tsconfig: join(root, "tsconfig.json"),
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    // undici, inside of an ES module, asks for Node's own modules with `require`.
    banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url)' },
    logLevel: "warning"
  })
})

afterAll(() => rmSync(bundles, { recursive: true, force: true }))

/** Runs an example in a thread of its own: what it printed, or the error that ended it. */
const run = async (name: string): Promise<string> => {
  const thread = new Worker(join(bundles, name.replace(/\.ts$/, ".mjs")), {
    env: { ...process.env, OPENAI_API_KEY: "", ANTHROPIC_API_KEY: "" },
    argv: [],
    execArgv: [],
    stdout: true
  })
  const ended = new Promise<void>((resolve, reject) => {
    thread.on("error", reject)
    thread.on("exit", (code) => (code === 0 ? resolve() : reject(new Error(`${name} exits with ${code}`))))
  })
  const [printed] = await Promise.all([text(thread.stdout), ended])
  return printed
}

describe("the examples", () => {
  it("are all known here", () => {
    assert.sameMembers(examples, Object.keys(shows))
  })

  it.each(examples)("%s fits on a page", (name) => {
    assert.isAtMost(readFileSync(`${root}/examples/${name}`, "utf8").trimEnd().split("\n").length, 60)
  })

  it.concurrent.each(examples)("%s runs without a key and shows what it says", async (name) => {
    const printed = await run(name)
    for (const text of shows[name] ?? []) assert.include(printed, text)
  })
})
