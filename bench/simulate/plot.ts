/** Line charts as SVG: plain text, colours and greys that can be read on white and on black. */

export interface Line {
  readonly name: string
  readonly points: ReadonlyArray<readonly [number, number]>
  /** Drawn thick, in the first colour, over the others. */
  readonly emphasis: boolean
}

export interface Axis {
  readonly label: string
  readonly from: number
  readonly to: number
}

export interface Chart {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  readonly lines: ReadonlyArray<Line>
  /** Shaded from and to, in units of x. */
  readonly band?: { readonly from: number; readonly to: number; readonly label: string }
}

const width = 880
const height = 420
const frame = { left: 64, right: 250, top: 40, bottom: 52 }
const inner = { width: width - frame.left - frame.right, height: height - frame.top - frame.bottom }

const emphasis = "#e5484d"
/** Of middle lightness, so that they stand off white and black alike. */
const colours = ["#3b82c4", "#d98324", "#4f9d4f", "#9a6fc0", "#a0785a", "#3aa6a0", "#b8952a", "#d06a9c", "#7f8794"]
const dashes = ["", "6 3", "2 3"]
const grey = "#808790"

const escape = (text: string): string => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;")

const short = (value: number): string => String(Number(value.toFixed(1)))

/** 1, 2 or 5 times a power of ten, for about five ticks. */
const ticks = ({ from, to }: Axis): ReadonlyArray<number> => {
  const rough = (to - from) / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10) * power
  const first = Math.ceil(from / step - 1e-9)
  const count = Math.floor(to / step + 1e-9) - first + 1
  return Array.from({ length: count }, (_, index) => Number(((first + index) * step).toPrecision(12)))
}

export const lineChart = ({ band, lines, title, x, y }: Chart): string => {
  const atX = (value: number): number => frame.left + ((value - x.from) / (x.to - x.from)) * inner.width
  const atY = (value: number): number => frame.top + (1 - (value - y.from) / (y.to - y.from)) * inner.height
  const inside = (value: number, { from, to }: Axis): boolean => value >= from && value <= to
  const path = ({ points }: Line): string => {
    let pen = "M"
    let d = ""
    for (const [px, py] of points) {
      if (!inside(px, x) || !Number.isFinite(py)) {
        pen = "M"
        continue
      }
      d += `${pen}${short(atX(px))} ${short(atY(Math.min(y.to, Math.max(y.from, py))))}`
      pen = "L"
    }
    return d
  }
  const plain = lines.filter((line) => !line.emphasis)
  const style = (line: Line): string => {
    const index = plain.indexOf(line)
    const dash = dashes[Math.floor(index / colours.length) % dashes.length]
    return line.emphasis
      ? `stroke="${emphasis}" stroke-width="3"`
      : `stroke="${colours[index % colours.length]}" stroke-width="1.5"${dash ? ` stroke-dasharray="${dash}"` : ""}`
  }
  const text = (tx: number, ty: number, content: string, more = ""): string =>
    `<text x="${short(tx)}" y="${short(ty)}"${more}>${escape(content)}</text>`
  const legendX = width - frame.right + 16
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escape(title)}" font-family="system-ui, sans-serif" font-size="12" fill="${grey}">`,
    text(frame.left, 22, title, ' font-size="15" font-weight="600"'),
    ...(band === undefined
      ? []
      : [
          `<rect x="${short(atX(band.from))}" y="${frame.top}" width="${short(atX(band.to) - atX(band.from))}" height="${inner.height}" fill="${grey}" fill-opacity="0.15"/>`,
          text(atX((band.from + band.to) / 2), frame.top - 6, band.label, ' text-anchor="middle"')
        ]),
    ...ticks(x).map((value) => text(atX(value), height - frame.bottom + 18, String(value), ' text-anchor="middle"')),
    ...ticks(y).flatMap((value) => [
      `<line x1="${frame.left}" x2="${width - frame.right}" y1="${short(atY(value))}" y2="${short(atY(value))}" stroke="${grey}" stroke-opacity="0.25"/>`,
      text(frame.left - 8, atY(value) + 4, String(value), ' text-anchor="end"')
    ]),
    `<path d="M${frame.left} ${frame.top}V${height - frame.bottom}H${width - frame.right}" fill="none" stroke="${grey}"/>`,
    text(frame.left + inner.width / 2, height - 12, x.label, ' text-anchor="middle"'),
    `<text transform="translate(16 ${frame.top + inner.height / 2}) rotate(-90)" text-anchor="middle">${escape(y.label)}</text>`,
    ...[...plain, ...lines.filter((line) => line.emphasis)].map(
      (line) => `<path d="${path(line)}" fill="none" stroke-linejoin="round" ${style(line)}/>`
    ),
    ...lines.flatMap((line, index) => {
      const ly = frame.top + 8 + 20 * index
      return [
        `<line x1="${legendX}" x2="${legendX + 22}" y1="${ly}" y2="${ly}" ${style(line)}/>`,
        text(legendX + 30, ly + 4, line.name, line.emphasis ? ' font-weight="600"' : "")
      ]
    }),
    "</svg>",
    ""
  ].join("\n")
}
