/** Effect's own tracer, with one printed line a span of a call or an attempt when it ends. */
import { Context, type Exit, Option, Tracer } from "effect"

class PrintedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly sampled = true
  readonly traceId = "demo"
  readonly spanId: string
  readonly attributes = new Map<string, unknown>()
  status: Tracer.SpanStatus

  constructor(
    readonly name: string,
    readonly parent: Option.Option<Tracer.AnySpan>,
    readonly context: Context.Context<never>,
    readonly links: ReadonlyArray<Tracer.SpanLink>,
    startTime: bigint,
    readonly kind: Tracer.SpanKind
  ) {
    this.spanId = name
    this.status = { _tag: "Started", startTime }
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    const millis = Number((endTime - this.status.startTime) / 1_000_000n)
    this.status = { _tag: "Ended", startTime: this.status.startTime, endTime, exit }
    const shown = [
      "steadfast.attempt",
      "steadfast.target",
      "steadfast.retry.delay_ms",
      "steadfast.fallback.from",
      "error.type"
    ]
    const attributes = shown.flatMap((key) => (this.attributes.has(key) ? [`${key}=${this.attributes.get(key)}`] : []))
    console.log(
      `${Option.isSome(this.parent) ? "   span └ " : "   span "}${this.name} ${millis}ms ${attributes.join(" ")}`
    )
  }

  attribute(key: string, value: unknown): void {
    this.attributes.set(key, value)
  }

  event(): void {}
  addLinks(): void {}
}

export const printingTracer = Tracer.make({
  span: (name, parent, context, links, startTime, kind) =>
    new PrintedSpan(name, parent, context, links, startTime, kind),
  context: (f) => f()
})
