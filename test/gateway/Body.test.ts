import type { IncomingMessage } from "node:http"
import { PassThrough } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Body from "../../src/gateway/Body.js"
import type { Refusal } from "../../src/gateway/Refusal.js"
import { cases } from "../support/cases.js"

const incoming = (length?: number): PassThrough & IncomingMessage =>
  Object.assign(new PassThrough(), {
    headers: length === undefined ? {} : { "content-length": String(length) }
  }) as never

const reading = (request: IncomingMessage, most: number, held: Body.Held) => {
  const said: Array<Buffer | Refusal | undefined> = []
  Body.read(request, most, held, (body) => said.push(body))
  return said
}

const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve))

const whyNot = (bytes: string | Buffer): string => {
  const body = Body.parse(Buffer.from(bytes))
  return "status" in body ? `${body.status} ${body.message}` : "a body"
}

describe("parse", () => {
  it("has the text and the JSON", () => {
    assert.deepStrictEqual(Body.parse(Buffer.from(' {"a":"é"} ')), { text: ' {"a":"é"} ', json: { a: "é" } })
  })

  it("says what was found, and quotes nothing of it", () => {
    assert.strictEqual(whyNot(""), "400 body: found nothing, expected JSON")
    assert.strictEqual(whyNot(" \n"), "400 body: found nothing, expected JSON")
    assert.strictEqual(whyNot('{"secret": tru'), "400 body: found no JSON, expected JSON")
    assert.strictEqual(
      whyNot(Buffer.from([0x22, 0xff, 0x22])),
      "400 body: found bytes that are no UTF-8, expected JSON in UTF-8"
    )
    assert.strictEqual(
      whyNot(Buffer.from([0xed, 0xa0, 0x80])),
      "400 body: found bytes that are no UTF-8, expected JSON in UTF-8"
    )
  })

  it.prop(
    "is the value, or a refusal of 400, for any bytes",
    [fc.uint8Array()],
    ([bytes]) => {
      const body = Body.parse(Buffer.from(bytes))
      if ("status" in body) assert.strictEqual(body.status, 400)
      else assert.deepStrictEqual(JSON.parse(body.text), body.json)
    },
    { fastCheck: { numRuns: cases(5000, 200) } }
  )

  it.prop(
    "reads what JSON writes",
    [fc.jsonValue()],
    ([json]) => {
      assert.deepStrictEqual(Body.parse(Buffer.from(JSON.stringify(json))), {
        text: JSON.stringify(json),
        json: JSON.parse(JSON.stringify(json))
      })
    },
    { fastCheck: { numRuns: cases(2000, 100) } }
  )
})

describe("read", () => {
  it("puts the pieces together, and gives the memory back", () =>
    fc.assert(
      fc.asyncProperty(fc.array(fc.uint8Array()), async (pieces) => {
        const request = incoming()
        const held = { bytes: 0, most: 1e9 }
        const said = reading(request, 1e9, held)
        for (const piece of pieces) request.write(piece)
        request.end()
        while (said.length === 0) await turn()
        assert.deepStrictEqual(said, [Buffer.concat(pieces)])
        assert.strictEqual(held.bytes, 0)
        assert.strictEqual(request.listenerCount("data"), 0)
      }),
      { numRuns: cases(500, 30) }
    ))

  it("refuses what is larger than allowed, by its length or while it comes", async () => {
    const held = { bytes: 0, most: 1e9 }
    const stated = reading(incoming(11), 10, held)
    assert.strictEqual((stated[0] as Refusal).status, 413)
    const request = incoming()
    const said = reading(request, 10, held)
    request.write(Buffer.alloc(10))
    await turn()
    assert.lengthOf(said, 0)
    request.write("x")
    await turn()
    assert.strictEqual((said[0] as Refusal).status, 413)
    request.end("more")
    await turn()
    assert.lengthOf(said, 1)
    assert.strictEqual(held.bytes, 0)
  })

  it("refuses what all bodies together have no memory for", async () => {
    const held = { bytes: 0, most: 15 }
    const first = incoming()
    const second = incoming()
    const one = reading(first, 10, held)
    const two = reading(second, 10, held)
    first.write(Buffer.alloc(9))
    second.write(Buffer.alloc(9))
    await turn()
    assert.strictEqual((two[0] as Refusal).status, 503)
    assert.strictEqual(held.bytes, 9)
    first.end()
    await turn()
    await turn()
    assert.strictEqual((one[0] as Buffer).byteLength, 9)
    assert.strictEqual(held.bytes, 0)
  })

  it("ends without a word where the client left", async () => {
    const held = { bytes: 0, most: 100 }
    const request = incoming(50)
    const said = reading(request, 100, held)
    request.write("half")
    await turn()
    request.destroy()
    await turn()
    assert.deepStrictEqual(said, [undefined])
    assert.strictEqual(held.bytes, 0)
  })
})
