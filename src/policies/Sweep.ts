/**
 * Forgets the entries of a map that are not needed any more, a few at a time.
 *
 * Without it either a map with an entry for each of a customer's keys grows for ever, or one new entry looks at all
 * others.
 *
 * @since 0.2.0
 */

/** More than one, so that entries are forgotten faster than they come. */
const looks = 2

/**
 * A sweep over a map: each call looks at the next two entries, and deletes those that are not needed. So all entries
 * are looked at before half as many others came.
 *
 * @internal
 */
export const make = <A>(entries: Map<string, A>): ((isNeeded: (value: A) => boolean) => void) => {
  let rest = entries.entries()
  return (isNeeded) => {
    for (let look = 0; look < looks; look++) {
      const next = rest.next()
      if (next.done === true) {
        rest = entries.entries()
        return
      }
      const [name, value] = next.value
      if (!isNeeded(value)) entries.delete(name)
    }
  }
}
