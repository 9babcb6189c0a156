/**
 * Random numbers that are functions of a seed and a place, so that any of them can be had without
 * those before it. They are made of 32-bit operations alone, and so the same on every platform.
 */
import { nextContext } from '../tensor/random.js'

const TWO_32 = 2 ** 32

/**
 * Mixes 32 bits: each bit of `x` changes about half of those of the result. The constants are those
 * that the search of hash-prospector found to have the least bias.
 */
function mix(x: number): number {
  let h = Math.imul(x ^ (x >>> 16), 0x21f0aaad)
  h = Math.imul(h ^ (h >>> 15), 0xd35a2d97)
  return (h ^ (h >>> 15)) >>> 0
}

/** 32 bits that stand for a list of whole numbers up to 2^53. */
function keyOf(...numbers: readonly number[]): number {
  let key = 0x9e3779b9
  for (const number of numbers) {
    key = mix(key ^ (number % TWO_32))
    key = mix(key + 0x9e3779b9 + Math.floor(number / TWO_32))
  }
  return key
}

/** What keys are for, so that two uses of one seed have nothing in common. */
type Use = 'network' | 'list' | 'draw' | 'buffer' | 'example' | 'within'
const USES: Record<Use, number> = {
  ...{ network: 1, list: 2, draw: 3, buffer: 4, example: 5, within: 6 },
}

const keysOf = (use: Use, count: number, ...place: readonly number[]) =>
  Array.from({ length: count }, (_, i) => keyOf(USES[use], i, ...place))

/** Up to so many numbers are exchanged in a list. */
const LISTED = 4096

/**
 * A random order of the numbers from 0 to `length - 1`, as a function from the place to the number
 * there, which keeps 8 KB at most.
 *
 * @param length up to 2^53 - 1
 */
export function permutation(length: number, seed: number, epoch: number): (i: number) => number {
  return length > LISTED ? network(length, seed, epoch) : list(length, seed, epoch)
}

/** Every order is equally likely: a network over few numbers does not reach all of them alike. */
function list(length: number, seed: number, epoch: number): (i: number) => number {
  const order = Uint16Array.from({ length }, (_, i) => i)
  const draw = draws('list', seed, epoch)
  for (let i = length - 1; i > 0; i--) {
    const other = draw(i, i + 1)
    const number = order[other] as number
    order[other] = order[i] as number
    order[i] = number
  }
  return (i) => order[i] as number
}

/** So often one half changes the other. */
const ROUNDS = 10

/**
 * A Feistel network permutes the numbers of as many bits as `length` needs; a result from `length`
 * on is permuted again until it is below. Nothing is kept but the keys.
 */
function network(length: number, seed: number, epoch: number): (i: number) => number {
  const bits = Math.ceil(Math.log2(length + 1))
  const low = 2 ** Math.floor(bits / 2)
  const high = 2 ** Math.ceil(bits / 2)
  const keys = keysOf('network', ROUNDS, seed, epoch)
  const permute = (x: number) => {
    let [left, right] = [Math.floor(x / low), x % low]
    for (let i = 0; i < ROUNDS; i += 2) {
      left = (left ^ mix(right ^ (keys[i] as number))) & (high - 1)
      right = (right ^ mix(left ^ (keys[i + 1] as number))) & (low - 1)
    }
    return left * low + right
  }
  return (i) => {
    let x = permute(i)
    while (x >= length) x = permute(x)
    return x
  }
}

/** Random numbers from 0 to below 1, all of 53 bits, by their number in a sequence. */
function fractions(use: Use, ...place: readonly number[]): (i: number) => number {
  const [a, b, c, d] = keysOf(use, 4, ...place) as [number, number, number, number]
  return (i) => {
    const [low, high] = [i % TWO_32, Math.floor(i / TWO_32)]
    const first = mix(mix(low ^ a) ^ high ^ b) >>> 5
    const second = mix(mix(low ^ c) ^ high ^ d) >>> 6
    return (first * 2 ** 26 + second) / 2 ** 53
  }
}

/** Random numbers from 0 to below `length`, by their place in the sequence of an epoch. */
export function draws(
  use: 'list' | 'draw' | 'buffer',
  seed: number,
  epoch: number,
): (i: number, length: number) => number {
  const fraction = fractions(use, seed, epoch)
  return (i, length) => Math.floor(fraction(i) * length)
}

/** Random numbers from 0 to below 1, one after the other, for an example of an epoch. */
export function randomOf(seed: number, epoch: number, index: number): () => number {
  let fraction: ((i: number) => number) | null = null
  let count = 0
  return () => {
    // most transforms draw nothing
    fraction ??= fractions('example', seed, epoch, index)
    return fraction(count++)
  }
}

/** The seed of what is within something that draws of `seed`: the two have nothing in common. */
export const seedWithin = (seed: number): number => keyOf(USES.within, seed)

/** A seed from the sequence that `manualSeed` begins. */
export function drawSeed(): number {
  const { seed, call }: { seed: number; call: number } = JSON.parse(nextContext())
  return keyOf(seed, call)
}
