import { checkFunction } from './checks.js'

let depth = 0

/** Whether a call made now keeps a graph for backward. */
export function gradEnabled(): boolean {
  return depth === 0
}

/**
 * Runs `fn` without keeping graphs, and returns what it returns.
 *
 * It holds for what is *started* while `fn` runs synchronously: a forward begun in it keeps no graph even though it ends later;
 * code of an async function after its first `await` is outside again.
 *
 * @example
 * const logits = await noGrad(() => model.forward(x))
 */
export function noGrad<T>(fn: () => T): T {
  checkFunction(fn, 'what noGrad runs')
  depth++
  try {
    return fn()
  } finally {
    depth--
  }
}
