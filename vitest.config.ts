import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  // Loading Effect costs a test file a second: files that share a worker load it once.
  test: { include: ["test/**/*.test.ts"], testTimeout: 20_000, isolate: false, maxWorkers: "100%" },
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
