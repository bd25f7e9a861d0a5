/**
 * Remembers failed requests for a short time, so that a client that repeats one by itself hears the same again, and the
 * provider nothing.
 *
 * Some clients repeat whatever they are told. Without this, the retries of the gateway multiply with theirs: 4 attempts
 * and 3 requests of the client are 12 attempts in an outage.
 *
 * A failure is known by client, path, body, control headers and the features of the API that its headers ask for. It is
 * forgotten when the same model has answered anybody, and when the time is over after which the client was told to come
 * back. A memory is that of one configuration, and ends with it.
 *
 * Some clients ask again at once, and without end. They wait for the answer, each time twice as long.
 *
 * @since 0.2.0
 */

import { createHash } from "node:crypto"
import type * as ErrorResponse from "../http/ErrorResponse.js"
import type { Sdk } from "../http/Sdk.js"
import type * as Controls from "./Controls.js"

/**
 * A request, as it is recognised.
 *
 * @since 0.2.0
 * @category models
 */
export interface Asked {
  readonly client: string
  readonly path: string
  readonly body: string
  /** What it asked for by headers. */
  readonly controls: Controls.Controls
  /** The headers that are sent on to the provider. Default: none. */
  readonly features?: Readonly<Record<string, string>> | undefined
  /** The program that asks, if its errors have a form of their own. */
  readonly sdk?: Sdk | undefined
}

/**
 * The failures that a memory holds, as another process tells of them. `millis` is how long one is to be remembered.
 *
 * @since 0.2.0
 * @category models
 */
export interface Known {
  readonly learn: (key: string, model: string, response: ErrorResponse.ErrorResponse, millis: number) => void
  readonly forget: (model: string) => void
}

/**
 * Tells another process of what happens here.
 *
 * @since 0.2.0
 * @category models
 */
export interface Echo {
  readonly added: Known["learn"]
  readonly answered: Known["forget"]
}

/**
 * The time of the last answer with a failure, past or to come, and the wait before it. Times are in milliseconds.
 *
 * @internal
 */
export interface Pace {
  readonly told: number
  readonly wait: number
}

/** A client that asks again within this time has no wait of its own: the others wait 375 ms at least. */
const soon = 250

/** The first wait, and the longest. */
const waits = { first: 100, most: 2000 }

/**
 * The pace after a request at `now`. The gateway answers the request at `told`. A request that comes while another one
 * waits gets its answer at the same time.
 *
 * @internal
 */
export const next = (pace: Pace, now: number): Pace => {
  if (now < pace.told) return pace
  if (now >= pace.told + soon) return { told: now, wait: 0 }
  const wait = Math.min(waits.most, Math.max(waits.first, 2 * pace.wait))
  return { told: now + wait, wait }
}

interface Failure {
  readonly model: string
  readonly response: ErrorResponse.ErrorResponse
  readonly until: number
  pace: Pace
}

/**
 * The answer to a request that failed a moment ago.
 *
 * @since 0.2.0
 * @category models
 */
export interface Found {
  readonly response: ErrorResponse.ErrorResponse
  /** How long the client has to wait for it, in milliseconds. */
  readonly wait: number
}

/**
 * The failures of a gateway.
 *
 * @since 0.2.0
 * @category models
 */
export interface Failures {
  /** Finds the answer to a request that failed a moment ago. Each repetition at once makes the wait longer. */
  readonly find: (asked: Asked, now: number) => Found | undefined
  /** Remembers a failure, if another try of this client would not help soon. */
  readonly add: (asked: Asked, model: string, response: ErrorResponse.ErrorResponse, now: number) => void
  /** Forgets the failures of a model, because it answers. */
  readonly answered: (model: string) => void
  /** Forgets all, and remembers nothing more: what runs on by an earlier configuration fails by that one. */
  readonly end: () => void
}

/** The statuses that clients repeat by themselves. */
const isRepeated = (status: number): boolean => status >= 500 || status === 429

/** As many as are remembered: a failure takes about a kilobyte. */
const most = 4096

const keyOf = ({ body, client, controls, features = {}, path, sdk }: Asked): string => {
  const { maxAttempts = "", noFallback, timeout = "" } = controls
  const asked = `${maxAttempts} ${timeout} ${noFallback} ${sdk ?? ""} ${JSON.stringify(features)}`
  const head = `${client}\n${path}\n${asked}\n`
  return createHash("sha256").update(head).update(body).digest("base64")
}

/**
 * A memory of failures. `millis` is how long one is remembered; with 0 none is. `shared` connects it with those of
 * other processes.
 *
 * @since 0.2.0
 * @category constructors
 */
export const make = (millis: () => number, shared?: (known: Known) => Echo): Failures => {
  const failures = new Map<string, Failure>()
  let over = false
  /** The failures of each model: a model that answers must not look through those of another one that does not. */
  const byModel = new Map<string, Set<string>>()
  const remove = (key: string): void => {
    const failure = failures.get(key)
    if (failure === undefined) return
    failures.delete(key)
    const keys = byModel.get(failure.model)
    keys?.delete(key)
    if (keys?.size === 0) byModel.delete(failure.model)
  }
  const put = (key: string, failure: Failure): void => {
    remove(key)
    failures.set(key, failure)
    const keys = byModel.get(failure.model)
    if (keys === undefined) byModel.set(failure.model, new Set([key]))
    else keys.add(key)
  }
  const forget = (model: string): boolean => {
    const keys = byModel.get(model)
    if (keys === undefined) return false
    for (const key of [...keys]) remove(key)
    return true
  }
  const echo = shared?.({
    learn: (key, model, response, millis) => {
      if (over) return
      const now = performance.now()
      drop(now)
      put(key, { model, response, until: now + millis, pace: { told: now, wait: 0 } })
    },
    forget
  })
  const drop = (now: number): void => {
    for (const [key, { until }] of failures) {
      if (until > now && failures.size < most) return
      remove(key)
    }
  }
  return {
    find: (asked, now) => {
      // Most of the time nothing fails: then nothing is hashed.
      if (failures.size === 0) return undefined
      drop(now)
      const found = failures.get(keyOf(asked))
      if (found === undefined || found.until <= now) return undefined
      found.pace = next(found.pace, now)
      return { response: found.response, wait: found.pace.told - now }
    },
    add: (asked, model, response, now) => {
      const patience = over ? 0 : millis()
      if (patience <= 0 || !isRepeated(response.status)) return
      drop(now)
      const key = keyOf(asked)
      const told = Number(response.headers["x-steadfast-retry-after"] ?? Number.POSITIVE_INFINITY) * 1000
      const kept = Math.min(patience, told)
      put(key, { model, response, until: now + kept, pace: { told: now, wait: 0 } })
      echo?.added(key, model, response, kept)
    },
    answered: (model) => {
      if (forget(model)) echo?.answered(model)
    },
    end: () => {
      over = true
      failures.clear()
      byModel.clear()
    }
  }
}
