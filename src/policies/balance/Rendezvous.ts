/**
 * Rendezvous hashing: assigns a session to a member by their names alone.
 *
 * Each member draws a number for each session, and the highest wins (highest random weight, Thaler and Ravishankar
 * 1998; weighted as by Schindelhauer and Schomaker 2005). No state is kept, every process ranks alike, and a leaving
 * member moves only its own sessions.
 *
 * @since 0.2.0
 */

/** Mixes all bits of a whole number into all bits of the result (the finalizer of MurmurHash3). */
const mix = (n: number): number => {
  let h = n | 0
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * A 32-bit hash of a text (FNV-1a, mixed).
 *
 * @since 0.2.0
 * @category hashing
 */
export const hash = (text: string): number => {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  return mix(h)
}

/**
 * The score of a member for a session, by their {@link hash}es. The highest score wins the session. Over many sessions,
 * a member's share is proportional to its `weight`.
 *
 * @since 0.2.0
 * @category hashing
 */
export const score = (session: number, member: number, weight: number): number => {
  const drawn = (mix(session ^ Math.imul(member, 0x9e3779b1)) + 0.5) / 0x1_0000_0000
  return -weight / Math.log(drawn)
}
