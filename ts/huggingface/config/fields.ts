/**
 * What fields of a config.json may be: each kind checks a value and has the default of the class of
 * transformers, since files leave out what is equal to it.
 */
import { isRecord } from '../../checks.js'

/** A value that is well formed, and that this package does not compute. */
export class Uncovered {
  constructor(
    /** What is covered, in words. */
    readonly covered: string,
  ) {}
}

/** A field. */
export interface Field<T> {
  /** What stands for a field that is absent. */
  readonly fallback: T
  /** What it must be, in words. */
  readonly wanted: string
  /** The value, if it is one; null is a value only where it means something. */
  read(value: unknown): T | Uncovered | undefined
}

/** Fields by name. */
export type Fields = Readonly<Record<string, Field<unknown>>>

/** The values of fields. */
export type Values<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never
}

type Test<T> = (value: unknown) => value is T

const field = <T>(fallback: T, wanted: string, fits: Test<T>): Field<T> => ({
  fallback,
  wanted,
  read: (value) => (fits(value) ? value : undefined),
})

/** Widths and lengths beyond this are no model's. */
const MAX_SIZE = 2 ** 31 - 1

/** Most layers, heads, groups. */
const MAX_COUNT = 4096

const isWhole = (least: number, most: number) => (value: unknown) =>
  Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most

const whole = (fallback: number, least: number, most: number): Field<number> =>
  field(fallback, `a whole number from ${least} to ${most}`, isWhole(least, most) as Test<number>)

/** A width or a length. */
export const size = (fallback: number) => whole(fallback, 1, MAX_SIZE)

/** A number of layers or heads. */
export const count = (fallback: number) => whole(fallback, 1, MAX_COUNT)

/** A whole number that is not below 0, such as a token id. */
export const wholeFrom0 = (fallback: number) => whole(fallback, 0, MAX_SIZE)

const isNumber = (value: unknown): value is number =>
  typeof value === 'number' && Number.isFinite(value)

/** A number above 0. */
export const positive = (fallback: number): Field<number> =>
  field(fallback, 'a number above 0', (value): value is number => isNumber(value) && value > 0)

/** Any number. */
export const finite = (fallback: number): Field<number> =>
  field(fallback, 'a finite number', isNumber)

/** A number that is not below 0. */
export const from0 = (fallback: number): Field<number> =>
  field(fallback, 'a number from 0', (value): value is number => isNumber(value) && value >= 0)

/** A share: above 0, at most 1. */
export const share = (fallback: number): Field<number> =>
  field(
    fallback,
    'a number above 0, and at most 1',
    (value): value is number => isNumber(value) && value > 0 && value <= 1,
  )

/** The probability of a dropout. */
export const dropout = (fallback: number): Field<number> =>
  field(
    fallback,
    'a number from 0, and below 1',
    (value): value is number => isNumber(value) && value >= 0 && value < 1,
  )

export const flag = (fallback: boolean): Field<boolean> =>
  field(fallback, 'true or false', (value): value is boolean => typeof value === 'boolean')

export const text = (fallback: string): Field<string> =>
  field(fallback, 'a string', (value): value is string => typeof value === 'string')

/** An object. */
export const record = (): Field<Readonly<Record<string, unknown>>> =>
  field({}, 'an object', (value): value is Readonly<Record<string, unknown>> => isRecord(value))

/** An array, of which each element is as a field is. */
export const list = <T>(of: Field<T>): Field<readonly T[]> => ({
  fallback: [],
  wanted: `an array, of which each element is ${of.wanted}`,
  read(value) {
    if (!Array.isArray(value) || value.length > MAX_COUNT) return undefined
    const read = value.map((item) => of.read(item))
    const uncovered = read.find((item) => item instanceof Uncovered)
    if (uncovered) return uncovered as Uncovered
    return read.includes(undefined) ? undefined : (read as T[])
  },
})

/** A field that null may stand for too; null is also its default, where none is given. */
export const nullable = <T>(of: Field<T>, fallback: T | null = null): Field<T | null> => ({
  fallback,
  wanted: `${of.wanted}, or null`,
  read: (value) => (value === null ? null : of.read(value)),
})

/** A field with names for what is covered. */
export const choice = <T>(choices: Readonly<Record<string, T>>, fallback: string): Field<T> => ({
  fallback: choices[fallback] as T,
  wanted: 'a string',
  read(value) {
    if (typeof value !== 'string') return undefined
    if (Object.hasOwn(choices, value)) return choices[value] as T
    return new Uncovered(`covered are ${Object.keys(choices).join(', ')}`)
  },
})

/** A field of which only some values are covered; the first one is the default. */
export const only = <T extends string | number | boolean | null>(
  ...covered: readonly [T, ...T[]]
): Field<T> => ({
  fallback: covered[0],
  wanted: 'a value of JSON',
  read: (value) =>
    covered.includes(value as T)
      ? (value as T)
      : new Uncovered(`covered is ${covered.map((one) => JSON.stringify(one)).join(' or ')}`),
})

/** The activations of transformers, as ours are called. */
const ACTIVATIONS = {
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_tanh',
  gelu_pytorch_tanh: 'gelu_tanh',
  gelu_fast: 'gelu_tanh',
  quick_gelu: 'quick_gelu',
  silu: 'silu',
  swish: 'silu',
  relu: 'relu',
  relu2: 'relu_squared',
  sigmoid: 'sigmoid',
} as const

/** An activation of ours. */
export type Activation = (typeof ACTIVATIONS)[keyof typeof ACTIVATIONS]

/** An activation by its name in transformers. */
export const activation = (fallback: keyof typeof ACTIVATIONS): Field<Activation> =>
  choice<Activation>(ACTIVATIONS, fallback)
