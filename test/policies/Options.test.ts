import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Either, JSONSchema, ParseResult, Redacted, Schema, SchemaAST } from "effect"
import { CircuitBreaker, Hedge, KeyPool, Pacer, RetryBudget, RetryPolicy, Spend } from "effect-steadfast"
import * as Balancer from "../../src/policies/balance/Balancer.js"
import * as Options from "../../src/policies/Options.js"

type Make = (options: Readonly<Record<string, unknown>>) => unknown

const give = (make: (options: never) => unknown): Make => make as Make

const keys = [Redacted.make("a")]

/** Each policy by its name, with its numbers and its durations. */
const policies = {
  RetryPolicy: {
    schema: RetryPolicy.Options,
    make: give(RetryPolicy.make),
    numbers: ["maxAttempts", "backoffFactor"],
    durations: ["initialDelay", "overloadedDelay", "maxDelay", "maxHint"]
  },
  RetryBudget: {
    schema: RetryBudget.Options,
    make: give(RetryBudget.make),
    numbers: ["ratio", "cap"],
    durations: ["reserve"]
  },
  Hedge: { schema: Hedge.Options, make: give(Hedge.make), numbers: ["quantile", "ratio"], durations: [] },
  CircuitBreaker: {
    schema: CircuitBreaker.Options,
    make: give(CircuitBreaker.make),
    numbers: [],
    durations: ["openDuration", "deadDuration", "probeLease"]
  },
  "CircuitBreaker.streak": {
    schema: undefined,
    make: give(CircuitBreaker.streak),
    numbers: ["failures", "chance"],
    durations: ["halfLife"]
  },
  "CircuitBreaker.rate": {
    schema: undefined,
    make: give(CircuitBreaker.rate),
    numbers: ["threshold", "minimum"],
    durations: ["halfLife"]
  },
  Pacer: { schema: Pacer.Options, make: give(Pacer.make), numbers: ["maxQueue"], durations: ["maxWait"] },
  KeyPool: {
    schema: KeyPool.Options,
    make: give((options: object) => KeyPool.make({ keys, ...options })),
    numbers: [],
    durations: ["maxWait"]
  },
  Spend: {
    schema: Spend.Limits,
    make: give((limits: Spend.Limits) => Spend.open(limits)),
    numbers: ["usd", "tokens", "attempts"],
    durations: ["time"]
  }
} as const

const badNumbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, "3", null, {}, true, 1n]

const badDurations = [Number.NaN, Number.NEGATIVE_INFINITY, -5, -5n, [-5, 0], [Number.NaN, 0], [1]].concat([
  "-5 seconds",
  "5 parsecs",
  "5",
  "",
  null,
  {},
  true
] as never)

const shown = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? JSON.stringify(value)
    : typeof value === "string"
      ? `"${value}"`
      : String(value)

const refusal = (run: () => unknown): string => {
  try {
    run()
  } catch (error) {
    assert.instanceOf(error, RangeError)
    return (error as RangeError).message
  }
  return assert.fail("accepted")
}

describe("what a program gives", () => {
  for (const [name, { durations, make, numbers }] of Object.entries(policies)) {
    for (const [options, noun, bad] of [
      [numbers, /^a (whole |finite )?number /, badNumbers],
      [durations, /^a (finite )?duration /, badDurations]
    ] as const) {
      for (const option of options) {
        it(`${name}: ${option} is refused in the one wording`, () => {
          for (const value of bad) {
            const message = refusal(() => make({ [option]: value }))
            const found = `${name}: ${option}: found `
            assert.isTrue(message.startsWith(found), message)
            const [what, expected] = message.slice(found.length).split(", expected ") as [string, string]
            if (!Array.isArray(value)) assert.strictEqual(what, shown(value))
            assert.match(expected, noun)
          }
        })
      }
    }

    it(`${name}: what is left out, or undefined, is the default`, () => {
      const all = Object.fromEntries([...numbers, ...durations].map((option) => [option, undefined]))
      assert.doesNotThrow(() => [make({}), make(all)])
    })
  }

  it("says it literally", () => {
    const message = 'Pacer: maxWait: found "-5 seconds", expected a duration of 0 or more'
    assert.strictEqual(
      refusal(() => Pacer.make({ maxWait: "-5 seconds" })),
      message
    )
  })

  it("is refused where it is no object, no list or no such word", () => {
    assert.strictEqual(
      refusal(() => give(Pacer.make)({ requests: 5 })),
      "Pacer: requests: found 5, expected an object"
    )
    assert.strictEqual(
      refusal(() => give(Hedge.make)("x" as never)),
      'Hedge: found "x", expected an object'
    )
    assert.strictEqual(
      refusal(() => give(CircuitBreaker.make)({ tripPolicy: [{}] })),
      "CircuitBreaker: tripPolicy[0]: found {}, expected a trip policy"
    )
    assert.strictEqual(
      refusal(() => Balancer.make([{ name: "a" }], "quickest" as "fastest")),
      'Balancer: strategy: found "quickest", expected "weighted" or "least-busy" or "fastest" or "cheapest"'
    )
    assert.strictEqual(
      refusal(() => give((options: Spend.Options) => Spend.open({}, options))({ strict: "yes" })),
      'Spend: strict: found "yes", expected true or false'
    )
  })
})

describe("a rule", () => {
  const week = Options.duration({ min: 0, max: "1 week" })

  it("takes every form of a duration, in milliseconds", () => {
    for (const [input, millis] of [
      [1500, 1500],
      [1_500_000_000n, 1500],
      ["1.5 seconds", 1500],
      [[1, 500_000_000], 1500],
      [Duration.seconds(1.5), 1500],
      ["-0 seconds", 0],
      ["1 week", 604_800_000]
    ] as const) {
      assert.strictEqual(week.read(input as Duration.DurationInput, "x: y"), millis + 0)
    }
    assert.strictEqual(Options.duration().read(Duration.infinity, "x: y"), Number.POSITIVE_INFINITY)
  })

  it("says its bounds, and holds them", () => {
    for (const [bounds, inside, outside, expected] of [
      [{}, [0, 1e9], [-1e-9], "a finite number of 0 or more"],
      [{ min: 1, max: 2 }, [1, 2], [0.99, 2.01], "a number from 1 to 2"],
      [{ above: 0 }, [1e-9], [0], "a finite number above 0"],
      [{ above: 0, max: 2 }, [2], [0, 2.01], "a number above 0 and at most 2"],
      [{ min: 0, below: 1 }, [0, 0.99], [1], "a number of 0 or more and below 1"],
      [{ min: 1, whole: true }, [1, 7], [0, 1.5, 1e300], "a whole number of 1 or more"]
    ] as const) {
      const rule = Options.number(bounds)
      for (const value of inside) {
        assert.strictEqual(rule.read(value, "x: y"), value)
        assert.isTrue(Schema.is(rule.schema)(value))
      }
      for (const value of outside) {
        assert.strictEqual(
          refusal(() => rule.read(value, "x: y")),
          `x: y: found ${value}, expected ${expected}`
        )
        assert.isFalse(Schema.is(rule.schema)(value))
      }
    }
  })
})

/** The schema of each policy, with options in JSON that it takes. */
const files = [
  [
    "RetryPolicy",
    RetryPolicy.Options,
    {
      maxAttempts: 3,
      maxHint: "90000 millis",
      jitter: "none",
      retryOn: ["InvalidResponse", 409],
      giveUpOn: [],
      providers: { anthropic: { giveUpOn: ["Overloaded", 529] } }
    }
  ],
  ["RetryBudget", RetryBudget.Options, { ratio: 0.2, cap: 5, reserve: "1000 millis" }],
  ["Hedge", Hedge.Options, { quantile: 0.9, ratio: 0.1 }],
  [
    "CircuitBreaker",
    CircuitBreaker.Options,
    {
      tripPolicy: [
        { consecutive: 2 },
        { streak: { failures: 4, chance: 0.01, halfLife: "1000 millis" } },
        { rate: { threshold: 0.3, minimum: 9, halfLife: "2000 millis" } }
      ],
      openDuration: { initial: "1000 millis", max: "5000 millis" },
      deadDuration: "60000 millis",
      ramp: [1, 3]
    }
  ],
  ["Pacer", Pacer.Options, { requests: { limit: 60, window: "60000 millis", burst: 5 }, maxWait: "1000 millis" }],
  ["Pacer.LimitOptions", Pacer.LimitOptions, { limit: 60 }],
  ["KeyPool", KeyPool.Options, { strategy: "fastest", maxWait: "1000 millis" }],
  ["Balancer.MemberOptions", Balancer.MemberOptions, { name: "a", weight: 2, cost: 0 }],
  ["Spend.Limits", Spend.Limits, { usd: 0.05, attempts: 8, time: "60000 millis" }],
  ["Spend", Spend.Options, { name: "plan", maxTokens: 100, strict: true, unpriced: "allow" }]
] as ReadonlyArray<readonly [string, Schema.Schema<object, object>, object]>

const issues = (schema: Schema.Schema<object, object>, json: unknown): ReadonlyArray<string> => {
  const result = Schema.decodeUnknownEither(schema, { errors: "all" })(json)
  if (Either.isRight(result)) return []
  return ParseResult.ArrayFormatter.formatErrorSync(result.left).map(
    ({ message, path }) => `${path.join(".")}: ${message}`
  )
}

describe("what stands in JSON", () => {
  for (const [name, schema, json] of files) {
    it(`${name}: is decoded, and encoded as it was`, () => {
      const decoded = Schema.decodeUnknownSync(schema)(json)
      assert.deepStrictEqual(Schema.encodeSync(schema)(decoded), json)
    })

    it(`${name}: every field has a description, with its default`, () => {
      assert.isTrue(SchemaAST.isTypeLiteral(schema.ast))
      const { properties } = JSONSchema.make(schema) as unknown as {
        readonly properties: Readonly<Record<string, { readonly description?: string }>>
      }
      for (const field of SchemaAST.isTypeLiteral(schema.ast) ? schema.ast.propertySignatures : []) {
        const description = String(field.annotations[SchemaAST.DescriptionAnnotationId] ?? "")
        assert.match(description, field.isOptional ? /[dD]efault/ : /\w{3}/, String(field.name))
        assert.strictEqual(properties[String(field.name)]?.description, description)
      }
    })
  }

  it("is what the policies take", () => {
    const breaker = Schema.decodeUnknownSync(CircuitBreaker.Options)(files[3]?.[2])
    assert.deepStrictEqual(breaker.tripPolicy, [
      CircuitBreaker.consecutive(2),
      CircuitBreaker.streak({ failures: 4, chance: 0.01, halfLife: "1 second" }),
      CircuitBreaker.rate({ threshold: 0.3, minimum: 9, halfLife: "2 seconds" })
    ])
    Effect.runSync(CircuitBreaker.make(breaker))
    Effect.runSync(Pacer.make(Schema.decodeUnknownSync(Pacer.Options)(files[4]?.[2])))
    RetryBudget.make(Schema.decodeUnknownSync(RetryBudget.Options)(files[1]?.[2]))
    Hedge.make(Schema.decodeUnknownSync(Hedge.Options)(files[2]?.[2]))
    Balancer.make([Schema.decodeUnknownSync(Balancer.MemberOptions)(files[7]?.[2])])
    const limits = Schema.decodeUnknownSync(Spend.Limits)(files[8]?.[2])
    Effect.runSync(Spend.open(limits, Schema.decodeUnknownSync(Spend.Options)(files[9]?.[2])))
    Effect.runSync(KeyPool.make({ keys, ...Schema.decodeUnknownSync(KeyPool.Options)(files[6]?.[2]) }))
  })

  it("is refused in the one wording, and in no other", () => {
    const limits = Spend.Limits as unknown as Schema.Schema<object, object>
    assert.deepStrictEqual(issues(limits, { usd: -1, time: "-5 seconds" }), [
      "usd: found -1, expected a finite number of 0 or more",
      'time: found "-5 seconds", expected a duration of 0 or more, such as "30 seconds"'
    ])
    const retry = RetryPolicy.Options as unknown as Schema.Schema<object, object>
    for (const value of [500, "500", "5 parsecs", "", "2 weeks", null]) {
      assert.deepStrictEqual(issues(retry, { maxDelay: value }), [
        `maxDelay: found ${shown(value)}, expected a duration from 0 to 1 week, such as "30 seconds"`
      ])
    }
  })
})
