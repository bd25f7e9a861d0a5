import { createOpenAI } from "@ai-sdk/openai"
import { generateText, stepCountIs, streamText, tool } from "ai"
import { z } from "zod"
import { model, question, type Shop } from "./shop.js"

const settings = ({ baseUrl, refund }: Shop) => ({
  model: createOpenAI({ baseURL: baseUrl, apiKey: "key" }).chat(model),
  prompt: question,
  stopWhen: stepCountIs(10),
  tools: {
    refund: tool({
      description: "Pays an order back.",
      inputSchema: z.object({ order: z.number().int() }),
      execute: async ({ order }) => refund(order)
    })
  }
})

export const whole = async (shop: Shop): Promise<string> => (await generateText(settings(shop))).text

export const streamed = async (shop: Shop): Promise<string> => {
  let text = ""
  for await (const part of streamText({ ...settings(shop), onError: () => {} }).fullStream) {
    if (part.type === "error") throw part.error
    if (part.type === "start-step") text = ""
    if (part.type === "text-delta") text += part.text
  }
  return text
}
