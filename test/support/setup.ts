import fc from "fast-check"
import { afterEach } from "vitest"
import { breathe, seed } from "./cases.js"

// Tests that never wait give the runner no turn, also from one to the next.
afterEach(breathe)

// All properties of a run draw from the seed of the run.
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed })
