import { afterEach } from "vitest"
import { breathe } from "./cases.js"

// Tests that never wait give the runner no turn, also from one to the next.
afterEach(breathe)
