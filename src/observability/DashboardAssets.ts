/**
 * The script and the style of the page, bundled from its sources when they are first asked for. `npm run build` puts a
 * module in the place of this one that holds the finished texts: the package needs neither esbuild nor a file system.
 *
 * @since 0.2.0
 */

/**
 * @internal
 */
export interface Assets {
  readonly script: string
  readonly style: string
}

const bundle = async (): Promise<Assets> => {
  const esbuild = await import("esbuild")
  const { fileURLToPath } = await import("node:url")
  const build = async (file: string): Promise<string> => {
    const { outputFiles } = await esbuild.build({
      entryPoints: [fileURLToPath(new URL(file, import.meta.url))],
      bundle: true,
      minify: true,
      format: "esm",
      target: "es2022",
      legalComments: "none",
      write: false
    })
    return outputFiles[0]?.text ?? ""
  }
  const [script, style] = await Promise.all([build("dashboard/page.ts"), build("dashboard/page.css")])
  return { script, style }
}

let bundled: Promise<Assets> | undefined

/**
 * @internal
 */
export const load = (): Promise<Assets> => {
  bundled ??= bundle()
  return bundled
}
