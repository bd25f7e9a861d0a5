import { assert, beforeAll, describe, it } from "@effect/vitest"
import { cases } from "../../scripts/runtimes/Cases.js"
import { type Measured, measuredBy, start } from "../../scripts/runtimes/Servers.js"
import { read, root } from "../docs/blocks.js"

/** What these clients cannot know on Node. */
const unknowable: Readonly<Record<string, ReadonlyArray<string>>> = {
  fetch: ["a reset in the handshake of TLS", "no certificate of the client"],
  undici: ["no certificate of the client", "a port that fetch blocks"],
  "node:http": ["a reset in the handshake of TLS", "a host that does not answer", "a port that fetch blocks"],
  "node:http with an agent": ["a port that fetch blocks"]
}

/** Comes to the client before or after it has written, by luck. */
const either = "a reset as it connects"

describe("what the caller sees, on this runtime", () => {
  let measured: Measured = {}

  // A process of its own: it is told to trust the authority of the servers, which is of the whole process.
  beforeAll(async () => {
    const { places, stop } = await start()
    measured = await measuredBy(process.execPath, ["--import", "tsx", "scripts/runtimes/Subject.ts"], places, root)
    await stop()
  })

  for (const [client, less] of Object.entries(unknowable)) {
    for (const { expected, name, weaker = [] } of cases) {
      it(`${name} (${client})`, () => {
        const found = measured[client]?.[name]
        if (less.includes(name)) assert.include(weaker, found)
        else if (name === either) assert.include([expected, ...weaker], found)
        else assert.strictEqual(found, expected)
      })
    }
  }
})

describe("docs/runtimes.md", () => {
  const page = read("docs/runtimes.md")

  it("has a row for each case and client", () => {
    for (const { expected, name } of cases) {
      assert.include(page, `| ${name} | ${expected} |`)
      assert.lengthOf(page.split(`\n| ${name} | `), 2 + Object.keys(unknowable).length, name)
    }
  })

  it("was measured with the agent that docs/transport.md shows", () => {
    assert.include(read("docs/transport.md"), read("scripts/runtimes/Agent.ts"))
  })
})
