/**
 * The gateway between clients and a provider, beside a raw proxy of undici, nginx and Portkey: how many requests a core
 * carries. Everything is on: client keys, pacing, breaker, retry, fallback, deadline, metrics; in rows of their own the
 * call log and a client of another dialect.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs"
import { createServer, type RequestListener } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import type { Case, Goal, Table } from "./case.js"
import { once } from "./case.js"
import { columns, connections, type Kind, kinds, proxy, raw, relayed, underLoad } from "./relay.js"
import { model, question } from "./wire.js"

const clientKey = "sk-gateway-client"

const asked = { model: "assistant", messages: [{ role: "user", content: question }] }

const ours = {
  JSON: { ...kinds.JSON, body: JSON.stringify(asked) },
  SSE: {
    ...kinds.SSE,
    body: JSON.stringify({ ...asked, stream: true, stream_options: { include_usage: true } })
  },
  otherJSON: {
    ...kinds.JSON,
    asked: "/v1/messages",
    body: JSON.stringify({ ...asked, max_tokens: 100 })
  },
  otherSSE: {
    ...kinds.SSE,
    asked: "/v1/messages",
    body: JSON.stringify({ ...asked, max_tokens: 100, stream: true }),
    expected: { text: "event: content_block_delta", times: 20 }
  }
} satisfies Record<string, Kind>

const headers = { authorization: `Bearer ${clientKey}` }

/** The gateway in this process, as its file describes it. */
const gateway = async (baseUrl: string, callLog: boolean): Promise<RequestListener> => {
  const { Effect, Layer, Logger, LogLevel, ManagedRuntime, Scope } = await import("effect")
  const { Gateway, GatewayConfig, Observed } = await import("effect-steadfast/gateway")
  const { NodeTransport } = await import("effect-steadfast/node")
  const text = JSON.stringify({
    providers: { openai: { baseUrl, key: "sk-bench" }, spare: { kind: "openai", baseUrl, key: "sk-spare" } },
    models: { assistant: { targets: [`openai/${model}`, `spare/${model}`], deadline: "90 seconds" } },
    keys: [{ name: "bench", key: clientKey }],
    ...(callLog
      ? { observability: { callLog: join(mkdtempSync(join(tmpdir(), "steadfast-bench-")), "calls.db") } }
      : {})
  })
  const config = await Effect.runPromise(
    GatewayConfig.parse(text, { file: "bench", env: {}, readFile: () => Effect.fail("none") })
  )
  const quiet = Layer.mergeAll(Logger.minimumLogLevel(LogLevel.None), Layer.setTracerEnabled(false))
  const layers = Layer.provideMerge(Layer.mergeAll(Observed.layer(config), NodeTransport.layer), quiet)
  const runtime = ManagedRuntime.make(layers)
  const scope = await Effect.runPromise(Scope.make())
  const { handle } = await runtime.runPromise(Scope.extend(Gateway.make(config), scope))
  return handle
}

const keyed = (kind: Kind, name: string, callLog: boolean, goals: ReadonlyArray<Goal>): Case =>
  relayed(kind, name, (baseUrl) => gateway(baseUrl, callLog), goals, headers)

// -----------------------------------------------------------------------------
// others
// -----------------------------------------------------------------------------

/** The ticks of the kernel's clock in a second, as Linux tells them to programs. */
const ticks = 100

const statOf = (pid: number): ReadonlyArray<string> => {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8")
    return text.slice(text.lastIndexOf(")") + 2).split(" ")
  } catch {
    return []
  }
}

/** The seconds of CPU of a process and its children. */
const cpuOf = (pid: number): number => {
  const children = (() => {
    try {
      return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number)
    } catch {
      return []
    }
  })()
  const stat = statOf(pid)
  const own = stat.length === 0 ? 0 : (Number(stat[11]) + Number(stat[12])) / ticks
  return children.reduce((sum, child) => sum + cpuOf(child), own)
}

const freePort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

const answers = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

/** Another's program, in a process of its own. */
const external = (
  kind: Kind,
  name: string,
  start: (port: number, origin: string) => ChildProcess,
  headersOf: (origin: string) => Readonly<Record<string, string>>
): Case => ({
  name: `${kind.name}: ${name}`,
  base: `${kind.name}: ${raw}`,
  units: kind.units,
  make: async () => {
    const port = await freePort()
    const origin = process.env.BENCH_SERVER ?? ""
    const child = start(port, origin)
    process.on("exit", () => child.kill("SIGTERM"))
    for (let tries = 0; !(await answers(port)); tries++) {
      if (tries > 100) throw new Error(`${name} does not listen`)
      await sleep(100)
    }
    const { pid = 0 } = child
    const used = () => cpuOf(pid)
    const sent = headersOf(origin)
    return {
      warm: async ({ least, warm }) =>
        (await underLoad(port, kind, warm / 2, Math.min(least, 2000), sent, used)).answers ?? Number.NaN,
      sample: ({ seconds }) => underLoad(port, kind, 2 * seconds, 0, sent, used)
    }
  }
})

const nginxPath = ["/usr/sbin/nginx", "/usr/bin/nginx"].find(existsSync)

const nginx = (kind: Kind): ReadonlyArray<Case> =>
  nginxPath === undefined
    ? []
    : [
        external(
          kind,
          "nginx",
          (port, origin) => {
            const folder = mkdtempSync(join(tmpdir(), "steadfast-nginx-"))
            writeFileSync(
              join(folder, "nginx.conf"),
              `daemon off; worker_processes 1; pid ${folder}/pid; error_log stderr;
              events { worker_connections 4096; }
              http { access_log off; client_body_temp_path ${folder}/b; proxy_temp_path ${folder}/p;
                fastcgi_temp_path ${folder}/f; uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
                upstream provider { server ${new URL(origin).host}; keepalive ${connections}; }
                server { listen 127.0.0.1:${port}; keepalive_requests 10000000;
                  location / { proxy_pass http://provider${kind.path}/chat/completions; proxy_http_version 1.1;
                    proxy_set_header connection ""; proxy_set_header authorization "Bearer sk-bench"; proxy_buffering off; } } }`
            )
            return spawn(nginxPath, ["-c", join(folder, "nginx.conf"), "-e", "stderr"], { stdio: "ignore" })
          },
          () => ({})
        )
      ]

const portkeyPath = fileURLToPath(new URL("../node_modules/@portkey-ai/gateway/build/start-server.js", import.meta.url))

/** On Node 20 Portkey 1.15.2 answers every stream with 500 ("immutable" headers). */
const portkey = (kind: Kind): ReadonlyArray<Case> =>
  existsSync(portkeyPath) && kind.name === "JSON"
    ? [
        external(
          kind,
          "Portkey 1.15",
          (port) =>
            spawn(process.execPath, [portkeyPath, "--headless", `--port=${port}`], {
              stdio: "ignore",
              env: { ...process.env, NODE_ENV: "production", TRUSTED_CUSTOM_HOSTS: "localhost,127.0.0.1" }
            }),
          (origin) => ({
            authorization: "Bearer sk-bench",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": `${origin}${kind.path}`
          })
        )
      ]
    : []

// -----------------------------------------------------------------------------
// tables
// -----------------------------------------------------------------------------

const goal = (kind: Kind, least: number, than: string = raw): Goal => ({
  figure: "perCore",
  against: `${kind.name}: ${than}`,
  least
})

const isThere = (kind: Kind) => (portkey(kind).length === 0 ? [] : [kind])

const peers = (kind: Kind): ReadonlyArray<Case> => [
  relayed(kind, raw, proxy),
  ...[...nginx(kind), ...portkey(kind)].map(once)
]

export const tables: ReadonlyArray<Table> = [
  {
    title: `the gateway, ${connections} connections; SSE is 20 frames`,
    cases: [
      ...peers(kinds.JSON),
      keyed(ours.JSON, "the gateway", false, [
        goal(kinds.JSON, 0.5),
        ...isThere(kinds.JSON).map((kind) => goal(kind, 8, "Portkey 1.15"))
      ]),
      keyed(ours.otherJSON, "the gateway, an Anthropic client", false, [goal(kinds.JSON, 0.4)]),
      once(keyed(ours.JSON, "the gateway, with the call log", true, [])),
      ...peers(kinds.SSE),
      keyed(ours.SSE, "the gateway", false, [
        goal(kinds.SSE, 0.6),
        ...isThere(kinds.SSE).map((kind) => goal(kind, 5, "Portkey 1.15"))
      ]),
      keyed(ours.otherSSE, "the gateway, an Anthropic client", false, []),
      once(keyed(ours.SSE, "the gateway, with the call log", true, []))
    ],
    columns,
    note: "Requests/s of one core: answers over seconds of CPU of the gateway's process; client and provider have their own."
  }
]
