import * as library from 'x-transformers'
import { type Device, type Module, type Tensor, tensor, XTransformersError } from 'x-transformers'
import type { Stored } from './safetensors.js'

let device: Device = 'cpu'

/** Chooses where models and tensors of fixtures are from now on, such as `cuda:0`. */
export function setDevice(name: Device): void {
  device = name
}

export interface ModelSpec {
  class: string
  kwargs: Record<string, unknown>
}

/** An export of the public package, by its name. */
export function exported(name: string): unknown {
  const value = (library as Record<string, unknown>)[name]
  if (value === undefined)
    throw new XTransformersError('not_available', `the package exports no ${name}`)
  return value
}

const isModel = (value: unknown): value is ModelSpec =>
  typeof value === 'object' && value !== null && 'class' in value

/** The model that a fixture describes, on the device that was chosen. */
export const build = (spec: ModelSpec): Module => construct(spec).to(device)

/** Builds it with the public constructors. Wrappers take the wrapped model first, as in Python. */
function construct(spec: ModelSpec): Module {
  const entries = Object.entries(spec.kwargs).map(([key, value]) => [
    key,
    isModel(value) ? construct(value) : value,
  ])
  const { net, ...options } = Object.fromEntries(entries)
  const Class = exported(spec.class) as new (...args: unknown[]) => Module
  return net ? new Class(net, options) : new Class(options)
}

/** A recorded tensor as a tensor of the library; masks are stored as bytes. */
export function toTensor(
  { data, shape }: Stored,
  options: { bool?: boolean; requires_grad?: boolean } = {},
): Tensor {
  const { bool, requires_grad = false } = options
  const dtype = bool
    ? 'bool'
    : data instanceof BigInt64Array
      ? 'i64'
      : data instanceof Uint8Array
        ? 'u8'
        : data instanceof Float64Array
          ? 'f64'
          : 'f32'
  return tensor(data, { shape, dtype, device, requires_grad })
}

export async function fromTensor(value: Tensor): Promise<Stored> {
  return { shape: [...value.shape], data: await value.data() }
}

export function toTensors(stored: Map<string, Stored>): Map<string, Tensor> {
  return new Map([...stored].map(([name, value]) => [name, toTensor(value)]))
}
