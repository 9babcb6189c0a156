import * as library from 'x-transformers'
import { type Module, type Tensor, tensor, XTransformersError } from 'x-transformers'
import type { Stored } from './safetensors.js'

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

/**
 * The model that a fixture describes, built with the public constructors. Wrappers take the wrapped
 * model first, as in Python.
 */
export function build(spec: ModelSpec): Module {
  const entries = Object.entries(spec.kwargs).map(([key, value]) => [
    key,
    isModel(value) ? build(value) : value,
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
  return tensor(data, { shape, dtype, requires_grad })
}

export async function fromTensor(value: Tensor): Promise<Stored> {
  return { shape: [...value.shape], data: await value.data() }
}

export function toTensors(stored: Map<string, Stored>): Map<string, Tensor> {
  return new Map([...stored].map(([name, value]) => [name, toTensor(value)]))
}
