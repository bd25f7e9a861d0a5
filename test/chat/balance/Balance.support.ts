import { Clock, Duration, Effect, Exit, Option, Redacted } from "effect"
import { type Chat, ChatModel, type LlmError } from "effect-steadfast"
import * as Balance from "../../../src/chat/balance/Balance.js"
import { toChunk } from "../../../src/chat/stream/Layers.js"
import * as KeyPool from "../../../src/policies/balance/KeyPool.js"

/** How one request to a member ends, and after how long. */
export interface Answer {
  readonly error?: LlmError.LlmError | undefined
  readonly millis?: number | undefined
  /** It answers never. */
  readonly hangs?: boolean | undefined
}

/** One request that reached a member. */
export interface Reached {
  readonly name: string
  readonly at: number
  readonly request: Chat.Request
}

/** The record of all members: the requests that reached them, and the open requests of each. */
export const ledger = () => {
  const reached: Array<Reached> = []
  const open = new Map<string, number>()
  const names = () => reached.map(({ name }) => name)
  const counts = new Map<string, number>()
  const count = (name: string) => counts.get(name) ?? 0
  const reach = (one: Reached) => {
    reached.push(one)
    counts.set(one.name, count(one.name) + 1)
  }
  const add = (name: string, by: number) => open.set(name, (open.get(name) ?? 0) + by)
  return { reach, names, count, openAt: (name: string) => open.get(name) ?? 0, add }
}
export type Ledger = ReturnType<typeof ledger>

const events = (model: string): ReadonlyArray<Chat.Event> => [
  { _tag: "Start", provider: "openai", model },
  { _tag: "TextDelta", text: "hi" }
]

/** A member with scripted answers, the same for both ways of asking. A stream asks it on its first pull. */
export const memberOf = (
  all: Ledger,
  name: string,
  answer: (nth: number, request: Chat.Request) => Answer | undefined,
  more: Partial<ChatModel.Leaf> = {}
): ChatModel.ChatModel => {
  let nth = 0
  const target = { provider: "openai", model: "gpt", key: name, ...more }
  const asked = (request: Chat.Request): Effect.Effect<void, LlmError.LlmError> =>
    Effect.acquireUseRelease(
      Effect.flatMap(Clock.currentTimeMillis, (at) =>
        Effect.sync(() => {
          nth += 1
          all.reach({ name, at, request })
          all.add(name, 1)
          return answer(nth, request) ?? {}
        })
      ),
      ({ error, hangs, millis = 0 }) =>
        Effect.zipRight(
          hangs === true ? Effect.never : Effect.sleep(Duration.millis(millis)),
          error === undefined ? Effect.void : Effect.fail(error)
        ),
      () => Effect.sync(() => all.add(name, -1))
    )
  return ChatModel.fromLeaf({
    ...target,
    generate: (request) =>
      Effect.as(asked(request), {
        provider: target.provider,
        model: target.model,
        text: name,
        toolCalls: [],
        finishReason: "stop" as const
      }),
    open: (request) =>
      Effect.sync(() => {
        let step = 0
        return Effect.suspend(() => {
          step += 1
          if (step === 1) return Effect.as(Effect.mapError(asked(request), Option.some), toChunk(events(name)))
          if (step === 2) return Effect.succeed(toChunk([{ _tag: "TextDelta", text: " there" }]))
          return step === 3 ? Effect.succeed(toChunk([{ _tag: "Finish", reason: "stop" }])) : Effect.fail(Option.none())
        })
      }),
    ...more
  })
}

/** A pool of keys by their names, and a model over them with scripted answers. */
export const pooledOf = (
  keys: ReadonlyArray<string>,
  answer: (key: string, nth: number, request: Chat.Request) => Answer | undefined,
  options: Partial<KeyPool.Options> & Balance.PooledOptions = {}
) =>
  Effect.gen(function* () {
    const all = ledger()
    const { affinity, ...rest } = options
    const pool = yield* KeyPool.make({ keys: keys.map((key) => Redacted.make(key)), ...rest })
    const model = yield* Balance.pooled(
      pool,
      (apiKey) => {
        const key = Redacted.value(apiKey)
        return Effect.succeed(
          memberOf(all, key, (nth, request) => answer(key, nth, request), { key: KeyPool.nameOf(apiKey) })
        )
      },
      { affinity }
    )
    const inFlight = () => pool.balancer.members.map((member) => member.inFlight)
    return { pool, model, all, inFlight }
  })

/** Both ways of asking. Each answers with the name of the member that answered. */
export const ways = {
  generate: (model: ChatModel.ChatModel, request: Chat.Request) =>
    Effect.map(model.generate(request), (response) => response.text),
  stream: (model: ChatModel.ChatModel, request: Chat.Request) =>
    Effect.scoped(
      Effect.gen(function* () {
        const pull = yield* model[ChatModel.TypeId].open(request)
        let name = ""
        while (true) {
          const next = yield* Effect.either(pull)
          if (next._tag === "Left") {
            if (next.left._tag === "None") return name
            return yield* Effect.fail(next.left.value)
          }
          for (const event of next.right) if (event._tag === "Start") name = event.model
        }
      })
    )
} as const

export const errorTag = (exit: Exit.Exit<unknown, LlmError.LlmError>): string =>
  exit._tag === "Success" ? "answered" : exit.cause._tag === "Fail" ? exit.cause.error._tag : exit.cause._tag
