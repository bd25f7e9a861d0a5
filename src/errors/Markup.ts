/**
 * Reads error bodies that begin with `<`: web pages of proxies, and XML documents of APIs.
 *
 * No API of a model answers with a web page: a page comes from a proxy, a load balancer, a web framework or a login. A
 * document with a code or a message that is no page, such as `<Error><Code>SlowDown</Code></Error>`, comes from an API.
 *
 * Gotchas: a page may begin with a byte order mark, an XML declaration, comments, or an element inside of its head or
 * body, because servers leave `<html>` out. Only the first 16,384 characters are read.
 *
 * @example
 * import * as Markup from "./Markup.js"
 *
 * Markup.isPage("<title>502 Bad Gateway</title>") // true
 *
 * @since 0.2.0
 */

const MAX_TEXT = 16_384

/** Elements with which a web page begins. */
const PAGE =
  /^<(?:!doctype\s+html|html|head|body|title|meta|link|style|script|center|div|span|main|section|table|h[1-6]|hr|br|p|pre|a|b|ul|ol|form|img|strong|font)\b/i

/** Whether a title says no more than that there is an error; then the text of the page says what it is. */
const VAGUE = /^error\W*$/i

const after = (text: string, mark: string): string => {
  const at = text.indexOf(mark)
  return at < 0 ? "" : text.slice(at + mark.length).trimStart()
}

/** The text after a byte order mark, whitespace, an XML declaration and comments. */
const bare = (text: string): string => {
  let rest = text.slice(0, MAX_TEXT).trimStart()
  if (rest.startsWith("<?")) rest = after(rest, "?>")
  while (rest.startsWith("<!--")) rest = after(rest, "-->")
  return rest
}

/** The text of the first element with one of these names that has a text. */
const element = (text: string, names: string): string | undefined => {
  const body = new RegExp(`<(?:${names})(?:\\s[^>]{0,200})?>([^<]{1,500})<`, "i").exec(text)?.[1]?.trim()
  return body === "" ? undefined : body
}

/**
 * Whether a text is a web page.
 *
 * @since 0.2.0
 * @category refinements
 */
export const isPage = (text: string): boolean => /^\s{0,64}</.test(text) && (PAGE.test(bare(text)) || bare(text) === "")

/**
 * Whether a text is a whole web page, not a sentence of an API that is marked up.
 *
 * @since 0.2.0
 * @category refinements
 */
export const isWholePage = (text: string): boolean =>
  isPage(text) && /<(?:!doctype\s+html|html|head|title)\b/i.test(text.slice(0, 2048))

/**
 * The message of a web page: its title, heading or first text; `undefined` if it has none.
 *
 * @since 0.2.0
 * @category parsing
 */
export const messageOf = (page: string): string | undefined => {
  const text = page.slice(0, MAX_TEXT)
  const title = element(text, "title")
  if (title !== undefined && !VAGUE.test(title)) return title
  return element(text, "h1") ?? element(text, "h2|h3") ?? element(text, "pre") ?? element(text, "body|p") ?? title
}

/**
 * The error in an XML document of an API: its message and its code, which may be the name of the document; `undefined`
 * if it has neither, as `<urlopen error [Errno 111]>`.
 *
 * @since 0.2.0
 * @category parsing
 */
export const documentOf = (text: string): { readonly message: string; readonly code: string } | undefined => {
  const head = text.slice(0, MAX_TEXT)
  const message = element(head, "message|faultstring|title")
  const code = element(head, "code") ?? /^<(\w{3,60}(?:Error|Exception))\b/.exec(bare(head))?.[1]
  return message === undefined && code === undefined ? undefined : { message: message ?? "", code: code ?? "" }
}
