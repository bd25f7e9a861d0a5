import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Logger, LogLevel, Schedule } from "effect"
import { ChatModel } from "effect-steadfast"
import type * as Replay from "../../src/chat/stream/Replay.js"
import { exhaustive, share, step } from "../support/cases.js"
import {
  answers,
  bytesOf,
  callsOf,
  closed,
  concat,
  continuing,
  type Format,
  find,
  idleClock,
  type Mark,
  marksOf,
  modelOf,
  pieces,
  prompt,
  type Reply,
  reasoningOf,
  type Seen,
  type Shape,
  see,
  shapes,
  stub,
  textOf
} from "./support.js"
import { errorEvents, written } from "./wire.js"

const modes = ["none", "strict", "restart", "continue"] as const
type Mode = "none" | Replay.Mode

const kinds = ["reset", "end", "error", "stall"] as const
type Kind = (typeof kinds)[number]

const faults = [
  "silently truncated",
  "duplicated",
  "lost",
  "not one end",
  "finish without the protocol's end",
  "end not seen",
  "tool call twice or in part",
  "after the end",
  "joint",
  "wrong error"
] as const
type Fault = (typeof faults)[number]

interface Case {
  readonly format: Format
  readonly shape: Shape
  readonly kind: Kind
  readonly mode: Mode
  readonly cut: number
}

/** What had been said at a cut: at least `low`, and at most `high` where an event was whole but not terminated. */
interface Known {
  readonly low: Mark
  readonly high: Mark
}

const known = (marks: ReadonlyArray<Mark>, cut: number): Known => {
  const low = marks.findLast((mark) => mark.at <= cut)
  const high = marks.findLast((mark) => mark.whole <= cut)
  return low === undefined || high === undefined ? assert.fail("no mark") : { low, high }
}

/** Whether a stream that stands at a mark must end well in a mode. */
const ends = (mode: Mode, mark: Mark): boolean => {
  const delivered = mark.text !== "" || mark.reasoning !== ""
  if (mark.ended || mode === "restart") return true
  if (mode === "none") return false
  // A tool call is content as soon as it is whole, which the marks do not tell: the fixtures have text before it.
  return !delivered || (mode === "continue" && mark.reasoning === "" && !mark.tool && !mark.over)
}

const errorTags: Record<Kind, ReadonlyArray<string>> = {
  reset: ["StreamInterrupted"],
  end: ["StreamInterrupted"],
  error: ["Overloaded", "ServerError"],
  stall: ["Timeout"]
}

const json = JSON.stringify

/** All violations in the events that a reader received. */
const judge = (one: Case, { error, events }: Seen, attempts: number, { high, low }: Known): ReadonlySet<Fault> => {
  const found = new Set<Fault>()
  const answer = answers[one.shape]
  const finishes = find(events, "Finish").length
  const reset = events.findLastIndex((event) => event._tag === "Reset")
  const last = events.slice(reset + 1)
  const text = textOf(last)
  const calls = callsOf(events)
  const finished = finishes > 0
  const again = attempts > 1

  if (finishes + (error === undefined ? 0 : 1) !== 1) found.add("not one end")
  if (finished && events.at(-1)?._tag !== "Finish") found.add("after the end")
  if (!answer.text.startsWith(text)) found.add("duplicated")
  if (finished && (text !== answer.text || reasoningOf(last) !== answer.reasoning)) found.add("silently truncated")

  // What was said before the cut is delivered: all of it, but white space at its end that waits for what follows.
  const before = reset === -1 ? events : events.slice(0, reset)
  const least = one.mode === "continue" ? low.text.trimEnd() : low.text
  if (!textOf(before).startsWith(least) || !reasoningOf(before).startsWith(low.reasoning)) found.add("lost")
  if (!again && !high.text.startsWith(textOf(before))) found.add("duplicated")

  if (finished && !again && !high.ended) found.add("finish without the protocol's end")
  // After the finish reason only `[DONE]` or the end of the bytes is missing: without it a stall may be a timeout, but a
  // whole answer is not one to go on with.
  const missing = one.kind === "stall" && low.ended
  if (missing ? again && one.mode === "continue" : low.ended && (again || !finished)) found.add("end not seen")
  if (!missing && finished !== ends(one.mode, low) && finished !== ends(one.mode, high)) found.add("end not seen")

  const held = one.mode === "restart" || one.mode === "continue"
  if (
    finished ? json(calls) !== json(answer.toolCalls) : !json(answer.toolCalls).startsWith(json(calls).slice(0, -1))
  ) {
    found.add("tool call twice or in part")
  }
  if (held && !finished && calls.length > 0) found.add("tool call twice or in part")

  const said = [low, high].map((mark) => mark.text !== "" || mark.reasoning !== "")
  const resets = find(events, "Reset")
  const seams = find(events, "Seam")
  const joints = resets.length + seams.length
  if (joints > (again && held ? 1 : 0) || (again && joints < (held && said[0] === true ? 1 : 0))) found.add("joint")
  if (resets.length > 0 && one.mode !== "restart") found.add("joint")
  for (const seam of seams) {
    const offsets = [low.text.trimEnd().length, high.text.trimEnd().length]
    const delivered = textOf(events.slice(0, events.indexOf(seam))).length
    if (seam.overlap !== 0 || seam.startedOver || seam.offset !== delivered || !offsets.includes(seam.offset)) {
      found.add("joint")
    }
  }
  if (error !== undefined && !errorTags[one.kind].includes(error._tag)) found.add("wrong error")
  return found
}

/** The cuts of a kind, all, or a share of those around the events and a few between: an error event comes between events, a stall at every seventh byte, the others anywhere. */
const cutsOf = (kind: Kind, mode: Mode, marks: ReadonlyArray<Mark>, bytes: Uint8Array): ReadonlyArray<number> => {
  if (kind === "error")
    return share(
      marks.filter((mark) => !mark.ended),
      7
    ).map((mark) => mark.at)
  const all = Array.from({ length: bytes.length + 1 }, (_, cut) => cut)
  if (kind === "stall") return all.filter((cut) => cut % Math.max(7, step(1009)) === 0 || cut === bytes.length)
  const near = (cut: number) => marks.some((mark) => cut >= mark.whole - 1 && cut <= mark.at + 1)
  return exhaustive
    ? all
    : share(
        all.filter((cut) => cut % 31 === 0 || near(cut)),
        31,
        7 * modes.indexOf(mode)
      )
}

const replyOf = ({ cut, format, kind }: Case, bytes: Uint8Array): Reply => {
  const kept = bytes.subarray(0, cut)
  const sent = kind === "error" ? concat(kept, errorEvents[format]) : kept
  return { pieces: pieces(sent, cut % 2 === 0 ? bytes.length * 2 : 97), ending: kind === "error" ? "end" : kind }
}

/** A provider that is cut the first time, and then says the whole answer, or the rest that it is asked for. */
const answering = (state: { now: Case }, bytes: Uint8Array) =>
  stub((body, index) => {
    if (index === 0) return replyOf(state.now, bytes)
    const from = continuing(body)
    if (from === undefined) return { pieces: [bytes], ending: "end" }
    const { text, toolCalls } = answers[state.now.shape]
    return { pieces: [written(state.now.format, { text: text.slice(from.text.length), toolCalls })], ending: "end" }
  })

const modelIn = (mode: Mode, kind: Kind, leaf: ChatModel.ChatModel): ChatModel.ChatModel => {
  const timed = kind === "stall" ? ChatModel.timeout(leaf, { firstToken: "5 seconds", idle: "5 seconds" }) : leaf
  return mode === "none" ? timed : ChatModel.retry(timed, Schedule.recurs(1), { mode })
}

const tally = () => ({
  cases: 0,
  finished: 0,
  violations: new Map<Fault, number>(),
  examples: new Map<string, Case>()
})

const silent = Logger.withMinimumLogLevel(LogLevel.None)

const check = (format: Format, shape: Shape, kind: Kind, total: ReturnType<typeof tally>) =>
  Effect.gen(function* () {
    const bytes = bytesOf(format, shape)
    const marks = marksOf(bytes)
    for (const mode of modes) {
      const state = { now: { format, shape, kind, mode, cut: 0 } }
      const provider = answering(state, bytes)
      const model = modelIn(mode, kind, yield* modelOf(format, provider))
      for (const cut of cutsOf(kind, mode, marks, bytes)) {
        state.now = { format, shape, kind, mode, cut }
        provider.asked.length = 0
        const reading = see(model.stream(prompt)).pipe(Effect.withTracerEnabled(false), silent)
        const seen = kind === "stall" ? yield* reading : Effect.runSync(reading)
        const wrong = judge(state.now, seen, provider.asked.length, known(marks, cut))
        total.cases++
        // The runner wants to hear from its worker now and then.
        if (total.cases % 200 === 0) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
        if (seen.error === undefined) total.finished++
        for (const fault of wrong) {
          total.violations.set(fault, (total.violations.get(fault) ?? 0) + 1)
          const like = `${fault}, ${mode}`
          if (!total.examples.has(like)) total.examples.set(like, state.now)
        }
        if (provider.state.open > 0) yield* closed(provider.state)
      }
    }
  })

/** Cuts everything that is said in some formats. */
export const cuts = (formats: ReadonlyArray<Format>): void => {
  const parts = formats.flatMap((format) =>
    shapes.flatMap((shape) => kinds.map((kind) => [format, shape, kind] as const))
  )
  describe("a stream that is cut at any byte", () => {
    // Tens of thousands of errors are made, and no stack is read. Other files share the worker: they get theirs back.
    const { stackTraceLimit } = Error
    beforeAll(() => {
      Error.stackTraceLimit = 0
    })
    afterAll(() => {
      Error.stackTraceLimit = stackTraceLimit
    })
    for (const [format, shape, kind] of parts) {
      it.effect(`keeps the promise of every mode: ${format}, ${shape}, ${kind}`, () =>
        Effect.gen(function* () {
          const total = tally()
          yield* check(format, shape, kind, total).pipe(Effect.withClock(idleClock()))
          const violations = [...total.violations.values()].reduce((sum, count) => sum + count, 0)
          console.log(
            `cuts ${format}, ${shape}, ${kind}: ${total.cases} cases, ${total.finished} finished, ${violations} violations`
          )
          assert.deepStrictEqual([...total.examples], [])
          assert.deepStrictEqual([...total.violations], [])
        })
      )
    }
  })
}
