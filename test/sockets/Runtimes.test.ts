import { assert, beforeAll, describe, it } from "@effect/vitest"
import { cases } from "../../scripts/runtimes/Cases.js"
import { type Measured, measuredBy, start } from "../../scripts/runtimes/Servers.js"
import { read, root } from "../docs/blocks.js"

/** Comes to the client before or after it has written, by luck. */
const lucky = "a reset as it connects"

/** What these clients may say less of, by their version: see `docs/runtimes.md`. */
const less: Readonly<Record<string, ReadonlyArray<string>>> = {
  fetch: [lucky, "a reset in the handshake of TLS", "https to a port without TLS", "no certificate of the client"],
  undici: [lucky, "no certificate of the client", "a port that fetch blocks"],
  "node:http": [
    lucky,
    "a reset in the handshake of TLS",
    "a host that does not answer",
    "plain text in the TLS of an answer",
    "a port that fetch blocks"
  ],
  "node:http with an agent": [lucky, "plain text in the TLS of an answer", "a port that fetch blocks"]
}

describe("what the caller sees, on this runtime", () => {
  let measured: Measured = {}

  // A process of its own: it is told to trust the authority of the servers, which is of the whole process.
  beforeAll(async () => {
    const { places, stop } = await start()
    const subject = ["--import", "tsx", "scripts/runtimes/Subject.ts"]
    measured = await measuredBy(process.execPath, subject, places, root).finally(stop)
  })

  for (const [client, names] of Object.entries(less)) {
    for (const { expected, name, weaker = [] } of cases) {
      it(`${name} (${client})`, () => {
        const found = measured[client]?.[name]
        assert.include(names.includes(name) ? [expected, ...weaker] : [expected], found)
      })
    }
  }
})

describe("docs/runtimes.md", () => {
  const page = read("docs/runtimes.md")

  it("has a row for each case and client", () => {
    for (const { expected, name } of cases) {
      assert.include(page, `| ${name} | ${expected} |`)
      assert.lengthOf(page.split(`\n| ${name} | `), 2 + Object.keys(less).length, name)
    }
  })

  it("was measured with the agent that docs/transport.md shows", () => {
    assert.include(read("docs/transport.md"), read("scripts/runtimes/Agent.ts"))
  })
})
