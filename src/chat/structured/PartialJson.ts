/**
 * JSON that comes in pieces: the value so far.
 *
 * A reader takes the pieces of a text and holds the value that they make, without ever reading a piece twice. The value
 * only grows: a text gets longer, an array and an object get more members, and a number, a literal or a key is there
 * when it is whole. The values that {@link PartialJson.value} gave stay as they are: a reader copies what is still open
 * and shares the rest.
 *
 * Text before the JSON is skipped if it is a fence. What comes after the JSON is not read.
 *
 * @since 0.2.0
 */

/**
 * A reader.
 *
 * @since 0.2.0
 * @category models
 */
export interface PartialJson {
  /** Takes the next piece. Returns whether the value has changed. */
  readonly push: (text: string) => boolean
  /** The value so far; `undefined` as long as there is none, and for text that is no JSON. */
  readonly value: () => unknown
}

interface Open {
  readonly holder: Array<unknown> | Record<string, unknown>
  /** The key whose value comes next. */
  key: string | undefined
}

type State =
  /** Before the value, in white space or a fence. */
  | "before"
  /** A value is expected. */
  | "value"
  /** In an array that has just begun: a value or its end. */
  | "first"
  /** A key is expected, or the end of an object that has just begun. */
  | "key"
  | "colon"
  /** After a member. */
  | "after"
  | "string"
  | "escape"
  | "unicode"
  /** A number, `true`, `false` or `null`. */
  | "word"
  | "done"
  /** No JSON, or none any more. */
  | "lost"

const escapes: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t"
}

const isSpace = (char: string): boolean => char === " " || char === "\n" || char === "\r" || char === "\t"

const fence = "```"

/** Deeper JSON is given up: no answer is so deep, and `JSON.parse` of the whole decides in the end. */
const maxDepth = 200

/**
 * A reader that has read nothing.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (): PartialJson => {
  let state: State = "before"
  let root: unknown
  let has = false
  const stack: Array<Open> = []
  /** The string or word that is being read. */
  let text = ""
  let isKey = false
  /** Whether the string that is being read is in its holder already. */
  let isSet = false
  /** The last unit of the string. */
  let tail = 0
  let code = ""
  let lead = ""
  let changed = false

  const put = (value: unknown): void => {
    const top = stack[stack.length - 1]
    changed = true
    if (top === undefined) {
      root = value
      has = true
      return
    }
    const { holder } = top
    if (Array.isArray(holder)) {
      if (isSet) holder[holder.length - 1] = value
      else holder.push(value)
      return
    }
    const key = top.key as string
    if (key === "__proto__") {
      Object.defineProperty(holder, key, { value, enumerable: true, configurable: true, writable: true })
    } else holder[key] = value
  }

  const begin = (holder: Open["holder"], next: State): void => {
    if (stack.length >= maxDepth) {
      state = "lost"
      return
    }
    put(holder)
    stack.push({ holder, key: undefined })
    state = next
  }

  const ended = (): void => {
    state = stack.length === 0 ? "done" : "after"
  }

  const close = (isArray: boolean): void => {
    const top = stack[stack.length - 1]
    if (top === undefined || Array.isArray(top.holder) !== isArray) {
      state = "lost"
      return
    }
    stack.pop()
    ended()
  }

  const value = (char: string): void => {
    if (char === "{") begin({}, "key")
    else if (char === "[") begin([], "first")
    else if (char === '"') {
      text = ""
      tail = 0
      isKey = false
      isSet = false
      put("")
      isSet = true
      state = "string"
    } else if (/[-\dtfn]/.test(char)) {
      text = char
      state = "word"
    } else state = "lost"
  }

  const endString = (): void => {
    if (isKey) {
      ;(stack[stack.length - 1] as Open).key = text
      state = "colon"
      return
    }
    put(text)
    isSet = false
    ended()
  }

  /** Returns whether the character after the word has to be read. */
  const endWord = (): boolean => {
    try {
      put(JSON.parse(text))
      ended()
    } catch {
      state = "lost"
    }
    return state === "after"
  }

  const lost = (): void => {
    state = "lost"
  }

  /** What each state does with a character. A string is read by `string`. */
  const readers: Readonly<Record<Exclude<State, "string" | "done" | "lost">, (char: string) => void>> = {
    // A fence, its language and the end of its line. Other text before the JSON may hold braces of its own.
    before: (char) => {
      if (lead === "" && (isSpace(char) || char === "\uFEFF")) return
      const isInFence = lead === fence
      if ((lead === "" && char !== "`") || (isInFence && /[[{"]/.test(char))) value(char)
      else if (isInFence ? !/[\w+.\-\s]/.test(char) : char !== "`") lost()
      else if (!isInFence) lead += char
    },
    first: (char) => {
      if (char === "]") close(true)
      else if (!isSpace(char)) value(char)
    },
    value: (char) => {
      if (!isSpace(char)) value(char)
    },
    key: (char) => {
      if (char === "}") close(false)
      else if (char === '"') {
        text = ""
        isKey = true
        state = "string"
      } else if (!isSpace(char)) lost()
    },
    colon: (char) => {
      if (char === ":") state = "value"
      else if (!isSpace(char)) lost()
    },
    after: (char) => {
      if (isSpace(char)) return
      const isArray = Array.isArray((stack[stack.length - 1] as Open).holder)
      if (char === ",") state = isArray ? "value" : "key"
      else if (char === "]" || char === "}") close(char === "]")
      else lost()
    },
    escape: (char) => {
      const plain = escapes[char]
      if (char === "u") {
        code = ""
        state = "unicode"
      } else if (plain === undefined) lost()
      else {
        text += plain
        tail = 0
        state = "string"
      }
    },
    unicode: (char) => {
      code += char
      if (code.length < 4) return
      state = /^[\da-fA-F]{4}$/.test(code) ? "string" : "lost"
      tail = Number.parseInt(code, 16)
      text += String.fromCharCode(tail)
    },
    word: (char) => {
      if (/[\w.+-]/.test(char)) text += char
      else if (endWord()) readers.after(char)
    }
  }

  /** Reads as much of a string as there is at once. */
  const string = (piece: string, from: number): number => {
    let end = from
    while (end < piece.length) {
      const unit = piece.charCodeAt(end)
      if (unit === 34 || unit === 92) break
      end++
    }
    text += piece.slice(from, end)
    if (end > from) tail = piece.charCodeAt(end - 1)
    if (end === piece.length) return end
    if (piece.charCodeAt(end) === 92) state = "escape"
    else endString()
    return end + 1
  }

  /** The first half of a pair of surrogates waits for the other. A long text is not read again for that. */
  const whole = (): string => (text !== "" && tail >= 0xd800 && tail <= 0xdbff ? text.slice(0, -1) : text)

  return {
    push: (piece) => {
      changed = false
      let index = 0
      while (index < piece.length && state !== "done" && state !== "lost") {
        if (state === "string") index = string(piece, index)
        else readers[state](piece[index++] as string)
      }
      if (!isKey && isSet && (state === "string" || state === "escape" || state === "unicode")) put(whole())
      return changed && has
    },
    value: () => {
      if (!has) return undefined
      // The open holders are copied along the path to the end, from the outside in; the closed ones are shared.
      let copy: unknown
      for (let index = stack.length - 1; index >= 0; index--) {
        const { holder } = stack[index] as Open
        const own = Array.isArray(holder) ? holder.slice() : copied(holder)
        if (index < stack.length - 1) replaceLast(own, stack[index]?.key, copy)
        copy = own
      }
      return stack.length === 0 ? root : copy
    }
  }
}

const copied = (holder: Record<string, unknown>): Record<string, unknown> =>
  Object.hasOwn(holder, "__proto__")
    ? Object.defineProperties({}, Object.getOwnPropertyDescriptors(holder))
    : { ...holder }

const replaceLast = (own: Open["holder"], key: string | undefined, value: unknown): void => {
  if (Array.isArray(own)) own[own.length - 1] = value
  else if (key === "__proto__") {
    Object.defineProperty(own, key, { value, enumerable: true, configurable: true, writable: true })
  } else own[key as string] = value
}
