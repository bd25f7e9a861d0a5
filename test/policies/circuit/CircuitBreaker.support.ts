import { Duration, Effect, Exit } from "effect"
import { settings } from "../../../src/policies/circuit/CircuitOptions.js"
import type { Outcome } from "../../../src/policies/circuit/CircuitOutcome.js"
import * as CircuitState from "../../../src/policies/circuit/CircuitState.js"
import { view } from "../../../src/policies/circuit/CircuitView.js"
import type { KeyedStore } from "../../../src/policies/Store.js"
import { errorOf } from "../../support/errors.js"

export const server = errorOf("ServerError")
export const auth = errorOf("AuthError")
export const mistake = errorOf("InvalidRequest")

export const standard = settings()

/** A circuit that is stepped by hand; an attempt that is refused is a mistake of the test. */
export const machine = (options = standard) => {
  let circuit: CircuitState.Circuit | undefined
  let now = 0
  const self = {
    get circuit() {
      return circuit
    },
    get now() {
      return now
    },
    pass: (millis: number) => {
      now += millis
      return self
    },
    ask: () => {
      const [decision, next] = CircuitState.admit(options, circuit, now)
      circuit = next
      return decision
    },
    begin: (): CircuitState.Admission => {
      const decision = self.ask()
      if (CircuitState.isRefusal(decision)) throw new Error(`refused for ${decision.retryAfter} ms`)
      return decision
    },
    end: (admission: CircuitState.Admission, outcome: Outcome, random = 0) => {
      circuit = CircuitState.record(options, circuit, admission, outcome, now, random)
      return self
    },
    run: (...outcomes: ReadonlyArray<Outcome>) => {
      for (const outcome of outcomes) self.end(self.begin(), outcome)
      return self
    },
    reset: () => {
      circuit = CircuitState.reset(circuit, now)
      return self
    },
    open: () => {
      circuit = CircuitState.open(circuit, now)
      return self
    },
    view: () => view("k", circuit, now),
    /** What is left of the open time. */
    left: (): number => {
      const seen = self.view()
      return seen._tag === "Open" ? Duration.toMillis(seen.retryAfter) : Number.NaN
    }
  }
  return self
}

/** A store as a database is one: it holds text, takes its time, and swaps only what is still as it was read. */
export const remoteStore = () => {
  const rows = new Map<string, string>()
  let conflicts = 0
  const modify: KeyedStore["modify"] = (key, f) =>
    Effect.gen(function* () {
      while (true) {
        const read = rows.get(key)
        yield* Effect.yieldNow()
        const [answer, next] = f(read === undefined ? undefined : JSON.parse(read))
        const text = next === undefined ? undefined : JSON.stringify(next)
        if (text === read) return answer
        yield* Effect.yieldNow()
        if (rows.get(key) === read) {
          if (text === undefined) rows.delete(key)
          else rows.set(key, text)
          return answer
        }
        conflicts++
      }
    })
  return { store: { modify } satisfies KeyedStore, rows, conflicts: () => conflicts }
}

/** Whether an exit is a refusal of the breaker. */
export const isRefused = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) &&
  exit.cause._tag === "Fail" &&
  typeof exit.cause.error === "object" &&
  exit.cause.error !== null &&
  "_tag" in exit.cause.error &&
  exit.cause.error._tag === "CircuitOpen"
