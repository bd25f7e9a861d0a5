import type { Client } from "./installed.js"

/** A call of a tool in Chat Completions, with its arguments read. */
export const shown = (one: { readonly name: string; readonly arguments: string }) => ({
  name: one.name,
  arguments: JSON.parse(one.arguments)
})

/** Reads the text of a stream of Chat Completions. */
export const textOf = async (chunks: AsyncIterable<Client>): Promise<string> => {
  let read = ""
  for await (const chunk of chunks) read += chunk.choices[0]?.delta?.content ?? ""
  return read
}

/** Reads the call of a tool in a stream of Chat Completions. */
export const callOf = async (chunks: AsyncIterable<Client>, field: "tool_calls" | "toolCalls" = "tool_calls") => {
  const read = { name: "", arguments: "" }
  for await (const chunk of chunks) {
    const made = chunk.choices[0]?.delta?.[field]?.[0]?.function
    read.name += made?.name ?? ""
    read.arguments += made?.arguments ?? ""
  }
  return shown(read)
}
