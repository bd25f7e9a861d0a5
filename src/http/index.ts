/**
 * The entry point `effect-steadfast/http`: answers for the clients of a service of yours, in the APIs that they speak.
 *
 * @since 0.2.0
 */

export * as AnswerBody from "./AnswerBody.js"
export * as Dialect from "./Dialect.js"
export * as EmbeddingsBody from "./EmbeddingsBody.js"
export * as ErrorResponse from "./ErrorResponse.js"
export * as EventStream from "./EventStream.js"
export * as HttpReply from "./HttpReply.js"
export * as ModelsBody from "./ModelsBody.js"
export * as RequestBody from "./RequestBody.js"
