/** What a policy under simulation is: something that makes clients of the same fake provider. */
export interface Target {
  /** The name in tables. */
  readonly name: string
  readonly baseUrl: string
  readonly keys: ReadonlyArray<string>
}

/** What the client may know beforehand. */
export interface Setup {
  /** The fake provider; rejects like the real fetch does (`TypeError: fetch failed` with a cause, `AbortError`). */
  readonly fetch: typeof globalThis.fetch
  readonly targets: readonly [Target, ...ReadonlyArray<Target>]
  /** The provider's limits where the scenario says that they are known. */
  readonly limits?: { readonly requests?: Limit; readonly tokens?: Limit } | undefined
  readonly attemptTimeoutMillis: number
  readonly deadlineMillis?: number | undefined
  /** Batch work: the caller can wait. */
  readonly patient?: boolean | undefined
  /** In [0, 1), seeded. */
  readonly random: () => number
  readonly seed: number
}

export interface Limit {
  readonly limit: number
  readonly windowMillis: number
  readonly burst?: number | undefined
}

export interface Job {
  readonly id: number
  readonly prompt: string
  readonly maxTokens?: number | undefined
}

/** What one step of an agent may spend in all. */
export interface SpendLimit {
  readonly tokens?: number | undefined
  readonly attempts?: number | undefined
}

export interface Client {
  /** Resolves when the answer is there, rejects when the client gave up. */
  readonly call: (job: Job) => Promise<void>
  /** Resolves with the milliseconds to the first content of a stream, after reading it to its end. */
  readonly stream?: ((job: Job) => Promise<number>) | undefined
  /** Asks the jobs one after the other under one limit; how many were answered, and how many the limit refused. */
  readonly step?:
    | ((
        jobs: ReadonlyArray<Job>,
        limit: SpendLimit
      ) => Promise<{ readonly answered: number; readonly refused: number }>)
    | undefined
  readonly close?: (() => Promise<void>) | undefined
}

export interface Policy {
  readonly name: string
  /** "real package", "in the manner of", or "ours". */
  readonly kind: "ours" | "package" | "manner" | "naive"
  /** One line: the settings, and for a policy in the manner of another where its formula is published. */
  readonly about: string
  /** The scenarios of an edition of another policy: `tail`, `jobs`, `batch`. Default: all. */
  readonly only?: ReadonlyArray<"tail" | "jobs" | "batch">
  /** Ours without one of its parts, to show what that is worth: it is held to no goal. */
  readonly ablation?: boolean
  readonly make: (setup: Setup) => Client | Promise<Client>
}
