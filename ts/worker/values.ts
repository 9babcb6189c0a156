/** Arguments and results on the page's side: packed for the worker, and unpacked again. */
import { describeValue, isPlain, isRecord } from '../checks.js'
import { XTransformersError } from '../errors.js'
import type { Id, Wire, WireTensor } from './protocol.js'
import { HostTensor, isHostTensor, type TensorInput } from './tensor.js'
import { ownMemory, type Packed } from './transfer.js'

/** Where the page's models and optimizers keep what only this library may touch. */
export const REMOTE: unique symbol = Symbol('x-transformers.remote')

/** What a model or an optimizer is on the other side. */
export interface Remote {
  /** The connection to its worker. */
  connection: object
  id: Id
}

const MAX_DEPTH = 32

const refuse = (path: string, what: string) =>
  new XTransformersError('invalid_argument', `${path} is ${what}, which cannot go to a worker`)

/**
 * Whether it is a tensor of the main library. By its looks: that library, and its size, need not be
 * on the page.
 */
function isTensor(value: object): value is Exclude<TensorInput, HostTensor> {
  const { dataSync, backward } = value as { dataSync?: unknown; backward?: unknown }
  return typeof dataSync === 'function' && typeof backward === 'function'
}

/** Packs the arguments of one call. */
class Packer {
  readonly transfer: object[] = []

  constructor(
    readonly connection: object,
    /** The arguments, for messages. */
    readonly what: string,
  ) {}

  pack(value: unknown, path: string, depth: number): Wire {
    if (typeof value === 'function' || typeof value === 'symbol')
      throw refuse(path, `a ${typeof value}`)
    return typeof value === 'object' && value !== null ? this.#object(value, path, depth) : value
  }

  #object(value: object, path: string, depth: number): Wire {
    if (isHostTensor(value) || isTensor(value)) return this.#tensor(value)
    const remote = (value as { [REMOTE]?: Remote })[REMOTE]
    if (remote && remote.connection !== this.connection) throw refuse(path, 'of another worker')
    if (remote) return { $object: remote.id }
    if (depth > MAX_DEPTH) throw refuse(path, 'an object that contains itself')
    if (Array.isArray(value))
      return value.map((item, i) => this.pack(item, `${path}[${i}]`, depth + 1))
    if (ArrayBuffer.isView(value)) return value
    if (!isRecord(value)) throw refuse(path, describeValue(value))
    const entries = Object.entries(value).map(([key, item]) => {
      // keys with a $ are ours alone
      if (key.startsWith('$')) throw refuse(`${path}.${key}`, 'an unknown name')
      return [key, this.pack(item, path === this.what ? key : `${path}.${key}`, depth + 1)] as const
    })
    return Object.fromEntries(entries)
  }

  #tensor(value: TensorInput): { $tensor: WireTensor } {
    const data = isHostTensor(value) ? value.data.slice() : ownMemory(value.dataSync())
    this.transfer.push(data.buffer)
    return { $tensor: { data, shape: [...value.shape], dtype: value.dtype } }
  }
}

/**
 * Arguments for the worker at `home`. Tensors are copied: what happens to them later does not
 * matter.
 *
 * @throws XTransformersError (`invalid_argument`) where something cannot go there, such as a
 *   function
 */
export function packArguments(
  args: readonly unknown[],
  connection: object,
  what: string,
): Packed<Wire[]> {
  const packer = new Packer(connection, what)
  return { value: args.map((arg) => packer.pack(arg, what, 0)), transfer: packer.transfer }
}

/** A result as the user gets it. */
export function unpackResult(value: Wire): unknown {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
  if (Array.isArray(value)) return value.map(unpackResult)
  const { $tensor } = value as { $tensor?: WireTensor }
  if ($tensor) return new HostTensor($tensor)
  if (!isPlain(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, unpackResult(item)]))
}
