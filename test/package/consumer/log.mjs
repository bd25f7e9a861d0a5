import { Effect } from "effect"
import { Call } from "effect-steadfast"
import * as CallLogLibsql from "effect-steadfast/observability/CallLogLibsql"

await Effect.runPromise(
  Effect.succeed("Paris.").pipe(Call.make("capital"), Effect.provide(CallLogLibsql.layer({ file: "calls.db" })))
)
