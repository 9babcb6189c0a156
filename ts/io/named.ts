/**
 * What goes into a file of tensors, checked before anything is touched: what is written can be read
 * again.
 */
import { describeValue, isText } from '../checks.js'
import { XTransformersError } from '../errors.js'
import { checkTensor, type Tensor } from '../tensor/tensor.js'

/** Tensors by name. */
export type NamedTensors = ReadonlyMap<string, Tensor> | Readonly<Record<string, Tensor>>

/** The name that a safetensors file has for its metadata. */
const RESERVED = '__metadata__'

const refuse = (message: string): never => {
  throw new XTransformersError('invalid_argument', message)
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  // of another realm too
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function entriesOf(tensors: unknown): [name: unknown, tensor: unknown][] {
  if (typeof tensors === 'object' && tensors !== null) {
    const { entries, get } = tensors as { entries?: unknown; get?: unknown }
    if (typeof entries === 'function' && typeof get === 'function')
      return [...(tensors as Map<unknown, unknown>)]
    if (isPlain(tensors)) return Object.entries(tensors)
  }
  return refuse(
    `the tensors must be a Map or an object of tensors by name, such as model.stateDict(), got ${describeValue(tensors)}`,
  )
}

/**
 * @throws XTransformersError (`invalid_argument`) where a name cannot stand in a file, or something
 * is no tensor
 */
export function checkNamed(tensors: unknown): Map<string, Tensor> {
  const named = new Map<string, Tensor>()
  for (const [name, tensor] of entriesOf(tensors)) {
    if (typeof name !== 'string')
      return refuse(`the names of tensors must be strings, got ${describeValue(name)}`)
    if (!isText(name))
      return refuse(
        `the name ${JSON.stringify(name)} has half of a surrogate pair: no file can hold it`,
      )
    if (name === RESERVED) {
      return refuse(
        `a tensor cannot have the name ${RESERVED}: in a safetensors file the metadata has it`,
      )
    }
    named.set(name, checkTensor(tensor, `tensor ${JSON.stringify(name)}`))
  }
  return named
}

/** @throws XTransformersError (`invalid_argument`) where it is not an object of strings */
export function checkMetadata(metadata: unknown): Record<string, string> {
  if (typeof metadata !== 'object' || metadata === null || !isPlain(metadata)) {
    return refuse(`metadata must be an object of strings, got ${describeValue(metadata)}`)
  }
  for (const [key, value] of Object.entries(metadata)) {
    const name = JSON.stringify(key)
    if (typeof value !== 'string') {
      return refuse(
        `metadata holds strings only, and ${name} is ${describeValue(value)}: give String(value) or JSON`,
      )
    }
    if (!isText(key) || !isText(value)) {
      return refuse(`metadata ${name} has half of a surrogate pair: no file can hold it`)
    }
  }
  return metadata as Record<string, string>
}

/** The name of a class, for metadata; empty where it has none that is a text. */
export const classNameOf = (value: object): string => {
  const name: unknown = value.constructor?.name
  return isText(name) ? name : ''
}
