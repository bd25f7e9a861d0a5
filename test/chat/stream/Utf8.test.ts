import { describe, expect, it } from "@effect/vitest"
import { FastCheck } from "effect"
import * as Utf8 from "../../../src/chat/stream/Utf8.js"
import { cases } from "../../support/cases.js"

const read = (pieces: ReadonlyArray<Uint8Array>): string => {
  const decode = Utf8.make()
  return pieces.map((piece) => decode(piece)).join("") + decode()
}

const cut = (bytes: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

/** Bytes that begin, continue and break characters more often than random ones. */
const byte = FastCheck.constantFrom(
  ...[0x41, 0x80, 0xbf, 0xc2, 0xc0, 0xe0, 0xa0, 0xe2, 0x82, 0xac, 0xed, 0xef, 0xbb, 0xf0, 0x9f, 0x98, 0xf4, 0xff]
)
const bytes = FastCheck.oneof(
  FastCheck.array(byte, { maxLength: 24 }).map((list) => new Uint8Array(list)),
  FastCheck.string({ unit: "binary", maxLength: 24 }).map((text) => new TextEncoder().encode(text))
)
const cuts = FastCheck.array(FastCheck.nat(24), { maxLength: 8 })

describe("Utf8", () => {
  it("reads as a TextDecoder with a state, however the bytes are cut", () => {
    FastCheck.assert(
      FastCheck.property(bytes, cuts, (bytes, cuts) => {
        expect(read(cut(bytes, cuts))).toBe(new TextDecoder().decode(bytes))
      }),
      { numRuns: cases(100_000, 2000) }
    )
  })

  it("drops the byte order mark at the start alone", () => {
    const mark = [0xef, 0xbb, 0xbf]
    const pieces = [[], [0xef], [0xbb, 0xbf, 0x61], [...mark, 0x62]]
    expect(read(pieces.map((piece) => new Uint8Array(piece)))).toBe("a\uFEFFb")
  })

  it("holds no piece, only the bytes of a cut character", () => {
    const decode = Utf8.make()
    const piece = new TextEncoder().encode("abc€").subarray(0, 5)
    expect(decode(piece)).toBe("abc")
    piece.fill(0x78)
    expect(decode(new Uint8Array([0xac]))).toBe("€")
  })
})
