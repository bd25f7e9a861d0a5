import { assert, describe, it } from "@effect/vitest"
import * as CircuitOutcome from "../../../src/policies/circuit/CircuitOutcome.js"
import * as Window from "../../../src/policies/circuit/Window.js"

const { failure, ignored, success, throttled } = CircuitOutcome

/** The width after rounds of outcomes; the outcomes of a round end evenly over its time. */
const widthAfter = (
  width: number,
  rounds: ReadonlyArray<{
    readonly millis: number
    readonly failing?: (index: number) => CircuitOutcome.Outcome | undefined
  }>
) => {
  let now = 0
  let window = Window.begin(width, now)
  for (const { failing, millis } of rounds) {
    const count = window.width
    for (let index = 0; index < count; index++) {
      window = Window.next(window, failing?.(index) ?? success, now + (millis * (index + 1)) / count)
    }
    now += millis
  }
  return window.width
}

const even = { millis: 300 }

describe("a window", () => {
  it("doubles while the target answers faster, and goes back where it does not", () => {
    assert.strictEqual(widthAfter(4, [even, even, even]), 32)
    // Rounds that take longer as they grow: the target answers 13 a second, whatever is asked.
    assert.strictEqual(widthAfter(4, [even, { millis: 600 }]), 4)
    assert.strictEqual(widthAfter(4, [even, { millis: 600 }, even, even]), 4)
  })

  it("does not shrink for some failures, but to the answered share for many, and to one where all fail or are refused", () => {
    const some = { millis: 300, failing: (index: number) => (index % 4 === 0 ? failure() : undefined) }
    assert.isAtLeast(widthAfter(4, [some, some, some]), 16)
    assert.strictEqual(widthAfter(8, [{ millis: 300, failing: () => failure() }]), 1)
    const every3rd = { millis: 300, failing: (index: number) => (index % 3 === 0 ? failure() : undefined) }
    assert.strictEqual(widthAfter(16, [every3rd]), 10)
    assert.strictEqual(widthAfter(8, [{ millis: 300, failing: () => throttled(0) }]), 1)
    assert.strictEqual(widthAfter(1, [{ millis: 300, failing: () => failure() }]), 1)
  })

  it("hears nothing of what tells nothing", () => {
    const window = Window.begin(4, 0)
    assert.strictEqual(Window.next(window, ignored, 10), window)
  })
})
