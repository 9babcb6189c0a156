import type { TensorHandle } from './handle.js'

/** The tensors that the running `tidy` has to free, innermost last. */
const scopes: Set<TensorHandle>[] = []

export function openScope(): Set<TensorHandle> {
  const scope = new Set<TensorHandle>()
  scopes.push(scope)
  return scope
}

export function closeScope(): void {
  scopes.pop()
}

/** Puts a new tensor under the running `tidy`, if there is one. */
export function track(handle: TensorHandle): void {
  scopes.at(-1)?.add(handle)
}
