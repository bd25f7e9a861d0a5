import { fileURLToPath } from "node:url"
import { defineConfig } from "vitest/config"

export default defineConfig({
  test: { include: ["test/**/*.test.ts"], testTimeout: 20_000 },
  resolve: {
    alias: [
      {
        find: /^effect-steadfast\/testing$/,
        replacement: fileURLToPath(new URL("src/testing/index.ts", import.meta.url))
      },
      { find: /^effect-steadfast$/, replacement: fileURLToPath(new URL("src/index.ts", import.meta.url)) }
    ]
  }
})
