export * as LlmError from "./errors/LlmError.js"
