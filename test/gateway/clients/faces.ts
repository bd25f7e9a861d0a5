import type { Step } from "effect-steadfast/testing"
import * as Ai from "./faces.ai.js"
import * as Anthropic from "./faces.anthropic.js"
import * as EffectAi from "./faces.effect.js"
import * as LangChain from "./faces.langchain.js"
import * as Local from "./faces.local.js"
import * as More from "./faces.more.js"
import * as OpenAi from "./faces.openai.js"
import * as Others from "./faces.others.js"
import type { Dialect, Stage } from "./gateway.js"

/** One way in which a client asks, and what it makes of a good answer. */
export interface Face {
  readonly name: string
  /** The dialect of its requests. Default `"openai"`. */
  readonly dialect?: Dialect | "ollama" | "cohere" | undefined
  /** The dialects of providers that can serve it. Default: all. */
  readonly kinds?: ReadonlyArray<Dialect> | undefined
  /** What the provider answers. */
  readonly reply: Step.Reply
  /** What the client gets of it. */
  readonly says: unknown
  readonly ask: (stage: Stage) => Promise<unknown>
  readonly streams?: boolean | undefined
  /** Whether nothing of a stream reaches the client before its end: one that breaks is asked for again. */
  readonly late?: boolean | undefined
  /** Whether the gateway writes all frames anew for it, also those of its own dialect. */
  readonly anew?: boolean | undefined
  /** Whether it asks again by itself after a status, whatever it is told. Default: never. */
  readonly repeats?: ((status: number) => boolean) | undefined
  /** Its error where there is no credit, if it has one, and does not ask again then. */
  readonly noCredit?: string | undefined
  /** The status of an overload. Default: 529 in the dialect of Anthropic, else 503. */
  readonly overloaded?: number | undefined
  /** The name of its error for a status. */
  readonly errorName: (status: number) => string
  /** Its error for a stream that broke, by name and status. Default: that of OpenAI's and Anthropic's clients. */
  readonly broken?: string | undefined
}

export const faces: ReadonlyArray<Face> = [
  ...OpenAi.faces,
  ...Anthropic.faces,
  ...Ai.faces,
  ...LangChain.faces,
  ...Others.faces,
  ...EffectAi.faces,
  ...More.faces,
  ...Local.faces
]
