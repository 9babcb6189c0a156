import { isForeign } from '../brand.js'
import {
  checkOptions,
  describeValue,
  isOurs,
  isRecord,
  isText,
  MAX_OPTIONS,
  readRecord,
} from '../checks.js'
import { XTransformersError } from '../errors.js'
import { jsonOf } from '../native/json.js'
import type { NativeModule, NativeResult } from '../native/native.js'
import { HANDLE, NATIVE_MODULE } from '../symbols.js'
import { type ArgumentKind, isData } from '../tensor/arrays.js'
import type { Device } from '../tensor/device.js'
import type { TensorHandle } from '../tensor/handle.js'
import type { NoGradScope } from '../tensor/no-grad-scope.js'
import type { Gates } from '../tensor/schedule.js'
import { fromArgument, Tensor, wrap } from '../tensor/tensor.js'
import { SEVERAL_TENSORS, TENSOR_OPTIONS } from './tensor-options.gen.js'

/** Arguments as JSON, and what stands in it as `{"$tensor": i}` and `{"$module": i}`. */
export interface Encoded {
  json: string
  tensors: TensorHandle[]
  modules: NativeModule[]
  /** Frees the tensors that were made of arrays, once the call has pinned them. */
  free(): void
}

interface ModelLike {
  [NATIVE_MODULE]?: () => NativeModule
}

export { NATIVE_MODULE }

const MAX_DEPTH = 32

/**
 * Encodes options or arguments. What JSON has no word for becomes `{"$value": "NaN"}`, so that the
 * validator can name it; `undefined` is absent.
 *
 * @param what the value, for messages
 * @throws XTransformersError (`invalid_argument`) for tensors and models of another copy of this
 *   package
 */
export function encode(value: unknown, what = ''): Encoded {
  const tensors: TensorHandle[] = []
  const modules: NativeModule[] = []
  const other = (words: string) => ({ $value: words })

  const object = (value: object, depth: number, path: string): unknown => {
    if (value instanceof Tensor) return { $tensor: tensors.push(value[HANDLE]) - 1 }
    const model = (value as ModelLike)[NATIVE_MODULE]
    if (model) return { $module: modules.push(model.call(value)) - 1 }
    // told here, with all that has to be said of it
    if (isForeign(value))
      throw new XTransformersError(
        'invalid_argument',
        `${path || 'that'} is ${describeValue(value)}`,
      )
    if (depth > MAX_DEPTH) return other('an object that contains itself')
    if (Array.isArray(value))
      // holes too: `map` would leave them out
      return Array.from(value, (item, i) =>
        item === undefined ? other('undefined') : visit(item, depth + 1, `${path}[${i}]`),
      )
    if (!isRecord(value)) return other(describeValue(value))
    const own = Object.entries(readRecord(value))
    if (own.some(([key]) => isOurs(key))) return other(describeValue(value))
    if (own.length > MAX_OPTIONS) return other(`an object with ${own.length} names`)
    const entries = own.map(
      ([key, item]) => [key, visit(item, depth + 1, path ? `${path}.${key}` : key)] as const,
    )
    return Object.fromEntries(entries.filter(([, item]) => item !== undefined))
  }

  const visit = (value: unknown, depth: number, path: string): unknown => {
    if (value === undefined || value === null) return value
    if (typeof value === 'number') return Number.isFinite(value) ? value : other(String(value))
    if (typeof value === 'boolean') return value
    if (typeof value === 'string')
      return isText(value) ? value : other(`${describeValue(value)}, half of a surrogate pair`)
    if (typeof value === 'object') return object(value, depth, path)
    // a filter of the caller's: the native side knows that there is one
    if (typeof value === 'function') return { $function: true, ...other(describeValue(value)) }
    return other(describeValue(value))
  }

  return { json: jsonOf(visit(value, 0, what) ?? null), tensors, modules, free: () => {} }
}

/** Checks the object after the positional arguments of `method`, and reads it once. */
export function checkArguments<T extends object>(options: T | null | undefined, method: string): T {
  if (options === undefined || options === null || isRecord(options))
    return checkOptions(options, `${method}()`)
  throw new XTransformersError(
    'invalid_argument',
    `the last argument is an object, such as { mask }, got ${describeValue(options)}`,
  )
}

/** A positional argument that is a tensor. */
export type Positional = readonly [name: string, kind: ArgumentKind | 'prompts']

/** Whether it is an array of prompts: tensors, typed arrays, or arrays of different lengths. */
const isList = (value: unknown): value is readonly unknown[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((item) => item instanceof Tensor || isData(item)) &&
  value.some((item) => !Array.isArray(item) || item.length !== value[0].length)

/**
 * Positional arguments and the options after them, which have been checked, for
 * `NativeModule.call`; arrays become tensors on `device`, that of the model, where `tensors` and
 * the options say what they hold.
 */
export function encodeCall(
  positional: readonly unknown[],
  options: object,
  tensors: readonly Positional[],
  device: () => Device,
): Encoded {
  const made: Tensor[] = []
  const free = () => {
    for (const tensor of made.splice(0)) tensor.dispose()
  }
  const converted = (value: unknown, name: string, kind: ArgumentKind | undefined) => {
    if (kind === undefined || !isData(value)) return value
    const tensor = fromArgument(value as object, kind, name, device())
    made.push(tensor)
    return tensor
  }
  try {
    const first = positional.map((value, i) => {
      const [name, kind] = tensors[i] ?? ['', undefined]
      return kind === 'prompts' && isList(value)
        ? value.map((item, at) => converted(item, `${name}[${at}]`, 'ids'))
        : converted(value, name, kind === 'prompts' ? 'ids' : kind)
    })
    const all = (values: object, path: string, kind: ArgumentKind) =>
      Object.fromEntries(
        Object.entries(readRecord(values)).map(([name, value]) => [
          name,
          converted(value, `${path}.${name}`, kind),
        ]),
      )
    const named = Object.entries(options).map(([name, value]) => {
      const inner = SEVERAL_TENSORS[name]
      if (inner === undefined) return [name, converted(value, name, TENSOR_OPTIONS[name])]
      if (Array.isArray(value))
        return [name, value.map((item, i) => converted(item, `${name}[${i}]`, inner))]
      return [name, isRecord(value) ? all(value, name, inner) : value]
    })
    return { ...encode([...first, Object.fromEntries(named)], 'arguments'), free }
  } catch (error) {
    free()
    throw error
  }
}

/**
 * A native result as what the user gets; its tensors may hold the graph of the weights behind
 * `gates`, or come of a `noGrad`.
 */
export function decode(
  result: NativeResult,
  gates: Gates,
  noGradScope: NoGradScope | null,
): unknown {
  const tensors = result.tensors.map((tensor) => wrap(tensor, gates, noGradScope))
  const visit = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null) return value
    if (Array.isArray(value)) return value.map(visit)
    const index = (value as { $tensor?: unknown }).$tensor
    if (typeof index === 'number') return tensors[index]
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, visit(item)]))
  }
  return visit(JSON.parse(result.json))
}
