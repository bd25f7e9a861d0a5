/**
 * Prices of models, as bundled data. They have their own entry point, because the data are larger than the library.
 *
 * @since 0.2.0
 */

export * as GenaiPrices from "./GenaiPrices.js"
