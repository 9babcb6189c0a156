import { native } from '#native'
import { checkFunction, ignoreRejection, isMap, isSet, isThenable } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { HANDLE } from '../symbols.js'
import type { TensorHandle } from './handle.js'
import { Tensor } from './tensor.js'
import { closeScope, openScope, track } from './tidy-scope.js'

/**
 * Runs `fn` and frees every tensor that was made while it ran, but for those in its result: the
 * result itself, or found in it through arrays, plain objects, Maps and Sets.
 *
 * For synchronous work. In an async function use `using`.
 *
 * @throws XTransformersError (`invalid_argument`) where `fn` returns a promise
 * @example
 * const loss = tidy(() => {
 *   const error = prediction.sub(target)
 *   return error.mul(error).mean()
 * })
 */
export function tidy<T>(fn: () => T): T {
  checkFunction(fn, 'what tidy runs')
  const scope = openScope()
  let kept: Set<TensorHandle> = new Set()
  try {
    const result = fn()
    if (isThenable(result)) {
      ignoreRejection(result)
      throw new XTransformersError(
        'invalid_argument',
        'tidy(fn) is for synchronous functions, fn returned a promise: in async code write `using x = await model.forward(y)`, or call x.dispose()',
      )
    }
    kept = tensorsIn(result)
    return result
  } finally {
    closeScope()
    for (const handle of scope) {
      // what leaves this tidy belongs to the one around it
      if (kept.has(handle)) track(handle)
      else handle.dispose()
    }
  }
}

/** The tensors in a value: itself, or found in it through arrays, plain objects, Maps and Sets. */
export function tensorsIn(value: unknown): Set<TensorHandle> {
  const found = new Set<TensorHandle>()
  const seen = new Set<unknown>()
  const open = [value]
  while (open.length > 0) {
    const next = open.pop()
    if (typeof next !== 'object' || next === null || ArrayBuffer.isView(next) || seen.has(next))
      continue
    seen.add(next)
    if (next instanceof Tensor) found.add(next[HANDLE])
    else if (isMap(next)) for (const pair of next) open.push(...pair)
    else if (Array.isArray(next) || isSet(next)) for (const item of next) open.push(item)
    else open.push(...Object.values(next))
  }
  return found
}

/** Memory outside of JavaScript's heap, at the moment. */
export interface Memory {
  /** What tensors, weights and graphs take on the CPU. */
  native_bytes: number
  /** What they take on GPUs. */
  gpu_bytes: number
  /**
   * What threads keep to work with: each takes its blocks when it computes for the first time, up
   * to some 20 MB, and uses them again and again.
   */
  kept_bytes: number
}

/** How much memory the library takes, outside of JavaScript's heap. */
export function memory(): Memory {
  return {
    native_bytes: native.memoryHeld(),
    gpu_bytes: native.memoryOnGpus(),
    kept_bytes: native.memoryKept(),
  }
}
