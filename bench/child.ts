/** One case, in a process of its own: `child.js <part> <table> <case>`. It measures when a message asks it to. */
import { type Asked, type Figures, measure, type Subject, warmUp } from "./case.js"
import { parts } from "./parts.js"

const [part = "", table = "", one = ""] = process.argv.slice(2)

const subject = async (): Promise<Subject> => {
  const found = (await parts[part]?.())?.tables[Number(table)]?.cases[Number(one)]
  if (found === undefined) throw new Error(`no case ${part} ${table} ${one}`)
  return found.make()
}

const answer = async (subject: Subject, { settings, what }: Asked): Promise<Figures> => {
  if (what === "round") return subject.batch === undefined ? subject.sample(settings) : measure(subject.batch, settings)
  if (subject.batch !== undefined) return { warmed: await warmUp(subject.batch, settings) }
  return subject.warm === undefined ? {} : { warmed: await subject.warm(settings) }
}

if (part === "steps") {
  await (await import("./steps.js")).run()
} else {
  const made = await subject()
  process.on("message", async (asked: Asked) => process.send?.(await answer(made, asked)))
  process.on("disconnect", () => process.exit())
  process.send?.("ready")
}
