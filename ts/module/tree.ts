import type { Entry } from './entries.js'

/** A part of a model: its own parameters and the parts in it. */
export interface ModelTree {
  /** The last part of its name; empty for the model itself. */
  name: string
  /** Its class, where it is a model of its own. */
  class: string | null
  parameters: { name: string; shape: readonly number[] }[]
  children: ModelTree[]
}

/** The parts of a model by the dots in the names of its entries. */
export function treeOf(
  className: string,
  entries: readonly Entry[],
  options: object = {},
): ModelTree {
  const root: ModelTree = { name: '', class: className, parameters: [], children: [] }
  for (const { name, shape } of entries) {
    const path = name.split('.')
    const last = path.pop() as string
    let node = root
    let inside: unknown = options
    for (const part of path) {
      // the options name a nested model as its parameters do
      const model = (inside as Record<string, unknown> | undefined)?.[part] as Nested | undefined
      inside = model?.options
      let child = node.children.find((c) => c.name === part)
      if (!child) {
        child = {
          name: part,
          class: typeof model?.class === 'string' ? model.class : null,
          parameters: [],
          children: [],
        }
        node.children.push(child)
      }
      node = child
    }
    node.parameters.push({ name: last, shape })
  }
  return root
}

interface Nested {
  class?: unknown
  options?: unknown
}

/**
 * A model as lines, in the manner of PyTorch; chains of parts with nothing of their own stand on
 * one line.
 */
export function renderTree(className: string, entries: readonly Entry[], options?: object): string {
  return render(treeOf(className, entries, options), '').join('\n')
}

function render(node: ModelTree, indent: string): string[] {
  let { name, parameters, children } = node
  let model = node.class
  while (!model && parameters.length === 0 && children.length === 1) {
    const [only] = children as [ModelTree]
    name = `${name}.${only.name}`
    model = only.class
    parameters = only.parameters
    children = only.children
  }
  const label = name === '' ? '' : `(${name}): `
  const own = parameters.map((p) => `${p.name} [${p.shape.join(', ')}]`)
  if (children.length === 0 && !model) return [`${indent}${label}${own.join(', ')}`]
  const inner = `${indent}  `
  return [
    `${indent}${label}${model ?? ''}(`,
    ...own.map((line) => inner + line),
    ...children.flatMap((child) => render(child, inner)),
    `${indent})`,
  ]
}
