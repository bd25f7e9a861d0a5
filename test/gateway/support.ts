import { Effect, Either } from "effect"
import * as GatewayConfig from "../../src/gateway/GatewayConfig.js"

/** Values that may appear in no problem, note or description. */
export const secrets = {
  OPENAI_API_KEY: "sk-proj-openai-0123456789abcdef",
  OPENAI_API_KEY_2: "sk-proj-openai-second-987654321",
  ANTHROPIC_API_KEY: "sk-ant-0123456789-anthropic",
  TEAM_A_KEY: "team-a-key-of-a-client-001",
  STEADFAST_ADMIN_KEY: "the-admin-key-of-this-gateway",
  OTLP_TOKEN: "otlp-token-for-the-collector"
} as const

export const fileSecret = "azure-secret-from-a-file-42"

export const readFile: GatewayConfig.ReadFile = (path) =>
  path.startsWith("/run/secrets/") ? Effect.succeed(`\n${fileSecret}\n`) : Effect.fail(new Error(`no file ${path}`))

export const options = (env: GatewayConfig.Env = secrets): GatewayConfig.Options => ({
  file: "gateway.yaml",
  env,
  readFile
})

/** The configuration of a text, which must have no problem. */
export const good = (text: string, env?: GatewayConfig.Env): GatewayConfig.Config =>
  Effect.runSync(GatewayConfig.parse(text, options(env)))

/** The problems of a text as lines of text. */
export const wrong = (text: string, env?: GatewayConfig.Env): ReadonlyArray<string> => {
  const parsed = Effect.runSync(Effect.either(GatewayConfig.parse(text, options(env))))
  return Either.isLeft(parsed) ? parsed.left.message.split("\n") : []
}
