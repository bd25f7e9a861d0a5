import { Reply } from "effect-steadfast/testing"

export const question = "Which way to Oslo?"
export const words = "The road to Oslo goes north, over the hills."
export const thoughts = "They want the way. North it is, I think."
export const city = { city: "Oslo", days: 3 }
export const call = { name: "weather", arguments: { city: "Oslo", country: "Norway", days: 3, hourly: false } }

/** The schema of {@link city}. */
export const schema = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city", "days"],
  additionalProperties: false
}

/** The schema of the arguments of {@link call}. */
export const parameters = {
  type: "object",
  properties: {
    city: { type: "string" },
    country: { type: "string" },
    days: { type: "integer" },
    hourly: { type: "boolean" }
  },
  required: ["city", "country", "days", "hourly"],
  additionalProperties: false
}

export const text = Reply.text(words)
export const json = Reply.text(JSON.stringify(city), { chunks: 8 })
export const tool = Reply.toolCall(call)
export const thinking = Reply.reasoning(thoughts, { text: words })
