import { assert, describe, it, vi } from "@effect/vitest"
import { FastCheck as fc } from "effect"
import * as Sse from "../../../src/chat/stream/Sse.js"
import { cases, exhaustive, step } from "../../support/cases.js"

const encoder = new TextEncoder()
const bytes = (text: string): Uint8Array => encoder.encode(text)

/** Everything that comes out of a stream that arrives in these pieces. */
const parse = (pieces: ReadonlyArray<Uint8Array>, options?: { readonly maxEventLength?: number }) => {
  const parser = Sse.make(options)
  const events = pieces.flatMap((piece) => parser.feed(piece))
  return { events: [...events, ...parser.end()], overflow: parser.overflow() }
}

const cutAt = (whole: Uint8Array, cuts: ReadonlyArray<number>): ReadonlyArray<Uint8Array> => {
  const at = [0, ...[...cuts].sort((a, b) => a - b), whole.length]
  return at.slice(1).map((end, i) => whole.subarray(at[i], end))
}

const singles = (whole: Uint8Array): ReadonlyArray<Uint8Array> =>
  cutAt(
    whole,
    Array.from(whole, (_, i) => i)
  )

const data = (...all: ReadonlyArray<string>): ReadonlyArray<Sse.Event> =>
  all.map((data) => ({ event: undefined, data, stray: false }))

const stray = (text: string): Sse.Event => ({ event: undefined, data: text, stray: true })

const named = (event: string, data: string): Sse.Event => ({ event, data, stray: false })

const fixtures: ReadonlyArray<readonly [name: string, text: string, events: ReadonlyArray<Sse.Event>]> = [
  ["LF", "data: a\n\ndata: b\n\n", data("a", "b")],
  ["CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", data("a", "b")],
  ["CR", "data: a\r\rdata: b\r\r", data("a", "b")],
  ["mixed line ends", "data: a\r\n\ndata: b\r\r\ndata: c\n\rdata: d\r\n\r", data("a", "b", "c", "d")],
  ["CR, and LF later", "data: a\rdata: b\n\ndata: c\n\n", data("a\nb", "c")],
  ["a byte order mark", "\uFEFFdata: a\n\n", data("a")],
  ["a byte order mark that is not the first character", "data: \uFEFFa\n\n", data("\uFEFFa")],
  ["comments", ": ping\n\n:\n:data: no\ndata: a\n: in between\ndata: b\n\n: ping\n\n", data("a\nb")],
  ["retry and id", "retry: 3000\nid: 7\ndata: a\n\nid\nretry\n\nid: 8\n\n", data("a")],
  ["several data lines", "data: a\ndata: b\ndata:  c\n\n", data("a\nb\n c")],
  ["empty data", "data:\n\ndata: \n\ndata\n\ndata\ndata\n\n", data("", "", "", "\n")],
  ["no space after the colon", 'data:a\n\ndata:{"x":1}\n\n', data("a", '{"x":1}')],
  ["only the first space is taken", "data:   a \n\n", data("  a ")],
  ["a colon in the data", "data: a: b\n\ndata::\n\n", data("a: b", ":")],
  [
    "named events",
    "event: ping\ndata: a\n\ndata: b\n\nevent\ndata: c\n\nevent:x\n\ndata: d\n\n",
    [
      { event: "ping", data: "a", stray: false },
      { event: undefined, data: "b", stray: false },
      { event: "", data: "c", stray: false },
      { event: undefined, data: "d", stray: false }
    ]
  ],
  ["characters of two, three and four bytes", "data: é€😀\r\n\r\ndata: 日本\n\n", data("é€😀", "日本")],
  ["an unterminated last event", "data: a\n\ndata: b", data("a", "b")],
  ["an unterminated last event after its line end", "data: a\n\ndata: b\n", data("a", "b")],
  ["an unterminated event after CR", "data: a\r", data("a")],
  ["an unterminated name without data", "data: a\n\nevent: x", data("a")],
  ["nothing", "", []],
  ["only line ends", "\n\r\r\n\n", []],
  [
    "stray JSON in one line",
    'data: a\n\n{"error":{"message":"x"}}',
    [...data("a"), stray('{"error":{"message":"x"}}')]
  ],
  ["stray JSON in lines", '{\n  "error": 1\n}\n\ndata: a\n\n', [stray('{\n  "error": 1\n}'), ...data("a")]],
  ["stray text next to data", "data: a\noops\n\n", [stray("oops"), ...data("a")]],
  ["a field of another case", "Data: a\n\n", [stray("Data: a")]],
  ["objects in data lines of one event", 'data: {"a":1} \ndata: {"b":2}\n\n', data('{"a":1} ', '{"b":2}')],
  ["an object in several data lines", 'data: {"a":\ndata: {}}\n\n', data('{"a":\n{}}')],
  ["three lines, of which the last two would be objects", "data: {\ndata: {}\ndata: {}\n\n", data("{\n{}\n{}")],
  ["an object next to text", "data: {}\ndata: a\n\ndata: a\ndata: {}\n\n", data("{}\na", "a\n{}")],
  ["JSON that is no object", "data: 1\ndata: {}\n\ndata: []\ndata: {}\n\n", data("1\n{}", "[]\n{}")],
  ["two names before the data", "data: {}\n\nevent: a\nevent: b\ndata: x\n\n", [...data("{}"), named("b", "x")]],
  ["braces that are no JSON", "data: {a}\ndata: {}\n\n", data("{a}\n{}")],
  ["[DONE] with one line end", "data: {}\ndata:  [DONE] \ndata: a\n\n", data("{}", " [DONE] ", "a")],
  ["[DONE] within text", "data: a\ndata: [DONE]\n\ndata: [DONE]a\ndata: b\n\n", data("a\n[DONE]", "[DONE]a\nb")],
  [
    "named objects, parted by one line end",
    'event: a\ndata: {"x":1}\nevent: b\ndata: {"y":2}\n\n',
    [named("a", '{"x":1}'), named("b", '{"y":2}')]
  ],
  ["a name after its object", "data: {}\nevent: a\n\n", [named("a", "{}")]],
  ["a second name of one event", "event: a\ndata: x\nevent: b\ndata: {}\n\n", [named("b", "x\n{}")]],
  [
    "a field error, alone, with data of its own, and after data",
    'error: {"x":1}\n\nerror: {"y":2}\ndata: {}\n\ndata: a\nerror: b\n\nerror\n\n',
    [named("error", '{"x":1}'), named("error", '{"y":2}'), ...data("{}", "a"), named("error", "error")]
  ],
  ["a field error as the first object", "error: {}\ndata: {}\n\n", [named("error", "{}"), ...data("{}")]]
]

describe("the rules", () => {
  for (const [name, text, events] of fixtures) {
    it(name, () => {
      assert.deepStrictEqual(parse([bytes(text)]), { events, overflow: false })
    })
  }

  it("an event is handed out with the piece that completes it, and not before", () => {
    const parser = Sse.make()
    assert.deepStrictEqual(parser.feed(bytes("data: hel")), [])
    assert.deepStrictEqual(parser.feed(bytes("lo\n")), [])
    assert.deepStrictEqual(parser.feed(bytes("\ndata: x")), data("hello"))
    // CR alone ends a line: the parser does not wait for a LF.
    assert.deepStrictEqual(parser.feed(bytes("\r\r")), data("x"))
    assert.deepStrictEqual(parser.feed(bytes("\n")), [])
    assert.deepStrictEqual(parser.end(), [])
  })

  it("a character that is cut off by the end is replaced", () => {
    const whole = bytes("data: €")
    assert.deepStrictEqual(parse([whole.subarray(0, whole.length - 1)]).events, data("\uFFFD"))
  })

  it("two parsers know nothing of each other", () => {
    const [one, other] = [Sse.make(), Sse.make()]
    one.feed(bytes("data: a\r"))
    assert.deepStrictEqual(other.feed(bytes("\ndata: b\n\n")), data("b"))
    assert.deepStrictEqual(one.end(), data("a"))
  })
})

describe("however the network cut it", () => {
  it("every fixture, cut once, at every place", () => {
    for (const [name, text, events] of fixtures) {
      const whole = bytes(text)
      for (let i = 0; i <= whole.length; i++) {
        assert.deepStrictEqual(parse(cutAt(whole, [i])).events, events, `${name}, cut at ${i}`)
      }
    }
  })

  it("every fixture, cut twice, at every two places", () => {
    for (const [name, text, events] of fixtures) {
      const whole = bytes(text)
      for (let i = 0; i <= whole.length; i++) {
        for (let k = i; k <= whole.length; k += step(7)) {
          const found = parse(cutAt(whole, [i, k])).events
          // Comparing is dear; only what differs is compared for its message.
          if (JSON.stringify(found) !== JSON.stringify(events)) {
            assert.deepStrictEqual(found, events, `${name}, cut at ${i} and ${k}`)
          }
        }
      }
    }
  })

  it("every fixture, byte by byte, and with empty pieces", () => {
    for (const [name, text, events] of fixtures) {
      const pieces = singles(bytes(text))
      assert.deepStrictEqual(parse(pieces).events, events, name)
      const padded = pieces.flatMap((piece) => [new Uint8Array(), piece, new Uint8Array()])
      assert.deepStrictEqual(parse(padded).events, events, `${name}, with empty pieces`)
    }
  })

  const words = ["data: a", "data:", "data", "event: e", ":c", "id: 1", "retry: 1", '{"error":1}', "é", "😀", "\uFEFF"]
  const ends = ["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n", " ", ":"]
  const texts = fc.array(fc.constantFrom(...words, ...ends, ...ends), { maxLength: 40 }).map((all) => all.join(""))
  const cuts = fc.array(fc.nat(), { maxLength: 12 })
  const within = (whole: Uint8Array, places: ReadonlyArray<number>) =>
    cutAt(
      whole,
      places.map((place) => place % (whole.length + 1))
    )

  it("any text, cut anywhere, gives the events of the whole", () => {
    fc.assert(
      fc.property(texts, cuts, (text, places) => {
        const whole = bytes(text)
        const { events } = parse([whole])
        assert.deepStrictEqual(parse(within(whole, places)).events, events)
        assert.deepStrictEqual(parse(singles(whole)).events, events)
      }),
      { numRuns: cases(5000) }
    )
  })

  it("any bytes, cut anywhere, give the events of the whole", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), cuts, (whole, places) => {
        assert.deepStrictEqual(parse(within(whole, places)).events, parse([whole]).events)
      }),
      { numRuns: cases(3000) }
    )
  })

  it("any text gives what the rules say, read line by line", () => {
    fc.assert(
      fc.property(texts, (text) => {
        assert.deepStrictEqual(parse([bytes(text)]).events, byTheBook(text))
      }),
      { numRuns: cases(5000) }
    )
  })
})

/** The same rules over a text that is there as a whole. */
const byTheBook = (text: string): ReadonlyArray<Sse.Event> => {
  const events: Array<Sse.Event> = []
  const fields: { data: Array<string>; stray: Array<string>; event: string | undefined } = {
    data: [],
    stray: [],
    event: undefined
  }
  for (const line of [...text.replace(/^\uFEFF/, "").split(/\r\n|\r|\n/), ""]) {
    if (line === "") {
      if (fields.stray.length > 0) events.push(stray(fields.stray.join("\n")))
      if (fields.data.length > 0) events.push({ event: fields.event, data: fields.data.join("\n"), stray: false })
      fields.data = []
      fields.stray = []
      fields.event = undefined
      continue
    }
    const [, name, value] = /^([^:]*)(?:: ?)?(.*)$/su.exec(line) ?? []
    if (name === "") continue
    if (name === "data") fields.data.push(value ?? "")
    else if (name === "event") fields.event = value
    else if (name !== "id" && name !== "retry") fields.stray.push(line)
  }
  return events
}

describe("size", () => {
  const large = (exhaustive ? 8 : 1) * 256 * 1024

  it("an event of megabytes arrives whole, in pieces of one byte", () => {
    const parser = Sse.make()
    const piece = bytes("x")
    assert.deepStrictEqual(parser.feed(bytes("data: ")), [])
    for (let i = 0; i < large; i++) parser.feed(piece)
    const [event] = parser.feed(bytes("\n\n"))
    assert.lengthOf(event?.data ?? "", large)
    assert.isFalse(parser.overflow())
  })

  // The work must grow with the bytes, not with their square: else each of these takes minutes.
  for (const [name, text] of [
    ["LF", "data: x\n\n"],
    ["CRLF", "data: x\r\n\r\n"],
    ["CR", "data: x\r\r"],
    ["data lines of one event", "data: x\n"],
    ["comments", ": x\n"],
    ["stray lines", "x\n"]
  ] as const) {
    it(`megabytes of ${name}, in one piece, and with a last line end of another kind`, () => {
      const whole = text.repeat(large / text.length)
      const { events, overflow } = parse([bytes(whole)])
      assert.isFalse(overflow)
      for (const end of ["\n", "\r"]) assert.lengthOf(parse([bytes(`${whole}${end}`)]).events, events.length)
    })

    it(`half a megabyte of ${name}, byte by byte`, () => {
      const whole = text.repeat(large / 4 / text.length)
      const parser = Sse.make()
      const piece = bytes(" ")
      let count = 0
      for (const byte of bytes(whole)) {
        piece[0] = byte
        count += parser.feed(piece).length
      }
      assert.strictEqual(count + parser.end().length, parse([bytes(whole)]).events.length)
    })
  }
})

describe("the bound", () => {
  const bound = { maxEventLength: 20 }

  it("is told by overflow, and what came before it counts", () => {
    const parser = Sse.make(bound)
    assert.deepStrictEqual(parser.feed(bytes("data: a\n\n")), data("a"))
    assert.isFalse(parser.overflow())
    assert.deepStrictEqual(parser.feed(bytes(`data: b\n\ndata: ${"x".repeat(30)}`)), data("b"))
    assert.isTrue(parser.overflow())
  })

  it("nothing is parsed from then on", () => {
    const parser = Sse.make(bound)
    parser.feed(bytes(`data: ${"x".repeat(30)}`))
    assert.isTrue(parser.overflow())
    assert.deepStrictEqual(parser.feed(bytes("\n\ndata: a\n\n")), [])
    assert.deepStrictEqual(parser.end(), [])
  })

  it("holds for one line, for lines together, for stray text and for a comment", () => {
    for (const text of [
      `data: ${"x".repeat(30)}\n\n`,
      "data: 12345678\n".repeat(3),
      "12345678\n".repeat(3),
      `: ${"x".repeat(30)}\n`,
      `: ${"x".repeat(30)}`
    ]) {
      assert.deepStrictEqual(parse([bytes(text)], bound), { events: [], overflow: true })
      assert.deepStrictEqual(parse(singles(bytes(text)), bound), { events: [], overflow: true })
    }
  })

  it("is exact, for a line and for the lines of an event together", () => {
    for (const [text, overflow] of [
      [`data: ${"x".repeat(14)}\n`, false],
      [`data: ${"x".repeat(15)}\n`, true],
      ["data: 1234567\n123456789012\ndata\n", false],
      ["data: 1234567\n1234567890123\ndata\n", true]
    ] as const) {
      for (const pieces of [[bytes(text)], singles(bytes(text)), [bytes(text.slice(0, -1))]]) {
        const found = parse(pieces, bound)
        assert.deepStrictEqual([found.overflow, found.events.length > 0], [overflow, !overflow], text)
      }
    }
  })

  it("is 16 Mi unless it is given", () => {
    const most = 16 * 1024 * 1024
    for (const over of [0, 1]) {
      const { events, overflow } = parse([bytes(`:${"x".repeat(most - 1 + over)}\ndata: a\n\n`)])
      assert.deepStrictEqual([overflow, events], over === 1 ? [true, []] : [false, data("a")])
    }
  })

  it("does not add up over events", () => {
    const { events, overflow } = parse([bytes("data: 12345678\n\n".repeat(100))], bound)
    assert.lengthOf(events, 100)
    assert.isFalse(overflow)
  })

  it("is the same bound however the network cut it", () => {
    const lines = fc.constantFrom("data: ", "data:", "\n", "\n\n", "\r\n", ": ", "1234567", "12345678901234", "é")
    fc.assert(
      fc.property(fc.array(lines, { maxLength: 12 }), fc.array(fc.nat(), { maxLength: 5 }), (parts, places) => {
        const whole = bytes(parts.join(""))
        const cuts = places.map((place) => place % (whole.length + 1))
        assert.deepStrictEqual(parse(cutAt(whole, cuts), bound), parse([whole], bound))
      }),
      { numRuns: cases(3000) }
    )
  })
})

describe("lines that may be events of their own", () => {
  it("are parsed once at most, whatever follows", () => {
    for (const after of ["data: {}\n", "event: b\n", "data: [DONE]\n"]) {
      const text = bytes(`event: a\ndata: {"a":[{}\n${after.repeat(50)}`)
      const spy = vi.spyOn(JSON, "parse")
      try {
        parse([text])
        assert.isAtMost(spy.mock.calls.length, 1, after)
      } finally {
        spy.mockRestore()
      }
    }
  })
})
