// `npm run mutate [part of a file name …]`: changes the files that decide, one small mutation at a time, and prints for
// each file the share of mutations that its tests notice. Fails below 90 %. Takes minutes for each file; the survivors
// are in mutate/reports/.
import { Stryker } from "@stryker-mutator/core"

const least = 90

/** Each file with the tests that are about it, and no others: what only a far test notices is not tested. */
const files = {
  "src/errors/RetryHint.ts": ["test/errors/RetryHint.test.ts", "test/errors/Hints.test.ts"],
  "src/policies/retry/RetryDecision.ts": [
    "test/policies/retry/RetryDecision.test.ts",
    "test/policies/retry/RetryPolicy.blocks.test.ts"
  ],
  "src/chat/stream/Sse.ts": ["test/chat/stream/Sse.test.ts"],
  "src/providers/wire/Assembly.ts": ["test/providers/Assembly.test.ts"],
  "src/policies/circuit/TripPolicy.ts": [
    "test/policies/circuit/TripPolicy.test.ts",
    "test/policies/circuit/CircuitBreaker.state.test.ts",
    "test/policies/Options.test.ts"
  ],
  "src/policies/pacer/Gcra.ts": ["test/policies/pacer/Gcra.test.ts", "test/policies/Times.test.ts"],
  "src/policies/circuit/CircuitState.ts": [
    "test/policies/circuit/CircuitBreaker.state.test.ts",
    "test/policies/Times.test.ts"
  ]
}

const percent = (part, whole) => (whole === 0 ? 100 : (100 * part) / whole)

const mutate = async (file, tests) => {
  process.env.MUTATE_TESTS = tests.join(" ")
  const name = file.replace(/^.*\/|\.ts$/g, "")
  const results = await new Stryker({
    mutate: [file],
    plugins: ["@stryker-mutator/vitest-runner"],
    testRunner: "vitest",
    vitest: { configFile: "mutate/vitest.config.ts", related: false },
    ignorePatterns: ["bench", "docs", "dist", "mutate/reports"],
    tempDirName: "mutate/.tmp",
    // None to rewrite: that needs the programming interface of TypeScript 5.
    tsconfigFile: "none",
    coverageAnalysis: "perTest",
    concurrency: 2,
    // What hangs counts as noticed. On a busy machine that may be said of others too, so let it run alone.
    timeoutMS: 5000,
    reporters: ["clear-text", "json", "progress-append-only"],
    clearTextReporter: { allowColor: false, allowEmojis: false, logTests: false, reportTests: false },
    jsonReporter: { fileName: `mutate/reports/${name}.json` },
    logLevel: "info",
    allowConsoleColors: false
  }).runMutationTest()
  const count = (...statuses) => results.filter(({ status }) => statuses.includes(status)).length
  const noticed = count("Killed", "Timeout")
  return { file, noticed, of: noticed + count("Survived", "NoCoverage") }
}

const chosen = Object.entries(files).filter(
  ([file]) => process.argv.length === 2 || process.argv.slice(2).some((part) => file.includes(part))
)
const scores = []
for (const [file, tests] of chosen) scores.push(await mutate(file, tests))
for (const { file, noticed, of } of scores) {
  console.log(`${percent(noticed, of).toFixed(1).padStart(5)} %  ${file} (${noticed} of ${of})`)
}
process.exitCode = scores.every(({ noticed, of }) => percent(noticed, of) >= least) ? 0 : 1
