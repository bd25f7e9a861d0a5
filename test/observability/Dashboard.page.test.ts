import { existsSync } from "node:fs"
import * as HttpServer from "@effect/platform/HttpServer"
import { Effect, Layer, ManagedRuntime } from "effect"
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { write } from "../../src/observability/CallLogWriter.js"
import type { Latest, Overview } from "../../src/observability/DashboardQuery.js"
import * as DashboardServer from "../../src/observability/DashboardServer.js"
import { database, records, scripted } from "./Dashboard.support.js"

const executablePath = "/usr/bin/chromium"
const found = existsSync(executablePath)
if (!found) console.warn(`SKIPPED: the tests of the dashboard's page need ${executablePath} (apt-get install chromium)`)

const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

const server = ManagedRuntime.make(DashboardServer.layer({ port: 0 }).pipe(Layer.provideMerge(database)))

describe.skipIf(!found)("the page in a browser", () => {
  let browser: Browser
  let base: string

  beforeAll(async () => {
    await server.runPromise(scripted)
    base = await server.runPromise(HttpServer.addressFormattedWith(Effect.succeed))
    browser = await chromium.launch({ executablePath, args })
  })

  afterAll(async () => {
    await browser?.close()
    await server.dispose()
  })

  const read = async <A>(path: string): Promise<A> => (await fetch(`${base}/api/${path}`)).json() as Promise<A>

  /** Opens the page, waits for its figures, and lets nothing pass that the browser complains of. */
  const open = async (
    use: (page: Page) => Promise<void>,
    { held = false, query = "", ...options }: BrowserContextOptions & { readonly query?: string; held?: boolean } = {}
  ): Promise<void> => {
    const context = await browser.newContext(options)
    const complaints: Array<string> = []
    try {
      const page = await context.newPage()
      page.on("console", (message) => complaints.push(message.text()))
      page.on("pageerror", (error) => complaints.push(String(error)))
      page.on("request", (request) => {
        if (!request.url().startsWith(base) && !request.url().startsWith("data:")) complaints.push(request.url())
      })
      if (held) await page.clock.install()
      await page.goto(`${base}/${query}`)
      await page.locator("main[aria-busy=false]").waitFor()
      await use(page)
      assert.deepStrictEqual(complaints, [])
    } finally {
      await context.close()
    }
  }

  const tile = (page: Page, name: string) => page.locator(".tile", { has: page.locator("dt", { hasText: name }) })
  const value = (page: Page, name: string) => tile(page, name).locator(".value").textContent()
  const rows = (page: Page, table: string) => page.locator(`section[aria-labelledby=${table}] tbody tr`).allInnerTexts()
  const cells = (text: string) => text.split(/\s*[\t\n]\s*/)
  const calls = async (page: Page, expected: number) => {
    await page.locator(".tile .value", { hasText: new RegExp(`^${expected}$`) }).waitFor()
  }

  it("shows the figures of the API, without a complaint of the browser", () =>
    open(async (page) => {
      const { targets, totals } = await read<Overview>("overview")
      assert(totals !== undefined)
      assert.strictEqual(await value(page, "Calls"), String(totals.calls))
      assert.strictEqual(await value(page, "Success"), `${((100 * totals.succeeded) / totals.calls).toFixed(1)} %`)
      assert.strictEqual(await value(page, "Retry rate"), `${(100 * totals.retries.rate).toFixed(1)} %`)
      assert.strictEqual(await value(page, "Cost"), `≥ $${totals.usd.toPrecision(2)}`)
      const waits = await page.locator(".waits tbody tr").allInnerTexts()
      assert.deepStrictEqual(waits.map(cells), [
        ["backoff", "0 ms", "1.5 s", "1.5 s"],
        ["queue", "0 ms", "300 ms", "300 ms"]
      ])
      const shown = (await rows(page, "targets")).map(cells)
      assert.deepStrictEqual(
        shown.map(([name, count]) => [name, Number(count)]),
        targets.map((row) => [row.group, row.calls])
      )
      const served = (await rows(page, "served")).map((row) => Number(cells(row).at(-1)))
      const { first, later, second, third } = totals.servedBy
      assert.deepStrictEqual(served, [first, second, third, later, totals.failed, totals.interrupted])
      const latest = await read<Latest>("calls")
      assert.deepStrictEqual(
        await page.locator("[data-call]").allInnerTexts(),
        latest.calls.map(({ chain }) => chain)
      )
      assert.deepStrictEqual(cells((await rows(page, "handoffs"))[0] ?? ""), [
        "openai/gpt",
        "→ anthropic/claude",
        "RateLimited",
        "1"
      ])
    }))

  it("says what is not known, and shows no zero for it", () =>
    open(async (page) => {
      const notes = await page.locator(".unknowns li").allInnerTexts()
      assert.deepStrictEqual(
        notes.map((note) => note.split(" ").slice(0, 3).join(" ")),
        [
          "3 records lost,",
          "1 attempt with",
          "2 attempts that",
          "Only 6 calls:",
          "Of 6 calls",
          "Live state and",
          "Calls that still"
        ]
      )
      assert.include(notes[1], "calls to vllm/llama <b>&amp;")
      assert.include(notes[4], "2 (33.3 %) were judged, users rated 4 (66.7 %)")
      assert.include(await page.locator("section[aria-labelledby=now]").textContent(), "not known here")
      assert.include(
        await page.locator(".watch, [aria-labelledby=degraded] .none").first().textContent(),
        "not known here"
      )
      const prices = (await rows(page, "targets")).map((row) => cells(row).at(-1))
      assert.deepStrictEqual(prices, ["≥ $0.014", "unknown", "unknown"])
    }))

  it("shows the same errors in the chart's table as the API", () =>
    open(async (page) => {
      const { buckets } = await read<Overview>("overview")
      const errors = buckets.reduce((sum, bucket) => sum + (bucket.errors.RateLimited ?? 0), 0)
      assert.strictEqual(errors, 2)
      await page.locator("figure summary").click()
      const table = page.locator("figure details table")
      const column = (await table.locator("thead th").allInnerTexts()).indexOf("RateLimited")
      const shown = (await table.locator("tbody tr").allInnerTexts()).map((row) => Number(cells(row)[column]))
      assert.strictEqual(
        shown.reduce((sum, n) => sum + n, 0),
        errors
      )
      assert.isAbove(await page.locator("svg .tag-RateLimited").count(), 0)
    }))

  it("shows what was said of calls, by the attempt that answered", () =>
    open(async (page) => {
      const users = (await page.locator("section[aria-labelledby=users] .thumbs tbody tr").allInnerTexts()).map(cells)
      assert.deepStrictEqual(
        users.map(([by = "", , up, down]) => [by, up, down]),
        [
          ["first attempt", "1", "0"],
          ["later attempt", "1", "1"],
          ["nothing", "0", "1"]
        ]
      )
      assert.strictEqual(users[1]?.[5], "1")
      const judged = (await rows(page, "quality")).map(cells)
      assert.deepStrictEqual(
        judged.map((row) => row.slice(0, 3)),
        [
          ["first attempt", "1", "0.75"],
          ["later attempt", "1", "0.50"]
        ]
      )
      const words = await page.locator(".verdict").allInnerTexts()
      assert.strictEqual(words.length, 3)
      assert.strictEqual(words.filter((word) => word.startsWith("Too few to tell")).length, 2)
    }))

  it("shows the share of second attempts by target, as a table too", () =>
    open(async (page) => {
      const { again } = await read<Overview>("overview")
      assert.deepStrictEqual(
        await page.locator("svg .label").allTextContents(),
        again.map(({ target }) => target)
      )
      const steps = again.flatMap(({ steps }) => steps)
      assert.strictEqual(await page.locator("svg [class^=share-]").count(), steps.length)
      await page.locator("[aria-labelledby=degraded] summary").click()
      const table = (await page.locator("[aria-labelledby=degraded] tbody tr").allInnerTexts()).map(cells)
      const sum = (column: number) => table.reduce((all, row) => all + Number(row[column]), 0)
      assert.deepStrictEqual([sum(3), sum(4)], [2, 1])
    }))

  it("filters by a click on a target, and back", () =>
    open(async (page) => {
      await page.getByRole("button", { name: "openai/gpt" }).click()
      await calls(page, 4)
      assert.strictEqual(new URL(page.url()).search, "?range=24h&provider=openai&model=gpt")
      await page.goBack()
      await calls(page, 6)
      await page.getByLabel("label").selectOption({ label: "tenant: a:b=c&d" })
      await calls(page, 1)
      assert.strictEqual(new URL(page.url()).searchParams.get("label.tenant"), "a:b=c&d")
      await page.reload()
      await calls(page, 1)
      await page.getByRole("button", { name: "Show all" }).click()
      await calls(page, 6)
    }))

  it("filters by keyboard alone, with a focus that shows, and says what came of it", () =>
    open(async (page) => {
      const outline = () => page.evaluate(() => getComputedStyle(document.activeElement as Element).outlineStyle)
      await page.keyboard.press("Tab")
      await page.keyboard.press("ArrowRight")
      await calls(page, 7)
      assert.strictEqual(new URL(page.url()).searchParams.get("range"), "7d")
      assert.strictEqual(await page.locator("[aria-live]").textContent(), "7 calls, 71.4 % success")
      await page.keyboard.press("Tab")
      assert.strictEqual(await outline(), "solid")
      await page.keyboard.press("o")
      await calls(page, 5)
      assert.strictEqual(new URL(page.url()).searchParams.get("provider"), "openai")
      await page.locator("#targets ~ table button").focus()
      await page.keyboard.press("Enter")
      await page.waitForURL(/model=gpt/)
    }))

  it("lists only what did not succeed", () =>
    open(async (page) => {
      await page.getByLabel("only without success").check()
      await page.locator("[data-call=fast]").waitFor({ state: "detached" })
      assert.deepStrictEqual(await page.locator("[data-call]").allInnerTexts(), [
        "claude ✕Timeout 15.0 s",
        "gpt ⊘ 0.1 s"
      ])
      assert.strictEqual(new URL(page.url()).searchParams.get("failed"), "1")
    }))

  const focused = (page: Page) =>
    page.evaluate(() => document.activeElement?.getAttribute("data-call") ?? document.activeElement?.textContent)

  it("opens the timeline of a call by keyboard, and closes it with the focus where it was", () =>
    open(async (page) => {
      await page.locator("[data-call='handed on']").focus()
      await page.keyboard.press("Enter")
      const dialog = page.getByRole("dialog", { name: "answer" })
      await dialog.locator(".attempts").waitFor()
      assert.strictEqual(await focused(page), "Close")
      assert.strictEqual(new URL(page.url()).searchParams.get("call"), "handed on")
      const attempts = await dialog.locator(".attempts > li").allInnerTexts()
      assert.strictEqual(attempts.length, 3)
      assert.include(attempts[0], "slow down <script>")
      assert.include(attempts[0], "req_1")
      assert.include(attempts[1], "1.5 s: RateLimited")
      assert.include(attempts[2], "300 ms")
      assert.include(attempts[2], "openai/gpt: RateLimited")
      // Two failed, one answered; one backoff, one queue.
      const bars = await dialog.locator("svg rect").evaluateAll((all) => all.map((bar) => bar.getAttribute("class")))
      assert.deepStrictEqual(bars, ["failed", "backoff", "failed", "queue", "ok"])
      const said = await dialog.getByRole("list", { name: "Feedback" }).textContent()
      assert.include(said, "judge 0.5")
      assert.include(said, "thumbs up")
      await page.keyboard.press("Escape")
      await dialog.waitFor({ state: "detached" })
      assert.strictEqual(await focused(page), "handed on")
      assert.isNull(new URL(page.url()).searchParams.get("call"))
    }))

  it("opens the timeline that an address names, and one that is not there", () =>
    open(
      async (page) => {
        await page.locator("dialog .attempts").waitFor()
        assert.include(await page.locator("dialog").textContent(), "interrupted")
        await page.getByRole("button", { name: "Close" }).click()
        await page.locator("dialog").waitFor({ state: "detached" })
        assert.strictEqual(await focused(page), "a/b")
      },
      { query: "?call=a%2Fb" }
    ))

  it("finds a label's calls from the timeline", () =>
    open(
      async (page) => {
        await page.getByRole("button", { name: "tenant: globex" }).click()
        await calls(page, 2)
        assert.isNull(new URL(page.url()).searchParams.get("call"))
      },
      { query: "?call=late" }
    ))

  it("tells when the server does not answer, keeps the figures, and recovers", () =>
    open(async (page) => {
      await page.route("**/api/**", (route) => route.fulfill({ status: 200, contentType: "text/html", body: "<p>" }))
      await page.getByText("7 d", { exact: true }).click()
      await page.locator(".problem").waitFor()
      assert.strictEqual(await value(page, "Calls"), "6")
      await page.unroute("**/api/**")
      await page.getByText("30 d", { exact: true }).click()
      await calls(page, 7)
      assert.strictEqual(await page.locator(".problem").count(), 0)
    }))

  it("says that there are no calls where there are none", () =>
    open(async (page) => assert.include(await page.locator("main").textContent(), "No calls in the last 24 hours"), {
      query: "?provider=nobody"
    }))

  /** The contrast of two colours as WCAG counts it. */
  const contrast = (page: Page, selector: string) =>
    page.evaluate((found) => {
      const light = (colour: string) => {
        const parts = (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map((part) => Number(part) / 255)
        const [r = 0, g = 0, b = 0] = parts.map((part) =>
          part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
        )
        return 0.2126 * r + 0.7152 * g + 0.0722 * b
      }
      const element = document.querySelector(found) as Element
      const front = light(getComputedStyle(element).color)
      const back = light(getComputedStyle(element.closest(".card, .tile") as Element).backgroundColor)
      return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05)
    }, selector)

  it.each(["light", "dark"] as const)("is readable in the %s theme", (colorScheme) =>
    open(
      async (page) => {
        const back = await page.evaluate(() => getComputedStyle(document.body).backgroundColor)
        assert.strictEqual(Number(back.match(/\d+/)?.[0]) > 128, colorScheme === "light")
        for (const selector of [".value", ".more", ".mark.bad", ".mark.good", ".when", "caption"]) {
          assert.isAtLeast(await contrast(page, selector), 4.5, selector)
        }
      },
      { colorScheme }
    )
  )

  it("fits on a phone without scrolling sideways, the timeline too", () =>
    open(
      async (page) => {
        const wide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        assert.strictEqual(await wide(), 0)
        await page.locator("[data-call='handed on']").click()
        await page.locator("dialog .attempts").waitFor()
        assert.strictEqual(await wide(), 0)
        const over = await page.locator("dialog").evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth)
        assert.strictEqual(over, 0)
      },
      { viewport: { width: 390, height: 844 } }
    ))

  it("has a name for each control, table and picture", () =>
    open(async (page) => {
      const nameless = await page.evaluate(() =>
        [...document.querySelectorAll("table")]
          .filter((table) => table.caption === null)
          .map((table) => table.className)
          .concat(
            [...document.querySelectorAll("svg:not([aria-hidden])")]
              .filter((svg) => svg.querySelector("title") === null || svg.querySelector("desc") === null)
              .map((svg) => svg.outerHTML)
          )
          .concat(
            [...document.querySelectorAll<HTMLElement>("button, a, summary")]
              .filter((control) => control.textContent.trim() === "")
              .map((control) => control.outerHTML)
          )
          .concat(
            [...document.querySelectorAll<HTMLInputElement>("input, select")]
              .filter((control) => (control.labels?.length ?? 0) === 0)
              .map((control) => control.outerHTML)
          )
      )
      assert.deepStrictEqual(nameless, [])
    }))

  it("shows a new call by itself, unless it is paused", () =>
    open(
      async (page) => {
        const newest = (id: string) => page.locator(`.calls tbody tr:first-child [data-call=${id}]`)
        const answers: Array<string> = []
        page.on("response", (response) => answers.push(new URL(response.url()).pathname))
        const add = async (id: string) => {
          const [record] = await server.runPromise(records)
          assert(record !== undefined)
          await server.runPromise(write([{ ...record, id, startedAt: Date.now() }]))
        }
        await page.getByRole("button", { name: "Pause" }).click()
        await add("new")
        await page.clock.runFor(60_000)
        await newest("fast").waitFor()
        assert.deepStrictEqual(answers, [])
        await page.getByRole("button", { name: "Paused" }).click()
        // Second by second: an answer that took long by the page's clock makes it rest long.
        const shown = async (id: string, all: string) => {
          for (let second = 0; second < 600; second++) {
            if ((await newest(id).count()) === 1 && (await value(page, "Calls")) === all) return
            await page.clock.runFor(1000)
          }
          assert.fail(`${id} is not shown`)
        }
        await shown("new", "7")
        await add("newer")
        await shown("newer", "8")
      },
      { held: true }
    ))
})
