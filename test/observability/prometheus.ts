/** The text format of Prometheus, read strictly: whatever a scraper could refuse is an error here. */

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string | undefined
  readonly samples: ReadonlyArray<Sample>
}

const nameAt = /[a-zA-Z_:][a-zA-Z0-9_:]*/y
const labelAt = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,?)/y

const unescape = (text: string): string => text.replaceAll(/\\(["\\n])/g, (_, c) => (c === "n" ? "\n" : c))

const readNumber = (text: string): number => {
  if (text === "+Inf") return Number.POSITIVE_INFINITY
  if (text === "-Inf") return Number.NEGATIVE_INFINITY
  if (text === "NaN") return Number.NaN
  if (!/^[+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/.test(text)) throw new Error(`no number: ${text}`)
  return Number(text)
}

const readSample = (line: string): Sample => {
  nameAt.lastIndex = 0
  const [name] = nameAt.exec(line) ?? []
  if (name === undefined) throw new Error(`no sample: ${line}`)
  const labels: Record<string, string> = {}
  let at = name.length
  if (line[at] === "{") {
    at++
    let more = true
    while (line[at] !== "}") {
      labelAt.lastIndex = at
      const match = labelAt.exec(line)
      if (match === null || !more) throw new Error(`no label at ${at}: ${line}`)
      const [all, key = "", value = "", comma] = match
      if (key in labels) throw new Error(`label twice: ${line}`)
      labels[key] = unescape(value)
      more = comma === ","
      at += all.length
    }
    at++
  }
  if (line[at] !== " ") throw new Error(`no value: ${line}`)
  return { name, labels, value: readNumber(line.slice(at + 1)) }
}

const keyOf = ({ labels, name }: Sample): string => `${name} ${JSON.stringify(Object.entries(labels).sort())}`

const suffixes: Readonly<Record<string, ReadonlyArray<string>>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
  summary: ["", "_sum", "_count"]
}

/** Buckets must grow, and the last of them is the count. */
const checkHistogram = (family: Family): void => {
  const groups = new Map<string, Array<Sample>>()
  for (const sample of family.samples) {
    const { le: _, ...labels } = sample.labels
    const key = JSON.stringify(Object.entries(labels).sort())
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  for (const [key, samples] of groups) {
    const buckets = samples.filter(({ name }) => name.endsWith("_bucket"))
    const ends = buckets.map(({ labels }) => readNumber(labels.le ?? "none"))
    const counts = buckets.map(({ value }) => value)
    const grows = (values: ReadonlyArray<number>, strictly: boolean) =>
      values.every((value, at) => at === 0 || value > (values[at - 1] ?? 0) || (!strictly && value === values[at - 1]))
    const count = samples.find(({ name }) => name.endsWith("_count"))?.value
    if (!grows(ends, true) || !grows(counts, false) || ends.at(-1) !== Number.POSITIVE_INFINITY) {
      throw new Error(`buckets of ${family.name} ${key}: ${ends} ${counts}`)
    }
    if (count !== counts.at(-1)) throw new Error(`count of ${family.name} ${key}`)
    if (!samples.some(({ name }) => name.endsWith("_sum"))) throw new Error(`no sum: ${family.name}`)
  }
}

export const parse = (text: string): ReadonlyMap<string, Family> => {
  if (text !== "" && !text.endsWith("\n")) throw new Error("the last line has no end")
  const families = new Map<string, Family & { samples: Array<Sample> }>()
  const seen = new Set<string>()
  let help: readonly [string, string] | undefined
  let open: (Family & { samples: Array<Sample> }) | undefined
  for (const line of text.split("\n").slice(0, -1)) {
    const meta = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/.exec(line)
    if (meta !== null) {
      const [, word, name = "", rest = ""] = meta
      if (word === "HELP") help = [name, rest]
      else {
        if (families.has(name)) throw new Error(`family twice: ${name}`)
        if (!(rest in suffixes)) throw new Error(`type ${rest}`)
        if (help !== undefined && help[0] !== name) throw new Error(`help of another: ${line}`)
        open = { name, type: rest, help: help?.[1], samples: [] }
        families.set(name, open)
        help = undefined
      }
      continue
    }
    if (line.startsWith("#") || line === "") throw new Error(`line: ${line}`)
    const sample = readSample(line)
    const family = open
    if (family === undefined || !suffixes[family.type]?.some((end) => sample.name === family.name + end)) {
      throw new Error(`outside of its family: ${line}`)
    }
    const key = keyOf(sample)
    if (seen.has(key)) throw new Error(`series twice: ${line}`)
    seen.add(key)
    family.samples.push(sample)
  }
  for (const family of families.values()) if (family.type === "histogram") checkHistogram(family)
  return families
}

/** The growth of every series since another reading: the registry of a process is one, and other tests write to it too. */
export const since = (before: ReadonlyMap<string, Family>, after: ReadonlyMap<string, Family>) => {
  const old = new Map([...before.values()].flatMap(({ samples }) => samples.map((s) => [keyOf(s), s.value])))
  const samples = [...after.values()].flatMap((family) =>
    family.samples.map((sample) =>
      family.type === "gauge" ? sample : { ...sample, value: sample.value - (old.get(keyOf(sample)) ?? 0) }
    )
  )
  const matching = (name: string, labels: Readonly<Record<string, string>>) =>
    samples.filter(
      (sample) =>
        sample.name === name && Object.entries(labels).every(([key, value]) => (sample.labels[key] ?? "") === value)
    )
  return {
    /** The samples that grew. */
    grown: samples.filter(({ value }) => value !== 0),
    /** The sum of all series with these labels; an absent label is an empty one. */
    sum: (name: string, labels: Readonly<Record<string, string>> = {}): number =>
      matching(name, labels).reduce((sum, { value }) => sum + value, 0),
    /** The sums by the values of one label, without those of 0. */
    by: (name: string, label: string, labels: Readonly<Record<string, string>> = {}): Record<string, number> => {
      const sums: Record<string, number> = {}
      for (const sample of matching(name, labels)) {
        const key = sample.labels[label] ?? ""
        if (sample.value !== 0) sums[key] = (sums[key] ?? 0) + sample.value
      }
      return sums
    }
  }
}
