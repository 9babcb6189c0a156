/** The tensors in what the user's code gives. */
import { isMap } from '../checks.js'
import { HANDLE } from '../symbols.js'
import type { TensorHandle } from './handle.js'

/** The most items of a container that are looked at: results are short, data may be long. */
const MAX_ITEMS = 64

/** The tensors in a result or in arguments: in arrays and objects, in these too. */
export function handlesIn(value: unknown, depth = 3): TensorHandle[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return []
  const handle = (value as { [HANDLE]?: TensorHandle })[HANDLE]
  if (handle) return [handle]
  if (depth === 0) return []
  const items = Array.isArray(value)
    ? value.slice(0, MAX_ITEMS)
    : isMap(value)
      ? [...value.values()]
      : listed(value)
  return items.flatMap((item) => handlesIn(item, depth - 1))
}

function listed(value: object): unknown[] {
  const prototype = Object.getPrototypeOf(value)
  const plain = prototype === null || Object.getPrototypeOf(prototype) === null
  return plain ? Object.values(value).slice(0, MAX_ITEMS) : []
}
