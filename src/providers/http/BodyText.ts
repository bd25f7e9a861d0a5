/**
 * The text of a body, of which no more than a bound is held.
 *
 * @since 0.2.0
 */

/**
 * A body that is being read.
 *
 * @since 0.2.0
 * @category models
 */
export interface BodyText {
  /** Takes a piece. `false` if the body exceeds the bound: then reading should stop. */
  readonly push: (piece: Uint8Array) => boolean
  /** Whether all of it was taken. */
  readonly isWhole: () => boolean
  /** The text, read once: UTF-8 without its byte order mark; of a body above the bound its beginning. */
  readonly text: () => string
}

/**
 * The bytes of an answer that are held by default: 16 MiB. The largest known answers, with images in base64, have a few
 * MiB.
 *
 * @since 0.2.0
 * @category constants
 */
export const defaultMaxBytes = 16 * 1024 * 1024

/** One for all: it keeps nothing between two bodies, and the first use of a new one is slow (Node 20). */
const whole = new TextDecoder()

/** The characters of a body above the bound that are read: an error stands at the beginning. */
const beginning = 65_536

/**
 * A body of which `maxBytes` are held at the most.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (maxBytes: number): BodyText => {
  const pieces: Array<Uint8Array> = []
  let size = 0
  return {
    push: (piece) => {
      size += piece.length
      if (size > maxBytes) return false
      pieces.push(piece)
      return true
    },
    isWhole: () => size <= maxBytes,
    text: () => {
      if (pieces.length === 1 && size <= maxBytes) return whole.decode(pieces[0])
      const decoder = new TextDecoder()
      const most = size <= maxBytes ? Number.POSITIVE_INFINITY : beginning
      const texts: Array<string> = []
      // From its end, so that a piece is let go as soon as it is text: a large body is not held as both.
      pieces.reverse()
      for (let length = 0; pieces.length > 0 && length < most; ) {
        const text = decoder.decode(pieces.pop(), { stream: true })
        texts.push(text)
        length += text.length
      }
      return texts.join("") + decoder.decode()
    }
  }
}
