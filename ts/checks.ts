// Checks of arguments, one for each kind, that both sides of a worker make: nothing here may need
// the native side.
import { brandOf, otherCopy, withArticle } from './brand.js'
import { type ErrorCode, XTransformersError } from './errors.js'

/**
 * Whether it is a text that UTF-8, and so JSON and files, can hold: without half of a surrogate
 * pair.
 */
export const isText = (value: unknown): value is string =>
  typeof value === 'string' && !/\p{Surrogate}/u.test(value)

/** Whether it is a whole number from 0. */
export const isCount = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0

/** Longest text of the caller's in a message. */
const MAX_TEXT_SHOWN = 80

/** A value in words, for messages. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(
      value.length > MAX_TEXT_SHOWN ? `${value.slice(0, MAX_TEXT_SHOWN)}...` : value,
    )
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value !== 'object' || value === null) return String(value)
  if (Array.isArray(value)) return 'an array'
  // whatever a getter or a proxy of the caller's throws: the message is about something else
  try {
    return describeObject(value)
  } catch {
    return 'an object'
  }
}

/** An object by its kind, which holds in every realm, or by its class. */
function describeObject(value: object): string {
  const told = otherCopy(value) ?? brandOf(value)?.is
  if (told) return told
  const tag = tagOf(value)
  if (tag === 'Promise' || typeof (value as { then?: unknown }).then === 'function')
    return 'a Promise (await it first)'
  const { name } = (value.constructor ?? {}) as { name?: unknown }
  const known = typeof name === 'string' && name !== '' && name !== 'Object' ? name : tag
  return known === 'Object' || known === '' ? 'an object' : withArticle(known)
}

/** An error that says what was wanted and what came. */
export function refuse(
  what: string,
  wanted: string,
  got: unknown,
  code: ErrorCode = 'invalid_argument',
) {
  return new XTransformersError(code, `${what} must be ${wanted}, got ${describeValue(got)}`)
}

/**
 * What kind of built-in an object is, of whichever realm: `Map`, `Promise`, `Object`; empty for a
 * Proxy that was revoked, and where a getter of the caller's throws.
 */
export function tagOf(value: unknown): string {
  try {
    return Object.prototype.toString.call(value).slice(8, -1)
  } catch {
    return ''
  }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

/** Whether it is a promise, of whichever realm or library. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    (isObject(value) || typeof value === 'function') &&
    typeof (value as { then?: unknown }).then === 'function'
  )
}

/** Whether it is a Promise, of whichever realm. */
export const isPromise = (value: unknown): value is Promise<unknown> => tagOf(value) === 'Promise'

/** Lets a promise fail that nobody will wait for: in Node that would end the process. */
export function ignoreRejection(promise: PromiseLike<unknown>): void {
  promise.then(undefined, () => {})
}

/** Runs what may fail, at once or later, without anybody having to know. */
export function ignoreFailure(run: () => unknown): void {
  try {
    const result = run()
    if (isThenable(result)) ignoreRejection(result)
  } catch {
    // as for a promise that is abandoned
  }
}

/** Whether it is a Map, of whichever realm. */
export const isMap = (value: unknown): value is ReadonlyMap<unknown, unknown> =>
  tagOf(value) === 'Map' && typeof (value as Map<unknown, unknown>).entries === 'function'

/** Whether it is a Set, of whichever realm. */
export const isSet = (value: unknown): value is ReadonlySet<unknown> =>
  tagOf(value) === 'Set' && typeof (value as Set<unknown>).values === 'function'

/** Whether it is a URL, of whichever realm. */
export const isURL = (value: unknown): value is URL => tagOf(value) === 'URL'

/** Whether something has a method of that name. */
export const has = (value: unknown, method: PropertyKey): boolean =>
  typeof (value as { [name: PropertyKey]: unknown } | null | undefined)?.[method] === 'function'

/**
 * Whether it is a Blob or a File, of any realm or library: that of jsdom has `slice` and little
 * else.
 */
export const isBlob = (value: unknown): value is Blob =>
  has(value, 'slice') && typeof (value as Blob).size === 'number' && !ArrayBuffer.isView(value)

/** Whether it is a Uint8Array, of whichever realm. */
export const isBytes = (value: unknown): value is Uint8Array => tagOf(value) === 'Uint8Array'

/** Whether it is an object as `{ }` makes one, in whichever realm, and not of a class. */
export function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value)
  if (prototype === null) return true
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, 'hasOwnProperty')
}

/**
 * Whether its own properties are what counts: a plain object, or one of a class of the caller's,
 * such as a configuration. Not a Map, a Date, an array or another built-in, nor an object of this
 * library.
 */
export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isObject(value) || Array.isArray(value) || brandOf(value) !== null) return false
  return isPlain(value) || (tagOf(value) === 'Object' && !isThenable(value))
}

/**
 * What an object of options says, each read once: its own properties, and the accessors of its
 * class, as decorators and compilers make them of fields.
 */
export function readRecord<T extends object>(value: T): T {
  const read = { ...value } as Record<string, unknown>
  if (isPlain(value)) return read as T
  for (let at = Object.getPrototypeOf(value); at !== null; at = Object.getPrototypeOf(at)) {
    // the end of the chain, in whichever realm
    if (Object.hasOwn(at, 'hasOwnProperty')) break
    for (const [name, { get }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (get && !Object.hasOwn(read, name)) read[name] = (value as Record<string, unknown>)[name]
    }
  }
  return read as T
}

/**
 * Whether no option can have that name: those with a $ are ours alone, JSON has no word for others.
 */
export const isOurs = (name: string) => name.startsWith('$') || !isText(name)

/**
 * Most options that are looked up: a mistake, such as the letters of a text, may have any number,
 * and for each a name is looked for that is like it.
 */
export const MAX_OPTIONS = 1000

/**
 * Checks an object of options, and reads each of them once. Absent ones, `null` too, are no
 * options.
 *
 * @param what the call, for messages: `backward()`
 * @param keys the options that there are; absent: the native side knows them
 * @throws XTransformersError (`invalid_options`)
 */
export function checkOptions<T extends object>(
  options: T | null | undefined,
  what: string,
  keys?: readonly string[],
): T {
  if (options === undefined || options === null) return {} as T
  if (!isRecord(options))
    throw refuse(`the options of ${what}`, 'an object', options, 'invalid_options')
  const own = readRecord(options) as T
  const names = Object.keys(own)
  const wrong = (got: string) =>
    new XTransformersError(
      'invalid_options',
      `the options of ${what} must be an object, got ${got}`,
    )
  if (names.length === 0 && !isPlain(options)) {
    throw wrong(`${describeValue(options)}, which has no enumerable properties and no accessors`)
  }
  const unknown = names.find(keys ? (name) => !keys.includes(name) : isOurs)
  if (unknown !== undefined) {
    const known =
      keys === undefined
        ? ''
        : keys.length > 0
          ? `; there are ${keys.join(', ')}`
          : '; there are none'
    throw new XTransformersError(
      'invalid_options',
      `${shownName(unknown)} is not an option of ${what}${known}`,
    )
  }
  if (names.length > MAX_OPTIONS) throw wrong(`one with ${names.length} names`)
  return own
}

/** A name of the caller's, for messages. */
const shownName = (name: string) => (isText(name) && name.length <= 80 ? name : describeValue(name))

/** Checks a function that the library is to call. */
export function checkFunction<F>(value: F, what: string): F {
  if (typeof value === 'function') return value
  throw refuse(what, 'a function', value)
}

/** Checks a flag; absent, it is `fallback`. */
export function checkFlag(value: unknown, what: string, fallback?: boolean): boolean {
  const flag = value ?? fallback
  if (typeof flag === 'boolean') return flag
  throw refuse(what, 'true or false', value)
}

/** Checks a number that is neither NaN nor infinite. */
export function checkNumber(value: unknown, what: string): number {
  if (typeof value === 'number' && Number.isFinite(value)) return value
  throw refuse(what, 'a finite number', value)
}

/** Checks a whole number. */
export function checkInteger(value: unknown, what: string): number {
  if (Number.isSafeInteger(value)) return value as number
  throw refuse(what, 'a whole number', value)
}

/** Checks an array. */
export function checkList<T>(value: readonly T[], what: string, of: string): T[] {
  if (Array.isArray(value)) return [...value]
  throw refuse(what, `an array of ${of}`, value)
}

/** Checks something that `for` can walk over, and gives what is in it. */
export function checkIterable<T>(value: Iterable<T>, what: string, of: string): T[] {
  // a typed array holds numbers, and its memory may be gone
  const iterable =
    isObject(value) &&
    !ArrayBuffer.isView(value) &&
    typeof (value as Partial<Iterable<T>>)[Symbol.iterator] === 'function'
  if (iterable) return [...value]
  throw refuse(what, `an array of ${of}`, value)
}

/** Checks the number that `manualSeed` takes. */
export function checkSeed(value: unknown): void {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return
  throw new XTransformersError(
    'invalid_argument',
    `manualSeed takes a whole number from 0 to 2^53 - 1, got ${describeValue(value)}`,
  )
}
