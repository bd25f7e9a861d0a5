import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    setupFiles: ["test/support/breathe.ts"],
    // Against what hangs, not against what is slow: a busy machine fails no law.
    testTimeout: 900_000,
    hookTimeout: 900_000,
    // Loading Effect costs a test file a second: files that share a worker load it once.
    isolate: false,
    maxWorkers: "100%",
    // The examples, each of which mostly waits.
    maxConcurrency: 16
  },
  resolve: {
    alias: [
      {
        find: /^effect-steadfast\/prices$/,
        replacement: fileURLToPath(new URL("src/prices/index.ts", import.meta.url))
      },
      {
        find: /^effect-steadfast\/testing$/,
        replacement: fileURLToPath(new URL("src/testing/index.ts", import.meta.url))
      },
      { find: /^effect-steadfast$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) }
    ]
  }
})
