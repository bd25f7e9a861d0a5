/**
 * What is built of models: tools, and agents that use them.
 *
 * @since 0.2.0
 */

export * as Agent from "./Agent.js"
export * as Judge from "./Judge.js"
export * as Tool from "./Tool.js"
export * as Toolkit from "./Toolkit.js"
