/** One case, in a process of its own: `child.js <part> <table> <case> <settings>`. Its figures are its message. */
import { type Figures, measure, type Settings } from "./case.js"
import { parts } from "./parts.js"

const [part = "", table = "", one = "", settings = "{}"] = process.argv.slice(2)

const figures = async (): Promise<Figures> => {
  const found = (await parts[part]?.())?.tables[Number(table)]?.cases[Number(one)]
  if (found === undefined) throw new Error(`no case ${part} ${table} ${one}`)
  const asked = JSON.parse(settings) as Settings
  const subject = await found.make()
  return subject.batch === undefined ? subject.sample(asked) : measure(subject.batch, asked)
}

if (part === "steps") await (await import("./steps.js")).run()
// What hangs or waits in the case ends with its process.
else process.send?.(await figures(), () => process.exit())
