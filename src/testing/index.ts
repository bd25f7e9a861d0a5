/**
 * A provider that fails on purpose, for tests: in process under `TestClock`, or on a real socket.
 *
 * @since 0.1.0
 */

export * as Fault from "./Fault.js"
export * as FaultyProvider from "./FaultyProvider.js"
export * as Reply from "./Reply.js"
export * as Step from "./Step.js"
