/** Parameters by the layers that they are in, as their names tell. */

/** The module that has a parameter, up to the first number: a layer of a list with all within. */
function moduleOf(name: string): string[] {
  const parts = name.split('.').slice(0, -1)
  const number = parts.findIndex((part) => /^\d+$/.test(part))
  return number < 0 ? parts : parts.slice(0, number + 1)
}

/** The beginnings of a path: `a`, `a.b`, `a.b.c`. */
const prefixesOf = (parts: readonly string[]) =>
  parts.map((_, i) => parts.slice(0, i + 1).join('.'))

/** The names of parameters by layer, in their order. */
export function layersOf(names: readonly string[]): Map<string, string[]> {
  const within = new Map<string, Set<string>>()
  for (const parts of names.map(moduleOf)) {
    for (const prefix of prefixesOf(parts)) {
      const modules = within.get(prefix) ?? new Set()
      within.set(prefix, modules.add(parts.join('.')))
    }
  }
  const layers = new Map<string, string[]>()
  for (const name of names) {
    const layer = layerOf(name, within)
    layers.set(layer, [...(layers.get(layer) ?? []), name])
  }
  return layers
}

/** A layer of a list; else the largest part of the model in which nothing else has parameters. */
function layerOf(name: string, within: ReadonlyMap<string, ReadonlySet<string>>): string {
  const parts = moduleOf(name)
  if (/^\d+$/.test(parts.at(-1) ?? '')) return parts.join('.')
  // a parameter beside other parts is one by itself, such as memory tokens
  return prefixesOf(parts).find((prefix) => within.get(prefix)?.size === 1) ?? name
}
