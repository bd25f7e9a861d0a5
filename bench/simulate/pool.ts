/** Spreads tasks over worker processes. */
import { type ChildProcess, fork } from "node:child_process"
import type { Outcome } from "./scenario.js"

export interface Task {
  readonly scenario: string
  readonly policy: string
  readonly seed: number
}

export interface Answer {
  readonly task: Task
  /** `undefined` where the policy does not take part after all, or failed. */
  readonly outcome?: Outcome | undefined
  readonly error?: string
  /** What it took: events of virtual time, and milliseconds of a processor. */
  readonly events: number
  readonly cpuMillis: number
}

/** Runs all tasks, the next one wherever a worker is free. */
export const runAll = (
  tasks: ReadonlyArray<Task>,
  workers: number,
  onAnswer: (answer: Answer) => void
): Promise<void> =>
  new Promise((resolve, reject) => {
    const children: Array<ChildProcess> = []
    let next = 0
    let open = tasks.length
    const end = (then: () => void): void => {
      for (const child of children) child.disconnect()
      then()
    }
    const spawn = (): void => {
      // `advanced` carries NaN and Infinity, which JSON does not.
      const child = fork(new URL("./worker.ts", import.meta.url), { serialization: "advanced" })
      children.push(child)
      child.on("message", (message: "ready" | Answer) => {
        if (message !== "ready") {
          onAnswer(message)
          open -= 1
        }
        if (open === 0) end(resolve)
        const task = tasks[next]
        if (task === undefined) return
        next += 1
        child.send(task)
      })
      child.on("exit", (code) => {
        if (open > 0) end(() => reject(new Error(`a worker ended with ${code} before its work was done`)))
      })
    }
    if (open === 0) resolve()
    else for (let i = 0; i < Math.min(workers, tasks.length); i++) spawn()
  })
