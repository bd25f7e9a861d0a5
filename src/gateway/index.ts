/**
 * The gateway: OpenAI-, Anthropic- and Gemini-compatible HTTP over named models.
 *
 * @since 0.2.0
 */

export * as ConfigImport from "./ConfigImport.js"
export * as Gateway from "./Gateway.js"
export * as GatewayConfig from "./GatewayConfig.js"
export * as GatewayServer from "./GatewayServer.js"
export * as Observed from "./Observed.js"
