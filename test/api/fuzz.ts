import { expect } from 'vitest'
import {
  AdamW,
  Decoder,
  ones,
  randn,
  type Tensor,
  tensor,
  XTransformersError,
} from 'x-transformers'
import { otherRealm } from './realm.js'

/** Thrown by functions, getters and iterators of the caller; it reaches the caller unchanged. */
export const OWN = new Error('of the caller')

const throwing = () => {
  throw OWN
}

/** An object of which every access throws. */
const throwingProxy = () =>
  new Proxy(
    {},
    { get: throwing, has: throwing, ownKeys: throwing, getPrototypeOf: throwing, set: throwing },
  )

function nestedIn<T>(value: T, depth: number): unknown {
  let nested: unknown = value
  for (let i = 0; i < depth; i++) nested = [nested]
  return nested
}

function detached(): Float32Array {
  const data = new Float32Array(4)
  structuredClone(data, { transfer: [data.buffer] })
  return data
}

function disposed(): Tensor {
  const x = ones([2, 3])
  x.dispose()
  return x
}

function circular(): unknown[] {
  const list: unknown[] = []
  list.push(list)
  return list
}

/** A class of the caller without any information. */
class Secret {
  readonly #hidden = 1
  tell() {
    return this.#hidden
  }
}

class Settings {
  nonsense = 1
}

export type Wrong = readonly [name: string, value: unknown]

/** Arguments that are invalid nearly everywhere, the same each time. */
export async function wrongValues(): Promise<Wrong[]> {
  const realm = await otherRealm()
  const decoder = new Decoder({ dim: 16, depth: 1 })
  return [
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['0', 0],
    ['-1', -1],
    ['1.5', 1.5],
    ['2^53', 2 ** 53],
    ['an empty string', ''],
    ['a string', 'no/such/thing'],
    ['a long string', 'x'.repeat(100_000)],
    // not a name of a file that could be created
    ['half of a surrogate pair', 'no/such/\ud800'],
    ['an object with half of a surrogate pair for a name', { '\ud800': 1 }],
    ['an array with holes', Object.assign(Array(3), { 1: 1 })],
    ['{}', {}],
    ['an object with another name', { nonsense: 1 }],
    ['an object with a name of ours', { $tensor: 0 }],
    ['an object without a prototype', Object.create(null)],
    ['[]', []],
    ['[[]]', [[]]],
    ['[undefined]', [undefined]],
    ['[NaN]', [Number.NaN]],
    ['[Symbol()]', [Symbol('inner')]],
    ['[[1], 2]', [[1], 2]],
    ['a list of objects', [{}]],
    ['an array in itself', circular()],
    ['a deep array', nestedIn(1, 100_000)],
    ['a symbol', Symbol('wrong')],
    ['1n', 1n],
    ['a function', () => {}],
    ['a function that throws', throwing],
    ['an async function that throws', async () => throwing()],
    ['a boolean tensor', tensor([true, false])],
    ['a tensor of another shape', randn([3, 5, 7])],
    ['a tensor of ids', tensor([[1, 2]], { dtype: 'i64' })],
    ['a tensor of f64', ones([2, 3], { dtype: 'f64' })],
    ['a tensor of nothing', ones([0])],
    ['a disposed tensor', disposed()],
    ['a list of tensors', [ones([2]), 3]],
    ['a promise', Promise.resolve(ones([2, 3]))],
    // biome-ignore lint/suspicious/noThenProperty: this is the case under test
    ['a thenable', { then: (resolve: (value: unknown) => void) => resolve(1) }],
    ['a Map', new Map<unknown, unknown>([[3, 4]])],
    ['a Map with names', new Map<unknown, unknown>([['to_logits.weight', 4]])],
    ['a Set', new Set([1])],
    ['a Date', new Date(0)],
    ['a RegExp', /x/],
    ['an Error', new Error('x')],
    ['a Uint8Array', new Uint8Array(3)],
    ['a Float32Array', new Float32Array(4)],
    ['a DataView', new DataView(new ArrayBuffer(8))],
    ['an ArrayBuffer', new ArrayBuffer(8)],
    ['a detached array', detached()],
    ['an object of a class', new Settings()],
    ['an object that tells nothing', new Secret()],
    ['a model', decoder],
    ['an optimizer', new AdamW(decoder.parameters())],
    ['a hostile proxy', throwingProxy()],
    [
      'getters that throw',
      Object.defineProperty({}, 'nonsense', { get: throwing, enumerable: true }),
    ],
    ['an iterator that throws', { [Symbol.iterator]: throwing }],
    ['an object without a text', { toString: throwing, valueOf: throwing, toJSON: throwing }],
    ['an object of another realm', realm('({ nonsense: 1 })')],
    ['an array of another realm', realm('[NaN]')],
    ['a Map of another realm', realm('new Map([[3, 4]])')],
    ['a typed array of another realm', realm('new Float32Array(2)')],
    ['a promise of another realm', realm('Promise.resolve(1)')],
    ['a function of another realm', realm('() => undefined')],
  ]
}

/**
 * Arguments with an invalid one in one place, or in one option; and without those from that place
 * on.
 */
function* variants(
  right: () => readonly unknown[],
  wrong: readonly Wrong[],
): Generator<[name: string, args: unknown[]]> {
  for (const [at, argument] of right().entries()) {
    yield [`without argument ${at}`, right().slice(0, at)]
    for (const [name, value] of wrong) yield [`argument ${at}: ${name}`, right().with(at, value)]
    if (Object.getPrototypeOf(argument ?? 0) !== Object.prototype) continue
    for (const key of Object.keys(argument as object)) {
      for (const [name, value] of wrong) {
        yield [`${key}: ${name}`, right().with(at, { ...(argument as object), [key]: value })]
      }
    }
  }
}

/** Uses the result of a call as a user would. */
async function consume(result: unknown, wrong: readonly Wrong[]): Promise<void> {
  const value = await result
  if (typeof value === 'function')
    for (const [, argument] of wrong) await outcome(() => value(argument), [])
  const items = (value as Partial<AsyncIterable<unknown>> | null | undefined)?.[
    Symbol.asyncIterator
  ]
  if (typeof items !== 'function' || value instanceof ReadableStream) return
  for await (const _ of value as AsyncIterable<unknown>) break
}

/**
 * What is wrong with the outcome of a call; null for a success, an error of the library that is not
 * internal, and the caller's own error.
 */
async function outcome(call: () => unknown, wrong: readonly Wrong[]): Promise<string | null> {
  try {
    await consume(call(), wrong)
    return null
  } catch (error) {
    if (error === OWN) return null
    if (error instanceof XTransformersError && error.code !== 'internal' && error.message !== '')
      return null
    return String((error as Error)?.stack ?? error).slice(0, 600)
  }
}

/** Calls with every invalid argument in every place. */
export async function fuzz(
  call: (...args: unknown[]) => unknown,
  right: () => readonly unknown[],
  wrong: readonly Wrong[],
): Promise<void> {
  const found: string[] = []
  for (const [name, args] of variants(right, wrong)) {
    const defect = await outcome(() => call(...args), wrong)
    if (defect !== null) found.push(`${name}\n${defect}`)
  }
  expect(found.join('\n\n')).toBe('')
}

/** The methods and setters of an object, from its own classes. */
export function membersOf(object: object): { methods: string[]; setters: string[] } {
  const methods = new Set<string>()
  const setters = new Set<string>()
  for (
    let at = Object.getPrototypeOf(object);
    at !== null && at !== Object.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    for (const [name, { value, get, set }] of Object.entries(
      Object.getOwnPropertyDescriptors(at),
    )) {
      if (set) setters.add(name)
      // a getter may give a function, such as those of a model in a worker
      const member = get ? (object as Record<string, unknown>)[name] : value
      if (typeof member === 'function' && name !== 'constructor') methods.add(name)
    }
  }
  return { methods: [...methods], setters: [...setters] }
}
