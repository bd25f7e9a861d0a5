import base from "../vitest.config.js"

// One worker of one file at a time, chosen by the mutation run. Modules are loaded anew for each file (see setup.ts),
// but not Effect: that would cost a second for each mutant.
export default {
  ...base,
  test: {
    include: (process.env.MUTATE_TESTS ?? "").split(" "),
    setupFiles: ["test/support/setup.ts", "mutate/setup.ts"],
    isolate: false
  }
}
