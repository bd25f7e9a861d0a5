/** The parts of the benchmark, each loaded only where it is measured. */
import type { Table } from "./case.js"

interface Part {
  readonly tables: ReadonlyArray<Table>
}

export const parts: Readonly<Record<string, () => Promise<Part>>> = {
  call: () => import("./call.js"),
  streams: () => import("./streams.js"),
  gateway: () => import("./gateway.js"),
  relay: () => import("./relay.js"),
  memory: () => import("./memory.js"),
  size: () => import("./size.js"),
  composition: () => import("./composition.js"),
  agent: () => import("./agent.js"),
  structured: () => import("./structured.js"),
  retry: () => import("./retry.js"),
  traffic: () => import("./traffic.js"),
  calllog: () => import("./calllog.js")
}
