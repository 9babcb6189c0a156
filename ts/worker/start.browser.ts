import { isURL } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Port } from './protocol.js'
import { absoluteAddress } from './source.js'

/** The worker of `spawn()`: its own, or what the page gives. */
export function start(worker: Port | string | URL | undefined): Port {
  try {
    // in exactly this form, so that bundlers find the script
    if (worker === undefined)
      return new Worker(new URL('./entry.js', import.meta.url), {
        type: 'module',
        name: 'x-transformers',
      })
    return typeof worker === 'string' || isURL(worker)
      ? fromAddress(absoluteAddress(worker))
      : worker
  } catch (error) {
    throw new XTransformersError(
      'worker',
      `the worker could not be started (${(error as Error).message}): pass spawn({ worker }) with a Worker, or the address, of x-transformers/worker/entry`,
      [],
      { cause: error },
    )
  }
}

/**
 * A script of another origin, such as a CDN, cannot be a worker's own; but it may be imported by
 * one.
 */
function fromAddress(address: string): Worker {
  const options = { type: 'module', name: 'x-transformers' } as const
  const { origin, protocol } = new URL(address)
  if (origin === location.origin || !protocol.startsWith('http'))
    return new Worker(address, options)
  const script = new Blob([`import ${JSON.stringify(address)}`], { type: 'text/javascript' })
  // never revoked: threads are workers of the same address
  return new Worker(URL.createObjectURL(script), options)
}
