import * as FastCheck from "effect/FastCheck"
import { vi } from "vitest"

// The same cases in every run, so that a score is one number.
FastCheck.configureGlobal({ seed: 1 })

// Constants of a module are mutated too: they are computed anew.
vi.resetModules()
