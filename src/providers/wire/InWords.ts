/**
 * Requests for a format of the answer in words, for models that take no such setting.
 *
 * @since 0.2.0
 */

import type * as Chat from "../../chat/Chat.js"
import * as JsonSchema from "../../chat/JsonSchema.js"

/**
 * A system message that asks for JSON.
 *
 * @since 0.2.0
 * @category constructors
 */
export const json = (format: NonNullable<Chat.Request["responseFormat"]>): string =>
  format.type === "json"
    ? "Answer with one JSON value and nothing else."
    : `Answer with one JSON value and nothing else. It must match this JSON schema: ${JSON.stringify(JsonSchema.of(format.schema))}`
