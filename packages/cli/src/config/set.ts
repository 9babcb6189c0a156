/** Changes of a configuration on the command line: `--set train.batch_size=32 depth=6`. */
import { closest } from '../closest.js'
import { UsageError } from '../errors.js'

type Node = Record<string, unknown>

const isNode = (value: unknown): value is Node =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Options of a class are named without the level that checkpoints put between. */
function within(node: Node, key: string): Node {
  const { options } = node
  return typeof node.class === 'string' && isNode(options) && !(key in node) ? options : node
}

/** Every object of a configuration that has this key, by its path. */
function holders(node: Node, key: string, path = ''): { path: string; node: Node }[] {
  const own = key in node ? [{ path: path || 'the top', node }] : []
  const inner = Object.entries(node).flatMap(([name, value]) =>
    isNode(value) ? holders(value, key, path ? `${path}.${name}` : name) : [],
  )
  return [...own, ...inner]
}

/** Where the first part of a path begins: at the top, or wherever else it is, if only there. */
function startOf(config: Node, key: string, setting: string): Node {
  if (TOP.includes(key)) return config
  const found = holders(config, key)
  const [only] = found
  if (found.length === 1 && only) return only.node
  if (found.length > 1) {
    const list = found.map(({ path }) => `${path}.${key}`).join(', ')
    throw new UsageError(`--set ${setting}: ${key} stands at several places: ${list}`)
  }
  const near = closest(key, namesIn(config))
  throw new UsageError(
    near
      ? `--set ${setting}: nothing is named ${key}; did you mean ${near}?`
      : `--set ${setting}: nothing is named ${key}; write the whole path, such as train.${key} or attn_layers.${key}`,
  )
}

/** Every key of a configuration. */
const namesIn = (node: Node): string[] =>
  Object.entries(node).flatMap(([name, value]) => [name, ...(isNode(value) ? namesIn(value) : [])])

const TOP = ['seed', 'init', 'model', 'tokenizer', 'data', 'train', 'description']

/** A value as JSON, or as the text that it is. */
function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

/** Applies one change to a configuration, in place. */
export function applySetting(config: Node, setting: string): void {
  const [, path, value] = setting.match(/^([\w$.]+)=(.*)$/s) ?? []
  if (path === undefined || value === undefined)
    throw new UsageError(`--set ${setting}: it must be key=value, such as train.batch_size=32`)
  const keys = path.split('.')
  const last = keys.pop() as string
  let node = startOf(config, keys[0] ?? last, setting)
  for (const key of keys) {
    const holder = within(node, key)
    holder[key] ??= {}
    if (!isNode(holder[key]))
      throw new UsageError(`--set ${setting}: ${key} has no parts that could be set`)
    node = holder[key] as Node
  }
  within(node, last)[last] = parseValue(value)
}
