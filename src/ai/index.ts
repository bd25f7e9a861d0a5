/**
 * Adapters from and to `@effect/ai`. They have their own entry point, because they need that package.
 *
 * @since 0.2.0
 */

export * as EffectAi from "./EffectAi.js"
