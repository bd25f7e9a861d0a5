/** What all three agents work with: a shop that pays orders back, and writes down that it did. */
export const model = "gpt-4o-mini"

export const question = "Orders 1 to 9 never came. Please pay them back."

export interface Shop {
  readonly baseUrl: string
  /** Pays an order back. */
  readonly refund: (order: number) => string
}
