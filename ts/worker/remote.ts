/** An object of the page that stands for one in a worker, and the calls on it. */
import { has, refuse } from '../checks.js'
import type { Target } from '../io/sources.js'
import type { Connection } from './client.js'
import type { Id } from './protocol.js'
import { packArguments, REMOTE, type Remote, unpackResult } from './values.js'

/** Runs a method of an object in the worker. */
export async function callRemote<T>(
  { connection, id }: RemoteHandle,
  method: string,
  args: readonly unknown[],
  signal?: AbortSignal,
): Promise<T> {
  const { value, transfer } = packArguments(args, connection, `the argument of ${method}()`)
  const result = await connection.request(
    'call',
    { object: id, method, args: value },
    { signal, transfer },
  )
  return unpackResult(result) as T
}

/**
 * As {@link callRemote}, for small changes: nobody waits, and an error is that of the next call on
 * the object.
 */
export function notifyRemote(
  { connection, id }: RemoteHandle,
  method: string,
  args: readonly unknown[],
): void {
  const { value } = packArguments(args, connection, `the argument of ${method}()`)
  connection.request('call', { object: id, method, args: value, unawaited: true }).catch(() => {})
}

/** What is behind a model or an optimizer of the page. */
export interface RemoteHandle extends Remote {
  connection: Connection
  /** Frees this one when it is freed. */
  owner: object | null
}

/** A model or an optimizer of the page. */
export abstract class RemoteObject {
  /** @internal */
  readonly [REMOTE]: RemoteHandle

  /** @internal */
  constructor(connection: Connection, id: Id, owner: object | null) {
    this[REMOTE] = { connection, id, owner }
    connection.trackObject(this, id)
  }

  /**
   * Frees it in the worker, after the calls made before. Every later use is an error (`disposed`).
   */
  dispose(): void {
    const { connection, id } = this[REMOTE]
    connection.untrack(this)
    connection.dispose(id)
  }

  /** For `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Saves an object in the worker; handles of files are copied, streams are transferred. */
export async function saveRemote(
  { connection, id }: RemoteHandle,
  target: Target,
  options?: object,
): Promise<void> {
  if (typeof target !== 'string' && !has(target, 'getFile') && !has(target, 'getWriter')) {
    throw refuse(
      'a target',
      'a path or "opfs:folder/name", a FileSystemFileHandle or a WritableStream',
      target,
    )
  }
  const transfer = has(target, 'getWriter') ? [target as object] : []
  await connection.request(
    'call',
    { object: id, method: 'save', args: [target, options] },
    { transfer },
  )
}
