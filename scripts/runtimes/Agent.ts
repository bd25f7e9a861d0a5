import type { Agent } from "node:http"
import type { Socket } from "node:net"
import { NodeHttpClient } from "@effect/platform-node"
import { Effect, Layer } from "effect"

/** Ends a connection that is not made in ten seconds, and marks whatever fails before. */
const impatient = (agent: Agent, made: "connect" | "secureConnect"): void => {
  const create = agent.createConnection.bind(agent)
  agent.createConnection = (options, callback) => {
    const socket = create(options, callback) as Socket
    const late = Object.assign(new Error("connect ETIMEDOUT"), { code: "ETIMEDOUT" })
    const timer = setTimeout(() => socket.destroy(late), 10_000)
    const early = (error: Error) => Object.assign(error, { syscall: "connect" })
    socket.once("error", early).once("close", () => clearTimeout(timer))
    socket.once(made, () => clearTimeout(timer) ?? socket.off("error", early))
    return socket
  }
}

const agents = Effect.tap(NodeHttpClient.makeAgent({ keepAlive: true }), ({ http, https }) => {
  impatient(http, "connect")
  impatient(https, "secureConnect")
})

export const layer = Layer.provide(NodeHttpClient.layerWithoutAgent, Layer.scoped(NodeHttpClient.HttpAgent, agents))
