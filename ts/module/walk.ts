import { addChild, type Parent } from './parents.js'
import { type Part, withParts } from './parts.js'

/** Runs `fn` with the children and own parameters of `module`, by dotted name. */
export function walk<T>(module: Parent, fn: (parts: Part[]) => T): T {
  return withParts(module, (parts) => {
    for (const [, part] of parts) addChild(module, part)
    return fn(parts)
  })
}
