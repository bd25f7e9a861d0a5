/**
 * Numbers and times as the page writes them.
 *
 * @since 0.2.0
 */

const plain = new Intl.NumberFormat("en")

export const count = (n: number): string => plain.format(n)

/** What is not known: a dash, never a zero. */
export const unknown = "–"

/** A share of a total. What is not all or nothing is not rounded to it. */
export const percent = (part: number, whole: number): string => {
  if (whole === 0) return unknown
  const value = (100 * part) / whole
  if (value > 99.9 && value < 100) return "> 99.9 %"
  if (value > 0 && value < 0.1) return "< 0.1 %"
  return `${value === 100 || value === 0 ? value : value.toFixed(1)} %`
}

export const millis = (ms: number): string => {
  if (ms < 999.5) return `${Math.round(ms)} ms`
  if (ms < 9_950) return `${(ms / 1000).toFixed(1)} s`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return `${minutes} min ${seconds % 60} s`
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

const dollars = (usd: number): string => {
  if (usd === 0 || usd >= 0.995)
    return `$${usd.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`
  return `$${usd.toPrecision(2).includes("e") ? usd.toExponential(1) : usd.toPrecision(2)}`
}

/** A sum of dollars in which the cost of some attempts may be missing. */
export const usd = (sum: number | undefined, missing: number): string => {
  if (sum === undefined || (sum === 0 && missing > 0)) return "unknown"
  return missing > 0 ? `≥ ${dollars(sum)}` : dollars(sum)
}

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" })
const minutes = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" })
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" })

/** A time of day, in the time zone of the reader. */
export const timeOfDay = (at: number): string => clock.format(at)

/** A time with its day, if that is not today. */
export const time = (at: number): string =>
  new Date(at).toDateString() === new Date().toDateString() ? clock.format(at) : `${day.format(at)} ${clock.format(at)}`

export const minuteOf = (at: number): string => minutes.format(at)

export const dayOf = (at: number): string => day.format(at)

/** The begin of a point in a chart. */
export const pointOf = (at: number): string => `${day.format(at)} ${minutes.format(at)}`

export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`
