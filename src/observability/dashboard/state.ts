/**
 * What the page shows, which is all in its address; and what it asks the server.
 *
 * @since 0.2.0
 */

import { useCallback, useEffect, useRef, useState } from "preact/hooks"

export const ranges = ["1h", "24h", "7d", "30d"] as const

export type RangeName = (typeof ranges)[number]

export interface View {
  readonly range: RangeName
  readonly provider?: string | undefined
  readonly model?: string | undefined
  readonly labels: Readonly<Record<string, string>>
  readonly failed: boolean
  /** The call whose timeline is open. */
  readonly call?: string | undefined
}

const prefix = "label."

export const viewOf = (search: string): View => {
  const given = new URLSearchParams(search)
  return {
    range: ranges.find((name) => name === given.get("range")) ?? "24h",
    provider: given.get("provider") || undefined,
    model: given.get("model") || undefined,
    labels: Object.fromEntries(
      [...given].filter(([name]) => name.startsWith(prefix)).map(([name, value]) => [name.slice(prefix.length), value])
    ),
    failed: given.get("failed") === "1",
    call: given.get("call") || undefined
  }
}

/** The calls that are meant, as a query. */
export const queryOf = ({ labels, model, provider, range }: View): URLSearchParams => {
  const query = new URLSearchParams({ range })
  if (provider !== undefined) query.set("provider", provider)
  if (model !== undefined) query.set("model", model)
  for (const [name, value] of Object.entries(labels)) query.set(`${prefix}${name}`, value)
  return query
}

const addressOf = (view: View): string => {
  const query = queryOf(view)
  if (view.failed) query.set("failed", "1")
  if (view.call !== undefined) query.set("call", view.call)
  return `?${query}`
}

export type Change = (part: Partial<View>) => void

/** The view, and how to change it: each change is a place in the history. */
export const useView = (): readonly [View, Change] => {
  const [view, set] = useState(() => viewOf(location.search))
  useEffect(() => {
    const back = () => set(viewOf(location.search))
    addEventListener("popstate", back)
    return () => removeEventListener("popstate", back)
  }, [])
  const change = useCallback((part: Partial<View>) => {
    const next = { ...viewOf(location.search), ...part }
    history.pushState(null, "", addressOf(next))
    set(next)
  }, [])
  return [view, change]
}

/** The script lies in `assets`, beside `api`. */
const api = new URL("../api/", import.meta.url)

const read = async (path: string, signal: AbortSignal): Promise<unknown> => {
  const response = await fetch(new URL(path, api), { signal })
  const body: unknown = await response.json().catch(() => undefined)
  if (response.ok && body === undefined) throw new Error("the server answered no figures: a login may have run out")
  if (response.ok) return body
  const why = (body as { readonly error?: unknown } | undefined)?.error
  throw new Error(typeof why === "string" ? why : `the server answered ${response.status}`)
}

export interface Loaded<A> {
  /** The newest answer; while another is under way, the one before it. */
  readonly data: A | undefined
  /** The address that `data` answers. */
  readonly of: string | undefined
  /** When it came. */
  readonly at: number | undefined
  /** Why the newest question has no answer. */
  readonly problem: string | undefined
}

/** A page takes a twentieth of the server's time at most: so long it waits, as a multiple of the time of an answer. */
const restFactor = 20

const empty = { data: undefined, of: undefined, at: undefined, problem: undefined }

/** Asks at once and then again and again; not at all without a path, nor while nobody looks. */
export const useApi = <A>(path: string | undefined, every: number | undefined): Loaded<A> => {
  const [loaded, set] = useState<Loaded<A>>(empty)
  const done = useRef<string | undefined>(undefined)
  useEffect(() => {
    if (path === undefined) {
      done.current = undefined
      set(empty)
      return
    }
    const stop = new AbortController()
    let timer: ReturnType<typeof setTimeout> | undefined
    const ask = async () => {
      const start = performance.now()
      try {
        const data = (await read(path, stop.signal)) as A
        done.current = path
        set({ data, of: path, at: Date.now(), problem: undefined })
      } catch (error) {
        if (stop.signal.aborted) return
        const problem = error instanceof TypeError ? "the server cannot be reached" : String((error as Error).message)
        set((before) => ({ ...before, problem }))
      }
      if (every === undefined || stop.signal.aborted) return
      timer = setTimeout(next, Math.max(every, restFactor * (performance.now() - start)))
    }
    const next = () => {
      if (document.hidden) document.addEventListener("visibilitychange", next, { once: true })
      else void ask()
    }
    if (done.current === path && every !== undefined) timer = setTimeout(next, every)
    else if (done.current !== path) void ask()
    return () => {
      stop.abort()
      clearTimeout(timer)
      document.removeEventListener("visibilitychange", next)
    }
  }, [path, every])
  return loaded
}
