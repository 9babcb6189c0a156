/** An object of the page that stands for one in a worker, and the calls on it. */
import { refuse } from '../checks.js'
import type { Target } from '../io/sources.js'
import type { Connection } from './client.js'
import { packArguments, type Remote, unpackResult } from './values.js'

/** Runs a method of an object in the worker. */
export async function callRemote<T>(
  { home, id }: RemoteHandle,
  method: string,
  args: readonly unknown[],
  signal?: AbortSignal,
): Promise<T> {
  const { value, transfer } = packArguments(args, home, `the argument of ${method}()`)
  const result = await home.request('call', { object: id, method, args: value }, { signal, transfer })
  return unpackResult(result) as T
}

/** As {@link callRemote}, for small changes: nobody waits, and an error is that of the next call on the object. */
export function tellRemote({ home, id }: RemoteHandle, method: string, args: readonly unknown[]): void {
  const { value } = packArguments(args, home, `the argument of ${method}()`)
  home.request('call', { object: id, method, args: value, quiet: true }).catch(() => {})
}

/** What is behind a model or an optimizer of the page. */
export interface RemoteHandle extends Remote {
  home: Connection
  /** Frees this one when it is freed. */
  owner: object | null
}

/** Saves an object in the worker; handles of files are copied, streams are transferred. */
export async function saveRemote({ home, id }: RemoteHandle, target: Target, options?: object): Promise<void> {
  const has = (method: string) =>
    typeof (target as unknown as { [name: string]: unknown } | null)?.[method] === 'function'
  if (typeof target !== 'string' && !has('getFile') && !has('getWriter')) {
    throw refuse('a target', 'a path or "opfs:folder/name", a FileSystemFileHandle or a WritableStream', target)
  }
  const transfer = has('getWriter') ? [target as object] : []
  await home.request('call', { object: id, method: 'save', args: [target, options] }, { transfer })
}
