/**
 * The keys of parts of the file.
 *
 * @since 0.2.0
 */

import { File } from "./FileSchema.js"
import { keysAt } from "./SchemaWalk.js"

/**
 * @since 0.2.0
 * @category constants
 */
export const FileKeys = {
  retry: keysAt(File, ["defaults", "retry"]),
  policies: keysAt(File, ["defaults"])
} as const
