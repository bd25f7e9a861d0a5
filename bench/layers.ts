/**
 * The HTTP layers that cases run on, in one place. Steadfast's own are taken where the package has them, platform's
 * where it does not, or where `--platform-layers` asks for them.
 */
import { FetchHttpClient, type HttpClient } from "@effect/platform"
import { NodeHttpClient } from "@effect/platform-node"
import type { Layer } from "effect"
import * as Steadfast from "effect-steadfast"

type HttpLayer = Layer.Layer<HttpClient.HttpClient>

export interface NamedLayer {
  readonly name: string
  readonly layer: HttpLayer
}

/** What is asked of an entry point that a package may not have yet. */
const optional = async (specifier: string): Promise<unknown> => import(specifier).catch(() => undefined)

const member = (of: unknown, ...path: ReadonlyArray<string>): HttpLayer | undefined =>
  path.reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], of) as
    | HttpLayer
    | undefined

const onlyPlatform = process.env.BENCH_LAYERS === "platform"
const ourFetch = onlyPlatform ? undefined : member(Steadfast, "Transport", "layerFetch")
const ourNode = onlyPlatform ? undefined : member(await optional("effect-steadfast/node"), "NodeTransport", "layer")

export const layers = {
  fetch:
    ourFetch === undefined
      ? { name: "FetchHttpClient.layer", layer: FetchHttpClient.layer }
      : { name: "Transport.layerFetch", layer: ourFetch },
  undici:
    ourNode === undefined
      ? { name: "NodeHttpClient.layerUndici", layer: NodeHttpClient.layerUndici }
      : { name: "effect-steadfast/node layer", layer: ourNode }
} satisfies Record<string, NamedLayer>
