/**
 * The entry point `effect-steadfast/node`: what only Node has.
 *
 * @since 0.2.0
 */

export * as NodeReply from "./NodeReply.js"
export * as NodeTransport from "./NodeTransport.js"
