import { execFile } from "node:child_process"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { assert, describe, it } from "vitest"

const root = fileURLToPath(new URL("..", import.meta.url))
const tsx = fileURLToPath(new URL("../node_modules/tsx/dist/cli.mjs", import.meta.url))
const run = promisify(execFile)

/** What each example is there to show. */
const shows: Record<string, ReadonlyArray<string>> = {
  "agent-budget.ts": ["all five questions answered", "limit of attempts", "limit of usd", "spent 2400 tokens"],
  "custom-schedule.ts": ["patience pays", "so does persistence"],
  "deterministic-test.ts": ["ok: 3 attempts"],
  "fallback-by-error.ts": ["served by large-window", "served by local", "nobody is asked again"],
  "outage.ts": ["Five retries", "Steadfast", "requests for 600 calls"],
  "quickstart.ts": ["RateLimited > Overloaded > ok", "claude-haiku-4-5", "AuthError", "nobody"],
  "rate-limits.ts": ["Retry alone", "100 of 100 jobs done", "A queue that learns it"],
  "streaming.ts": ["StreamInterrupted", "from the top", "repeated characters cut off", "Timeout"],
  "typed-errors.ts": ["check the key of openai", "top up the account", "come back in 10m", "unhandled: ModelNotFound"]
}

const examples = readdirSync(`${root}/examples`).filter((name) => name.endsWith(".ts"))

describe("the examples", () => {
  it("are all known here", () => {
    assert.sameMembers(examples, Object.keys(shows))
  })

  it.each(examples)("%s fits on a page", (name) => {
    assert.isAtMost(readFileSync(`${root}/examples/${name}`, "utf8").trimEnd().split("\n").length, 60)
  })

  it.concurrent.each(examples)(
    "%s runs without a key and shows what it says",
    async (name) => {
      const { stdout } = await run(process.execPath, [tsx, `examples/${name}`], {
        cwd: root,
        env: { ...process.env, OPENAI_API_KEY: "", ANTHROPIC_API_KEY: "" }
      })
      for (const text of shows[name] ?? []) assert.include(stdout, text)
    },
    60_000
  )
})
